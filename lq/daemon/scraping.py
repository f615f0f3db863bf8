"""What a scrape of the metrics gathers: the counts, and how the daemon is at that moment.

Owns which of it is asked of whom. Changes nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence

from lq import __version__
from lq.clock import Clock
from lq.config import Config
from lq.daemon.breaker import Breakers
from lq.daemon.dispatcher import Admission, Dispatcher
from lq.daemon.metrics import Metrics
from lq.daemon.store import Store
from lq.exposition import OTHER, State, expose
from lq.model import Queue

# As the wire says of a schedule that it is overdue.
_OVERDUE_MS = 60_000


class Scraper:
    """Takes scrapes. `well` says whether the daemon is live and ready; the engine sets it."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        dispatcher: Dispatcher,
        breakers: Breakers,
        endpoints: Admission,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._dispatcher = dispatcher
        self._breakers = breakers
        self._endpoints = endpoints
        self.well: Callable[[], tuple[bool, bool]] = lambda: (True, True)

    async def scrape(self, queues: Sequence[Queue]) -> bytes:
        """The text that Prometheus reads."""
        now = self._clock.now()
        schedules, overdue = await self._store.schedule_counts(now - _OVERDUE_MS)
        size, wal_size = await self._store.sizes()
        named = {queue.name: self._metrics.name(queue.name) for queue in queues}
        live, ready = self.well()
        state = State(
            now=now,
            version=__version__,
            queues=[queue for queue in queues if named[queue.name] != OTHER],
            others=[queue for queue in queues if named[queue.name] == OTHER],
            live=live,
            ready=ready,
            in_flight=self._dispatcher.in_flight,
            slots=self._config.dispatch.concurrency,
            unrecorded=self._dispatcher.stuck,
            spared=len(self._breakers.open(self._clock.monotonic() * 1000)),
            endpoints=self._endpoints.counts(),
            schedules=schedules,
            schedules_overdue=overdue,
            database_bytes=size,
            wal_bytes=wal_size,
            disk_free_bytes=shutil.disk_usage(self._config.data_dir).free,
        )
        # Thousands of lines: not on the event loop.
        return await asyncio.to_thread(expose, self._metrics.counted(), state)
