"""The daemon's one clock: does all that is due, then sleeps until the next due thing.

Owns the timer wheel. It holds one timer per queue that has waiting jobs (not one per job:
those wait in the store's index) and a few for housekeeping, so that a million delayed jobs
cost it nothing. Never calls a handler, never claims.

Invariant: whatever is due by the wall clock is done within a second of becoming due, also
after the clock was set or the machine slept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum

from lq.clock import Clock
from lq.daemon.store import Store
from lq.daemon.wheel import Wheel
from lq.errors import RequestError
from lq.model import Job
from lq.when import DAY_MS

log = logging.getLogger(__name__)

# The wall clock may be set, and timers stop while the machine sleeps: look again this often.
_MOST_SLEEP_MS = 1000
_STEP_MS = 1000
_PRUNE_EVERY_MS = 60_000
_WRITE_EVERY_MS = 60_000
_RETRY_MS = 5_000
_BATCH = 500


class Timer(StrEnum):
    """What a timer of the wheel is for; a lane's and a resume's also name their queue.

    SCHEDULES is for the next of all schedules, MARK to remember how late it is, ACTIVITY to write
    down what has happened.
    """

    LANE = "lane"
    RESUME = "resume"
    EXPIRE = "expire"
    PRUNE = "prune"
    SCHEDULES = "schedules"
    MARK = "mark"
    ACTIVITY = "activity"


class Scheduler:
    """Keeps time for the lanes, pauses, expiries and history."""

    def __init__(self, clock: Clock, store: Store, keep_ms: int) -> None:
        self._clock = clock
        self._store = store
        self._keep_ms = keep_ms
        self._wheel: Wheel[tuple[Timer, str]] = Wheel(clock.now())
        self._wake = asyncio.Event()
        self._sleeps_until: int | None = None
        self._expiry_at: int | None = None
        self._chores: set[tuple[Timer, str]] = {(Timer.EXPIRE, ""), (Timer.PRUNE, "")}
        self.at(Timer.ACTIVITY, clock.now() + _WRITE_EVERY_MS)
        self._chore_due = asyncio.Event()
        self._chore_due.set()
        # Set by the composition root, since lanes and engine need the scheduler, too.
        self.lane_is_due: Callable[[str, int], None]
        self.pause_is_over: Callable[[str], Awaitable[None]]
        self.schedules_are_due: Callable[[], None]
        self.clock_was_set: Callable[[int], None]
        self.mark_time: Callable[[], Awaitable[None]]
        self.write_activity: Callable[[], Awaitable[None]]
        self.has_expired: Callable[[Job, int], None]
        self.ticked_at = clock.monotonic()
        # Whether nothing expires and history is kept whole; whoever ends that calls `catch_up`.
        self.frozen = False

    def at(self, timer: Timer, due_at: int, queue: str = "") -> None:
        """Have `timer` go off at an instant; one that is set already is moved."""
        self._wheel.push((timer, queue), due_at)
        if self._sleeps_until is None or due_at < self._sleeps_until:
            self._wake.set()

    def expect_expiry(self, expires_at: int) -> None:
        """A waiting job expires then."""
        if self._expiry_at is None or expires_at < self._expiry_at:
            self._expiry_at = expires_at
            self.at(Timer.EXPIRE, expires_at)

    def catch_up(self) -> None:
        """Do what a hold has put off."""
        self._chores |= {(Timer.EXPIRE, ""), (Timer.PRUNE, "")}
        self._chore_due.set()

    def cancel(self, timer: Timer, queue: str = "") -> None:
        self._wheel.cancel((timer, queue))

    async def run(self) -> None:
        """Keep time until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_time(), name="scheduler")
            group.create_task(self._do_chores(), name="housekeeping")

    async def _keep_time(self) -> None:
        offset = self._clock.now() - self._clock.monotonic() * 1000
        while True:
            now = self._clock.now()
            self.ticked_at = self._clock.monotonic()
            stepped = now - self.ticked_at * 1000 - offset
            if abs(stepped) >= _STEP_MS:
                log.warning("clock stepped %+.0f s", stepped / 1000)
                # They were set by the clock that was wrong.
                self.at(Timer.PRUNE, now)
                self.at(Timer.MARK, now)
                self.at(Timer.ACTIVITY, now)
                self.schedules_are_due()
                self.clock_was_set(now)
            offset += stepped
            next_due = self.tick(now)
            sleep_ms = _MOST_SLEEP_MS if next_due is None else min(next_due - now, _MOST_SLEEP_MS)
            self._sleeps_until = now + sleep_ms
            self._wake.clear()
            await self._clock.wait(self._wake, max(sleep_ms, 1))
            self._sleeps_until = None

    def tick(self, now: int) -> int | None:
        """Do all that is due; when the next thing is."""
        for timer, queue in self._wheel.pop_due(now):
            if timer is Timer.LANE:
                self.lane_is_due(queue, now)
            elif timer is Timer.SCHEDULES:
                self.schedules_are_due()
            else:
                self._chores.add((timer, queue))
                self._chore_due.set()
        return self._wheel.next_due()

    async def _do_chores(self) -> None:
        while True:
            await self._chore_due.wait()
            self._chore_due.clear()
            chores, self._chores = self._chores, set()
            for chore, queue in chores:
                try:
                    await self._do_chore(chore, queue)
                except RequestError as error:
                    log.warning("housekeeping waits: %s", error.message)
                    self._try_again(chore, queue)

    def _try_again(self, chore: Timer, queue: str) -> None:
        at = self._clock.now() + _RETRY_MS
        if chore is Timer.EXPIRE:
            self.expect_expiry(at)  # so that a push may bring it forward, never put it off
        else:
            self.at(chore, at, queue)

    async def _do_chore(self, chore: Timer, queue: str) -> None:
        if self.frozen and chore in {Timer.EXPIRE, Timer.PRUNE}:
            return
        if chore is Timer.RESUME:
            await self.pause_is_over(queue)
        elif chore is Timer.EXPIRE:
            await self._expire()
        elif chore is Timer.MARK:
            await self.mark_time()
        elif chore is Timer.ACTIVITY:
            await self.write_activity()
            self.at(Timer.ACTIVITY, self._clock.now() + _WRITE_EVERY_MS)
        else:
            await self._prune()

    async def _expire(self) -> None:
        expired = _BATCH
        while expired == _BATCH:
            self._expiry_at = None  # so that a push during the await is heard
            now = self._clock.now()
            jobs, next_expiry = await self._store.expire(now, _BATCH)
            expired = len(jobs)
            for job in jobs:
                self.has_expired(job, now)
            if next_expiry is not None:
                self.expect_expiry(next_expiry)

    async def _prune(self) -> None:
        """Forget what is older than the configuration keeps, in steps that never hold up a push."""
        now = self._clock.now()
        pruned = _BATCH
        while pruned == _BATCH:
            # A day of firings is remembered whatever is kept: the clock may go back that far.
            pruned = await self._store.prune(now - self._keep_ms, now - DAY_MS, _BATCH)
        forgotten = _BATCH
        while forgotten == _BATCH:
            forgotten = await self._store.forget_answers(now, _BATCH)
        self.at(Timer.PRUNE, now + _PRUNE_EVERY_MS)
