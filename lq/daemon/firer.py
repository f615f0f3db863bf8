"""Fires the schedules that are due, and judges a clock that went back.

Owns the loop, the turn that firings and the verbs on schedules take, and the clock mark: the
latest instant at which this daemon is known to have lived. What a rule means is `firing`'s, what
a job looks like `resolve`'s.

Invariant: the jobs of a firing and the next time of its schedule are one transaction, and each
(schedule, nominal time) makes one job, however the clock is set.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec.structs import replace

from lq import firing
from lq.clock import Clock
from lq.daemon.events import Events
from lq.daemon.lanes import Lanes
from lq.daemon.resolve import Resolver
from lq.daemon.scheduler import Scheduler, Timer
from lq.daemon.store import Fire, Store
from lq.errors import Conflict, StorageFull, Unavailable, ValidationError
from lq.firing import LATE_MS, RuleError, Timing
from lq.model import Firing, Job, NewJob, Schedule, ScheduleFilter, State
from lq.when import DAY_MS, HOUR_MS, UnknownZone, format_instant

log = logging.getLogger(__name__)

BATCH: Final = 250
_RETRY_MS: Final = 5_000
_COMPLAIN_EVERY_S: Final = 60.0
_MARK_EVERY_MS: Final = 60_000
# A clock that goes back by less may go on where it was: nothing fires until it has caught up.
CORRECTION_MS: Final = 3 * HOUR_MS
# One that is further back is doubted for a while: a machine may boot in 1970 and learn the time.
_DOUBT_MS: Final = DAY_MS
_DOUBT_S: Final = 300.0
_WRITTEN_AT: Final = 1_793_491_200_000  # 2026-11-01: no daemon has lived before this was written


class Firer:
    """What keeps schedules going. `start` must have returned before `run`."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        resolver: Resolver,
        lanes: Lanes,
        scheduler: Scheduler,
        events: Events,
    ) -> None:
        self._store = store
        self._clock = clock
        self._resolver = resolver
        self._lanes = lanes
        self._scheduler = scheduler
        self._events = events
        self.turn = asyncio.Lock()
        self._due = asyncio.Event()
        self._next_at: int | None = None
        self._mark = 0
        self._doubted_since: float | None = None
        self._stuck_since: int | None = None
        self._complained_at: float | None = None
        # Whether nothing may fire at all; whoever ends that calls `wake`.
        self.frozen = False

    async def start(self) -> None:
        """Learn how late it was, and when each schedule is next by the zones of today."""
        self._mark = await self._store.clock_mark() or max(self._clock.now(), _WRITTEN_AT)
        # A daemon that ended before it had marked the time has lived at that of its schedules.
        self._mark = max(self._mark, await self._store.latest_seen() or 0)
        try:
            await self.look_up_zones()
        except (StorageFull, Unavailable) as error:
            log.warning("next times are as they were stored: %s", error.message)
        self.wake()
        self._scheduler.at(Timer.MARK, self._clock.now())

    @property
    def late(self) -> bool:
        """Whether what is due could not be fired for a minute."""
        since = self._next_at if self._stuck_since is None else self._stuck_since
        return since is not None and self._clock.now() - since > LATE_MS

    def wake(self) -> None:
        """Look at what is due: a time has come, or the clock was set."""
        self._due.set()

    async def run(self) -> None:
        """Fire what is due until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            due_at = self._next_at
            try:
                await self._fire_due()
                self._stuck_since = None
            except (StorageFull, Unavailable) as error:
                now = self._clock.now()
                if self._stuck_since is None:
                    self._stuck_since = now if due_at is None else due_at
                self._scheduler.at(Timer.SCHEDULES, now + _RETRY_MS)
                self._complain(error.message)

    def _complain(self, why: str) -> None:
        """Say that schedules wait, once a minute."""
        tick = self._clock.monotonic()
        if self._complained_at is None or tick - self._complained_at >= _COMPLAIN_EVERY_S:
            self._complained_at = tick
            log.warning("schedules wait: %s", why)

    def now(self) -> int:
        """From when the times of a schedule count: of a clock that is doubted, what it was."""
        now = self._clock.now()
        return self._mark if self._mark - now > _DOUBT_MS else now

    # -- firing ------------------------------------------------------------------------------

    async def _fire_due(self) -> None:
        while not self.frozen and await self._trusts_clock():
            self._next_at = None  # so that what is made during an await is heard
            async with self.turn:
                now = self._clock.now()
                due = await self._store.due_schedules(now, BATCH)
                fires = []
                for schedule in due:
                    fires.append(self._fire(schedule, now))
                    await asyncio.sleep(0)  # decades of missed times take milliseconds to count
                made = await self._store.fire(fires, now) if fires else []
            self.tell(made, now)
            if len(due) < BATCH:
                self.expect(await self._store.next_schedule())
                return

    def _fire(self, schedule: Schedule, now: int) -> Fire:
        """What a due schedule does now; one that cannot go on is paused, with the reason."""
        spec = schedule.spec
        try:
            plan = firing.plan(timing_of(schedule), spec.misfire, schedule.seen_at, now)
            jobs = tuple(self._job(schedule, planned, now) for planned in plan.fires)
        except (ValidationError, Conflict) as error:
            reason = error.message
            log.warning("schedule %s is paused: %s", spec.key or schedule.id, reason)
            return Fire(
                id=schedule.id,
                seen_before=schedule.seen_at,
                seen_at=schedule.seen_at,
                next_at=None,
                reason=reason,
            )
        return Fire(
            id=schedule.id,
            seen_before=schedule.seen_at,
            seen_at=plan.seen_at,
            next_at=plan.next_at,
            jobs=jobs,
        )

    def _job(self, schedule: Schedule, planned: firing.Planned, now: int) -> NewJob:
        spec = schedule.spec
        starts_at = planned.at + firing.jitter_ms(schedule.id, planned.at, spec.jitter_ms)
        due_at = max(starts_at, now)
        expires_ms = spec.push.expires_ms
        return replace(
            self._resolver.scheduled(spec.push, now),
            asked="on",
            not_before=starts_at,
            due_at=due_at,
            expires_at=None if expires_ms is None else due_at + expires_ms,
            firing=Firing(schedule.id, planned.at, planned.missed),
            skipped=planned.skipped,
        )

    def tell(self, jobs: Sequence[Job], now: int) -> None:
        """Tell lanes, scheduler and listeners of jobs that were made."""
        for job in jobs:
            self._lanes.expect(job.queue, job.due_at, now)
            if job.expires_at is not None:
                self._scheduler.expect_expiry(job.expires_at)
            self._events.moved("push" if job.state is State.PENDING else "skip", job, now)

    def expect(self, next_at: int | None) -> None:
        """A schedule is due then."""
        # The end of a doubt or a hold looks anew.
        if next_at is None or self._doubted_since is not None or self.frozen:
            return
        if self._next_at is None or next_at < self._next_at:
            self._next_at = next_at
            self._scheduler.at(Timer.SCHEDULES, next_at)

    async def skip_missed(self) -> int:
        """Have what is due go on from now, making nothing; how many schedules that were."""
        skipped = 0
        async with self.turn:
            now = self._clock.now()
            while due := await self._store.due_schedules(now, BATCH):
                await self._store.fire([self._moved(one, now) for one in due], now)
                skipped += len(due)
        return skipped

    # -- the clock ---------------------------------------------------------------------------

    async def mark_time(self) -> None:
        """Remember that the daemon has lived until now, for a boot with a wrong clock."""
        now = self._clock.now()
        self._scheduler.at(Timer.MARK, now + _MARK_EVERY_MS)
        if self._next_at is not None and now >= self._mark:
            self._mark = now
            await self._store.set_clock_mark(now)

    async def look_up_zones(self) -> None:
        """Compute all next times anew: the rules of a zone may have changed since."""
        async with self.turn:
            async for schedules in pages(self._store, ScheduleFilter(limit=BATCH)):
                moved = []
                for schedule in schedules:
                    if schedule.next_at is not None:
                        fire = self._moved(schedule, schedule.seen_at)
                        if fire.next_at != schedule.next_at:
                            moved.append(fire)
                if moved:
                    await self._store.fire(moved, self._mark)
        self.wake()

    async def _trusts_clock(self) -> bool:
        """Whether to fire by the clock as it stands; one that went back far is made up with.

        The times after a correction back are new ones, but for those that were fired: the store
        has one job for each schedule and time.
        """
        now = self._clock.now()
        behind = self._mark - now
        if behind <= CORRECTION_MS:
            self._mark = max(self._mark, now)
            self._doubted_since = None
            return True
        if behind > _DOUBT_MS:
            monotonic = self._clock.monotonic()
            if self._doubted_since is None:
                self._doubted_since = monotonic
                log.warning(
                    "the clock says %s, but it was %s before: schedules wait until it is past"
                    " that, at most 5 min", format_instant(now), format_instant(self._mark),
                )  # fmt: skip
            left_s = self._doubted_since + _DOUBT_S - monotonic
            if left_s > 0:
                self._scheduler.at(Timer.SCHEDULES, now + round(left_s * 1000) + 1)
                return False
        log.warning("the clock went back by %d s: schedules go on from now", behind // 1000)
        self._doubted_since = None
        await self._go_back(now)
        return True

    async def _go_back(self, now: int) -> None:
        async with self.turn:
            while ahead := await self._store.seen_after(now, BATCH):
                await self._store.fire([self._moved(found, now) for found in ahead], now)
            await self._store.set_clock_mark(now)
            self._mark = now

    def _moved(self, schedule: Schedule, seen_at: int) -> Fire:
        """Have a schedule go on from another instant, making nothing."""
        try:
            next_at, reason = timing_of(schedule).next(seen_at), None
        except ValidationError as error:
            next_at, reason = None, error.message
            log.warning("schedule %s is paused: %s", schedule.spec.key or schedule.id, reason)
        return Fire(
            id=schedule.id,
            seen_before=schedule.seen_at,
            seen_at=seen_at,
            next_at=next_at,
            reason=reason,
        )


async def pages(store: Store, wanted: ScheduleFilter) -> AsyncIterator[tuple[Schedule, ...]]:
    """All schedules of a filter, a page at a time, without payloads."""
    while True:
        page = await store.schedules(wanted)
        yield page.items
        if page.cursor is None:
            return
        wanted = replace(wanted, cursor=page.cursor)


def timing_of(schedule: Schedule) -> Timing:
    """The times of a schedule. Raises: ValidationError when its zone or rule is gone."""
    try:
        return firing.timing(schedule.spec, schedule.anchor_at)
    except UnknownZone as error:
        raise ValidationError.of("x-lq-tz", str(error), "unknown_timezone") from None
    except RuleError as error:
        raise ValidationError.of("x-lq-schedule", str(error)) from None
