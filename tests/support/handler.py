"""A real HTTP handler on 127.0.0.1, whose behaviour is programmed path by path.

Owns: the sockets, and what came over them. It reads requests strictly by their
Content-Length, signs the answers to HEAD as lq asks, and otherwise does exactly what its
behaviours say, garbage and silence included.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from socket import IPPROTO_TCP, TCP_INFO
from ssl import SSLContext
from types import TracebackType

from msgspec import Struct

from lq.clock import Clock
from lq.signature import sign

GIVE_UP_S = 10
_DATA_SEGS_IN = 152  # the offset of tcpi_data_segs_in in Linux' struct tcp_info


class Call(Struct, frozen=True):
    """One request as it came. Shape: names in `headers` are lower-case; `lines` are raw."""

    method: str
    path: str
    headers: Mapping[str, str]
    lines: Sequence[bytes]
    body: bytes
    at: int

    @property
    def job_id(self) -> str:
        return self.headers["x-lq-id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-lq-attempt"])


class Wire:
    """The connection a call came over: what a behaviour answers with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self.sent = 0

    async def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self._writer.write(data)
        self.sent += len(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    @property
    def closed(self) -> bool:
        return self._writer.is_closing()

    async def gone(self) -> None:
        """Return when the other side has gone away."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass

    @property
    def segments(self) -> int:
        """How many TCP segments with data have come in: one for each write of a small request."""
        info = self._writer.get_extra_info("socket").getsockopt(IPPROTO_TCP, TCP_INFO, 256)
        found: int = struct.unpack_from("=I", info, _DATA_SEGS_IN)[0]
        return found


Behaviour = Callable[[Call, Wire], Awaitable[None]]


def answers(
    status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Behaviour:
    """Answer like a well-behaved server."""
    return says(response(status, body, headers))


def says(data: bytes, *, close: bool = False) -> Behaviour:
    """Answer with these bytes, whatever they are."""

    async def behave(_: Call, wire: Wire) -> None:
        await wire.send(data)
        if close:
            wire.close()

    return behave


def response(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an ordinary answer."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Whatever"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def hangs(_: Call, wire: Wire) -> None:
    """Say nothing until the caller has gone."""
    await wire.gone()


async def closes(_: Call, wire: Wire) -> None:
    """Close without a word."""
    wire.close()


class Gate:
    """Holds calls until it is opened, then answers them.

    Shape: `held` is the calls that wait; what comes after `open` passes straight through.
    """

    def __init__(self, then: Behaviour | None = None) -> None:
        self._then = then or answers()
        self._open = asyncio.Event()
        self.held: list[Call] = []

    async def __call__(self, call: Call, wire: Wire) -> None:
        self.held.append(call)
        tasks = {asyncio.ensure_future(wire.gone()), asyncio.ensure_future(self._open.wait())}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        # To the end: two may not read from one connection.
        await asyncio.wait(tasks)
        self.held.remove(call)
        if self._open.is_set():
            await self._then(call, wire)

    def open(self) -> None:
        self._open.set()


class Handler:
    """The handler, serving while its context is open."""

    def __init__(self, clock: Clock, secret: str) -> None:
        self.clock = clock
        self.secret = secret
        self.port = 0
        self.calls: list[Call] = []
        self.validations: list[Call] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.twice: list[str] = []  # jobs that were called while a call of them went on
        self._now_called: Counter[str] = Counter()
        self._read = 0
        self._arrived = asyncio.Condition()
        self._behaviours: dict[str, list[Behaviour]] = defaultdict(lambda: [answers()])
        self._heads: dict[str, list[Behaviour]] = defaultdict(lambda: [self.signs])
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Handler:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str, *behaviours: Behaviour) -> None:
        """What calls of this path meet, one after the other; the last stays."""
        self._behaviours[path] = list(behaviours)

    def on_head(self, path: str, *behaviours: Behaviour) -> None:
        """The same for HEAD, which is otherwise answered with a signature."""
        self._heads[path] = list(behaviours)

    async def signs(self, _: Call, wire: Wire) -> None:
        """Prove that the secret is known, as HEAD validation wants it."""
        signature = sign(self.secret, b"", self.clock.now())
        await wire.send(response(200, headers={"x-lq-signature": signature}))

    async def next(self) -> Call:
        """The next call that no `next` has given yet."""
        return (await self.take(1))[0]

    async def take(self, number: int) -> list[Call]:
        """The next so many calls, when they have come."""
        end = self._read + number
        await self._until(lambda: len(self.calls) >= end)
        taken, self._read = self.calls[self._read : end], end
        return taken

    async def validated(self, number: int) -> list[Call]:
        """The first so many HEAD requests, when they have come."""
        await self._until(lambda: len(self.validations) >= number)
        return self.validations[:number]

    async def idle(self) -> None:
        """Return when no call is in flight."""
        await self._until(lambda: self.in_flight == 0)

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(GIVE_UP_S), self._arrived:
            await self._arrived.wait_for(true)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        wire = Wire(reader, writer)
        try:
            while not wire.closed and (call := await self._receive(reader)):
                await self._meet(call, wire)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _receive(self, reader: asyncio.StreamReader) -> Call | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        request, *lines = head[:-4].split(b"\r\n")
        method, path, _ = request.decode("ascii").split(" ")
        headers = {}
        for line in lines:
            name, _, text = line.partition(b": ")
            headers[name.decode("ascii").lower()] = text.decode("latin-1")
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Call(method, path, headers, lines, body, self.clock.now())

    async def _meet(self, call: Call, wire: Wire) -> None:
        if call.method == "HEAD":
            async with self._arrived:
                self.validations.append(call)
                self._arrived.notify_all()
            await _first(self._heads[call.path])(call, wire)
            return
        job_id = call.headers.get("x-lq-id", "")
        if self._now_called[job_id]:
            self.twice.append(job_id)
        self._now_called[job_id] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        async with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        try:
            await _first(self._behaviours[call.path])(call, wire)
        finally:
            self._now_called[job_id] -= 1
            self.in_flight -= 1
            async with self._arrived:
                self._arrived.notify_all()


def _first(behaviours: list[Behaviour]) -> Behaviour:
    return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[Wire], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: SSLContext | None = None,
) -> AsyncIterator[int]:
    """A bare TCP or TLS server that does what `serve` says with each connection; its port."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        try:
            await serve(Wire(reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
