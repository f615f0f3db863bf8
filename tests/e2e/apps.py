"""Applications that use the Python SDK, as processes of their own beside a real daemon."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from .process import PATIENCE_S, Daemon, environment

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request and read its answer. Shape: names in `headers` are lower case."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, received, answer.read())
    finally:
        connection.close()


def environ_of(daemon: Daemon, port: int) -> dict[str, str]:
    """What an application is told: where lq is, what it may do, and where it is itself."""
    token = daemon.client.create_token("application", ["push"])["token"]
    return environment(
        daemon.folder,
        PORT=str(port),
        LQ_API_URL=daemon.url,
        LQ_TOKEN=str(token),
        LQ_SECRET=daemon.secret(),
        LQ_BASE_URL=f"http://127.0.0.1:{port}",
    )


class App:
    """A script that serves on `port`, running while the context is open."""

    def __init__(self, script: Path, environ: Mapping[str, str], port: int) -> None:
        self._command = [sys.executable, str(script)]
        self._environ = dict(environ)
        self._port = port

    def __enter__(self) -> App:
        self._process = subprocess.Popen(self._command, env=self._environ)
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _wait(self) -> None:
        """Until it listens, which a script says to nobody."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                ask(self._port, "GET", "/")
            except OSError:
                assert self._process.poll() is None, f"{self._command} ended"
                assert time.monotonic() < deadline, f"{self._command} does not listen"
                time.sleep(0.05)
            else:
                return

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
