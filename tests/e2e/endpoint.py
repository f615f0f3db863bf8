"""A real HTTP endpoint in the test's own process, which remembers each call it was sent.

It answers HEAD with a signature, and a call with 200 or with what `on` says for its path.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

from lq.signature import sign

from .process import PATIENCE_S


class Call(NamedTuple):
    """One call as it arrived; header names are lower case. Units: `at` is Unix ms."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: int

    @property
    def id(self) -> str:
        return self.headers["x-lq-id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-lq-attempt"])


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b'{"ok":true}'
    headers: Mapping[str, str] = MappingProxyType({})


OK = Answer()
FAILED = Answer(500, b'{"ok":false}')

Behaviour = Callable[[Call], Answer]


def _well(_: Call) -> Answer:
    return OK


class Endpoint:
    """Listens while the context is open. `secret` signs its answers to HEAD."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.calls: queue.Queue[Call] = queue.Queue()
        self.heads: list[str] = []
        self._behaviours: dict[str, Behaviour] = {}
        self._gates: list[threading.Event] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.endpoint = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str, behaviour: Behaviour) -> None:
        """Answer calls to a path by a function."""
        self._behaviours[path] = behaviour

    def hold(self, path: str, answer: Answer = OK) -> threading.Event:
        """Answer calls to a path once the event that is returned is set."""
        gate = threading.Event()
        self._gates.append(gate)

        def behaviour(_: Call) -> Answer:
            gate.wait(PATIENCE_S)
            return answer

        self.on(path, behaviour)
        return gate

    def hold_first(self, path: str) -> threading.Event:
        """Answer the first call to a path once the event is set, all others at once."""
        gate = self.hold(path)
        first = iter([self._behaviours[path]])

        def behaviour(call: Call) -> Answer:
            return next(first, _well)(call)

        self.on(path, behaviour)
        return gate

    def next(self, timeout_s: float = PATIENCE_S) -> Call:
        """Wait for the next call that was not looked at yet."""
        return self.calls.get(timeout=timeout_s)

    def none_left(self) -> bool:
        return self.calls.empty()

    def answer(self, call: Call) -> Answer:
        self.calls.put(call)
        return self._behaviours.get(call.path, _well)(call)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for gate in self._gates:
            gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    endpoint: Endpoint
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A daemon that was killed leaves broken connections behind; that is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def do_HEAD(self) -> None:
        endpoint = self._endpoint
        endpoint.heads.append(self.path)
        self.send_response(200)
        self.send_header("x-lq-signature", sign(endpoint.secret, b"", _now()))
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self._endpoint.answer(Call(self.path, headers, body, _now()))
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    @property
    def _endpoint(self) -> Endpoint:
        assert isinstance(self.server, _Server)
        return self.server.endpoint

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass


def _now() -> int:
    return time.time_ns() // 1_000_000
