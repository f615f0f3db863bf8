"""What a scriptlet writes: the beginning and the end of it, kept while it comes, and followed.

Invariant: memory is bounded however much is written, and no reader, slow or absent, ever holds up
the one who writes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST_ENDED_BYTES: Final = 8 << 20


class Kept:
    """The first and the last `most` bytes of a stream."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take in what was written next."""
        self.size += len(data)
        room = self._most - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._most:  # seldom, so that each byte is moved about once
            del self._tail[: -self._most]

    def read(self, offset: int) -> tuple[bytes, int]:
        """What is kept from an offset in the stream on, and the offset after it.

        Shape: where something was left out, the text says how much. An offset beyond the end
        reads nothing.
        """
        head, tail = self._head, self._tail[-self._most :]
        begins = self.size - len(tail)
        if offset < len(head):
            found = bytes(head[offset:])
            offset = len(head)
        else:
            found = b""
        if offset < begins:
            found += b"\n[%d bytes left out]\n" % (begins - offset)
            offset = begins
        return found + bytes(tail[offset - begins :]), max(self.size, offset)

    @property
    def text(self) -> bytes:
        """All that is kept."""
        return self.read(0)[0]

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return len(self._head) + len(self._tail)

    @property
    def cut(self) -> bool:
        """Whether something was left out."""
        return self.size > 2 * self._most


class Log:
    """What one run has written on both of its streams, in the order it came."""

    def __init__(self, most: int) -> None:
        self.stdout = Kept(most)
        self.stderr = Kept(most)
        self.both = Kept(most)
        self.ended = False
        self._news = asyncio.Event()

    def add(self, data: bytes, *, stderr: bool) -> None:
        """Take in what came on one of the streams."""
        (self.stderr if stderr else self.stdout).add(data)
        self.both.add(data)
        self._tell()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def beyond(self, offset: int, timeout_s: float) -> None:
        """Wait until there is more than this, the end, or so many seconds are over."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.ended and self.both.size <= offset:
                    await self._news.wait()
        except TimeoutError:
            pass


class Logs:
    """The logs of all runs that go on, and of the last few that have ended."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], Log] = {}
        self._ended: OrderedDict[tuple[str, int], Log] = OrderedDict()

    @contextmanager
    def open(self, job_id: str, attempt: int, most: int) -> Iterator[Log]:
        """The log of a run, which ends with the context; who follows may read on to its end."""
        key = job_id, attempt
        log = self._running[key] = Log(most)
        try:
            yield log
        finally:
            del self._running[key]
            log.end()
            self._ended[key] = log
            while sum(one.both.kept for one in self._ended.values()) > _MOST_ENDED_BYTES:
                self._ended.popitem(last=False)

    def find(self, job_id: str, attempt: int) -> Log | None:
        """The log of an attempt, while it is remembered here."""
        key = job_id, attempt
        return self._running.get(key) or self._ended.get(key)
