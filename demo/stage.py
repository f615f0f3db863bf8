"""What the demo runs on: a temporary folder, a real daemon in it, and a handler.

Owns: both processes and the folder; whatever happens, none of them is left behind.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lq.client import Client, Unreachable
from lq.paths import find_socket

START_S = 8.0
STOP_S = 3.0
_LOOK_AGAIN_S = 0.02


class Trouble(Exception):
    """The demo cannot go on; the text says why, in a sentence."""


class Stage:
    """A daemon and a handler that work together while the context is open."""

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        """What the handler says that it saw."""
        self._opened = ExitStack()

    def __enter__(self) -> Stage:
        try:
            self._build()
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def _build(self) -> None:
        folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="lq-demo-")))
        environ = _environment(folder)
        self.handler = self._start([sys.executable, "-m", "demo.handler"], environ, Path.cwd())
        self.port = self._hear("port")
        config = folder / "lq.toml"
        config.write_text(_CONFIG.format(port=self.port), encoding="utf-8")
        log = self._opened.enter_context((folder / "lq.log").open("w+", encoding="utf-8"))
        command = [sys.executable, "-m", "lq", "serve", "--config", str(config)]
        self._log = log
        self.daemon = self._start(command, environ, folder, log)
        self.client = Client(socket=find_socket(str(config), environ), timeout_s=START_S)
        self._await_daemon()
        assert self.handler.stdin is not None
        self.handler.stdin.write(f"{self.client.secret()['secret']}\n")
        self.handler.stdin.flush()

    def url(self, path: str) -> str:
        """Where the handler does a kind of work."""
        return f"http://127.0.0.1:{self.port}{path}"

    def watch(self) -> None:
        """Make sure that both still run. Raises: Trouble."""
        if (code := self.daemon.poll()) is not None:
            raise Trouble(f"the daemon has ended {_how(code)}{self._last_words()}")
        if (code := self.handler.poll()) is not None:
            raise Trouble(f"the handler has ended {_how(code)}")

    def stop_daemon(self) -> int:
        """Ask the daemon to stop; its exit code. Raises: Trouble when it does not."""
        self.daemon.terminate()
        try:
            return self.daemon.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise Trouble(f"the daemon did not stop within {STOP_S:g} s") from None

    def _start(
        self,
        command: list[str],
        environ: Mapping[str, str],
        cwd: Path,
        log: IO[str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process out of reach of the terminal's Ctrl-C: it ends when the stage does."""
        process = subprocess.Popen(
            command,
            env=dict(environ),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        self._opened.callback(_end, process)
        return process

    def _hear(self, word: str) -> Any:
        """The handler's first word; after it, all it says is put into `told`."""
        assert self.handler.stdout is not None
        line = self.handler.stdout.readline()
        if not line:
            raise Trouble("the handler did not start")
        listener = threading.Thread(target=self._listen, args=(self.handler.stdout,), daemon=True)
        listener.start()
        self._opened.callback(listener.join, STOP_S)
        return json.loads(line)[word]

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            self.told.put(json.loads(line))

    def _await_daemon(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            self.watch()
            try:
                if self.client.ready() == {"status": "ok"}:
                    return
            except Unreachable:
                if time.monotonic() > deadline:
                    raise Trouble(f"the daemon did not serve within {START_S:g} s") from None
            time.sleep(_LOOK_AGAIN_S)

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.readlines()]
        return f": {' '.join(lines[-2:])}" if lines else ""


_CONFIG = """\
listen = "127.0.0.1:0"    # any free port
data_dir = "data"

[egress]
allow = ["127.0.0.1:{port}"]
"""


def _environment(folder: Path) -> dict[str, str]:
    """The caller's environment without what could lead lq to another daemon or configuration."""
    ours = re.compile(r"LQ_|XDG_")
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return kept | {"HOME": str(folder), "PYTHONUTF8": "1"}


def _end(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None and process.poll() is None:
            process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"
