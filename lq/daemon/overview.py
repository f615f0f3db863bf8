"""A daemon at one glance: its queues, what runs, what comes next.

Owns what is in an overview, and how little of it a limited token sees. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lq.clock import Clock
from lq.daemon.store import Store
from lq.daemon.throughput import Throughputs
from lq.model import Queue
from lq.overview import Overview, Throughput
from lq.patterns import meant

_IDLE = Throughput()


class Overviews:
    """Takes overviews. `trouble` says what ails the daemon; the engine sets it."""

    def __init__(self, *, store: Store, clock: Clock, rates: Throughputs) -> None:
        self._store = store
        self._clock = clock
        self._rates = rates
        self.trouble: Callable[[], Sequence[str]] = tuple

    async def take(self, queues: Sequence[Queue], patterns: Sequence[str], limit: int) -> Overview:
        """What there is now. Shape: up to `limit` runs and schedules, of queues of these patterns;
        none mean all, and only who sees all is told of trouble.
        """
        rates = self._rates.lately()
        shown = [queue for queue in queues if meant(queue.name, patterns)]
        return Overview(
            at=self._clock.now(),
            queues=tuple((queue, rates.get(queue.name, _IDLE)) for queue in shown),
            running=tuple(await self._store.running_first(patterns, limit)),
            schedules=tuple(await self._store.schedules_next(patterns, limit)),
            trouble=() if patterns else tuple(self.trouble()),
        )
