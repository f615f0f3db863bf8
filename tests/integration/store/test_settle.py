"""Settle: what becomes of a job at the end of its run, and of the ends of runs that are no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from lq.daemon.store import Store
from lq.model import (
    MOVES,
    ById,
    Job,
    Outcome,
    OutcomeKind,
    Run,
    Settlement,
    State,
)
from tests.clock import START
from tests.support.jobs import (
    FAR,
    assert_counts,
    bury,
    claim,
    fail,
    interrupt,
    new_job,
    push_running,
    release,
    succeed,
)

from .conftest import OpenStore

End = Callable[[Run], Settlement]
ENDS: list[End] = [succeed, fail, bury, release, interrupt]


async def get(store: Store, run: Run) -> Job:
    job = await store.get(ById(run.job.id))
    assert job is not None
    return job


@pytest.mark.parametrize("end", ENDS)
async def test_each_end_moves_the_job_as_the_state_machine_says(store: Store, end: End) -> None:
    run = await push_running(store)
    settlement = end(run)
    settled = await store.settle(settlement)
    state = MOVES[settlement.verb].to
    assert (settled.applied, settled.verb, settled.state) == (True, settlement.verb, state)
    job = await get(store, run)
    assert (job.state, job.run_id, job.error) == (state, None, settlement.error)
    assert (job.failures, job.interruptions) == (settlement.failures, settlement.interruptions)
    assert job.finished_at == (None if state is State.PENDING else START)
    assert (job.created_at, job.not_before, job.payload) == (START, START, b"payload")
    await assert_counts(store)


async def test_a_failed_run_waits_for_its_retry(store: Store) -> None:
    run = await push_running(store)
    await store.settle(fail(run, START + 5, due_at=START + 500))
    job = await get(store, run)
    assert (job.due_at, job.not_before, job.last_status) == (START + 500, START, 500)
    assert await claim(store, now=START + 499) == []
    [again] = await claim(store, now=START + 500)
    assert (again.job.id, again.job.attempt) == (job.id, 2)
    assert again.id > run.id


async def test_what_was_called_is_remembered(store: Store) -> None:
    run = await push_running(store)
    outcome = Outcome(
        kind=OutcomeKind.FAILED, status=503, error="status 503: no", body=b"\xff\x00no",
        headers={"Retry-After": "1", "X": "ü"}, truncated=True,
    )  # fmt: skip
    await store.settle(replace(fail(run, START + 42), outcome=outcome))
    [attempt] = await store.attempts(ById(run.job.id)) or []
    assert (attempt.started_at, attempt.ended_at) == (START, START + 42)
    assert (attempt.outcome, attempt.status, attempt.error) == ("failed", 503, "status 503: no")
    assert (attempt.body, attempt.truncated) == (b"\xff\x00no", True)
    assert dict(attempt.headers) == {"Retry-After": "1", "X": "ü"}


async def test_a_run_that_called_nothing_is_forgotten(store: Store) -> None:
    run = await push_running(store)
    await store.settle(release(run, due_at=START + 9))
    assert await store.attempts(ById(run.job.id)) == []
    job = await get(store, run)
    assert (job.due_at, job.error, job.attempt) == (START + 9, "held", 1)


async def test_an_interruption_is_remembered_but_costs_no_attempt(store: Store) -> None:
    run = await push_running(store)
    await store.settle(interrupt(run))
    [again] = await claim(store)
    assert (again.job.attempt, again.job.interruptions) == (1, 1)
    attempts = await store.attempts(ById(run.job.id)) or []
    assert [(a.n, a.outcome) for a in attempts] == [(1, "interrupted"), (1, None)]


@pytest.mark.parametrize("end", [succeed, fail, bury])
async def test_only_interruptions_in_a_row_are_counted(store: Store, end: End) -> None:
    run = await push_running(store)
    for number in (1, 2):
        await store.settle(interrupt(run))
        [run] = await claim(store)
        assert run.job.interruptions == number
    await store.settle(end(run))
    assert (await get(store, run)).interruptions == 0


async def test_a_failure_without_a_status_keeps_the_last_one(store: Store) -> None:
    run = await push_running(store)
    await store.settle(fail(run))
    [again] = await claim(store, now=START + 1000)
    broken = Outcome(kind=OutcomeKind.FAILED, error="closed")
    await store.settle(replace(fail(again, START + 1000), outcome=broken))
    assert (await get(store, run)).last_status == 500


async def test_many_ends_at_one_moment(store: Store) -> None:
    runs = [await push_running(store, queue=f"q{n % 2}") for n in range(100)]
    ends = [ENDS[n % len(ENDS)](run) for n, run in enumerate(runs)]
    settled = await asyncio.gather(*map(store.settle, ends))
    for run, end, answer in zip(runs, ends, settled, strict=True):
        assert answer.applied
        assert (await get(store, run)).state is MOVES[end.verb].to
    await assert_counts(store)


@pytest.mark.parametrize("end", ENDS)
async def test_a_late_end_is_remembered_and_changes_nothing(store: Store, end: End) -> None:
    """The job was cancelled while it was called: what came of that is history."""
    run = await push_running(store)
    cancelled = await store.cancel(ById(run.job.id), START)
    settled = await store.settle(end(run))
    assert not settled.applied
    assert await get(store, run) == cancelled
    called = end(run).outcome
    attempts = await store.attempts(ById(run.job.id)) or []
    assert [attempt.outcome for attempt in attempts] == ([called.kind] if called else [])
    await assert_counts(store)


@pytest.mark.parametrize("end", ENDS)
async def test_the_end_of_a_cancelled_run(store: Store, end: End) -> None:
    run = await push_running(store)
    cancelled = await store.cancel(ById(run.job.id), START + 1)
    assert cancelled is not None
    assert not (await store.settle(end(run))).applied
    assert await get(store, run) == cancelled
    await assert_counts(store)


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
async def test_a_run_ends_once(store: Store, first: End, second: End) -> None:
    run = await push_running(store)
    await store.settle(first(run))
    job, attempts = await get(store, run), await store.attempts(ById(run.job.id))
    assert not (await store.settle(second(run))).applied
    assert await get(store, run) == job
    assert await store.attempts(ById(run.job.id)) == attempts
    await assert_counts(store)


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
async def test_a_run_that_ends_twice_at_one_moment(store: Store, first: End, second: End) -> None:
    run = await push_running(store)
    settled = await asyncio.gather(store.settle(first(run)), store.settle(second(run)))
    assert [one.applied for one in settled] == [True, False]
    assert (await get(store, run)).state is MOVES[first(run).verb].to
    await assert_counts(store)


@pytest.mark.parametrize("late_first", [True, False])
@pytest.mark.parametrize("late", ENDS)
@pytest.mark.parametrize("live", ENDS)
async def test_a_late_end_and_the_right_one_at_one_moment(
    store: Store, late: End, live: End, late_first: bool
) -> None:
    old = await push_running(store)
    await store.settle(release(old))
    [run] = await claim(store)
    ends = [late(old), live(run)] if late_first else [live(run), late(old)]
    settled = await asyncio.gather(*map(store.settle, ends))
    assert [one.applied for one in settled] == [not late_first, late_first]
    assert (await get(store, old)).state is MOVES[live(run).verb].to
    await assert_counts(store)


async def test_an_end_and_a_cancel_at_one_moment(store: Store) -> None:
    """Either may win; the job is in one state, and the answers agree with it."""
    for _ in range(10):
        run = await push_running(store)
        settled, cancelled = await asyncio.gather(
            store.settle(fail(run)), store.cancel(ById(run.job.id), START)
        )
        assert cancelled is not None
        assert cancelled.state is State.CANCELLED
        assert settled.state is State.PENDING
        assert await get(store, run) == cancelled
        await assert_counts(store)


async def test_a_second_end_of_a_run_whose_job_was_forgotten(store: Store) -> None:
    run = await push_running(store)
    await store.settle(succeed(run))
    assert await store.prune(START + 1, FAR, 10) == 1
    assert not (await store.settle(fail(run))).applied
    assert await store.get(ById(run.job.id)) is None


async def test_orphans_are_what_ran_in_due_order(opened: OpenStore) -> None:
    async with opened() as store:
        late = await push_running(store, created_at=START + 1)
        early = await push_running(store, created_at=START)
        ended = await push_running(store)
        await store.settle(succeed(ended))
        gone = await push_running(store)
        await store.cancel(ById(gone.job.id), START)
        await store.push(new_job())
        assert await store.orphans(START) == [early, late]
    async with opened() as store:
        assert await store.orphans(START) == [early, late]
        for run in (early, late):
            assert (await store.settle(interrupt(run))).applied
        assert await store.orphans(START) == []
        await assert_counts(store)
