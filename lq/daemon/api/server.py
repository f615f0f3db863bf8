"""The HTTP side of the API: aiohttp's low-level server, and answers written in one piece.

Below `web.Application` on purpose: routing needs the raw path, and a push is measured. An
answer of ours costs a third of what a `web.Response` does.

Invariant: a connection counts for its address until the work on its last request has ended, so
that nobody gets more done by hanging up. An answer has left the process, or its time is over,
before the next request is looked at, so that nobody holds a connection by not reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from lq.daemon.api.body import LEAST_BYTES_PER_S
from lq.daemon.api.call import Reply, Send
from lq.daemon.api.limits import Connections
from lq.daemon.api.peer import credentials

LINGER_S: Final = 2.0
"""How long a refused body is read and thrown away, so that its sender gets to see the answer."""
MAX_LINE: Final = 8190
"""Bytes of a request line or header: an encoded key takes 1.5 KiB, an item's headers 8."""
HOLD_S: Final = 0.5
"""How late an answer is that is held back. With the connections that one address may have, this
bounds how much junk it can have answered in a second."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refusal = Callable[[web.BaseRequest], "Answer"]
Leave = Callable[[], None]

# Any, because aiohttp means None by "no access log" but does not say so in its types.
_OPTIONS: Final[Mapping[str, Any]] = {
    "lingering_time": LINGER_S,
    "auto_decompress": False,
    "access_log": None,
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_LINE,
}
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}


class Answer(web.StreamResponse):
    """A complete answer: head and body leave in one write, within a time."""

    def __init__(
        self, message: bytes, *, status: int, keep_alive: bool, hold: bool, patience_s: float
    ) -> None:
        super().__init__(status=status)
        self._message = message
        self._patience_s = patience_s + len(message) / LEAST_BYTES_PER_S
        self._keeps_alive = keep_alive
        self._hold = hold

    @property
    def keep_alive(self) -> bool:
        return self._keeps_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        if self._hold:
            await asyncio.sleep(HOLD_S)
        transport = self._writer.transport
        await self._send(self._message, last=True)
        if not self._keeps_alive and transport is not None and transport.can_write_eof():
            # The peer sees the end at once, even while the rest of its body is thrown away.
            transport.write_eof()

    async def _send(self, data: bytes, *, last: bool = False) -> None:
        """Returns once the bytes have left this process. Raises: ConnectionError."""
        transport = self._writer.transport
        try:
            async with asyncio.timeout(self._patience_s):
                await self._writer.write(data)
                if last:
                    await self._writer.write_eof()
                await self._writer.drain()
        except TimeoutError:
            if transport is not None:
                transport.abort()  # closing would wait for the peer, too
            raise ConnectionAbortedError("the answer was not read in time") from None


class Stream(Answer):
    """An answer without a length: its head, then part after part, each within a time.

    It ends when what it is made of does, and at once when its reader has gone.
    """

    def __init__(
        self,
        message: bytes,
        parts: Callable[[Send], Awaitable[None]],
        *,
        status: int,
        patience_s: float,
    ) -> None:
        super().__init__(
            message, status=status, keep_alive=False, hold=False, patience_s=patience_s
        )
        self._parts = parts

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        cast(Connection, request.protocol).streams = True
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        transport = self._writer.transport
        await self._send(self._message)
        await self._parts(self._send)
        await self._writer.write_eof()
        if transport is not None:
            transport.close()


class Printer:
    """Puts replies into HTTP."""

    def __init__(self, patience_s: float) -> None:
        """Shape: `patience_s` is how long an answer may take to leave, and as much longer as
        its bytes take at `LEAST_BYTES_PER_S`.
        """
        self._patience_s = patience_s
        self._second = -1
        self._date = ""

    def answer(self, request: web.BaseRequest, reply: Reply, request_id: str, now: int) -> Answer:
        """The answer to a request. Shape: to HEAD, the head of what a GET would get."""
        keep_alive = request.keep_alive and not reply.close and reply.stream is None
        head = self._head(reply, request_id, now)
        if not keep_alive:
            head += "Connection: close\r\n"
        elif request.version < (1, 1):
            head += "Connection: keep-alive\r\n"
        body = b"" if request.method == "HEAD" else reply.body
        message = b"%b\r\n%b" % (head.encode(), body)
        if reply.stream is not None and request.method != "HEAD":
            return Stream(message, reply.stream, status=reply.status, patience_s=self._patience_s)
        return Answer(
            message,
            status=reply.status,
            keep_alive=keep_alive,
            hold=reply.hold,
            patience_s=self._patience_s,
        )

    def farewell(self, reply: Reply, request_id: str, now: int) -> bytes:
        """A reply to somebody who is not let in, before any request."""
        head = self._head(reply, request_id, now) + "Connection: close\r\n"
        return b"%b\r\n%b" % (head.encode(), reply.body)

    def _head(self, reply: Reply, request_id: str, now: int) -> str:
        """The lines of the head that are the same for every kind of connection."""
        if now // 1000 != self._second:
            self._second = now // 1000
            self._date = formatdate(self._second, usegmt=True)
        head = (
            f"{_STATUS_LINES[reply.status]}Server: lq\r\nContent-Type: {reply.content_type}\r\n"
            f"Date: {self._date}\r\nx-request-id: {request_id}\r\n"
        )
        if reply.stream is None:
            head += f"Content-Length: {len(reply.body)}\r\n"
        for name, value in reply.headers:
            head += f"{name}: {value}\r\n"
        return head


class Server(web.Server):
    """Listens with our limits, and answers malformed HTTP the way we answer anything else."""

    def __init__(
        self,
        handler: Handler,
        refuse: Refusal,
        *,
        header_timeout_s: float,
        slots: Connections | None,
        bar: Callable[[str], bytes | None],
        turn_away: Callable[[], bytes],
    ) -> None:
        """Shape: `bar` gives what an address is told that may not come in the clear, and
        `turn_away` what one connection too many is. Without `slots` nobody is told either.
        """
        super().__init__(handler)
        self.slots = slots
        self.refuse = refuse
        self.bar = bar
        self.turn_away = turn_away
        self.header_timeout_s = header_timeout_s

    def __call__(self) -> Connection:
        return Connection(self)


class Connection(web.RequestHandler):
    """One connection. `peer` is the address at its other end, or the user and process there.

    Shape: once it `streams`, nothing is done any more when its other end has gone.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=server.header_timeout_s,
            **_OPTIONS,
        )
        self.peer = ""
        self.streams = False
        self._server = server
        self._counted = False

    def count(self, peer: str) -> bool:
        """Count it for an address; False when there are too many."""
        self.peer = peer
        self._counted = self._server.slots is None or self._server.slots.admit(peer, self)
        return self._counted

    def leave(self) -> None:
        """Count it no longer."""
        if self._server.slots is not None:
            self._server.slots.leave(self)

    @property
    def idle(self) -> bool:
        """Whether it waits for another request."""
        waiter = self._waiter
        return self._request_count > 0 and waiter is not None and not waiter.done()

    def end(self) -> None:
        """Close it, idle as it is."""
        self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.slots is None:
            self.peer = credentials(transport.get_extra_info("socket"))
        elif not self._counted:  # what comes by TLS is counted already
            address = address_of(transport.get_extra_info("peername"))
            farewell = self._server.bar(address)
            if farewell is None and not self.count(address):
                farewell = self._server.turn_away()
            if farewell is not None:
                self._turn_away(cast(asyncio.Transport, transport), farewell)
                return
        super().connection_made(transport)
        # So that an answer counts as written once nothing of it is left here. TLS takes its
        # limit for what is too much already. (uvloop's only acts as a transport.)
        secured = transport.get_extra_info("ssl_object") is not None
        cast(asyncio.Transport, transport).set_write_buffer_limits(int(secured))

    def _turn_away(self, transport: asyncio.Transport, farewell: bytes) -> None:
        self.force_close()  # so that what still comes is not read
        transport.write(farewell)
        transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        working = self._task_handler
        if self.streams and working is not None:
            working.cancel()  # nobody reads what it would still send
        super().connection_lost(exc)
        if working is None:
            self.leave()
        else:
            working.add_done_callback(lambda _: self.leave())

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
        return self._server.refuse(request)


def address_of(name: object) -> str:
    """The address in a socket's name; "" when the other end has gone already."""
    return str(name[0]) if isinstance(name, tuple) else ""
