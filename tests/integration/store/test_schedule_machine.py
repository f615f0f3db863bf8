"""Random verbs on schedules, stale ones among them, against a model in plain Python.

After each step the store must hold the schedules the model holds, one job for each schedule and
nominal time, and count those it made.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from lq.daemon.store import Fire, Store
from lq.errors import KeyExists
from lq.model import ById, Firing, Job, JobFilter, Overlap, Push, Run, Schedule, State
from tests.clock import START
from tests.support.jobs import (
    all_of,
    assert_counts,
    claim,
    fail,
    new_job,
    new_schedule,
    release,
    succeed,
)

from .conftest import Opener

T = TypeVar("T")

ENDS = {end.__name__: end for end in (succeed, fail, release)}
PICK = st.integers(0, 10**6)
# Few instants, so that they come again and again; None is a run by hand.
FIRES = st.tuples(
    PICK, st.lists(st.none() | st.integers(0, 6), max_size=3), st.sampled_from([None, None, "why"])
)


class Verbs(RuleBasedStateMachine):
    """The store beside its model. Shape: the model's schedules hold no `last`; `last` does."""

    opener: Opener

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.known: dict[str, Schedule] = {}
        self.last: dict[str, str] = {}
        self.runs: list[Run] = []
        # What each schedule has stored for a nominal time or by hand: was it made, or skipped?
        self.jobs: dict[str, list[tuple[int | None, bool]]] = {}
        self.mark: int | None = None
        self.reopen()

    def reopen(self) -> None:
        self.opened = AsyncExitStack()
        store = type(self).opener(Path(self.folder.name) / "data")
        self.store: Store = self.do(self.opened.enter_async_context(store))

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.do(self.opened.aclose())
            self.loop.close()
            self.folder.cleanup()

    def do(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.loop.run(awaited())

    # -- the verbs ---------------------------------------------------------------------------

    @rule(
        key=st.sampled_from([None, "a", "b"]),
        overlap=st.sampled_from(Overlap),
        times=st.sampled_from([None, None, 2, 4]),
        paused=st.booleans(),
        change=st.none() | PICK,
    )
    def put(
        self,
        *,
        key: str | None,
        overlap: Overlap,
        times: int | None,
        paused: bool,
        change: int | None,
    ) -> None:
        wanted = new_schedule(
            key=key, overlap=overlap, times=times, paused=paused, seen_at=START,
            next_at=START + 1, push=Push(queue="q", payload=b"%d" % len(self.known)),
        )  # fmt: skip
        if change is not None and self.known:
            before = self.picked(change)
            wanted = replace(wanted, id=before.id, fired=before.fired, last_at=before.last_at)
        taken = key is not None and any(
            one.spec.key == key for one in self.known.values() if one.id != wanted.id
        )
        try:
            self.do(self.store.put_schedule(wanted))
        except KeyExists:
            assert taken
            return
        assert not taken
        never_due = wanted.paused or ended(wanted)
        self.known[wanted.id] = replace(wanted, next_at=None) if never_due else wanted
        self.jobs.setdefault(wanted.id, [])

    def picked(self, pick: int) -> Schedule:
        return list(self.known.values())[pick % len(self.known)]

    @rule(pick=PICK)
    @precondition(lambda self: self.known)
    def delete(self, pick: int) -> None:
        gone = self.picked(pick).id
        assert self.do(self.store.delete_schedule(gone))
        del self.known[gone], self.jobs[gone]
        self.last.pop(gone, None)

    @rule(wanted=st.lists(FIRES, min_size=1, max_size=3), stale=st.booleans())
    @precondition(lambda self: self.known)
    def fire(self, wanted: list[tuple[int, list[int | None], str | None]], stale: bool) -> None:
        """Fires as they were decided on, before any of them was done."""
        fires = [self.a_fire(*one, stale=stale) for one in wanted]
        mark = max(one.seen_at for one in fires)
        self.mark = max(mark, self.mark or mark)
        busy = self.busy()
        expected = [job_id for one in fires for job_id in self.fired(one, busy)]
        made = self.do(self.store.fire(fires, mark))
        assert [job.id for job in made] == expected

    def a_fire(self, pick: int, times: list[int | None], reason: str | None, stale: bool) -> Fire:
        schedule = self.picked(pick)
        seen_at = max((START + at for at in times if at is not None), default=schedule.seen_at)
        return Fire(
            id=schedule.id,
            seen_before=schedule.seen_at - stale,
            seen_at=seen_at,
            next_at=seen_at + 1,
            jobs=tuple(
                new_job(firing=Firing(schedule.id, None if at is None else START + at))
                for at in times
            ),
            reason=reason,
        )

    def busy(self) -> set[str]:
        """The schedules that have a job which is unfinished, or cancelled but still called."""
        jobs = self.do(all_of(self.store.unfinished)) + [run.job for run in self.runs]
        return {job.firing.schedule for job in jobs if job.firing}

    def fired(self, fire: Fire, busy: set[str]) -> list[str]:
        """Do to the model what a Fire asks for; the ids of the jobs it is to make."""
        schedule = self.known[fire.id]
        times = [(new.id, new.firing.at) for new in fire.jobs if new.firing]
        by_hand = times != [] and {at for _, at in times} == {None}
        if fire.seen_before != schedule.seen_at or (schedule.paused and not by_hand):
            return []
        made = []
        for job_id, at in times:
            has_one = at in {earlier for earlier, _ in self.jobs[fire.id]}
            if at is not None and (ended(schedule) or has_one):
                continue
            skipped = schedule.spec.overlap is Overlap.SKIP and fire.id in busy
            self.jobs[fire.id].append((at, not skipped))
            if skipped:
                continue
            busy.add(fire.id)
            made.append(job_id)
            self.last[fire.id] = job_id
            if at is not None:
                newest = max(at, schedule.last_at or at)
                schedule = replace(schedule, fired=schedule.fired + 1, last_at=newest)
        if not by_hand:
            next_at = None if ended(schedule) else fire.next_at
            schedule = replace(schedule, seen_at=fire.seen_at, next_at=next_at)
        if fire.reason:
            schedule = replace(schedule, paused=True, next_at=None, reason=fire.reason)
        self.known[fire.id] = schedule
        return made

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self.runs += self.do(claim(self.store, limit=limit))

    @rule(pick=PICK, end=st.sampled_from(sorted(ENDS)))
    @precondition(lambda self: self.runs)
    def settle(self, pick: int, end: str) -> None:
        run = self.runs.pop(pick % len(self.runs))
        self.do(self.store.settle(ENDS[end](run)))

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        jobs = self.do(all_of(self.store.unfinished))
        if jobs:
            self.do(self.store.cancel(ById(jobs[pick % len(jobs)].id), START))

    @rule(at=st.integers(0, 6))
    def set_clock_mark(self, at: int) -> None:
        self.mark = START + at
        self.do(self.store.set_clock_mark(self.mark))

    @rule()
    def restart(self) -> None:
        """Close and open; the calls under way have been lost, those of cancelled jobs, too."""
        self.do(self.opened.aclose())
        self.reopen()
        self.runs = self.do(self.store.orphans(START))

    # -- what must always hold ---------------------------------------------------------------

    @invariant()
    def the_schedules_are_what_the_model_says(self) -> None:
        for schedule_id, schedule in self.known.items():
            found = self.do(self.store.schedule(ById(schedule_id)))
            assert found is not None
            assert replace(found, last=None) == schedule
            assert (found.last and found.last.id) == self.last.get(schedule_id)
        due = self.do(self.store.due_schedules(START + 5, 100))
        times = {one.id: one.next_at for one in self.known.values() if one.next_at is not None}
        past = {schedule_id: at for schedule_id, at in times.items() if at <= START + 5}
        assert {one.id: one.next_at for one in due} == past
        assert [past[one.id] for one in due] == sorted(past.values())
        assert self.do(self.store.next_schedule()) == min(times.values(), default=None)
        assert self.do(self.store.clock_mark()) == self.mark

    @invariant()
    def each_has_one_job_for_a_time_and_counts_those_it_made(self) -> None:
        for schedule_id, schedule in self.known.items():
            wanted = JobFilter(schedule=schedule_id)
            jobs = self.do(all_of(self.store.unfinished, wanted))
            jobs += self.do(all_of(self.store.finished, wanted))
            found = [(job.firing.at, not skipped(job)) for job in jobs if job.firing]
            times = [at for at, _ in found if at is not None]
            assert len(times) == len(set(times))
            assert schedule.fired == sum(made for at, made in found if at is not None)
            assert sorted(map(repr, found)) == sorted(map(repr, self.jobs[schedule_id]))

    @invariant()
    def counts_are_right(self) -> None:
        self.do(assert_counts(self.store))


def ended(schedule: Schedule) -> bool:
    return schedule.spec.times is not None and schedule.fired >= schedule.spec.times


def skipped(job: Job) -> bool:
    return job.state is State.CANCELLED and (job.error or "").startswith("overlap: item ")


def test_random_verbs_agree_with_the_model(opener: Opener) -> None:
    class Machine(Verbs):
        pass

    Machine.opener = staticmethod(opener)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
