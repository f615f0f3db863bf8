"""The HTTP side of the API: aiohttp's low-level server, and answers written in one piece.

Below `web.Application` on purpose: routing needs the raw path, and a push is measured. An
answer of ours costs a third of what a `web.Response` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from lq.daemon.api.call import Reply

KEEPALIVE_S: Final = 15.0
LINGER_S: Final = 2.0
"""How long a refused body is read and thrown away, so that its sender gets to see the answer."""
MAX_LINE: Final = 8190
"""Bytes of a request line or header: an encoded key takes 1.5 KiB, an item's headers 8."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refusal = Callable[[web.BaseRequest], "Answer"]

# Any, because aiohttp means None by "no access log" but does not say so in its types.
_OPTIONS: Final[Mapping[str, Any]] = {
    "keepalive_timeout": KEEPALIVE_S,
    "lingering_time": LINGER_S,
    "auto_decompress": False,
    "access_log": None,
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_LINE,
}
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}


class Answer(web.StreamResponse):
    """A complete answer: head and body leave in one write."""

    def __init__(self, message: bytes, *, status: int, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._message = message
        self._keeps_alive = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._keeps_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        await self._writer.write(self._message)
        await self._writer.write_eof()
        transport = self._writer.transport
        if not self._keeps_alive and transport is not None and transport.can_write_eof():
            # The peer sees the end at once, even while the rest of its body is thrown away.
            transport.write_eof()


class Printer:
    """Puts replies into HTTP."""

    def __init__(self) -> None:
        self._second = -1
        self._date = ""

    def answer(self, request: web.BaseRequest, reply: Reply, request_id: str, now: int) -> Answer:
        """The answer to a request. Shape: to HEAD, the head of what a GET would get."""
        if now // 1000 != self._second:
            self._second = now // 1000
            self._date = formatdate(self._second, usegmt=True)
        keep_alive = request.keep_alive and not reply.close
        head = (
            f"{_STATUS_LINES[reply.status]}Server: lq\r\nContent-Type: {reply.content_type}\r\n"
            f"Content-Length: {len(reply.body)}\r\nDate: {self._date}\r\n"
            f"x-request-id: {request_id}\r\n"
        )
        for name, value in reply.headers:
            head += f"{name}: {value}\r\n"
        if not keep_alive:
            head += "Connection: close\r\n"
        elif request.version < (1, 1):
            head += "Connection: keep-alive\r\n"
        body = b"" if request.method == "HEAD" else reply.body
        message = b"%b\r\n%b" % (head.encode(), body)
        return Answer(message, status=reply.status, keep_alive=keep_alive)


class Server(web.Server):
    """Listens with our limits, and answers malformed HTTP the way we answer anything else."""

    def __init__(self, handler: Handler, refuse: Refusal) -> None:
        super().__init__(handler)
        self._refuse = refuse

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._refuse)


class _Connection(web.RequestHandler):
    def __init__(self, server: web.Server, refuse: Refusal) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            **_OPTIONS,
        )
        self._refuse = refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp's parser refused; what we raise ourselves never gets here."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        return self._refuse(request)
