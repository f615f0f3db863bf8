"""Batches in the store: as pushes one after the other, in one transaction."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lq.batch import Batched, NewBatch
from lq.daemon.store import Store
from lq.errors import IdempotencyMismatch, KeyExists, RequestError, ValidationError
from lq.model import ById, Idempotency, IfExists, NewJob, PushOutcome
from tests.clock import START
from tests.support.jobs import all_of, assert_counts, claim, new_job, succeed

from .conftest import OpenStore


def batch(*jobs: NewJob | RequestError, **members: Any) -> NewBatch:
    return NewBatch(tuple((job, None) for job in jobs), **members)


def asked(request: str = "r") -> Idempotency:
    return Idempotency(sha256(b"key").digest(), sha256(request.encode()).digest(), START)


def outcomes(done: Batched) -> list[PushOutcome | None]:
    return [result.outcome for result in done.results]


async def payloads(store: Store, queue: str) -> list[bytes]:
    found = [
        await store.get(ById(job.id))
        for job in await all_of(store.unfinished)
        if job.queue == queue
    ]
    return sorted(job.payload or b"" for job in found if job is not None)


pushes = st.lists(
    st.tuples(
        st.sampled_from([None, None, "a", "b", "c"]),
        st.sampled_from(list(IfExists)),
        st.booleans(),
        st.sampled_from([None, START - 1, START + 1]),
    ),
    max_size=12,
)


@given(before=pushes, entries=pushes)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_a_batch_does_what_its_pushes_do(
    store: Store, before: list[Any], entries: list[Any]
) -> None:
    names = [sha256(repr((before, entries, side)).encode()).hexdigest() for side in "ab"]

    def jobs(queue: str, given: list[Any], first: int) -> list[NewJob]:
        return [
            new_job(
                queue=queue,
                key=key,
                if_exists=if_exists,
                payload=b"same" if same else b"%d" % number,
                expires_at=expires_at,
            )
            for number, (key, if_exists, same, expires_at) in enumerate(given, first)
        ]

    async def singly(queue: str, given: list[Any], first: int) -> list[PushOutcome | None]:
        found: list[PushOutcome | None] = []
        for job in jobs(queue, given, first):
            try:
                found.append((await store.push(job)).outcome)
            except KeyExists:
                found.append(None)
        return found

    for name in names:
        await singly(name, before, 0)
    one_by_one = await singly(names[0], entries, 100)
    together = await store.push_batch(batch(*jobs(names[1], entries, 100)))
    assert outcomes(together) == one_by_one
    assert await payloads(store, names[0]) == await payloads(store, names[1])
    await assert_counts(store)


async def test_an_atomic_batch_leaves_no_trace(store: Store) -> None:
    await store.push(new_job(key="taken"))
    refused = (
        new_job(queue="new", key="x"),
        new_job(queue="new", key="x", if_exists=IfExists.REJECT),
    )
    with pytest.raises(ValidationError) as caught:
        await store.push_batch(batch(*refused, atomic=True, idempotency=asked()))
    assert [issue.path for issue in caught.value.issues] == ["entry 1"]
    assert await store.queue("new") is None
    assert await store.batched_before(asked()) is None
    # Its neighbours in the same transaction are not touched, before and after it.
    first, failed, last = await asyncio.gather(
        store.push_batch(batch(new_job(queue="new"))),
        store.push_batch(batch(*(replace(job, id=f"{job.id}_") for job in refused), atomic=True)),
        store.push(new_job(queue="new")),
        return_exceptions=True,
    )
    assert isinstance(first, Batched)
    assert isinstance(failed, ValidationError)
    assert not isinstance(last, BaseException)
    await assert_counts(store)
    queue = await store.queue("new")
    assert queue is not None
    assert queue.counts.pending == 2


async def test_a_repetition_does_nothing_also_after_a_restart(opened: OpenStore) -> None:
    bad = ValidationError.of("x-lq-delay", "expected a duration")
    wanted = batch(new_job(key="a"), bad, new_job(), idempotency=asked())
    async with opened() as store:
        first = await store.push_batch(wanted)
        assert outcomes(first) == [PushOutcome.CREATED, None, PushOutcome.CREATED]
    async with opened() as store:
        again = await store.push_batch(wanted)
        assert (again.repeats, again.results) == (True, first.results)
        assert await store.batched_before(asked()) == again
        with pytest.raises(IdempotencyMismatch):
            await store.push_batch(batch(new_job(), idempotency=asked("another")))
        assert len(await all_of(store.unfinished)) == 2
        await assert_counts(store)


async def test_its_jobs_can_be_claimed(store: Store) -> None:
    jobs = [new_job() for _ in range(2500)]
    done = await store.push_batch(batch(*jobs))
    assert [result.id for result in done.results] == [job.id for job in jobs]
    runs = await claim(store, limit=3000)
    assert [run.job.id for run in runs] == [job.id for job in jobs]
    assert (await store.settle(succeed(runs[0]))).applied
    await assert_counts(store)


async def test_nothing_but_refusals(store: Store) -> None:
    done = await store.push_batch(batch(ValidationError.of("x", "y")))
    assert outcomes(done) == [None]
    assert outcomes(await store.push_batch(batch())) == []
    assert await store.queues() == []
