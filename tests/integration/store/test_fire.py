"""Firing schedules: which jobs are made, which are skipped or dropped, and where it leads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from lq.daemon.store import Fire, Store
from lq.model import (
    ById,
    Firing,
    Job,
    JobFilter,
    LastJob,
    Overlap,
    Push,
    PushOutcome,
    Schedule,
    State,
)
from tests.clock import START
from tests.support.jobs import (
    HOUR,
    all_of,
    assert_counts,
    claim,
    expire,
    fail,
    new_fire,
    new_job,
    new_schedule,
    succeed,
)


async def put(store: Store, **members: Any) -> Schedule:
    schedule = new_schedule(**members)
    await store.put_schedule(schedule)
    return schedule


async def now(store: Store, schedule: Schedule) -> Schedule:
    """The schedule as it is stored now."""
    found = await store.schedule(ById(schedule.id))
    assert found is not None
    return found


async def fire(store: Store, *fires: Fire) -> list[Job]:
    return await store.fire(fires, START)


async def history(store: Store, schedule: Schedule) -> list[Job]:
    """All jobs of a schedule, in the order they were made."""
    wanted = JobFilter(schedule=schedule.id)
    jobs = await all_of(store.unfinished, wanted) + await all_of(store.finished, wanted)
    return sorted(jobs, key=lambda job: job.seq)


# -- what it makes -------------------------------------------------------------------------------


async def test_a_job_is_made_and_the_schedule_goes_on(store: Store) -> None:
    schedule = await put(store, fired=4, last_at=START - HOUR)
    one = new_fire(schedule, START)
    [job] = await fire(store, one)
    assert job.id == one.jobs[0].id
    assert job.firing == Firing(schedule.id, START)
    assert await store.get(ById(job.id)) == job
    assert await now(store, schedule) == replace(
        schedule,
        seen_at=START,
        next_at=START + HOUR,
        fired=5,
        last_at=START,
        last=LastJob(id=job.id, state=State.PENDING, queue=job.queue),
    )
    [run] = await claim(store)
    assert run.job == replace(job, state=State.RUNNING, run_id=run.id)
    await store.settle(fail(run))
    retried = await store.get(ById(job.id))
    assert retried is not None
    assert retried.firing == job.firing
    await assert_counts(store)


async def test_the_jobs_of_all_schedules_come_in_their_order(store: Store) -> None:
    schedules = [await put(store, push=Push(queue=f"q{n % 3}", payload=b"")) for n in range(200)]
    fires = [new_fire(one, START - 2, START - 1, START) for one in schedules]
    made = await fire(store, *fires)
    assert [job.id for job in made] == [new.id for one in fires for new in one.jobs]
    assert all([await store.get(ById(job.id)) == job for job in made])
    for schedule in schedules:
        found = await now(store, schedule)
        assert (found.fired, found.last_at, found.next_at) == (3, START, START + HOUR)
    await assert_counts(store)


async def test_a_catch_up_says_for_how_many_it_stands(store: Store) -> None:
    schedule = await put(store)
    one = new_fire(schedule, START)
    late = replace(one.jobs[0], firing=Firing(schedule.id, START, missed=12))
    [job] = await fire(store, replace(one, jobs=(late,)))
    [run] = await claim(store)
    assert run.job.firing == Firing(schedule.id, START, missed=12)
    assert (await now(store, schedule)).fired == 1
    assert job.id == run.job.id


async def test_a_time_may_be_passed_over(store: Store) -> None:
    schedule = await put(store)
    assert await fire(store, new_fire(schedule, seen_at=START, next_at=START + 5)) == []
    assert await now(store, schedule) == replace(schedule, seen_at=START, next_at=START + 5)
    assert await store.queues() == []


async def test_it_brings_a_deleted_queue_back(store: Store) -> None:
    await store.push(new_job())
    await store.delete_queue("q", START, force=True)
    await fire(store, new_fire(await put(store), START))
    queue = await store.queue("q")
    assert queue is not None
    assert queue.counts.pending == 1


# -- what is left alone --------------------------------------------------------------------------


async def test_a_schedule_that_is_somewhere_else_is_left_alone(store: Store) -> None:
    schedule, other = await put(store), await put(store)
    stale = new_fire(schedule, START, seen_before=schedule.seen_at + 1)
    gone = new_fire(new_schedule(), START)
    made = await fire(store, stale, gone, new_fire(other, START))
    assert [job.firing for job in made] == [Firing(other.id, START)]
    assert await now(store, schedule) == schedule
    assert await history(store, schedule) == []


async def test_one_of_two_fires_at_one_moment_applies(store: Store) -> None:
    schedule = await put(store)
    first, second = new_fire(schedule, START), new_fire(schedule, START + 1)
    answers = await asyncio.gather(fire(store, first), fire(store, second))
    assert [len(made) for made in answers] == [1, 0]
    assert (await now(store, schedule)).seen_at == START


async def test_a_paused_schedule_is_left_alone(store: Store) -> None:
    schedule = await put(store, paused=True, next_at=None)
    passing = new_fire(schedule, seen_at=START, next_at=START + HOUR)
    assert await fire(store, new_fire(schedule, START), passing) == []
    assert await now(store, schedule) == schedule


# -- one job for a nominal time ------------------------------------------------------------------


@pytest.mark.parametrize("finish", [False, True])
async def test_a_time_that_has_its_job_makes_no_other(store: Store, finish: bool) -> None:
    """The clock went back, and the schedule with it."""
    schedule = await put(store)
    [first] = await fire(store, new_fire(schedule, START))
    if finish:
        [run] = await claim(store)
        await store.settle(succeed(run))
    before = await now(store, schedule)
    await fire(store, new_fire(before, seen_at=schedule.seen_at, next_at=START))
    back = await now(store, schedule)
    made = await fire(store, new_fire(back, START - 7, START, START + HOUR))
    assert [job.firing and job.firing.at for job in made] == [START - 7, START + HOUR]
    found = await now(store, schedule)
    assert (found.fired, found.last_at) == (3, START + HOUR)
    assert [job.id for job in await history(store, schedule)] == [first.id, *(j.id for j in made)]
    await assert_counts(store)


async def test_an_earlier_time_made_later_is_not_the_last_one(store: Store) -> None:
    schedule = await put(store, last_at=START + HOUR)
    [job] = await fire(store, new_fire(schedule, START))
    found = await now(store, schedule)
    assert (found.last_at, found.last and found.last.id) == (START + HOUR, job.id)


async def test_a_time_twice_in_one_fire_makes_one_job(store: Store) -> None:
    schedule = await put(store)
    [job] = await fire(store, new_fire(schedule, START, START))
    assert [one.id for one in await history(store, schedule)] == [job.id]
    assert (await now(store, schedule)).fired == 1


async def test_schedules_may_share_a_time(store: Store) -> None:
    schedules = [await put(store) for _ in range(3)]
    assert len(await fire(store, *(new_fire(one, START) for one in schedules))) == 3


async def test_what_was_skipped_is_not_made_later(store: Store) -> None:
    schedule = await put(store, overlap=Overlap.SKIP)
    await fire(store, new_fire(schedule, START))
    await fire(store, new_fire(await now(store, schedule), START + HOUR))
    [run] = await claim(store)
    await store.settle(succeed(run))
    await fire(store, new_fire(await now(store, schedule), seen_at=START, next_at=START + HOUR))
    assert await fire(store, new_fire(await now(store, schedule), START + HOUR)) == []


# -- overlap -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["waits", "retries", "runs", "was cancelled while it ran"])
async def test_no_job_is_made_while_one_is_unfinished(store: Store, state: str) -> None:
    schedule = await put(store, overlap=Overlap.SKIP)
    [first] = await fire(store, new_fire(schedule, START))
    if state != "waits":
        [run] = await claim(store)
    if state == "retries":
        await store.settle(fail(run))
    if state == "was cancelled while it ran":
        await store.cancel(ById(first.id), START)
    before = await now(store, schedule)
    assert await fire(store, new_fire(before, START + HOUR)) == []
    [_, skipped] = await history(store, schedule)
    assert (skipped.state, skipped.finished_at) == (State.CANCELLED, START)
    assert skipped.error == f"overlap: item {first.id} of this schedule is unfinished"
    assert skipped.firing == Firing(schedule.id, START + HOUR)
    found = await now(store, schedule)
    assert found == replace(before, seen_at=START + HOUR, next_at=START + 2 * HOUR)
    await assert_counts(store)


@pytest.mark.parametrize("end", ["succeeds", "is cancelled", "is cancelled while it runs"])
async def test_the_next_one_is_made_once_it_has_ended(store: Store, end: str) -> None:
    schedule = await put(store, overlap=Overlap.SKIP)
    [job] = await fire(store, new_fire(schedule, START))
    if end == "is cancelled":
        await store.cancel(ById(job.id), START)
    else:
        [run] = await claim(store)
        if end == "is cancelled while it runs":
            await store.cancel(ById(job.id), START)
        await store.settle(succeed(run))
    assert len(await fire(store, new_fire(await now(store, schedule), START + HOUR))) == 1


async def test_of_the_times_of_one_fire_only_the_first_is_made(store: Store) -> None:
    schedule = await put(store, overlap=Overlap.SKIP)
    [job] = await fire(store, new_fire(schedule, START - 2, START - 1, START))
    assert job.firing == Firing(schedule.id, START - 2)
    made, *skipped = await history(store, schedule)
    assert made.id == job.id
    assert [one.error for one in skipped] == [
        f"overlap: item {job.id} of this schedule is unfinished"
    ] * 2
    found = await now(store, schedule)
    assert (found.fired, found.last_at, found.seen_at) == (1, START - 2, START)
    assert found.last == LastJob(id=job.id, state=State.PENDING, queue=job.queue)


async def test_the_jobs_of_others_are_no_overlap(store: Store) -> None:
    await store.push(new_job())
    await fire(store, new_fire(await put(store), START))
    schedule = await put(store, overlap=Overlap.SKIP)
    assert len(await fire(store, new_fire(schedule, START))) == 1


async def test_overlap_goes_by_what_the_schedule_says_now(store: Store) -> None:
    schedule = await put(store)
    await fire(store, new_fire(schedule, START))
    before = await now(store, schedule)
    await store.put_schedule(replace(before, spec=replace(before.spec, overlap=Overlap.SKIP)))
    assert await fire(store, new_fire(before, START + HOUR)) == []


# -- jobs that come as skipped -------------------------------------------------------------------


async def test_a_skipped_job_goes_to_history_at_once(store: Store) -> None:
    new = new_job(skipped="misfire: 3 times were missed", claim=True, expires_at=START + 1)
    pushed = await store.push(new)
    assert (pushed.outcome, pushed.run) == (PushOutcome.CREATED, None)
    job = pushed.job
    assert (job.state, job.finished_at, job.error) == (State.CANCELLED, START, new.skipped)
    assert await store.get(ById(job.id)) == job
    assert job.payload == new.payload
    assert await store.attempts(ById(job.id)) == []
    assert await claim(store) == []
    assert await expire(store, START + 2, 10) == (0, None)
    await assert_counts(store)
    revived = await store.revive(ById(job.id), START + 3)
    assert revived is not None
    assert (revived.state, revived.error) == (State.PENDING, None)
    await assert_counts(store)


async def test_a_skipped_time_is_no_job_made(store: Store) -> None:
    schedule = await put(store, times=2)
    one = new_fire(schedule, START - 2, START - 1, START)
    skipped = replace(one.jobs[0], skipped="misfire: too late")
    made = await fire(store, replace(one, jobs=(skipped, *one.jobs[1:])))
    assert [job.id for job in made] == [new.id for new in one.jobs[1:]]
    [first, *_] = await history(store, schedule)
    assert (first.state, first.error) == (State.CANCELLED, "misfire: too late")
    found = await now(store, schedule)
    assert (found.fired, found.last_at, found.next_at) == (2, START, None)


async def test_what_comes_as_skipped_keeps_its_reason(store: Store) -> None:
    schedule = await put(store, overlap=Overlap.SKIP)
    one = new_fire(schedule, START - 1, START)
    late = replace(one.jobs[1], skipped="misfire: too late")
    await fire(store, replace(one, jobs=(one.jobs[0], late)))
    assert [job.error for job in await history(store, schedule)] == [None, "misfire: too late"]


# -- the end -------------------------------------------------------------------------------------


async def test_a_schedule_ends_after_its_times(store: Store) -> None:
    schedule = await put(store, times=3)
    await fire(store, new_fire(schedule, START))
    assert (await now(store, schedule)).next_at == START + HOUR
    made = await fire(store, new_fire(await now(store, schedule), START + 1, START + 2, START + 3))
    assert [job.firing and job.firing.at for job in made] == [START + 1, START + 2]
    ended = await now(store, schedule)
    assert (ended.fired, ended.next_at, ended.last_at) == (3, None, START + 2)
    assert await fire(store, new_fire(ended, START + 9)) == []
    found = await now(store, schedule)
    assert (found.fired, found.next_at) == (3, None)
    assert len(await history(store, schedule)) == 3


async def test_a_schedule_may_have_no_further_time(store: Store) -> None:
    schedule = await put(store)
    await fire(store, new_fire(schedule, START, next_at=None))
    assert (await now(store, schedule)).next_at is None
    assert await store.next_schedule() is None


async def test_a_reason_pauses_it(store: Store) -> None:
    schedule = await put(store)
    made = await fire(store, new_fire(schedule, START, reason="unknown zone Mars/Phobos"))
    assert len(made) == 1
    found = await now(store, schedule)
    assert (found.paused, found.next_at) == (True, None)
    assert (found.reason, found.seen_at, found.fired) == ("unknown zone Mars/Phobos", START, 1)
    assert await fire(store, new_fire(found, START + HOUR)) == []


# -- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [{}, {"paused": True, "next_at": None, "reason": "why"}, {"times": 2, "fired": 2}],
    ids=["active", "paused", "ended"],
)
async def test_a_run_by_hand_leaves_its_times_alone(store: Store, members: dict[str, Any]) -> None:
    await put(store, id="sch_1", last_at=START - HOUR, **members)
    schedule = await now(store, new_schedule(id="sch_1"))
    for _ in range(2):
        [job] = await fire(store, new_fire(schedule, None, next_at=START + 1))
        assert job.firing == Firing("sch_1", None)
        assert await store.get(ById(job.id)) == job
        last = LastJob(id=job.id, state=State.PENDING, queue=job.queue)
        assert await now(store, schedule) == replace(schedule, last=last)


async def test_a_run_by_hand_keeps_to_overlap(store: Store) -> None:
    schedule = await put(store, overlap=Overlap.SKIP)
    [job] = await fire(store, new_fire(schedule, None))
    assert await fire(store, new_fire(schedule, None)) == []
    assert await fire(store, new_fire(schedule, START)) == []
    errors = {one.error for one in await all_of(store.finished)}
    assert errors == {f"overlap: item {job.id} of this schedule is unfinished"}


async def test_by_hand_and_by_time_at_one_moment(store: Store) -> None:
    schedule = await put(store)
    made = await fire(
        store,
        new_fire(schedule, None),
        new_fire(schedule, START),
        new_fire(replace(schedule, seen_at=START), START + HOUR),
        new_fire(replace(schedule, seen_at=START + HOUR), None),
    )
    times = [job.firing and job.firing.at for job in made]
    assert times == [None, START, START + HOUR, None]
    found = await now(store, schedule)
    assert (found.fired, found.seen_at, found.next_at) == (2, START + HOUR, START + 2 * HOUR)
    assert found.last == LastJob(id=made[-1].id, state=State.PENDING, queue="q")


# -- the jobs of a schedule ----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_the_jobs_of_a_schedule_are_listed(store: Store, limit: int) -> None:
    schedules = [await put(store, push=Push(queue=f"q{n}", payload=b"")) for n in range(3)]
    made: list[Job] = []
    for hour in range(9):
        at = START + hour * HOUR
        made += await fire(store, *[new_fire(await now(store, one), at) for one in schedules])
        await store.push(new_job(queue=f"q{hour % 3}"))
    for queue in ("q0", "q1", "q2"):
        runs = await claim(store, queue, limit=6)
        for n, run in enumerate(runs[:4]):
            await store.settle((succeed, fail)[n % 2](run, START + n))
    for n, schedule in enumerate(schedules):
        expected = {job.id for job in made if job.firing and job.firing.schedule == schedule.id}
        plain = JobFilter(schedule=schedule.id, limit=limit)
        for wanted in (
            plain,
            replace(plain, queue=f"q{n}"),
            replace(plain, queues=("q*",)),
            replace(plain, queue=f"q{n}", queues=("q[012]",)),
        ):
            unfinished = await all_of(store.unfinished, wanted)
            finished = await all_of(store.finished, wanted)
            assert len({job.id for job in unfinished}) == len(unfinished)
            assert len(finished) > 0
            assert {job.id for job in [*unfinished, *finished]} == expected
            assert {job.state for job in unfinished} == {State.RUNNING, State.PENDING}
            order = [(job.finished_at or 0, job.seq) for job in finished]
            assert order == sorted(order, reverse=True)
            retried = await all_of(store.unfinished, replace(wanted, state="RETRY"))
            assert retried == [job for job in unfinished if job.failures]
        elsewhere = JobFilter(schedule=schedule.id, queue=f"q{(n + 1) % 3}")
        assert await all_of(store.unfinished, elsewhere) == []
        assert await all_of(store.finished, elsewhere) == []
    for listing in (store.unfinished, store.finished):
        assert await all_of(listing, JobFilter(schedule="sch_none")) == []
