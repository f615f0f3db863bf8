"""The real `lq` as child processes: the daemon that serves, and commands that end.

Owns: a folder per daemon (configuration, data, home), the process and what it wrote to stderr.
Never looks inside the daemon: what tests learn they learn over its sockets, from its files and
its exit code. Nothing of the machine's own configuration reaches it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from lq.client import Client
from tests.support.spoken import EAR

T = TypeVar("T")

PATIENCE_S = 20.0
"""How long anything that must happen may take on a busy machine."""
LONGEST_S = 45.0
"""The same where a call is awaited: an endpoint whose first HEAD was too slow is held for 30 s."""

LQ = str(Path(sys.executable).with_name("lq"))
READY = "ready (pid"
LAST_OF_BANNER = "lq doctor"


def environment(home: Path, **extra: str) -> dict[str, str]:
    """What a child sees: no LQ_*, no XDG_*, an empty home."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"HOME": str(home)} | extra


def wait_until(met: Callable[[], T]) -> T:
    """Wait for what has no event to wait for: ask until the answer is true."""
    deadline = time.monotonic() + LONGEST_S
    while not (answer := met()):
        assert time.monotonic() < deadline, f"still {answer!r} after {LONGEST_S:g} s"
        time.sleep(0.02)
    return answer


class Ended(NamedTuple):
    """How a command or a daemon ended. Shape: a negative code is the signal that ended it."""

    code: int
    stdout: str
    stderr: str
    seconds: float


def run_lq(
    *arguments: str,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float = PATIENCE_S,
    program: str = LQ,
) -> Ended:
    """Run a command of `lq` to its end."""
    started = time.monotonic()
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if arguments[:1] == ("serve",):
        EAR.hear(done.stderr)
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


class Daemon:
    """One daemon's folder, in which it can be started, stopped and started again."""

    def __init__(
        self,
        folder: Path,
        config: str | None,
        *,
        data: Path | None = None,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        umask: int = 0o022,
        program: str = LQ,
    ) -> None:
        """Shape: `config` is TOML; `prefix` is a command that runs the daemon's."""
        self.folder = folder
        self.data = data or folder / "data"
        self.database = self.data / "lq.db"
        self.socket = self.data / "lq.sock"
        if config is not None:
            (folder / "lq.toml").write_text(config)
        self.environ = environment(folder, **(environ or {}))
        self._prefix = prefix
        self._umask = umask
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []
        self._news = threading.Condition()

    def start(self) -> Daemon:
        """Start it and wait until it serves."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start it and wait for nothing."""
        assert self._process is None, "it runs already"
        self._lines = []
        self._process = subprocess.Popen(
            [*self._prefix, self._program, "serve"],
            cwd=self.folder,
            env=self.environ,
            umask=self._umask,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait for the end of the banner, and hold /readyz to it."""
        self.wait_for(LAST_OF_BANNER)
        assert self.client.ready() == {"status": "ok"}

    def wait_for(self, text: str) -> str:
        """The first line of its stderr that holds `text`."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while True:
                for line in self._lines:
                    if text in line:
                        return line
                assert self._process is None or self._process.poll() is None or self._reading, (
                    f"it ended without saying {text!r}:\n{self.stderr}"
                )
                left = deadline - time.monotonic()
                assert left > 0, f"it never said {text!r}:\n{self.stderr}"
                self._news.wait(min(left, 1.0))

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for its end."""
        assert self._process is not None
        assert self._reader is not None
        started = time.monotonic()
        code = self._process.wait(timeout_s)
        seconds = time.monotonic() - started
        self._reader.join()
        self._process = None
        return Ended(code, "", self.stderr, seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send a signal and wait for the end."""
        self.send(number)
        return self.wait()

    def kill(self) -> Ended:
        """End it as a power cut would."""
        return self.stop(signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing running, whatever a test did."""
        if self._process is not None:
            self.kill()

    def cli(self, *arguments: str) -> Ended:
        """Run a command of `lq` beside it."""
        return run_lq(*arguments, cwd=self.folder, environ=self.environ, program=self._program)

    def secret(self) -> str:
        return (self.data / "secret").read_text().strip()

    @property
    def stderr(self) -> str:
        """What this start of it has written so far."""
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def client(self) -> Client:
        """Its owner, on the unix socket."""
        return Client(socket=self.socket, timeout_s=PATIENCE_S, retries=0)

    @property
    def url(self) -> str:
        """The address it listens on, from its banner."""
        found = re.search(r"api +(https?://\S+)/api/v1", self.stderr)
        assert found, self.stderr
        return found[1]

    @property
    def _reading(self) -> bool:
        return self._reader is not None and self._reader.is_alive()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                EAR.hear(line)
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()
