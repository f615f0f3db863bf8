"""Random clocks against the whole daemon: steps back and forth, suspends, restarts, edits.

Whatever the clock does, each schedule makes one job for a nominal time, and accounts for every
nominal time it has gone past: by a job, by one that stands for several, or by a word in history.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from lq.daemon.main import Daemon
from lq.daemon.secret import open_ring
from lq.firing import MOST_CAUGHT_UP, timing
from lq.model import ById, Firing, Job, Misfire, QueueEdit, Schedule, ScheduleEdit
from tests.clock import FakeClock
from tests.support.handler import Handler
from tests.support.home import Home
from tests.support.schedules import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    allowed,
    is_skip,
    jobs_of,
    make,
    pass_time,
    stored,
)

T = TypeVar("T")

RULES = ["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "E=11m", "E=5h", "*/20 * * * * *"]
ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe"]
# Those of 2027: the clock starts in January.
CHANGES = [0, 71 * DAY, 72 * DAY, 285 * DAY, 288 * DAY]


class Clocks(RuleBasedStateMachine):
    """Clocks that are never more than `most_back` behind; each time is accounted for once."""

    most_back = 3 * HOUR - SECOND

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.schedules: list[Schedule] = []
        # Of each schedule: since when its times count, and how many jobs it had by then.
        self.since: dict[str, tuple[int, int]] = {}
        self.judged: dict[str, int] = {}
        self.edits = 0
        self.latest = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(
        rules=st.lists(
            st.tuples(st.sampled_from(RULES), st.sampled_from(ZONES), st.sampled_from(Misfire)),
            min_size=1,
            max_size=3,
        ),
        near=st.sampled_from(CHANGES),
    )
    def begin(self, rules: list[tuple[str, str, Misfire]], near: int) -> None:
        self.clock = FakeClock()
        self.clock.advance(near)
        self.run(self.open())
        for text, zone, misfire in rules:
            made = make(self.daemon, self.home, text, zone=zone, misfire=misfire)
            schedule = self.run(made)
            self.schedules.append(schedule)
            self.since[schedule.id] = (schedule.seen_at, 0)

    async def open(self) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="lq")))
        handler = Handler(self.clock, open_ring(folder, self.clock).newest)
        await self.stack.enter_async_context(handler)
        self.home = Home(folder, self.clock, handler)
        await self.start()
        for queue in ("q", "canary"):  # what is called is not the question here
            await self.daemon.engine.queues.edit(queue, QueueEdit(paused=True))

    async def start(self) -> None:
        """Run a daemon in a task of its own, as a TaskGroup wants it."""
        started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
        self.stop = asyncio.Event()

        async def live() -> None:
            async with self.home.daemon() as daemon:
                started.set_result(daemon)
                await self.stop.wait()

        self.life = asyncio.create_task(live())
        either: set[asyncio.Future[Any]] = {self.life, started}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self.daemon = started.result()

    async def end(self) -> None:
        self.stop.set()
        await self.life

    @rule(ms=st.integers(SECOND, MINUTE), times=st.integers(1, 8))
    def live(self, ms: int, times: int) -> None:
        for _ in range(times):
            self.run(pass_time(self.daemon, self.home, ms))

    @rule(ms=st.sampled_from([SECOND, HOUR, 5 * HOUR]))
    def sleep(self, ms: int) -> None:
        """A suspend: the monotonic clock stops."""
        self.clock.step(ms)
        self.run(pass_time(self.daemon, self.home, SECOND))

    def set_clock(self, ms: int) -> None:
        """Step by `ms`, or as far back as is allowed."""
        self.latest = max(self.latest, self.clock.now())
        self.clock.step(max(ms, self.latest - self.most_back - self.clock.now()))

    @rule(ms=st.integers(-3 * HOUR, 3 * HOUR))
    def step(self, ms: int) -> None:
        self.set_clock(ms)
        self.run(pass_time(self.daemon, self.home, SECOND))

    @rule(down_ms=st.sampled_from([0, MINUTE, 6 * HOUR]), ms=st.integers(-3 * HOUR, 0))
    def restart(self, down_ms: int, ms: int) -> None:
        self.run(self.end())
        self.clock.advance(down_ms)
        self.set_clock(ms)
        self.run(self.start())
        self.run(pass_time(self.daemon, self.home, SECOND))

    @rule(number=st.integers(0, 9))
    def edit(self, number: int) -> None:
        """A change of the payload moves nothing, whenever it comes."""
        self.edits += 1
        schedule = self.schedules[number % len(self.schedules)]
        edit = ScheduleEdit(push={"payload": b"%d" % self.edits})
        before = self.run(stored(self.daemon, schedule))
        after = self.run(self.daemon.engine.schedules.edit(ById(schedule.id), edit, allowed))
        assert (after.next_at, after.seen_at) == (before.next_at, before.seen_at)

    @rule(number=st.integers(0, 9), text=st.sampled_from(RULES), zone=st.sampled_from(ZONES))
    def change(self, number: int, text: str, zone: str) -> None:
        """Another rule: its times count from now."""
        number %= len(self.schedules)
        edit = ScheduleEdit(spec={"rule": text, "zone": zone})
        before = self.run(stored(self.daemon, self.schedules[number]))
        work = self.daemon.engine.schedules.edit(ById(before.id), edit, allowed)
        self.begin_anew(number, self.run(work))

    @rule(number=st.integers(0, 9), ms=st.integers(0, 2 * HOUR))
    def pause(self, number: int, ms: int) -> None:
        """What passes during a pause is not made up for."""
        number %= len(self.schedules)
        before = self.run(stored(self.daemon, self.schedules[number]))
        self.run(self.daemon.engine.schedules.pause(ById(before.id)))
        self.run(pass_time(self.daemon, self.home, ms + 1))
        work = self.daemon.engine.schedules.resume(ById(before.id))
        self.begin_anew(number, self.run(work))

    def begin_anew(self, number: int, now: Schedule) -> None:
        jobs = self.run(jobs_of(self.daemon, now))
        self.since[now.id] = (now.seen_at, len(jobs))
        self.schedules[number] = now

    @invariant()
    def each_time_once(self) -> None:
        for schedule in self.schedules:
            jobs = self.run(jobs_of(self.daemon, schedule))
            firings = [job.firing for job in jobs if job.firing is not None]
            times = [firing.at for firing in firings if firing.at is not None]
            assert len(times) == len(set(times)) == len(jobs)
            seen_at, number = self.since[schedule.id]
            found = timing(schedule.spec, schedule.anchor_at)
            assert all(found.next(at - 1) == at for at in times[number:])
            now = self.run(stored(self.daemon, schedule))
            self.follows_policy(schedule.spec.misfire, jobs[self.judged.get(schedule.id, 0) :])
            self.judged[schedule.id] = len(jobs)
            self.accounts(schedule, now, seen_at, firings[number:])

    def follows_policy(self, misfire: Misfire, jobs: list[Job]) -> None:
        """What one step of the clock made: nothing a policy would not make of it."""
        made = [job.firing for job in jobs if job.firing and not is_skip(job)]
        caught_up = [firing.missed for firing in made if firing.missed]
        if misfire is Misfire.ALL:
            assert all(missed == 1 for missed in caught_up[1:])
            assert len(caught_up) <= MOST_CAUGHT_UP
        else:
            # A restart may find one wrong time, and the time after it another.
            assert len(caught_up) <= (2 if misfire is Misfire.ONCE else 0)
        assert len(made) == len(jobs) or misfire is Misfire.SKIP

    def accounts(self, made: Schedule, now: Schedule, seen_at: int, firings: list[Firing]) -> None:
        found = timing(made.spec, made.anchor_at)
        assert sum(firing.missed or 1 for firing in firings) == found.count(seen_at, now.seen_at)
        assert now.next_at == found.next(now.seen_at)
        # What is due has fired; and a clock that went back catches up with what has.
        assert now.next_at is not None
        assert now.next_at > self.clock.now()

    def teardown(self) -> None:
        if hasattr(self, "daemon"):
            self.run(self.end())
        self.run(self.stack.aclose())
        self.runner.close()


class Corrections(Clocks):
    """Clocks that are set back by hours: nothing fires twice, and nothing falls silent."""

    most_back = 20 * HOUR

    @rule(ms=st.integers(-20 * HOUR, 20 * HOUR))
    def correct(self, ms: int) -> None:
        self.clock.step(ms)
        self.run(pass_time(self.daemon, self.home, SECOND))

    def accounts(self, made: Schedule, now: Schedule, seen_at: int, firings: list[Firing]) -> None:
        assert now.next_at is not None
        found = timing(made.spec, made.anchor_at)
        soon = found.next(self.clock.now() + 3 * HOUR)
        assert soon is not None
        assert self.clock.now() < now.next_at <= soon


def run(machine: type[Clocks]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_time_is_accounted_for_once() -> None:
    run(Clocks)


def test_a_corrected_clock_fires_nothing_twice_and_silences_nothing() -> None:
    run(Corrections)
