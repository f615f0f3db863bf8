"""How each queue was at work, minute by minute, for the charts of the last hour, day and week.

Owns the counts that were not written yet: a tally for each queue and minute. What was written is
the store's, where a restart goes on adding; a daemon that dies loses what it had not written, which
is at most the last minute of statistics while the disk takes them.

Invariant: counting costs nobody a wait, and its memory is bounded, whatever queues are named, the
disk takes, or the clock says. A slot is one of the wall clock: after it was set back, what happens
is added to slots that were there before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from lq.activity import KEPT_MS, Activity, Span, Tally, slot_at
from lq.clock import Clock
from lq.daemon.store import Minute, Store
from lq.errors import RequestError
from lq.patterns import meant
from lq.when import DAY_MS, MINUTE_MS

log = logging.getLogger(__name__)

MOST_QUEUES: Final = 1000
"""So many queues of a minute have tallies of their own; the others are in the sum alone."""
MOST_TALLIES: Final = 20_000
"""So many wait at most for a disk that takes nothing; the oldest minutes are given up then."""

# A clock that was wrong makes jobs late by decades; sums of that must stay integers of SQLite's.
_MOST_LATE_MS: Final = 366 * DAY_MS
_OTHERS: Final = ""  # no queue has this name
_PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "push": "taken",
        "revive": "taken",
        "succeed": "completed",
        "bury": "failed",
        "expire": "failed",
        "fail": "retried",
        "cancel": "cancelled",
        "claim": "started",
    }
)


class Activities:
    """Counts what happens, and tells what has happened. `write` is called once a minute."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # While it is held nothing is written: whoever reads sees each tally in one place.
        self._lock = asyncio.Lock()
        self._minutes: dict[int, dict[str, Tally]] = {}
        self._now: dict[str, Tally] = {}
        self._began = self._ends = 0

    def count(self, queue: str, verb: str) -> None:
        """A job of this queue has moved."""
        place = _PLACES.get(verb)
        if place is not None:
            tally = self._tally(queue)
            setattr(tally, place, getattr(tally, place) + 1)

    def started(self, queue: str, late_ms: int) -> None:
        """A job was claimed so long after it was due."""
        tally = self._tally(queue)
        late_ms = min(max(late_ms, 0), _MOST_LATE_MS)
        tally.timed += 1
        tally.late_ms += late_ms
        tally.late_max_ms = max(tally.late_max_ms, late_ms)

    async def write(self) -> None:
        """Hand what was counted to the store; nothing, when nothing has happened.

        Raises: StorageFull, Unavailable; what was counted is kept then.
        """
        async with self._lock:
            if not self._minutes:
                return
            minutes, self._minutes, self._ends = self._minutes, {}, self._began
            try:
                await self._store.add_activity(list(_rows(minutes)), self._clock.now())
            except RequestError:
                self._put_back(minutes)
                raise

    async def show(
        self, span: Span, *, queue: str | None = None, patterns: Sequence[str] = ()
    ) -> Activity:
        """What happened in a span up to now, the present slot included.

        Shape: of one queue, or of all that one of the shell patterns means; none mean all.
        """
        async with self._lock:
            end_at = slot_at(self._clock.now(), span.slot_ms) + span.slot_ms
            first_at = end_at - span.ms
            tallies = tuple(Tally() for _ in range(span.ms // span.slot_ms))
            found = await self._store.activity(
                span.source_ms, first_at, end_at, queue=queue, patterns=patterns
            )
            for at, tally in (*found, *self._unwritten(queue, patterns)):
                if first_at <= at < end_at:
                    tallies[(at - first_at) // span.slot_ms].add(tally)
        return Activity(span, first_at, tallies)

    def _tally(self, queue: str) -> Tally:
        """Where what happens in this queue now is counted."""
        now = self._clock.now()
        if not self._began <= now < self._ends:
            self._turn(now)
        found = self._now.get(queue)
        if found is None:
            name = queue if len(self._now) < MOST_QUEUES else _OTHERS
            found = self._now.setdefault(name, Tally())
        return found

    def _turn(self, now: int) -> None:
        """Begin a minute, or go on with one that was before."""
        self._began = slot_at(now, MINUTE_MS)
        self._ends = self._began + MINUTE_MS
        self._now = self._minutes.setdefault(self._began, {})
        self._give_up_more_than_fits()

    def _put_back(self, minutes: dict[int, dict[str, Tally]]) -> None:
        """Keep what could not be written, before what has come to it meanwhile."""
        meanwhile, self._minutes = self._minutes, minutes
        for at, tallies in meanwhile.items():
            known = minutes.setdefault(at, {})
            for queue, tally in tallies.items():
                known.setdefault(queue, Tally()).add(tally)
        self._ends = self._began  # what is counted next belongs into one of these
        self._give_up_more_than_fits()

    def _give_up_more_than_fits(self) -> None:
        most_minutes = KEPT_MS[MINUTE_MS] // MINUTE_MS
        while len(self._minutes) > most_minutes or (
            len(self._minutes) > 1 and sum(map(len, self._minutes.values())) > MOST_TALLIES
        ):
            given_up = next(at for at in self._minutes if self._minutes[at] is not self._now)
            del self._minutes[given_up]
            log.warning("a minute of statistics was given up: the disk takes none")

    def _unwritten(self, queue: str | None, patterns: Sequence[str]) -> Iterator[tuple[int, Tally]]:
        for at, tallies in self._minutes.items():
            for name, tally in tallies.items():
                if name == queue or (queue is None and _meant(name, patterns)):
                    yield at, tally


def _rows(minutes: Mapping[int, Mapping[str, Tally]]) -> Iterator[Minute]:
    """What is written of each minute: the tallies of its queues, and their sum."""
    for at, tallies in minutes.items():
        both = Tally()
        for queue, tally in tallies.items():
            both.add(tally)
            if queue != _OTHERS:
                yield Minute(at, queue, tally)
        yield Minute(at, None, both)


def _meant(queue: str, patterns: Sequence[str]) -> bool:
    """Whether a queue counts; the queues that share a tally, where all do."""
    return not patterns if queue == _OTHERS else meant(queue, patterns)
