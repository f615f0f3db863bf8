"""Keys: one unprocessed job each, what a push does to it, and successors of those that run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from lq.daemon.store import ClaimRequest, ResolvedEdit, Store
from lq.errors import KeyExists
from lq.model import (
    ById,
    ByKey,
    Completion,
    Edit,
    IfExists,
    Job,
    JobFilter,
    NewJob,
    OutcomeKind,
    PushOutcome,
    RetryPolicy,
    State,
)
from tests.clock import START
from tests.support.jobs import (
    all_of,
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

KEY = ByKey("q", "k")
CHANGES: list[dict[str, Any]] = [
    {"payload": b"other"},
    {"payload": b""},
    {"target": "https://example.com/other"},
    {"method": "PUT"},
    {"headers": {"x-a": "1"}},
    {"content_type": "text/plain"},
    {"retry": RetryPolicy(4)},
    {"retry": RetryPolicy(3, (1, 2, 3))},
    {"timeout_ms": 1},
    {"labels": ("a",)},
    {"validate": False},
    {"completion": Completion.CALLBACK},
    {"expires_at": START + 10_000},
]


def keyed(**members: Any) -> NewJob:
    return new_job(**{"key": "k", **members})


def expiring(expires_ms: int, **members: Any) -> NewJob:
    created_at = members.get("created_at", START)
    return keyed(expires_at=created_at + expires_ms, expires_relative=True, **members)


async def get(store: Store, ref: ById | ByKey = KEY) -> Job:
    job = await store.get(ref)
    assert job is not None
    return job


@pytest.mark.parametrize("change", CHANGES)
async def test_replace_puts_new_content_in_the_same_place(
    store: Store, change: dict[str, Any]
) -> None:
    first = await store.push(keyed(delay_ms=1000))
    new = replace(keyed(created_at=START + 5, delay_ms=7), **change)
    pushed = await store.push(new)
    assert pushed.outcome is PushOutcome.REPLACED
    assert (pushed.job.id, pushed.job.seq) == (first.job.id, first.job.seq)
    assert pushed.job.created_at == START
    assert (pushed.job.not_before, pushed.job.due_at) == (START + 12, START + 12)
    for member, value in change.items():
        assert getattr(pushed.job, member) == value
    assert await get(store) == pushed.job
    assert len(await all_of(store.unfinished)) == 1
    await assert_counts(store)


async def test_replace_gives_a_fresh_budget(store: Store) -> None:
    run = await push_running(store, key="k")
    await store.settle(fail(run))
    assert (await get(store)).failures == 1
    pushed = await store.push(keyed(payload=b"new"))
    assert pushed.outcome is PushOutcome.REPLACED
    found = await get(store)
    assert found == pushed.job
    assert (found.failures, found.error, found.last_status) == (0, None, None)
    await assert_counts(store)


async def test_replace_takes_away_what_is_not_said_again(store: Store) -> None:
    await store.push(
        keyed(delay_ms=9, labels=("a",), expires_at=START + 9, headers={"a": "b"}, tracestate="t")
    )
    await store.push(keyed())
    found = await get(store)
    assert (found.labels, found.expires_at, found.tracestate) == ((), None, None)
    assert dict(found.headers) == {}
    assert await claim(store) != []


async def test_keep_changes_nothing(store: Store) -> None:
    first = await store.push(keyed(delay_ms=1000))
    kept = await store.push(keyed(payload=b"other", if_exists=IfExists.KEEP))
    assert (kept.outcome, kept.job) == (PushOutcome.KEPT, first.job)
    assert await get(store) == first.job


async def test_reject_names_the_job_that_waits(store: Store) -> None:
    first = await store.push(keyed(delay_ms=1000))
    with pytest.raises(KeyExists, match=first.job.id):
        await store.push(keyed(if_exists=IfExists.REJECT))
    assert await get(store) == first.job
    await assert_counts(store)


@pytest.mark.parametrize("if_exists", list(IfExists))
async def test_nothing_waits_under_the_key(store: Store, if_exists: IfExists) -> None:
    pushed = await store.push(keyed(if_exists=if_exists))
    assert pushed.outcome is PushOutcome.CREATED


@pytest.mark.parametrize("ahead_ms", [60_000, 0, -60_000])
async def test_an_identical_push_on_an_instant_changes_exactly_nothing(
    store: Store, ahead_ms: int
) -> None:
    first = await store.push(keyed(on_at=START + ahead_ms))
    for later in (0, 1, 59_999, 60_001, 10**9):
        again = await store.push(keyed(on_at=START + ahead_ms, created_at=START + later))
        assert (again.outcome, again.job) == (PushOutcome.KEPT, first.job)
    assert await get(store) == first.job


@pytest.mark.parametrize("change", CHANGES)
async def test_an_instant_said_again_with_anything_else_replaces(
    store: Store, change: dict[str, Any]
) -> None:
    await store.push(keyed(on_at=START + 60_000))
    again = await store.push(replace(keyed(on_at=START + 60_000), **change))
    assert again.outcome is PushOutcome.REPLACED
    assert await get(store) == again.job


async def test_another_instant_moves_the_job(store: Store) -> None:
    await store.push(keyed(on_at=START + 60_000))
    moved = await store.push(keyed(on_at=START + 30_000))
    assert (moved.outcome, moved.job.due_at) == (PushOutcome.REPLACED, START + 30_000)


async def test_an_identical_push_with_a_delay_moves_the_time(store: Store) -> None:
    first = await store.push(keyed(delay_ms=1000))
    again = await store.push(keyed(delay_ms=1000, created_at=START + 600))
    assert again.job == replace(first.job, not_before=START + 1600, due_at=START + 1600)
    assert await claim(store, now=START + 1599) == []
    assert len(await claim(store, now=START + 1600)) == 1


async def test_an_identical_push_for_now_keeps_its_place_in_the_line(store: Store) -> None:
    first = await store.push(keyed())
    other = await store.push(new_job(created_at=START + 1))
    again = await store.push(keyed(created_at=START + 2))
    assert (again.outcome, again.job) == (PushOutcome.KEPT, first.job)
    order = [run.job.id for run in await claim(store, now=START + 2)]
    assert order == [first.job.id, other.job.id]


async def test_a_push_for_now_hurries_a_job_that_waits(store: Store) -> None:
    await store.push(keyed(delay_ms=60_000))
    hurried = await store.push(keyed(created_at=START + 5))
    assert (hurried.outcome, hurried.job.due_at) == (PushOutcome.REPLACED, START + 5)


@pytest.mark.parametrize("wait_ms", [60_000, 0])
async def test_a_push_for_now_hurries_a_retry(store: Store, wait_ms: int) -> None:
    """It also gives one that is due already a fresh budget."""
    run = await push_running(store, key="k")
    await store.settle(fail(run, due_at=START + wait_ms))
    hurried = await store.push(keyed(created_at=START + 5))
    assert (hurried.outcome, hurried.job.due_at, hurried.job.failures) == (
        PushOutcome.REPLACED, START + 5, 0,
    )  # fmt: skip


@pytest.mark.parametrize("time", [{}, {"on_at": START + 60_000}])
async def test_a_relative_expiry_is_the_same_while_its_length_is(
    store: Store, time: dict[str, int]
) -> None:
    first = await store.push(expiring(3_600_000, **time))
    again = await store.push(expiring(3_600_000, created_at=START + 5, **time))
    assert (again.outcome, again.job) == (PushOutcome.KEPT, first.job)
    shorter = await store.push(expiring(60_000, created_at=START + 6, **time))
    assert (shorter.outcome, shorter.job.expires_at) == (PushOutcome.REPLACED, START + 60_006)
    assert await get(store) == shorter.job
    again = await store.push(expiring(60_000, created_at=START + 7, **time))
    assert (again.outcome, again.job) == (PushOutcome.KEPT, shorter.job)


@pytest.mark.parametrize("expires_at", [None, START + 60_000])
async def test_a_relative_expiry_is_neither_none_nor_the_instant_it_happens_to_mean(
    store: Store, expires_at: int | None
) -> None:
    await store.push(keyed(expires_at=expires_at))
    again = await store.push(expiring(60_000))
    assert (again.outcome, again.job.expires_at) == (PushOutcome.REPLACED, START + 60_000)
    assert (await store.push(expiring(60_000))).outcome is PushOutcome.KEPT


async def test_a_job_that_has_expired_is_not_the_same_as_a_new_one(store: Store) -> None:
    await store.push(expiring(10))
    again = await store.push(expiring(10, created_at=START + 10))
    assert (again.outcome, again.job.expires_at) == (PushOutcome.CREATED, START + 20)


async def test_an_edit_changes_a_relative_expiry(store: Store) -> None:
    await store.push(expiring(60_000))
    longer = Edit(expires_ms=90_000)
    await store.edit(KEY, ResolvedEdit(edit=longer, now=START + 5, expires_at=START + 90_005))
    again = await store.push(expiring(90_000, created_at=START + 9))
    assert (again.outcome, again.job.expires_at) == (PushOutcome.KEPT, START + 90_005)
    await store.edit(KEY, ResolvedEdit(edit=Edit(), now=START + 10))
    assert (await store.push(expiring(90_000, created_at=START + 11))).job == again.job
    fixed = Edit(expires_at=START + 70_000)
    await store.edit(KEY, ResolvedEdit(edit=fixed, now=START + 12, expires_at=START + 70_000))
    back = await store.push(expiring(90_000, created_at=START + 13))
    assert (back.outcome, back.job.expires_at) == (PushOutcome.REPLACED, START + 90_013)


async def test_an_identical_push_leaves_a_job_that_is_held_in_its_place(store: Store) -> None:
    """Its endpoint is not to be called yet; the time it asked for has come all the same."""
    run = await push_running(store, key="k")
    await store.settle(release(run, due_at=START + 30_000))
    held = await get(store)
    for again in (keyed(created_at=START + 5), keyed(on_at=START + 4, created_at=START + 5)):
        pushed = await store.push(again)
        assert (pushed.outcome, pushed.job) == (PushOutcome.KEPT, held)


async def test_keys_are_bytes_and_belong_to_their_queue(store: Store) -> None:
    keys = ["k", "K", " k", "é", "e\u0301", "%", "_", "'"]
    for key in keys:
        assert (await store.push(keyed(key=key))).outcome is PushOutcome.CREATED
    assert (await store.push(keyed(queue="r"))).outcome is PushOutcome.CREATED
    for key in keys:
        assert (await get(store, ByKey("q", key))).key == key
    assert len(await all_of(store.unfinished)) == len(keys) + 1


async def test_fifty_pushes_of_one_key_at_once_make_one_job(store: Store) -> None:
    jobs = [keyed(payload=b"%d" % n, delay_ms=60_000) for n in range(50)]
    pushed = await asyncio.gather(*map(store.push, jobs))
    assert {one.job.id for one in pushed} == {jobs[0].id}
    assert [one.outcome for one in pushed].count(PushOutcome.CREATED) == 1
    assert (await get(store)).payload == b"49"
    await assert_counts(store)


async def test_of_fifty_immediate_pushes_at_once_one_runs_and_one_waits(store: Store) -> None:
    jobs = [keyed(payload=b"%d" % n, claim=True) for n in range(50)]
    pushed = await asyncio.gather(*map(store.push, jobs))
    assert [one.run is not None for one in pushed] == [True] + [False] * 49
    assert {one.job.id for one in pushed[1:]} == {jobs[1].id}
    assert (await get(store)).payload == b"49"
    assert await claim(store) == []
    await assert_counts(store)


async def test_a_push_while_it_runs_makes_one_successor(store: Store) -> None:
    run = await push_running(store, key="k")
    successor = await store.push(keyed(payload=b"second", claim=True))
    assert (successor.outcome, successor.run) == (PushOutcome.CREATED, None)
    third = await store.push(keyed(payload=b"third", claim=True))
    assert (third.outcome, third.job.id) == (PushOutcome.REPLACED, successor.job.id)
    running = await get(store, ById(run.job.id))
    assert running.payload == b"payload"
    assert (await get(store)).payload == b"third"  # by key: the waiting one first
    assert len(await all_of(store.unfinished)) == 2
    await assert_counts(store)


@pytest.mark.parametrize("end", [succeed, bury])
async def test_the_successor_starts_when_the_running_one_has_ended(store: Store, end: Any) -> None:
    run = await push_running(store, key="k")
    successor = await store.push(keyed(payload=b"second"))
    assert await claim(store, now=START + 10**9) == []
    await store.settle(end(run))
    [started] = await claim(store)
    assert started.job.id == successor.job.id
    await assert_counts(store)


@pytest.mark.parametrize("end", [fail, release])
async def test_a_run_that_would_wait_again_gives_way_to_its_successor(
    store: Store, end: Any
) -> None:
    run = await push_running(store, key="k")
    successor = await store.push(keyed(payload=b"second"))
    settled = await store.settle(end(run))
    assert (settled.applied, settled.verb, settled.state) == (True, "bury", State.FAILED)
    old = await get(store, ById(run.job.id))
    assert old.state is State.FAILED
    assert old.error is not None
    assert old.error.startswith(f"superseded by {successor.job.id}")
    assert (await get(store)).id == successor.job.id
    await assert_counts(store)


async def test_the_attempt_of_a_superseded_job_is_remembered(store: Store) -> None:
    run = await push_running(store, key="k")
    await store.push(keyed(payload=b"second"))
    await store.settle(fail(run))
    [attempt] = await store.attempts(ById(run.job.id)) or []
    assert (attempt.outcome, attempt.status) == (OutcomeKind.FAILED, 500)
    old = await get(store, ById(run.job.id))
    assert (old.failures, old.last_status) == (1, 500)
    assert old.error is not None
    assert old.error.endswith("status 500")


async def test_a_key_that_runs_holds_up_no_other(store: Store) -> None:
    await push_running(store, key="k")
    await store.push(keyed(payload=b"second"))
    others = [(await store.push(new_job(key=key))).job.id for key in ("a", "b", None)]
    assert [run.job.id for run in await claim(store)] == others


async def test_never_two_running_with_one_key(store: Store) -> None:
    """Run, revive the finished one, push again: in any case one at a time."""
    run = await push_running(store, key="k")
    await store.settle(succeed(run))
    second = await push_running(store, key="k")
    revived = await store.revive(ById(run.job.id), START)
    assert revived is not None
    assert await claim(store) == []
    await store.settle(succeed(second))
    [third] = await claim(store)
    assert third.job.id == run.job.id
    await assert_counts(store)


@pytest.mark.parametrize("end", [succeed, fail, bury, release, interrupt])
async def test_a_cancelled_call_must_end_before_its_key_starts_again(
    store: Store, end: Any
) -> None:
    run = await push_running(store, key="k")
    await store.cancel(KEY, START)
    successor = await store.push(keyed(payload=b"second", claim=True))
    assert (successor.outcome, successor.run) == (PushOutcome.CREATED, None)
    [claimed] = await store.claim(lambda: ([ClaimRequest("q", 9)], START))
    assert (claimed.runs, claimed.next_due_at) == ((), None)
    assert not (await store.settle(end(run))).applied
    [started] = await claim(store)
    assert started.job.id == successor.job.id
    await assert_counts(store)


async def test_a_cancelled_call_holds_up_no_other(store: Store) -> None:
    run = await push_running(store, key="k")
    await store.cancel(ById(run.job.id), START)
    others = [keyed(queue="r"), keyed(key="other"), keyed(key=None)]
    for other in others:
        assert (await store.push(replace(other, claim=True))).run is not None


async def test_the_key_of_a_call_that_nobody_saw_end_is_free(opened: OpenStore) -> None:
    async with opened() as store:
        run = await push_running(store, key="k")
        await store.cancel(ById(run.job.id), START)
        successor = await store.push(keyed(claim=True))
        assert successor.run is None
    async with opened() as store:
        await store.orphans(START)
        [started] = await claim(store)
        assert started.job.id == successor.job.id


async def test_that_key_is_free_even_if_it_was_not_recovered_at_the_start(
    opened: OpenStore,
) -> None:
    """A full disk may have been in the way; and what this daemon cancels is not mixed up."""
    async with opened() as store:
        lost = await push_running(store, key="k")
        await store.cancel(ById(lost.job.id), START)
        successor = await store.push(keyed())
    async with opened() as store:
        called = await push_running(store, key="called")
        await store.cancel(ById(called.job.id), START)
        await store.push(keyed(key="called"))
        [started] = await claim(store)
        assert started.job.id == successor.job.id
        [attempt] = await store.attempts(ById(called.job.id)) or []
        assert attempt.ended_at is None


async def test_a_finished_job_frees_its_key(store: Store) -> None:
    run = await push_running(store, key="k")
    await store.settle(succeed(run))
    assert await store.get(KEY) is None
    again = await store.push(keyed())
    assert again.outcome is PushOutcome.CREATED
    assert again.job.id != run.job.id
    assert [job.key for job in await all_of(store.finished, JobFilter(key="k"))] == ["k"]


async def test_a_push_and_the_end_of_the_run_before_it_at_one_moment(store: Store) -> None:
    """Whichever is first: one job waits, and nothing of the newer content is lost."""
    for _ in range(10):
        run = await push_running(store, key="k")
        settling = asyncio.ensure_future(store.settle(fail(run)))
        pushing = store.push(keyed(payload=b"newest"))
        await asyncio.gather(settling, pushing)
        waiting = await all_of(store.unfinished)
        assert len(waiting) == 1
        assert (await get(store)).payload == b"newest"
        await assert_counts(store)
        await store.cancel(KEY, START)


@pytest.mark.parametrize("if_exists", IfExists)
async def test_what_has_expired_waits_no_more(store: Store, if_exists: IfExists) -> None:
    """Nobody has swept it yet; the new push must not be lost to an item that never runs."""
    old = await store.push(new_job(key="k", expires_at=START + 10, due_at=START + 1000))
    new = await store.push(new_job(key="k", created_at=START + 10, if_exists=if_exists))
    assert new.outcome is PushOutcome.CREATED
    assert new.job.id != old.job.id
    buried = await store.get(ById(old.job.id))
    assert buried is not None
    assert (buried.state, buried.finished_at) == (State.FAILED, START + 10)
    assert [run.job.id for run in await claim(store, now=START + 10)] == [new.job.id]
    await assert_counts(store)
