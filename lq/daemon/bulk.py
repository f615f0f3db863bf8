"""The verbs of lq on many jobs at once: replay what has finished, cancel what has not.

Owns how a sweep is cut into steps, and at which rate replayed jobs are due. Never speaks HTTP or
SQL.

Invariant: a step is one transaction of at most 500 jobs, so that pushes do not wait, and memory
holds no more than that. A sweep stops after a bounded number of steps and says where to go on: no
work is left to live on without whoever asked for it, and what was answered is committed. A replay
spreads its jobs over time by their due times, which no restart forgets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from lq.clock import Clock
from lq.daemon.events import Events
from lq.daemon.lanes import Lanes
from lq.daemon.store import Store
from lq.errors import ValidationError
from lq.event import Event
from lq.finding import Failure, FailureFilter, Step, Swept
from lq.model import JobFilter, Page, Rate, State

_STEP = 500
_STEP_DRY = 2000  # which no push waits for
# One request: some seconds of work at most, so that no client gives up on it.
_MOST = 20_000


class _Pace(Struct, frozen=True):
    """Where a replay stands: what finished before `to_at` is meant, and is due from `start_at` on.

    Shape: `done` jobs have their times already.
    """

    to_at: int
    start_at: int
    done: int = 0

    def due(self, number: int, rate: Rate | None, now: int) -> list[int]:
        """The times of the next jobs."""
        if rate is None:
            return [now] * number
        places = range(self.done, self.done + number)
        return [max(now, self.start_at + n * rate.per_ms // rate.count) for n in places]


class Bulk:
    """Sweeps over jobs, and the kinds of failures that they may be about."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        events: Events,
        lanes: Lanes,
        gate: Callable[[], None],
        writing: Callable[[Awaitable[Step]], Awaitable[Step]],
        stop: Callable[[str], None],
    ) -> None:
        """Shape: `gate` raises when nothing may change, `writing` remembers whether a write could
        be done; `stop` ends the scriptlet of a job.
        """
        self._store = store
        self._clock = clock
        self._events = events
        self._lanes = lanes
        self._gate = gate
        self._writing = writing
        self._stop = stop

    async def failures(self, wanted: FailureFilter) -> Page[Failure]:
        """Kinds of failures, the last seen first."""
        return await self._store.failures(wanted)

    async def replay(self, wanted: JobFilter, rate: Rate | None, *, dry: bool) -> Swept:
        """Make finished jobs wait again, newest first, at a rate; or only count them.

        Shape: without a cursor, those that have finished by now. Raises: ValidationError on the
        cursor; StorageFull, Unavailable: what was done up to then stays.
        """
        now = self._clock.now()
        place, pace = _read_place(wanted.cursor, wanted, now)
        wanted = replace(wanted, cursor=place, to_at=pace.to_at)

        async def act(seqs: tuple[int, ...]) -> Step:
            nonlocal pace
            at = self._clock.now()
            reviving = self._store.revive_many(seqs, pace.due(len(seqs), rate, at), at)
            step = await self._writing(reviving)
            pace = replace(pace, done=pace.done + len(step.touched))
            self._tell("revive", State.PENDING, step, at)
            return step

        swept = await self._sweep(wanted, act, finished=True, dry=dry)
        until = None
        if rate is not None and not dry and swept.done:
            [until] = _Pace(pace.to_at, pace.start_at, pace.done - 1).due(1, rate, now)
        if swept.cursor is None:
            return replace(swept, until_at=until)
        cursor = f"{swept.cursor}~{pace.to_at}.{pace.start_at}.{pace.done}"
        return replace(swept, until_at=until, cursor=cursor)

    async def cancel(self, wanted: JobFilter, *, running: bool, dry: bool) -> Swept:
        """End unprocessed jobs, those that run only with `running`; or only count them.

        Raises: as `replay`.
        """

        async def act(seqs: tuple[int, ...]) -> Step:
            now = self._clock.now()
            step = await self._writing(self._store.cancel_many(seqs, now, running=running))
            for one in step.touched:
                self._stop(one.id)
            self._tell("cancel", State.CANCELLED, step, now)
            return step

        place = wanted.cursor
        if not running and place is None:
            wanted = replace(wanted, cursor="p.0.0.0")  # behind all that run
        return await self._sweep(wanted, act, finished=False, dry=dry)

    async def _sweep(
        self,
        wanted: JobFilter,
        act: Callable[[tuple[int, ...]], Awaitable[Step]],
        *,
        finished: bool,
        dry: bool,
    ) -> Swept:
        matched = done = 0
        skipped: Counter[str] = Counter()
        size = _STEP_DRY if dry else _STEP
        wanted = replace(wanted, limit=size)
        for _ in range(_MOST // size):
            if not dry:
                self._gate()
            seqs, cursor = await self._store.pick(wanted, finished=finished)
            matched += len(seqs)
            if seqs and not dry:
                step = await act(seqs)
                done += len(step.touched)
                skipped.update(step.skipped)
            wanted = replace(wanted, cursor=cursor)
            if cursor is None:
                break
        return Swept(matched=matched, done=done, skipped=skipped, cursor=wanted.cursor)

    def _tell(self, verb: str, state: State, step: Step, now: int) -> None:
        """Tell the lanes of what may start, and whoever looks on of each job."""
        due: dict[str, int] = {}
        for one in step.touched:
            # Of one that was cancelled, a successor of its key may start now.
            at = now if one.due_at is None else one.due_at
            due[one.queue] = min(at, due.get(one.queue, at))
        for queue, at in due.items():
            self._lanes.expect(queue, at, now)
        error = "cancelled" if state is State.CANCELLED else None
        for one in step.touched:
            self._events.swept(
                Event(
                    verb=verb, job_id=one.id, queue=one.queue, state=state, at=now, error=error,
                    key=one.key, labels=one.labels, schedule=one.schedule, due_at=one.due_at,
                )
            )  # fmt: skip


def _read_place(cursor: str | None, wanted: JobFilter, now: int) -> tuple[str | None, _Pace]:
    """The place and the pace that a cursor of a replay holds; those of a new one without."""
    if cursor is None:
        # What finishes from now on, perhaps as part of this very replay, is not meant.
        to_at = now + 1 if wanted.to_at is None else min(wanted.to_at, now + 1)
        return None, _Pace(to_at, now)
    place, _, rest = cursor.partition("~")
    numbers = rest.split(".")
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
        raise ValidationError.of("cursor", "not a cursor that a replay gave")
    to_at, start_at, done = map(int, numbers)
    if start_at > now or to_at > now + 1:
        start_at, to_at = min(start_at, now), min(to_at, now + 1)  # the clock was set back
    return place, _Pace(to_at, start_at, done)
