"""Draining by hand: nothing more starts, what runs ends, and what comes in waits.

Owns whether lq drains. Pushes are taken and schedules fire meanwhile, so that nothing is missed;
their items wait. A restart ends it: it is for somebody who is about to do one.
"""

from __future__ import annotations

import logging

from msgspec import Struct

from lq.clock import Clock
from lq.daemon.dispatcher import Dispatcher
from lq.daemon.lanes import Lanes
from lq.daemon.store import Store
from lq.model import Job, JobFilter, State

log = logging.getLogger(__name__)

_MOST_NAMED = 100


class Drained(Struct, frozen=True):
    """How far a drain is. Shape: `jobs` are the first of those that run."""

    draining: bool
    running: int
    jobs: tuple[Job, ...]


class Draining:
    """The verbs of a drain."""

    def __init__(self, store: Store, clock: Clock, lanes: Lanes, dispatcher: Dispatcher) -> None:
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._dispatcher = dispatcher

    @property
    def active(self) -> bool:
        """Whether nothing more is started."""
        return self._lanes.closed

    async def begin(self) -> Drained:
        """Start nothing more."""
        if not self.active:
            log.warning("draining: nothing more starts until `lq drain --resume` or a restart")
        self._lanes.close()
        return await self.state()

    async def end(self) -> Drained:
        """Go on."""
        if self.active:
            log.warning("draining is over")
        self._lanes.open(self._clock.now())
        return await self.state()

    async def state(self) -> Drained:
        """How far it is."""
        wanted = JobFilter(state=State.RUNNING.value, limit=_MOST_NAMED)
        jobs = (await self._store.unfinished(wanted)).items
        counts = [queue.counts.running for queue in await self._store.queues()]
        return Drained(self.active, max(sum(counts), self._dispatcher.in_flight), jobs)
