"""One process group of a scriptlet: started, watched, ended, with all that it leaves behind.

Owns the processes and their pipes. Knows nothing of jobs and outcomes.

Invariant: a program runs only after `begin`, until which the caller can write down its pid; and
once `end` has returned, neither it nor anything of its group is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lq.model import Process

_LAUNCH: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
_FROZEN_LAUNCH: Final = (str(Path(sys.executable).with_name("lq-launch")),)  # in the single file
_CHUNK: Final = 65_536
_DRAIN_S: Final = 2.0
_HAS_PIDFD: Final = hasattr(os, "pidfd_open")


class ExecFailed(Exception):
    """The program could not be run; the text says why, beginning with the system's word."""


class Child:
    """A process that waits to become a program, then is one."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._exited = asyncio.Event()
        self._watcher = asyncio.create_task(self._watch())
        self._pumps: list[asyncio.Task[None]] = []
        self._transports: list[asyncio.BaseTransport] = []
        self.pid = process.pid
        self.code: int | None = None

    @classmethod
    async def spawn(cls, payload: bytes) -> Child:
        """Start the process that will become the program. Raises: OSError, for want of something.

        The payload is a file on its stdin: nobody has to read it for the rest to go on.
        """
        launch = _FROZEN_LAUNCH if getattr(sys, "frozen", False) else _LAUNCH
        ours, theirs = socket.socketpair()
        with theirs, _file(payload) as stdin:
            starting = asyncio.ensure_future(
                asyncio.to_thread(
                    subprocess.Popen,
                    [*launch, str(theirs.fileno())],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={},
                )
            )
            try:
                process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                # The thread goes on, with the files that are open here: it has to be waited for.
                ours.close()
                with contextlib.suppress(OSError):
                    await asyncio.to_thread((await starting).communicate)
                raise
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(process, ours)

    @property
    def identity(self) -> Process:
        """Which process it is."""
        return identity(self.pid)

    async def begin(self, argv: tuple[str, ...], env: Mapping[str, str], **settings: Any) -> None:
        """Have it become the program. Raises: ExecFailed."""
        loop = asyncio.get_running_loop()
        what = json.dumps({"argv": argv, "env": dict(env), **settings}).encode()
        said = b""
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(self._control, what + b"\n")
            while data := await loop.sock_recv(self._control, _CHUNK):
                said += data
        if said:
            raise ExecFailed(said.decode("utf-8", "replace").replace(" : ", " "))

    async def pump(self, took: Callable[[bytes, bool], None]) -> None:
        """Begin to hand on what it writes, and whether that was on stderr."""
        for pipe, is_stderr in ((self._process.stdout, False), (self._process.stderr, True)):
            reader = asyncio.StreamReader(limit=_CHUNK)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda reader=reader: asyncio.StreamReaderProtocol(reader),  # type: ignore[misc]
                pipe,
            )
            self._transports.append(transport)
            self._pumps.append(asyncio.create_task(_pump(reader, took, is_stderr)))

    async def exited(self) -> None:
        """Return when the main process has ended."""
        await self._exited.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the group."""
        _signal_group(self.pid, number)

    async def terminate(self, kill_after_s: float) -> signal.Signals:
        """Ask the group to end, and make it end when it does not; which signal did."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(kill_after_s):
                await self.exited()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.exited()
            return signal.SIGKILL
        return signal.SIGTERM

    async def end(self, marker: str) -> None:
        """End whatever is left of it, and let go of the pipes. Called once it has exited.

        Shape: `marker` is an environment entry that only its descendants have.
        """
        # The exited process was not reaped yet, so that its number stands for this group still.
        self.send(signal.SIGKILL)
        await asyncio.to_thread(kill_marked, marker)
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=_DRAIN_S)
        for task in self._pumps:
            task.cancel()
        for transport in self._transports:
            transport.close()
        await asyncio.sleep(0)  # in which the transports let go of the pipes
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        self._control.close()
        self.reap()

    def reap(self) -> None:
        """Let the system forget the process."""
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
        self._process.returncode = self.code if self.code is not None else 0

    async def abandon(self) -> None:
        """Let go of a process that was never told what to become: it ends by itself."""
        self._control.close()
        await self.exited()
        await self.end("")

    async def _watch(self) -> None:
        """Notice the end of the process, without reaping it."""
        if _HAS_PIDFD:
            await gone(self._process.pid)
        else:
            flags = os.WEXITED | os.WNOWAIT
            await asyncio.to_thread(os.waitid, os.P_PID, self._process.pid, flags)
        self._exited.set()


async def gone(pid: int) -> None:
    """Return when a process, be it this one's child or not, has ended."""
    loop = asyncio.get_running_loop()
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended = asyncio.Event()
        loop.add_reader(watched, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


async def _pump(
    reader: asyncio.StreamReader, took: Callable[[bytes, bool], None], is_stderr: bool
) -> None:
    while data := await reader.read(_CHUNK):
        took(data, is_stderr)


@contextlib.contextmanager
def _file(payload: bytes) -> Any:
    """A file without a name that holds a payload, open for reading."""
    memory = hasattr(os, "memfd_create")
    with (
        os.fdopen(os.memfd_create("lq-payload"), "w+b") if memory else tempfile.TemporaryFile()
    ) as file:
        file.write(payload)
        file.flush()
        file.seek(0)
        yield file


def identity(pid: int) -> Process:
    """What tells a process from others of its number. Source: proc(5), /proc/PID/stat."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Process(pid, 0, "")
    # The command's name stands in parentheses and may hold any of them itself.
    return Process(pid, int(stat.rpartition(")")[2].split()[19]), _boot())


def _boot() -> str:
    """Which boot of the machine this is; "" where that is hidden, as a systemd unit may have it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def kill_marked(marker: str) -> None:
    """Kill all processes whose environment has this entry, whatever session they are in."""
    entry = marker.encode()
    if not entry or not Path("/proc/self/environ").exists():
        return
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


async def end_leftover(left: Process, marker: str, patience_s: float) -> bool:
    """End a process that an earlier daemon has started, and its group; whether it was there."""
    there = left.started != 0 and identity(left.pid) == left
    if there:
        _signal_group(left.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await gone(left.pid)
        if identity(left.pid) == left:
            _signal_group(left.pid, signal.SIGKILL)
            await gone(left.pid)
    await asyncio.to_thread(kill_marked, marker)
    return there


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
