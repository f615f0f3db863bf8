"""What the demo runs on: a temporary folder, a real daemon in it, and a handler.

Owns: both processes and the folder; whatever happens, none of them is left behind.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
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
            self._tidy_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tidy_up()

    def _tidy_up(self) -> None:
        """End both processes and remove the folder; it takes seconds at the most."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not stop this half-way
        self._opened.close()

    def _build(self) -> None:
        folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="lq-demo-")))
        environ = _environment(folder)
        self.handler = self._start(
            [sys.executable, "-m", "demo.handler"],
            env=environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=PIPE,
            stdout=PIPE,
        )
        self.port = self._listen()
        config = folder / "lq.toml"
        config.write_text(_CONFIG.format(port=self.port), encoding="utf-8")
        self._log = folder / "lq.log"
        self.daemon = self._start(
            [sys.executable, "-m", "lq", "serve", "--config", str(config)],
            env=environ,
            cwd=folder,
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=self._opened.enter_context(self._log.open("wb")),
        )
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

    def stop(self) -> int:
        """Stop the daemon, then the handler, which has then told all; the daemon's exit code.

        Raises: Trouble when the daemon does not stop.
        """
        self.daemon.terminate()
        try:
            code = self.daemon.wait(STOP_S)
        except TimeoutExpired:
            raise Trouble(f"the daemon did not stop within {STOP_S:g} s") from None
        _end(self.handler)
        self._listener.join(STOP_S)
        return code

    def _start(self, command: list[str], **settings: Any) -> Popen[str]:
        """Start a process out of reach of the terminal's Ctrl-C: it ends when the stage does."""
        process = Popen(  # noqa: S603 (our own commands)
            command, text=True, start_new_session=True, **settings
        )
        self._opened.callback(_end, process)
        return process

    def _listen(self) -> int:
        """The port, the handler's first word; from now on, what it says is put into `told`."""
        assert self.handler.stdout is not None
        line = self.handler.stdout.readline()
        if not line:
            raise Trouble("the handler did not start")
        self._listener = threading.Thread(target=self._hear, args=(self.handler.stdout,))
        self._listener.start()
        return int(json.loads(line)["port"])

    def _hear(self, lines: IO[str]) -> None:
        with lines:
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
        """Why the daemon gave up, if it said so."""
        _, mark, words = self._log.read_text("utf-8", "replace").rpartition("lq: ")
        return f": {'; '.join(map(str.strip, words.splitlines()))}" if mark else ""


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


def _end(process: Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_S)
    except TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"
