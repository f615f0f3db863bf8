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
from lq.model import ById, Misfire, QueueEdit, Schedule, ScheduleEdit
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
LONGEST = DAY


class Clocks(RuleBasedStateMachine):
    """Clocks that step by at most `most_back` at a time; each time is accounted for once."""

    most_back = 3 * HOUR

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.schedules: list[Schedule] = []
        self.edits = 0

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
            self.schedules.append(self.run(made))

    async def open(self) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="lq")))
        handler = Handler(self.clock, open_ring(folder, self.clock).newest)
        await self.stack.enter_async_context(handler)
        self.home = Home(folder, self.clock, handler)
        await self.start()
        for queue in ("q", "canary"):  # what is called is not the question here
            await self.daemon.engine.edit_queue(queue, QueueEdit(paused=True))

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

    @rule(ms=st.integers(-3 * HOUR, 3 * HOUR))
    def step(self, ms: int) -> None:
        self.clock.step(max(ms, -self.most_back))
        self.run(pass_time(self.daemon, self.home, SECOND))

    @rule(down_ms=st.sampled_from([0, MINUTE, 6 * HOUR]), ms=st.integers(-3 * HOUR, 0))
    def restart(self, down_ms: int, ms: int) -> None:
        self.run(self.end())
        self.clock.advance(down_ms)
        self.clock.step(max(ms, -self.most_back))
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

    @invariant()
    def each_time_once(self) -> None:
        for schedule in self.schedules:
            jobs = self.run(jobs_of(self.daemon, schedule))
            firings = [job.firing for job in jobs if job.firing is not None]
            times = [firing.at for firing in firings if firing.at is not None]
            assert len(times) == len(set(times)) == len(jobs)
            found = timing(schedule.spec, schedule.anchor_at)
            assert all(found.next(at - 1) == at for at in times)
            now = self.run(stored(self.daemon, schedule))
            made = [job for job in jobs if not is_skip(job)]
            assert now.fired == len(made)
            self.accounts(schedule, now, [firing.missed or 1 for firing in firings])

    def accounts(self, made: Schedule, now: Schedule, numbers: list[int]) -> None:
        found = timing(made.spec, made.anchor_at)
        assert sum(numbers) == found.count(made.created_at, now.seen_at)
        assert now.next_at == found.next(now.seen_at)
        assert now.next_at is not None
        # What is due has fired; and a clock that went back catches up with what has.
        assert now.next_at > self.clock.now()
        if made.spec.misfire is Misfire.ALL:
            assert sum(number > 1 for number in numbers) == 0 or len(numbers) >= MOST_CAUGHT_UP

    def teardown(self) -> None:
        if hasattr(self, "daemon"):
            self.run(self.end())
        self.run(self.stack.aclose())
        self.runner.close()


class Corrections(Clocks):
    """Clocks that are set back by hours: nothing fires twice, and nothing falls silent."""

    most_back = DAY

    @rule(ms=st.integers(-20 * HOUR, 20 * HOUR))
    def correct(self, ms: int) -> None:
        self.step_by(ms)

    def step_by(self, ms: int) -> None:
        self.clock.step(ms)
        self.run(pass_time(self.daemon, self.home, SECOND))

    def accounts(self, made: Schedule, now: Schedule, numbers: list[int]) -> None:
        assert now.next_at is not None
        found = timing(made.spec, made.anchor_at)
        soon = found.next(self.clock.now() + 3 * HOUR)
        assert soon is not None
        assert self.clock.now() < now.next_at <= soon


def run(machine: type[Clocks]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_time_is_accounted_for_once() -> None:
    run(Clocks)


def test_a_corrected_clock_fires_nothing_twice_and_silences_nothing() -> None:
    run(Corrections)
