"""Push without a key, and what get gives back."""

from __future__ import annotations

import asyncio
from types import MappingProxyType

import pytest

from lq.daemon.store import Store
from lq.model import (
    ById,
    ByKey,
    Completion,
    Firing,
    JobFilter,
    NewJob,
    PushOutcome,
    RetryPolicy,
    State,
)
from tests.clock import START
from tests.support.jobs import FAR, all_of, assert_counts, claim, new_job, succeed

from .conftest import OpenStore

FULL = new_job(
    id="job_full",
    queue="a queue/with slashes & 'quotes' 📬",
    key="ключ",
    delay_ms=5,
    target="https://example.com/hook?a=1",
    method="PUT",
    retry=RetryPolicy(3, (10, 2_000, 30_000)),
    timeout_ms=1234,
    payload=bytes(range(256)),
    content_type="application/json; charset=utf-8",
    headers=MappingProxyType({"X-Ünïcode": "wert\t✓", "authorization": "Bearer x"}),
    expires_at=START + 99,
    labels=("a", "b-c"),
    validate=False,
    completion=Completion.CALLBACK,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate="vendor=1",
    firing=Firing("sch_full", START - 1, missed=3),
)
NOT_KEPT = {"if_exists", "asked", "expires_relative", "claim", "skipped", "idempotency"}


async def test_all_members_come_back(store: Store) -> None:
    pushed = await store.push(FULL)
    assert (pushed.outcome, pushed.run) == (PushOutcome.CREATED, None)
    found = await store.get(ById("job_full"))
    assert found is not None
    assert found == pushed.job
    for member in NewJob.__struct_fields__:
        if member not in NOT_KEPT:
            assert getattr(found, member) == getattr(FULL, member), member
    assert (found.state, found.failures, found.interruptions) == (State.PENDING, 0, 0)
    assert (found.run_id, found.finished_at, found.last_status, found.error) == (None,) * 4


async def test_all_members_come_back_after_a_restart(opened: OpenStore) -> None:
    async with opened() as store:
        pushed = await store.push(FULL)
    async with opened() as store:
        assert await store.get(ById("job_full")) == pushed.job


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
async def test_payloads_of_any_size(store: Store, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    pushed = await store.push(new_job(payload=body))
    found = await store.get(ById(pushed.job.id))
    assert found is not None
    assert found.payload == body


async def test_one_claimed_in_the_same_commit(store: Store) -> None:
    pushed = await store.push(new_job(claim=True))
    assert pushed.run is not None
    assert (pushed.run.job, pushed.run.started_at) == (pushed.job, START)
    assert (pushed.job.state, pushed.job.run_id) == (State.RUNNING, pushed.run.id)
    assert await store.get(ById(pushed.job.id)) == pushed.job
    assert await claim(store) == []
    await assert_counts(store)


@pytest.mark.parametrize("members", [{"delay_ms": 1}, {"expires_at": START}])
async def test_one_not_due_or_expired_is_not_claimed(store: Store, members: object) -> None:
    assert isinstance(members, dict)
    pushed = await store.push(new_job(claim=True, **members))
    assert (pushed.run, pushed.job.state) == (None, State.PENDING)
    await assert_counts(store)


async def test_many_at_one_moment(store: Store) -> None:
    jobs = [new_job(queue=f"q{n % 3}", claim=n % 2 == 0) for n in range(500)]
    pushed = await asyncio.gather(*map(store.push, jobs))
    assert [one.job.id for one in pushed] == [job.id for job in jobs]
    seqs = [one.job.seq for one in pushed]
    assert seqs == sorted(set(seqs))
    runs = [one.run.id for one in pushed if one.run]
    assert len(set(runs)) == len(runs) == 250
    assert {job.id for job in await all_of(store.unfinished)} == {job.id for job in jobs}
    await assert_counts(store)


async def test_run_ids_and_places_are_never_given_twice(opened: OpenStore) -> None:
    async with opened() as store:
        first = await store.push(new_job(claim=True))
        assert first.run is not None
        await store.settle(succeed(first.run))
        assert await store.prune(START + 1, FAR, 10) == 1
    async with opened() as store:
        second = await store.push(new_job(claim=True))
        assert second.run is not None
        assert second.run.id > first.run.id
        assert second.job.seq > first.job.seq


async def test_the_caller_may_go_away(store: Store) -> None:
    job = new_job()
    await store.queues()
    caller = store.push(job)
    caller.cancel()
    again = new_job()
    await store.push(again)
    waiting = {found.id for found in await all_of(store.unfinished)}
    assert waiting == {job.id, again.id}
    await assert_counts(store)


async def test_what_is_not_there(store: Store) -> None:
    await store.push(new_job())
    for ref in (ById("job_none"), ByKey("q", "k"), ByKey("none", "k")):
        assert await store.get(ref) is None
        assert await store.attempts(ref) is None
    assert await store.attempts(ById((await store.unfinished(JobFilter())).items[0].id)) == []
