"""Starts and asks the processes of a bench: the real daemon, its peers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def process(
    *arguments: str, port: int | None = None, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of ours, up (it listens on `port`) inside the context, ended after it."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=os.environ | environ,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while port is not None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if running.returncode is not None:
                    raise RuntimeError(f"{arguments} ended with {running.returncode}") from None
                await asyncio.sleep(0.002)
            else:
                writer.close()
                break
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


def peer(name: str, *arguments: str, port: int | None = None, **environ: str) -> Any:
    """A peer that serves."""
    return process("-m", "tests.bench.peers", name, *arguments, port=port, **environ)


class Daemon:
    """The real daemon in a folder of its own."""

    def __init__(self, folder: Path, port: int, pid: int) -> None:
        self.folder = folder
        self.port = port
        self.pid = pid
        self.token = ""

    async def ask(self, method: str, path: str, body: bytes = b"") -> Any:
        """One request over the unix socket."""
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "lq.sock"))
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: lq\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    async def until_completed(self, number: int) -> None:
        """Wait until so many jobs of the queue q have been completed in all."""
        while (await self.ask("GET", "/queues/q"))["completed"] < number:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)

    def rss_mb(self) -> float:
        """Resident memory. Units: MB."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Processor time used so far. Units: seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


@contextlib.asynccontextmanager
async def lq(
    handler_port: int, folder: Path | None = None, **environ: str
) -> AsyncIterator[Daemon]:
    """`lq serve`, allowed to call a handler on loopback, with a token of all scopes."""
    with tempfile.TemporaryDirectory() as fresh:
        data, port = folder or Path(fresh), free_port()
        settings = {
            "LQ_DATA_DIR": str(data),
            "LQ_LISTEN": f"127.0.0.1:{port}",
            "LQ_EGRESS_ALLOW": f"127.0.0.1:{handler_port}",
            "LQ_VALIDATE_DEFAULT": "none",
            "LQ_DISPATCH_QUEUE_CONCURRENCY": "64",
            "LQ_LIMITS_CONNECTIONS_PER_ADDRESS": "1000",
        }
        async with process("-m", "lq", "serve", port=port, **(settings | environ)) as running:
            daemon = Daemon(data, port, running.pid)
            if folder is None:
                made = await daemon.ask("POST", "/tokens", b'{"name":"bench","scopes":["admin"]}')
                daemon.token = made["token"]
            yield daemon
