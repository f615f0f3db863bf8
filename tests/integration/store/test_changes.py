"""Cancel, edit, revive, expire and prune: each answer, each Conflict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from lq.daemon.store import ResolvedEdit, Store
from lq.errors import Conflict
from lq.model import (
    ById,
    ByKey,
    Edit,
    Job,
    JobFilter,
    OutcomeKind,
    Ref,
    RetryPolicy,
    Run,
    Settlement,
    State,
)
from tests.clock import START
from tests.support.jobs import (
    FAR,
    all_of,
    assert_counts,
    bury,
    claim,
    expire,
    fail,
    new_job,
    push_running,
    release,
    succeed,
)

from .conftest import OpenStore

KEY = ByKey("q", "k")


def resolved(edit: Edit, **members: Any) -> ResolvedEdit:
    return ResolvedEdit(edit=edit, now=START, **members)


NO_EDIT = resolved(Edit())
Verb = Callable[[Store, Ref], Any]

VERBS: dict[str, Verb] = {
    "cancel": lambda store, ref: store.cancel(ref, START),
    "edit": lambda store, ref: store.edit(ref, NO_EDIT),
    "revive": lambda store, ref: store.revive(ref, START),
}


async def get(store: Store, job: Job) -> Job:
    found = await store.get(ById(job.id))
    assert found is not None
    return found


async def finish(store: Store, end: Callable[[Run], Settlement], **members: Any) -> Job:
    """A job that has ended in this way."""
    run = await push_running(store, **members)
    await store.settle(end(run))
    return await get(store, run.job)


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_what_is_not_there(store: Store, verb: Verb) -> None:
    await store.push(new_job())
    for ref in (ById("job_none"), KEY, ByKey("none", "k")):
        assert await verb(store, ref) is None


async def test_cancel_what_waits(store: Store) -> None:
    pushed = await store.push(new_job())
    cancelled = await store.cancel(ById(pushed.job.id), START + 3)
    assert cancelled is not None
    assert (cancelled.state, cancelled.finished_at, cancelled.error) == (
        State.CANCELLED, START + 3, "cancelled",
    )  # fmt: skip
    assert await get(store, pushed.job) == cancelled
    assert await claim(store) == []
    await assert_counts(store)


async def test_cancel_what_waits_for_a_retry(store: Store) -> None:
    run = await push_running(store)
    await store.settle(fail(run))
    cancelled = await store.cancel(ById(run.job.id), START)
    assert cancelled is not None
    assert (cancelled.state, cancelled.failures) == (State.CANCELLED, 1)
    await assert_counts(store)


async def test_cancel_what_runs(store: Store) -> None:
    run = await push_running(store)
    cancelled = await store.cancel(ById(run.job.id), START)
    assert cancelled is not None
    assert (cancelled.state, cancelled.run_id) == (State.CANCELLED, None)
    await store.settle(succeed(run))
    [attempt] = await store.attempts(ById(run.job.id)) or []
    assert attempt.status == 200
    assert (await get(store, run.job)).state is State.CANCELLED
    await assert_counts(store)


async def test_cancel_by_key_ends_the_waiting_and_the_running_one(store: Store) -> None:
    run = await push_running(store, key="k")
    successor = await store.push(new_job(key="k"))
    cancelled = await store.cancel(KEY, START)
    assert cancelled is not None
    assert cancelled.id == successor.job.id
    for job in (run.job, successor.job):
        assert (await get(store, job)).state is State.CANCELLED
    assert await store.cancel(KEY, START) is None
    await assert_counts(store)


@pytest.mark.parametrize("end", [succeed, bury])
async def test_cancel_what_is_finished(store: Store, end: Callable[[Run], Settlement]) -> None:
    job = await finish(store, end)
    with pytest.raises(Conflict, match=job.state.value):
        await store.cancel(ById(job.id), START)
    assert await get(store, job) == job


async def test_cancel_twice(store: Store) -> None:
    pushed = await store.push(new_job())
    cancelled = await store.cancel(ById(pushed.job.id), START)
    with pytest.raises(Conflict):
        await store.cancel(ById(pushed.job.id), START + 9)
    assert await get(store, pushed.job) == cancelled
    await assert_counts(store)


EDITS: list[tuple[ResolvedEdit, dict[str, Any]]] = [
    (NO_EDIT, {}),
    (resolved(Edit(payload=b"")), {"payload": b""}),
    (resolved(Edit(content_type=None)), {"content_type": None}),
    (resolved(Edit(content_type="a/b")), {"content_type": "a/b"}),
    (resolved(Edit(target="https://e.com/")), {"target": "https://e.com/"}),
    (resolved(Edit(method="GET")), {"method": "GET"}),
    (resolved(Edit(headers={})), {"headers": {}}),
    (resolved(Edit(headers={"a": "ü"})), {"headers": {"a": "ü"}}),
    (resolved(Edit(retry=RetryPolicy(2, (1, 2)))), {"retry": RetryPolicy(2, (1, 2))}),
    (resolved(Edit(timeout_ms=1)), {"timeout_ms": 1}),
    (resolved(Edit(labels=())), {"labels": ()}),
    (
        resolved(Edit(), not_before=START - 5, due_at=START),
        {"not_before": START - 5, "due_at": START},
    ),
    (resolved(Edit(), expires_at=START + 1), {"expires_at": START + 1}),
    (resolved(Edit(), expires_at=None), {"expires_at": None}),
]


@pytest.mark.parametrize(("edit", "changes"), EDITS)
async def test_edit_changes_what_it_names_and_nothing_else(
    store: Store, edit: ResolvedEdit, changes: dict[str, Any]
) -> None:
    run = await push_running(
        store, key="k", content_type="text/plain", headers={"a": "b"}, labels=("l",),
        expires_at=START + 10**6,
    )  # fmt: skip
    await store.settle(fail(run))
    before = await get(store, run.job)
    edited = await store.edit(KEY, edit)
    assert edited == structs.replace(before, **changes)
    assert await get(store, run.job) == edited
    await assert_counts(store)


@pytest.mark.parametrize(
    ("edit", "due_at", "error"),
    [
        (Edit(target="https://e.com/"), START + 5, None),
        (Edit(headers={"a": "b"}), START + 5, None),
        (Edit(target="https://example.com/"), START + 30_000, "held"),
        (Edit(payload=b"new"), START + 30_000, "held"),
    ],
)
async def test_edit_leads_a_job_away_from_the_endpoint_that_held_it(
    store: Store, edit: Edit, due_at: int, error: str | None
) -> None:
    run = await push_running(store)
    await store.settle(release(run, due_at=START + 30_000))
    edited = await store.edit(ById(run.job.id), ResolvedEdit(edit=edit, now=START + 5))
    assert edited is not None
    assert (edited.due_at, edited.error, edited.not_before) == (due_at, error, START)


async def test_a_cancelled_call_counts_as_an_attempt(store: Store) -> None:
    run = await push_running(store)
    cancelled = await store.cancel(ById(run.job.id), START)
    assert cancelled is not None
    assert cancelled.failures == 1
    await assert_counts(store)


async def test_edit_finds_by_key_the_one_that_waits(store: Store) -> None:
    await push_running(store, key="k")
    successor = await store.push(new_job(key="k"))
    edited = await store.edit(KEY, resolved(Edit(payload=b"new")))
    assert edited is not None
    assert (edited.id, edited.payload) == (successor.job.id, b"new")


async def test_edit_what_runs_or_is_finished(store: Store) -> None:
    run = await push_running(store, key="k")
    for ref in (KEY, ById(run.job.id)):
        with pytest.raises(Conflict, match="RUNNING"):
            await store.edit(ref, NO_EDIT)
    await store.settle(succeed(run))
    with pytest.raises(Conflict, match="COMPLETED") as refused:
        await store.edit(ById(run.job.id), NO_EDIT)
    assert "retry it" in str(refused.value.hint)


@pytest.mark.parametrize("end", [succeed, bury, None])
async def test_revive_gives_a_finished_job_a_fresh_budget(
    store: Store, end: Callable[[Run], Settlement] | None
) -> None:
    if end:
        job = await finish(store, end, expires_at=START + 5, key="k")
    else:
        job = (await store.push(new_job(expires_at=START + 5, key="k"))).job
        await store.cancel(ById(job.id), START)
    revived = await store.revive(ById(job.id), START + 50)
    assert revived is not None
    assert (revived.state, revived.not_before, revived.due_at) == (
        State.PENDING, START + 50, START + 50,
    )  # fmt: skip
    assert (revived.failures, revived.error, revived.last_status) == (0, None, None)
    assert (revived.expires_at, revived.finished_at) == (None, None)
    assert (revived.created_at, revived.payload) == (START, b"payload")
    assert await store.get(KEY) == revived
    [run] = await claim(store, now=START + 50)
    assert run.job.id == job.id
    await assert_counts(store)


async def test_revive_keeps_earlier_attempts(store: Store) -> None:
    job = await finish(store, bury)
    await store.revive(ById(job.id), START)
    [run] = await claim(store)
    await store.settle(succeed(run))
    attempts = await store.attempts(ById(job.id)) or []
    assert [(attempt.n, attempt.status) for attempt in attempts] == [(1, 500), (1, 200)]


async def test_revive_what_is_unfinished(store: Store) -> None:
    waiting = await store.push(new_job())
    running = await push_running(store)
    for job in (waiting.job, running.job):
        with pytest.raises(Conflict, match=job.state.value):
            await store.revive(ById(job.id), START)
        assert await get(store, job) == job


async def test_revive_while_the_cancelled_call_goes_on(store: Store) -> None:
    """Two calls of one job at once are what the fence cannot prevent; so it waits, or a restart."""
    run = await push_running(store)
    await store.cancel(ById(run.job.id), START)
    with pytest.raises(Conflict, match="has not ended"):
        await store.revive(ById(run.job.id), START)
    await store.settle(succeed(run))
    revived = await store.revive(ById(run.job.id), START)
    assert revived is not None
    assert revived.state is State.PENDING


async def test_a_cancelled_call_that_nobody_saw_end(opened: OpenStore) -> None:
    async with opened() as store:
        run = await push_running(store)
        await store.cancel(ById(run.job.id), START)
    async with opened() as store:
        assert await store.orphans(START + 5) == []
        [attempt] = await store.attempts(ById(run.job.id)) or []
        assert (attempt.outcome, attempt.ended_at) == (OutcomeKind.INTERRUPTED, START + 5)
        assert await store.revive(ById(run.job.id), START + 6) is not None


async def test_revive_under_a_key_that_waits(store: Store) -> None:
    job = await finish(store, succeed, key="k")
    successor = await store.push(new_job(key="k"))
    with pytest.raises(Conflict, match=successor.job.id):
        await store.revive(ById(job.id), START)
    assert await get(store, job) == job


async def test_revive_two_of_one_key_at_one_moment(store: Store) -> None:
    jobs = [await finish(store, succeed, key="k") for _ in range(2)]
    answers = await asyncio.gather(
        *(store.revive(ById(job.id), START) for job in jobs), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Job"]
    await assert_counts(store)


async def test_expire_fails_what_waits_past_its_expiry(store: Store) -> None:
    expiring = await store.push(new_job(expires_at=START + 10, delay_ms=5))
    staying = await store.push(new_job(expires_at=START + 11))
    forever = await store.push(new_job())
    running = await push_running(store, expires_at=START + 10)
    assert await expire(store, START + 9, 100) == (0, START + 10)
    assert await expire(store, START + 10, 100) == (1, START + 11)
    expired = await get(store, expiring.job)
    assert (expired.state, expired.finished_at) == (State.FAILED, START + 10)
    assert expired.error is not None
    assert expired.error.startswith("expired")
    for job in (staying.job, forever.job, running.job):
        assert await get(store, job) == job
    await assert_counts(store)


async def test_expire_says_what_the_last_attempt_said(store: Store) -> None:
    run = await push_running(store, expires_at=START + 10)
    await store.settle(fail(run))
    assert await expire(store, START + 10, 1) == (1, None)
    expired = await get(store, run.job)
    assert expired.error == "expired; last attempt: status 500"
    assert (expired.failures, expired.last_status) == (1, 500)
    await assert_counts(store)


async def test_expire_in_steps(store: Store) -> None:
    await asyncio.gather(*(store.push(new_job(expires_at=START + n)) for n in range(10)))
    left = []
    while (step := await expire(store, START + 8, 4))[0]:
        left.append(step)
        await assert_counts(store)
    assert left == [(4, START + 4), (4, START + 8), (1, START + 9)]


async def test_prune_forgets_the_oldest_in_steps(store: Store) -> None:
    jobs = []
    for n in range(10):
        run = await push_running(store)
        await store.settle((succeed, bury)[n % 2](run, START + n))
        jobs.append(run.job)
    assert [await store.prune(START + 8, FAR, 3) for _ in range(4)] == [3, 3, 2, 0]
    kept = [job.id for job in await all_of(store.finished)]
    assert kept == [jobs[9].id, jobs[8].id]
    for job in jobs[:8]:
        assert await store.get(ById(job.id)) is None
        assert await store.attempts(ById(job.id)) is None
    await assert_counts(store)


async def test_prune_leaves_what_is_still_called(store: Store) -> None:
    run = await push_running(store)
    await store.cancel(ById(run.job.id), START)
    assert await store.prune(START + 1, FAR, 10) == 0
    await store.settle(succeed(run))
    assert await store.prune(START + 1, FAR, 10) == 1


async def test_prune_leaves_what_is_unfinished(store: Store) -> None:
    waiting = await store.push(new_job())
    running = await push_running(store)
    retrying = await push_running(store)
    await store.settle(fail(retrying))
    assert await store.prune(START + 10**12, FAR, 100) == 0
    assert {job.id for job in await all_of(store.unfinished)} == {
        waiting.job.id, running.job.id, retrying.job.id,
    }  # fmt: skip


async def test_prune_and_revive_at_one_moment(store: Store) -> None:
    for _ in range(5):
        job = await finish(store, succeed)
        pruned, revived = await asyncio.gather(
            store.prune(START + 1, FAR, 10), store.revive(ById(job.id), START)
        )
        assert (pruned, revived is None) in {(1, True), (0, False)}
        await assert_counts(store)
        await store.cancel(ById(job.id), START) if revived else None
        await store.prune(START + 1, FAR, 10)


async def test_listings_hold_no_payloads(store: Store) -> None:
    await store.push(new_job())
    await finish(store, succeed)
    for listing in (store.unfinished, store.finished):
        [job] = (await listing(JobFilter())).items
        assert job.payload is None
