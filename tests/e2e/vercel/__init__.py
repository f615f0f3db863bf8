"""Vercel as an application sees it: its own runtime, out of the npm package `@vercel/python`.

The runtime is a Python file with three words to fill in, as the builder does (`dist/index.js`);
it imports the application, serves it on a port of its own choosing, says which over a unix
socket, and expects requests from a proxy that adds its headers. 6.5.1 is the last version that
ships the runtime itself and runs on every Python that lq does.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.node import install_packages
from tests.e2e.process import PATIENCE_S

SOURCE = Path(__file__).parent
INTERNAL = {
    "x-vercel-internal-invocation-id": "fra1::1",
    "x-vercel-internal-request-id": "1",
    "x-vercel-internal-span-id": "1",
    "x-vercel-internal-trace-id": "1",
}


def install(folder: Path) -> Path:
    """The runtime, installed into a folder that is kept between runs. Raises: NotInstalled."""
    install_packages(SOURCE, folder)
    return folder / "node_modules" / "@vercel" / "python" / "vc_init.py"


class Vercel:
    """A deployed application: an address to call, and the process that answers."""

    def __init__(
        self, runtime: Path, app: Path, folder: Path, environ: Mapping[str, str], *, port: int
    ) -> None:
        """Shape: `app` is a module with an `app` in it; `folder` is an empty one."""
        shutil.copy(app, folder / "index.py")
        words = {"MODULE_NAME": "index", "ENTRYPOINT": "index.py", "VENDOR_DIR": "_vendor"}
        text = runtime.read_text()
        for word, value in words.items():
            text = text.replace(f"__VC_HANDLER_{word}", value)
        (folder / "vc_init.py").write_text(text)
        self._folder = folder
        self._environ = {**environ, "VERCEL": "1", "VERCEL_IPC_PATH": str(folder / "ipc.sock")}
        self._proxy = _Proxy(("127.0.0.1", port), _Forward)
        self._thread = threading.Thread(target=self._proxy.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._proxy.server_address[1]}"

    def __enter__(self) -> Vercel:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self._environ["VERCEL_IPC_PATH"])
            listening.listen()
            listening.settimeout(PATIENCE_S)
            self._process = subprocess.Popen(
                [sys.executable, "vc_init.py"], cwd=self._folder, env=self._environ
            )
            self._said, _ = listening.accept()
        self._said.settimeout(PATIENCE_S)
        self._proxy.to = self._started()
        self._said.settimeout(None)
        self._reader = threading.Thread(target=self._drain)
        self._reader.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._said.close()
        self._proxy.shutdown()
        self._thread.join()
        self._proxy.server_close()

    def _started(self) -> int:
        """The port that the runtime says it serves on."""
        said = b""
        while True:
            chunk = self._said.recv(65_536)
            assert chunk, f"the runtime ended, having said {said!r}"
            *messages, said = (said + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if message["type"] == "server-started":
                    return int(message["payload"]["httpPort"])

    def _drain(self) -> None:
        while self._said.recv(65_536):
            pass


class _Proxy(ThreadingHTTPServer):
    to: int
    daemon_threads = True
    block_on_close = False


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        assert isinstance(self.server, _Proxy)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=PATIENCE_S)
        connection.request(self.command, self.path, body, {**dict(self.headers), **INTERNAL})
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "date", "server", "transfer-encoding"}:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    do_HEAD = do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 (the base class's names)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass
