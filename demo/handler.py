"""What an application writes to work with lq, and no more: an HTTP handler, in its own process.

It proves to lq that it knows the secret (HEAD), makes sure that a call is from lq (the
signature), does its work, and answers. It says on stdout what it saw, one JSON object a line,
because the demo holds lq to what really arrived here.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lq.signature import SignatureError, sign, verify


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secret = ""

    def do_HEAD(self) -> None:
        """Before its first call lq asks for a signature, so that it calls nobody by mistake."""
        tell(proved=self.path)
        self.send_response(200)
        self.send_header("x-lq-signature", sign(self.secret, b"", now()))
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at = now()
        try:
            verify(self.headers["x-lq-signature"], body, [self.secret], at)
        except SignatureError as error:
            tell(refused=self.path, reason=str(error))
            self.answer(401, str(error))
            return
        attempt = int(self.headers["x-lq-attempt"])
        payload = json.loads(body)
        status, said = work(self.path, payload, attempt)
        tell(
            called=self.path,
            at=at,
            id=self.headers["x-lq-id"],
            once=self.headers["Idempotency-Key"],
            attempt=attempt,
            payload=payload,
            status=status,
            said=said,
        )
        self.answer(status, said)

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass


def work(path: str, payload: dict[str, Any], attempt: int) -> tuple[int, str]:
    """The application's own part: any 2xx is a success, all else is tried again."""
    match path:
        case "/welcome":
            return 200, f"mail sent to {payload['to']}"
        case "/reminder":
            return 200, f"{payload['about']}: reminded"
        case "/report":
            return 200, f"report {payload['version']} written"
        case "/payment" if attempt < 3:
            return 500, "the bank is asleep"
        case "/payment":
            return 200, f"{payload['euros']} euros paid"
        case _:
            return 404, "no such work"


def tell(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")  # in one piece, since calls come in threads
    sys.stdout.flush()


def now() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """Say where it listens, read the secret from stdin, and serve until stdin ends."""
    server = Server(("127.0.0.1", 0), Handler)
    tell(port=server.server_address[1])
    Handler.secret = sys.stdin.readline().strip()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
