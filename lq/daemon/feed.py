"""What happened lately, numbered, for readers who come, fall behind, break off and come back.

Owns: the ring of the last events and where each reader is in it. A reader is a place in the ring
and nothing more, so that any number of them, however slow, hold no memory of their own; who falls
behind, and who comes back too late, has missed the same way, and is told so.

While nobody reads, nothing is remembered, but for a while after the last one has gone: a daemon
that nobody watches pays nothing. Never judges who may see what.
Invariant: a reader is given each event after its place once, in order, or is told that some are
gone. No number tells how much happened in between: it is a moment of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from msgspec import Struct

from lq.clock import Clock
from lq.config import EventsConfig
from lq.daemon.events import Event, Events
from lq.errors import Unavailable

_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,16})")
_BATCH: Final = 256


class Gap(StrEnum):
    """Why a reader has not been given all there was after its place."""

    OVERRUN = "overrun"  # more happened than is remembered
    RESTART = "restart"  # its place is in another life of the daemon, or it never was one


class Entry(Struct):
    """An event with its number; `frame` is for whoever puts it into bytes, once for all readers."""

    number: int
    event: Event
    frame: bytes | None = None


class Feed:
    """The ring. Shape: `boot` is eight hex digits that no other life of the daemon has."""

    def __init__(self, events: Events, clock: Clock, config: EventsConfig, boot: str) -> None:
        self.boot = boot
        self._events = events
        self._clock = clock
        self._linger_s = config.linger_ms / 1000
        self._most = config.subscribers
        self._ring: deque[Entry] = deque(maxlen=config.remember)
        self._start = 0  # how many entries have left the ring
        self._number = 0  # the last one given
        self._lost = 0  # the number up to which something may have been forgotten
        self._news = asyncio.Event()
        self._remembers = False
        self._readers = 0
        self._counted = 0
        self._lingering: asyncio.TimerHandle | None = None
        self.ended = False

    @property
    def readers(self) -> int:
        """How many read just now."""
        return self._readers

    @property
    def subscribers(self) -> int:
        """How many read over TCP just now."""
        return self._counted

    def put(self, event: Event) -> None:
        if len(self._ring) == self._ring.maxlen:
            self._lost = self._ring[0].number
            self._start += 1
        self._ring.append(Entry(self._next(), event))
        if not self._news.is_set():
            self._news.set()

    def wake(self) -> None:
        """Have every reader look whether it may go on."""
        self._news.set()

    def end(self) -> None:
        """Let readers have what is there, and end."""
        self.ended = True
        self._news.set()
        if self._lingering is not None:
            self._lingering.cancel()
        self._events.discard(self)

    def refuse_more(self, *, counted: bool) -> None:
        """Refuse a reader that there is no room for. Raises: Unavailable."""
        if self.ended:
            raise Unavailable("the daemon is stopping", hint="try again when it is back")
        if counted and self._counted >= self._most:
            raise Unavailable(
                "there are too many streams of events",
                hint="[events] subscribers in lq.toml says how many there may be",
                retry_after_s=5,
            )

    @contextmanager
    def reader(self, last_id: str | None, *, counted: bool) -> Iterator[Reader]:
        """Read from behind `last_id` on, or from now on.

        Shape: those that are `counted` are limited. Raises: as `refuse_more`.
        """
        self.refuse_more(counted=counted)
        self._begin()
        self._counted += counted
        try:
            yield self._placed(last_id)
        finally:
            self._counted -= counted
            self._finish()

    def id_of(self, number: int) -> str:
        """The public name of a place."""
        return f"{self.boot}-{number:x}"

    def mark(self) -> str:
        """The name of the place behind all there is."""
        return self.id_of(self._next())

    def _next(self) -> int:
        self._number = max(self._number + 1, int(self._clock.monotonic() * 1e9))
        return self._number

    def _placed(self, last_id: str | None) -> Reader:
        if last_id is None:
            return Reader(self, self._end)
        found = _ID.fullmatch(last_id)
        number = int(found[2], 16) if found else 0
        if found is None or found[1] != self.boot or number > self._number:
            return Reader(self, self._end, Gap.RESTART)
        if number < self._lost:
            return Reader(self, self._start, Gap.OVERRUN)
        behind = bisect_right(self._ring, number, key=lambda entry: entry.number)
        return Reader(self, self._start + behind)

    def _begin(self) -> None:
        self._readers += 1
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if not self._remembers:
            self._remembers = True
            self._lost = self._next()
            self._events.add(self)

    def _finish(self) -> None:
        self._readers -= 1
        if not self._readers and not self.ended:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(self._linger_s, self._forget)

    def _forget(self) -> None:
        """Nobody has come back: remember nothing until somebody does."""
        self._lingering = None
        self._remembers = False
        self._events.discard(self)
        self._start += len(self._ring)
        self._ring.clear()

    # -- for readers ---------------------------------------------------------------------------

    @property
    def _end(self) -> int:
        return self._start + len(self._ring)

    def _after(self, place: int) -> tuple[Sequence[Entry], int, bool]:
        """Some entries from a place on, the place behind them, and whether some before are gone."""
        first = max(place, self._start)
        last = min(first + _BATCH, self._end)
        ring, start = self._ring, self._start
        return [ring[i - start] for i in range(first, last)], last, first > place

    async def _wait(self, place: int, timeout_ms: int) -> None:
        if place >= self._end and not self.ended:
            self._news.clear()  # whoever else waits for it has been woken already
            await self._clock.wait(self._news, timeout_ms)


class Reader:
    """One reader's place in the feed."""

    def __init__(self, feed: Feed, place: int, gap: Gap | None = None) -> None:
        self._feed = feed
        self._place = place
        self._gap = gap

    def take(self) -> tuple[Sequence[Entry], Gap | None]:
        """The next entries, in order, and why some before them are missing."""
        entries, self._place, is_behind = self._feed._after(self._place)
        gap = Gap.OVERRUN if is_behind else self._gap
        self._gap = None
        return entries, gap

    @property
    def is_up_to_date(self) -> bool:
        """Whether it has been given all there is."""
        return self._feed._end <= self._place

    async def more(self, timeout_ms: int) -> None:
        """Return when there is more, or a reason to look, or the time is over."""
        await self._feed._wait(self._place, timeout_ms)
