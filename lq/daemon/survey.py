"""What is known of each endpoint, put together: verdicts, waits, breakers, and who names it.

Owns which endpoints a listing shows, to whom, and what a check by hand sets right. Never decides
whether a job may be called, and calls nothing itself.

Invariant: who is limited to some queues sees an endpoint only if one of them has met or names it,
and of its queues and names those alone.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from lq.clock import Clock
from lq.daemon.breaker import Breakers
from lq.daemon.dispatcher import ASKED_TO_WAIT, Admission
from lq.daemon.endpoints import NOT_VALIDATED
from lq.daemon.lanes import Lanes
from lq.daemon.resolve import Resolver
from lq.daemon.store import Store
from lq.endpoint import Endpoint, EndpointState, Named, Wait
from lq.errors import RequestError, StorageFull, Unavailable, ValidationError
from lq.model import ScheduleFilter
from lq.patterns import meant
from lq.scriptlets import name_of

log = logging.getLogger(__name__)

_MOST_SCHEDULES: Final = 1000
_AT_ONCE: Final = 250
_MOST_VARIANTS: Final = 8
_ORDER: Final = {state: place for place, state in enumerate(EndpointState)}


class Survey:
    """The verbs on endpoints."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        resolver: Resolver,
        endpoints: Admission,
        breakers: Breakers,
        lanes: Lanes,
    ) -> None:
        self._store = store
        self._clock = clock
        self._resolver = resolver
        self._endpoints = endpoints
        self._breakers = breakers
        self._lanes = lanes

    async def all(self, patterns: Sequence[str] = (), queue: str | None = None) -> list[Endpoint]:
        """All endpoints of queues of these patterns, none for all; what needs a look comes first.

        Shape: of one queue, if it is given. Raises: Unavailable where lq is embedded.
        """
        named = [one for one in await self.named() if _meant(one.queue, patterns, queue)]
        found = []
        for entry in self._endpoints.entries(named):
            queues = tuple(name for name in entry.queues if _meant(name, patterns, queue))
            if queues or entry.named_by or not (patterns or queue):
                found.append(self._with_breaker(replace(entry, queues=queues)))
        return sorted(found, key=_place)

    def held(self, patterns: Sequence[str]) -> list[Endpoint]:
        """Those that something holds, of which jobs of such queues met; no URL is looked up."""
        tick = self._clock.monotonic() * 1000

        def spared(url: str) -> bool:
            return self._breakers.look(url, tick) is not None

        found = []
        for entry in self._endpoints.held(spared):
            queues = tuple(name for name in entry.queues if _meant(name, patterns, None))
            if queues or not patterns:
                found.append(self._with_breaker(replace(entry, queues=queues)))
        return sorted(found, key=_place)

    async def check(self, url: str, queue: str | None) -> Endpoint:
        """Ask an endpoint now, with each set of headers that it is known with (in a queue).

        What has held its jobs back, a breaker or its own Retry-After, is forgotten, and they go on
        at once if it proves itself. Shape: the
        worst of what comes of it. Raises: ValidationError, TargetNotAllowed, Unavailable.
        """
        if name_of(url) is not None:
            raise ValidationError.of("url", "a scriptlet has no endpoint; expected a URL")
        url = self._resolver.target(url, "url")
        wanted = self._endpoints.variants(url, queue) + [
            (one.headers, one.queue)
            for one in await self.named()
            if one.url == url and queue in {None, one.queue}
        ]
        if not wanted:
            name = queue or ""
            wanted = [(self._resolver.settings(name).headers or {}, name)]
        # The same headers once, however many queues and schedules have them.
        unlike = {tuple(sorted(headers.items())): (headers, name) for headers, name in wanted}
        asked = [*unlike.values()][:_MOST_VARIANTS]
        await asyncio.gather(*(self._endpoints.check(url, *one) for one in asked))
        self._breakers.forget(url)
        entries = self._endpoints.entries(await self.named())
        names = {tuple(sorted(headers)) for headers, _ in asked}
        found = [one for one in entries if one.url == url and one.headers in names]
        if any(one.state is not EndpointState.INVALID for one in found):
            await self._let_go(url, {name for one in found for name in one.queues})
        return min(map(self._with_breaker, found), key=_place)

    async def _let_go(self, url: str, queues: Set[str]) -> None:
        """Have jobs go on at once that this endpoint has held; of very many, the first."""
        reasons = (NOT_VALIDATED, ASKED_TO_WAIT, *self._breakers.beginnings(url))
        try:
            for queue in queues:
                held = await self._store.held_jobs(queue, url, reasons, self._clock.now())
                for first in range(0, len(held), _AT_ONCE):
                    part = held[first : first + _AT_ONCE]
                    await self._store.free_jobs(part, self._clock.now())
                self._lanes.called(queue)  # or it would look at a handful now and then
                self._lanes.expect(queue, self._clock.now(), self._clock.now())
        except (StorageFull, Unavailable) as error:
            log.warning("jobs for %s wait until their hold ends: %s", url, error.message)

    async def named(self) -> list[Named]:
        """The endpoints that queues and the first schedules name, by name of queue, then key."""
        stored = {queue.name for queue in await self._store.queues()}
        found = []
        for queue in sorted(stored | self._resolver.configured):
            found += self._of_queue(queue)
        wanted = ScheduleFilter(limit=_MOST_SCHEDULES)
        for schedule in (await self._store.schedules(wanted)).items:
            push = schedule.spec.push
            url = push.target or self._resolver.settings(push.queue).target
            if url is not None and name_of(url) is None:
                by = f"schedule {schedule.spec.key or schedule.id}"
                headers = self._resolver.headers(push)
                found.append(Named(url, headers, push.queue, by, push.validate))
        return found

    def _of_queue(self, queue: str) -> list[Named]:
        settings = self._resolver.settings(queue)
        url = settings.target
        if url is None or name_of(url) is not None:
            return []
        with suppress(RequestError):  # it could be called when it was set
            url = self._resolver.target(url)
        return [Named(url, settings.headers or {}, queue, f"queue {queue}")]

    def _with_breaker(self, entry: Endpoint) -> Endpoint:
        tick = self._clock.monotonic() * 1000
        spared = self._breakers.look(entry.url, tick)
        if spared is None:
            return entry
        until = self._clock.now() + math.ceil(spared.until - tick)
        return replace(entry, spared=Wait(until, spared.reason))


def _meant(name: str, patterns: Sequence[str], queue: str | None) -> bool:
    return queue in {None, name} and meant(name, patterns)


def _place(entry: Endpoint) -> tuple[bool, int, str, tuple[str, ...]]:
    """Where an endpoint stands in a listing: first what holds jobs, then by what is known."""
    well = entry.fault is None and entry.slowed is None and entry.spared is None
    return well, _ORDER[entry.state], entry.url, entry.headers
