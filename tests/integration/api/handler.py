"""A job handler that writes down its calls and answers when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web


class Recorded(NamedTuple):
    """One call, as it came. Shape: header names are lower-case."""

    method: str
    headers: dict[str, bytes]
    body: bytes


class Handler:
    """Answers 200 `done` unless `answers` holds something else; waits while `hold` is clear."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: asyncio.Queue[Recorded] = asyncio.Queue()
        self.answers: list[tuple[int, bytes]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower().decode(): value for name, value in request.raw_headers}
        self.calls.put_nowait(Recorded(request.method, headers, await request.read()))
        await self.hold.wait()
        status, body = self.answers.pop(0) if self.answers else (200, b"done")
        return web.Response(status=status, body=body, headers={"X-Answer": "yes"})


@asynccontextmanager
async def handling() -> AsyncIterator[Handler]:
    """A handler that listens while the context is open."""
    handler = Handler()
    protocol = web.Server(handler.answer, auto_decompress=False)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    handler.port = server.sockets[0].getsockname()[1]
    yield handler
    handler.hold.set()
    server.close()
    await protocol.shutdown(1)
