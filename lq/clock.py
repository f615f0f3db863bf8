"""The only place that asks the machine for the time.

Wall-clock instants are int milliseconds since the Unix epoch, UTC. Durations in flight
(timeouts, backoff of a retry loop) follow the monotonic clock. Everything that needs
either is handed a Clock, so that tests can step time without waiting for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. `FakeClock` in the tests is the other implementation."""

    def now(self) -> int:
        """The wall clock. Units: Unix milliseconds, UTC. May jump either way."""

    def monotonic(self) -> float:
        """Seconds that never go back; the origin means nothing."""

    async def wait(self, event: asyncio.Event, timeout_ms: int) -> None:
        """Return when `event` is set or `timeout_ms` have passed, whichever is first."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def wait(self, event: asyncio.Event, timeout_ms: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1000):
                await event.wait()
