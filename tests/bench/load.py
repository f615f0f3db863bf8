"""A load generator and a handler that cost as little as Python allows.

Raw asyncio protocols with prebuilt requests: what is measured must be the other side, and
with two cores the load generator has only one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import cast


class Client(asyncio.Protocol):
    """One keep-alive connection that sends request after request until the source is dry."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None], times: list[float]):
        self._requests = requests
        self._done = done
        self._times = times
        self._buffer = b""
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none, but acts as one
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lowered = head.lower()
        at = lowered.index(b"content-length:") + 15
        if len(body) < int(lowered[at:].split(b"\r\n", 1)[0]):
            return
        if not head.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")):
            self.failures += 1
        self._times.append(time.perf_counter() - self._sent_at)
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def send_all(
    host: str, port: int, requests: Iterator[bytes], connections: int
) -> tuple[float, list[float]]:
    """Send all requests over some connections. Units: seconds in all, and for each request.

    Raises: RuntimeError when one was refused.
    """
    loop = asyncio.get_running_loop()
    times: list[float] = []
    ended = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    clients = []
    for done in ended:
        _, client = await loop.create_connection(partial(Client, requests, done, times), host, port)
        clients.append(client)
    await asyncio.gather(*ended)
    if failed := sum(client.failures for client in clients):
        raise RuntimeError(f"{failed} requests were not answered 2xx")
    return time.perf_counter() - started, times


class Handler(asyncio.Protocol):
    """Answers every request 200 without looking at more than its length."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"

    def __init__(self, arrivals: Arrivals):
        self._arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none, but acts as one

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._buffer.find(b"Content-Length: ")
            length = int(self._buffer[at + 16 : self._buffer.index(b"\r\n", at)])
            if len(self._buffer) < end + 4 + length:
                return
            self._arrivals.note(self._buffer[:end], self._buffer[end + 4 : end + 4 + length])
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(self.answer)


class Arrivals:
    """What came to the handler: how many, and (if wanted) when and with which body."""

    def __init__(self, *, keep: bool = False) -> None:
        self.count = 0
        self.times: dict[bytes, float] = {}
        self._keep = keep
        self._target = 0
        self._reached: asyncio.Event = asyncio.Event()

    def note(self, _head: bytes, body: bytes) -> None:
        self.count += 1
        if self._keep:
            self.times[body] = time.time()
        if self.count == self._target:
            self._reached.set()

    async def reach(self, count: int) -> None:
        """Wait until so many requests came in all."""
        self._target = count
        if self.count < count:
            self._reached.clear()
            await self._reached.wait()
