"""Time that passes only when a test says so."""

from __future__ import annotations

import asyncio
from typing import Any

START = 1_800_000_000_000
"""Where a FakeClock starts: some moment of January 2027."""


class FakeClock:
    """A `lq.clock.Clock` set by hand. Invariant: nobody who waits for it looks at a real clock."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._passed_ms = 0
        self._waits: dict[asyncio.Future[Any], int] = {}

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._passed_ms / 1000

    async def wait(self, event: asyncio.Event, timeout_ms: int) -> None:
        over: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        heard: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
        self._waits[over] = self._passed_ms + timeout_ms
        try:
            await asyncio.wait({over, heard}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waits[over]
            heard.cancel()

    @property
    def waiting(self) -> int:
        """How many wait just now."""
        return len(self._waits)

    def advance(self, ms: int) -> None:
        """Let time pass, on both clocks, and wake whoever waited no longer than that."""
        self._now += ms
        self._passed_ms += ms
        for over, ends_at in self._waits.items():
            if ends_at <= self._passed_ms and not over.done():
                over.set_result(None)

    def step(self, ms: int) -> None:
        """Set the wall clock, forward or back; nobody is told."""
        self._now += ms
