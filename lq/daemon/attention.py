"""What needs a person now, the worst first: the daemon's own trouble, schedules, endpoints, queues.

Owns what is a concern, how bad it is, and the sentence that says so. Changes nothing, and asks no
endpoint. What follows from something that is told already is not told again: while nothing starts
at all, no queue is late.

Invariant: its cost has a bound, and so has what it tells: `MOST` concerns of each kind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from lq.attention import Concern, ConcernKind, Level, Troubled
from lq.checkup import is_short, size_text
from lq.clock import Clock
from lq.config import Config
from lq.daemon.lanes import Lanes
from lq.daemon.resolve import Resolver
from lq.daemon.store import Store
from lq.daemon.survey import Survey
from lq.endpoint import Endpoint, EndpointState
from lq.finding import Failure, FailureFilter
from lq.model import Queue, Schedule
from lq.patterns import meant
from lq.when import DAY_MS, format_duration
from lq.wire import redact_error

MOST: Final = 10
_KINDS_OF_FAILURES: Final = 5
_OVERDUE_MS: Final = 60_000  # as the wire says of a schedule that it is overdue
_LATE_MS: Final = 300_000
_CLIPPED: Final = 200
_LEVELS: Final = {level: place for place, level in enumerate(Level)}
_KINDS: Final = {kind: place for place, kind in enumerate(ConcernKind)}


class Attention:
    """Looks for concerns. `trouble` says what ails the daemon; the engine sets it."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        clock: Clock,
        lanes: Lanes,
        resolver: Resolver,
        survey: Survey,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._resolver = resolver
        self._survey = survey
        self.trouble: Callable[[], Sequence[str]] = tuple

    async def look(self, queues: Sequence[Queue], patterns: Sequence[str]) -> list[Concern]:
        """What there is now. Shape: of queues of these patterns; none mean all, and only who sees
        all is told of the daemon and its disk.
        """
        found = [] if patterns else [*self._daemon(), *await self._disk()]
        found += await self._schedules(patterns)
        found += _endpoints(self._survey.held(patterns))
        shown = [queue for queue in queues if meant(queue.name, patterns)]
        now = self._clock.now()
        found += islice(_paused(shown, now), MOST)
        if not self._at_rest:
            found += _late(shown, now)[:MOST]
        found += await self._failures(patterns)
        return sorted(found, key=_place)

    @property
    def _at_rest(self) -> bool:
        """Whether nothing starts at all, which the daemon itself tells."""
        return self._lanes.frozen or self._lanes.closed

    def _daemon(self) -> Iterator[Concern]:
        for reason in islice(self.trouble(), MOST):
            text = f"{reason[:1].upper()}{reason[1:]}"
            yield Concern(kind=ConcernKind.DAEMON, level=Level.BAD, text=text)

    async def _disk(self) -> list[Concern]:
        disk = shutil.disk_usage(self._config.data_dir)
        size, _ = await self._store.sizes()
        if not is_short(disk.free, disk.total, size):
            return []
        room = f"{size_text(disk.free)} of {size_text(disk.total)}"
        text = f"Only {room} are free where lq keeps its data"
        return [Concern(kind=ConcernKind.DISK, level=Level.WARN, text=text)]

    async def _schedules(self, patterns: Sequence[str]) -> list[Concern]:
        now = self._clock.now()
        found = [self._troubled(one) for one in await self._store.troubled(patterns, MOST)]
        if not self._lanes.frozen:
            first = await self._store.schedules_next(patterns, MOST)
            found += [concern for one in first if (concern := _overdue(one, now))]
        return found

    def _troubled(self, one: Troubled) -> Concern:
        name = one.key or one.id
        if one.reason is not None:
            return Concern(
                kind=ConcernKind.SCHEDULE_PAUSED,
                level=Level.BAD,
                text=_clipped(f"lq has paused the schedule {name}: {one.reason}"),
                queue=one.queue,
                schedule=one.id,
            )
        times = "once" if one.failures == 1 else f"{one.failures} times in a row"
        error = redact_error(one.error, self._resolver.redactions(one.job_queue))
        return Concern(
            kind=ConcernKind.SCHEDULE_FAILING,
            level=Level.BAD,
            text=_clipped(f"Schedule {name} has failed {times}: {error or 'without a reason'}"),
            since_at=one.since_at,
            queue=one.queue,
            schedule=one.id,
            fingerprint=one.fingerprint,
            number=one.failures,
        )

    async def _failures(self, patterns: Sequence[str]) -> list[Concern]:
        since = self._clock.now() - DAY_MS
        wanted = FailureFilter(queues=tuple(patterns), from_at=since, limit=_KINDS_OF_FAILURES)
        return [self._failure(kind) for kind in (await self._store.failures(wanted)).items]

    def _failure(self, kind: Failure) -> Concern:
        error = redact_error(kind.error, self._resolver.redactions(kind.queue))
        number = kind.number
        items = "1 item has failed" if number == 1 else f"{number} items have failed alike"
        return Concern(
            kind=ConcernKind.FAILURES,
            level=Level.WARN,
            text=_clipped(f"{items} at {kind.target}: {error or 'without a reason'}"),
            since_at=kind.first_at,
            queue=kind.queue,
            url=kind.target,
            fingerprint=kind.fingerprint,
            number=number,
        )


def _overdue(schedule: Schedule, now: int) -> Concern | None:
    at = schedule.next_at
    if at is None or now - at <= _OVERDUE_MS:
        return None
    name = schedule.spec.key or schedule.id
    return Concern(
        kind=ConcernKind.OVERDUE,
        level=Level.BAD,
        text=f"Schedule {name} should have fired {_span(now - at)} ago",
        since_at=at,
        queue=schedule.spec.push.queue,
        schedule=schedule.id,
    )


def _endpoints(held: Sequence[Endpoint]) -> list[Concern]:
    """What holds items back: of each kind the first, and of a server that is down one endpoint."""
    found: dict[ConcernKind, list[Concern]] = {}
    told = set()
    for one in held:
        for kind, level, reason, since_at in _held(one):
            if (kind, reason) in told and kind is ConcernKind.BREAKER:
                continue
            told.add((kind, reason))
            concern = Concern(
                kind=kind,
                level=level,
                text=_clipped(f"Items for {one.url} wait: {reason}"),
                since_at=since_at,
                queue=next(iter(one.queues), None),
                url=one.url,
            )
            found.setdefault(kind, []).append(concern)
    return [concern for concerns in found.values() for concern in concerns[:MOST]]


def _held(one: Endpoint) -> Iterator[tuple[ConcernKind, Level, str, int | None]]:
    if one.state is EndpointState.INVALID:
        yield ConcernKind.ENDPOINT, Level.BAD, f"not validated, {one.fault}", one.since_at
    if one.spared is not None:
        yield ConcernKind.BREAKER, Level.BAD, one.spared.reason, None
    if one.slowed is not None:
        yield ConcernKind.SLOWED, Level.INFO, one.slowed.reason, None


def _paused(queues: Sequence[Queue], now: int) -> Iterator[Concern]:
    for queue in queues:
        waiting = queue.counts.pending + queue.counts.retry
        if queue.paused and waiting:
            until, why = "", f" ({queue.pause_reason})" if queue.pause_reason else ""
            if queue.paused_until is not None:
                until = f" for {_span(max(queue.paused_until - now, 1000))} more"
            yield Concern(
                kind=ConcernKind.QUEUE_PAUSED,
                level=Level.WARN,
                text=_clipped(f"Queue {queue.name} is paused{until}{why}, and {_items(waiting)}"),
                queue=queue.name,
                number=waiting,
            )


def _late(queues: Sequence[Queue], now: int) -> list[Concern]:
    """Queues that are behind, the most first; one that is at work is only slow."""
    behind = [
        (queue.next_due_at, queue)
        for queue in queues
        if not queue.paused and queue.next_due_at is not None and now - queue.next_due_at > _LATE_MS
    ]
    found = []
    for due_at, queue in sorted(behind, key=lambda pair: pair[0]):
        waiting = queue.counts.pending + queue.counts.retry
        found.append(
            Concern(
                kind=ConcernKind.QUEUE_LATE,
                level=Level.WARN if queue.counts.running else Level.BAD,
                text=f"Queue {queue.name} is {_span(now - due_at)} behind, and {_items(waiting)}",
                since_at=due_at,
                queue=queue.name,
                number=waiting,
            )
        )
    return found


def _items(number: int) -> str:
    return "1 item waits" if number == 1 else f"{number} items wait"


def _span(ms: int) -> str:
    grain = 1000 if ms < 600_000 else 60_000
    return format_duration(ms // grain * grain)


def _clipped(text: str) -> str:
    """A sentence of a bounded length, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _CLIPPED else f"{line[: _CLIPPED - 1]}…"


def _place(concern: Concern) -> tuple[int, int, int]:
    """The worst first; of one kind what has gone on for the longest."""
    return _LEVELS[concern.level], _KINDS[concern.kind], concern.since_at or 0
