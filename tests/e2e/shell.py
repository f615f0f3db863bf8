"""`lq` as a shell runs it: with pipes at hand, or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .process import LQ, PATIENCE_S, Daemon


class Seen(NamedTuple):
    """What a person saw: stdout and stderr as they came, line ends as in a file."""

    code: int
    text: str

    @property
    def plain(self) -> str:
        """The text without its colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.plain.splitlines()]


def piped(daemon: Daemon, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    """Start a command with its three streams as pipes."""
    return subprocess.Popen(
        [LQ, *arguments],
        cwd=daemon.folder,
        env=daemon.environ | environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def typed(
    daemon: Daemon, *arguments: str, width: int = 120, keys: str = "", **environ: str
) -> Seen:
    """Run a command on a terminal of that width, where these keys have been pressed already."""
    master, terminal = pty.openpty()
    os.write(master, keys.encode())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    with subprocess.Popen(
        [LQ, *arguments],
        cwd=daemon.folder,
        env=daemon.environ | {"TERM": "xterm-256color"} | environ,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        text = b"".join(_read(master)).decode()
        code = process.wait(PATIENCE_S)
    os.close(master)
    return Seen(code, text.replace("\r\n", "\n"))


_COMPLETES = """
eval "$("$1" --show-completion)"
words=$2
COMP_WORDS=($words) COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
[ "${words% }" = "$words" ] || COMP_CWORD=$(( COMP_CWORD + 1 ))
_lq_completion "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completions(program: str, words: str, environ: Mapping[str, str], cwd: Path) -> list[str]:
    """What a real bash offers for a line that ends in what is being typed."""
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", _COMPLETES, "bash", program, words],
        cwd=cwd, env=dict(environ), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


class Terminal:
    """A command that goes on, on a terminal of its own: what it shows, and keys for it."""

    def __init__(self, daemon: Daemon, *arguments: str, width: int = 120, **environ: str) -> None:
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        self.before = termios.tcgetattr(terminal)
        self._process = subprocess.Popen(
            [LQ, *arguments],
            cwd=daemon.folder,
            env=daemon.environ | {"TERM": "xterm-256color"} | environ,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        self._terminal = terminal  # kept open, so that its settings can be looked at in the end
        self._seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)
        os.close(self._terminal)

    def see(self, text: str) -> str:
        """All that was shown up to this text, and since the last one that was waited for."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._seen:
            assert time.monotonic() < deadline, f"it never showed {text!r}: {self._seen[-4000:]!r}"
            self._look()
        before, found, self._seen = self._seen.partition(text)
        return before + found

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def interrupt(self) -> None:
        """Do what a terminal does at Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Its exit code. What it shows until then can be seen still."""
        deadline = time.monotonic() + PATIENCE_S
        while (code := self._process.poll()) is None:
            assert time.monotonic() < deadline, f"it goes on: {self._seen[-4000:]!r}"
            self._look()
        self._look()
        return code

    def _look(self) -> None:
        """Take what it has shown, and wait a little if that is nothing."""
        if select.select([self._master], [], [], 0.1)[0]:
            self._seen += os.read(self._master, 65536).decode(errors="replace")

    @property
    def settings(self) -> list[object]:
        """How the terminal is set."""
        return list(termios.tcgetattr(self._terminal))


def _read(master: int) -> list[bytes]:
    """All that is written to a terminal until its last writer is gone."""
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # how Linux says that the other side is closed
            return chunks
        if not chunk:
            return chunks
        chunks.append(chunk)
