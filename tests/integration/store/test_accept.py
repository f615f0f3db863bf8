"""Runs whose handlers will call back: accepted, extended, found again, ended."""

from __future__ import annotations

from msgspec.structs import replace

from lq.daemon.store import Store
from lq.model import Accepted, ById, Completion, Run, State
from tests.clock import START
from tests.support.jobs import assert_counts, claim, fail, new_job, push_running, succeed

from .conftest import OpenStore

LATER = START + 60_000


async def accepted_run(store: Store, **members: str) -> Run:
    run = await push_running(store, completion=Completion.CALLBACK, **members)
    assert await store.accept(Accepted(run, LATER, 202))
    return run


def without_payload(run: Run) -> Run:
    return replace(run, job=replace(run.job, payload=None))


async def test_how_a_job_is_completed_is_kept(store: Store) -> None:
    waiting = await store.push(new_job(completion=Completion.CALLBACK))
    found = await store.get(ById(waiting.job.id))
    assert found is not None
    assert found.completion is Completion.CALLBACK
    [run] = await claim(store)
    assert run.job.completion is Completion.CALLBACK


async def test_what_is_accepted_is_no_orphan(opened: OpenStore) -> None:
    async with opened() as store:
        run = await accepted_run(store)
        orphan = await push_running(store, completion=Completion.CALLBACK)
    async with opened() as store:
        assert [one.id for one in await store.orphans(START)] == [orphan.id]
        assert await store.accepted() == [Accepted(without_payload(run), LATER, 202)]
        assert (await store.settle(succeed(run))).applied
        assert await store.accepted() == []
        await assert_counts(store)


async def test_a_run_that_has_ended_is_accepted_no_more(store: Store) -> None:
    run = await push_running(store)
    await store.settle(fail(run))
    assert not await store.accept(Accepted(run, LATER, 202))
    assert not await store.extend(run, LATER)
    [attempt] = await store.attempts(ById(run.job.id)) or []
    assert attempt.status == 500
    assert await store.accepted() == []


async def test_extending_moves_the_deadline_and_nothing_else(store: Store) -> None:
    run = await accepted_run(store)
    assert await store.extend(run, LATER + 1)
    assert await store.accepted() == [Accepted(without_payload(run), LATER + 1, 202)]
    assert not await store.extend(replace(run, id=run.id + 1), LATER + 2)


async def test_extending_accepts_what_was_not_known_to_be(store: Store) -> None:
    run = await push_running(store)
    assert await store.extend(run, LATER)
    assert await store.accepted() == [Accepted(without_payload(run), LATER)]
    assert await store.orphans(START) == []


async def test_a_cancelled_job_is_accepted_but_not_extended(opened: OpenStore) -> None:
    async with opened() as store:
        run = await accepted_run(store, key="k")
        await store.cancel(ById(run.job.id), START)
        assert not await store.extend(run, LATER + 1)
    async with opened() as store:
        assert await store.orphans(START) == []
        [found] = await store.accepted()
        assert (found.run.id, found.deadline_at) == (run.id, LATER)
        assert found.run.job.state is State.CANCELLED
        await store.push(new_job(key="k"))
        assert await claim(store) == []
        assert not (await store.settle(succeed(found.run))).applied
        assert len(await claim(store)) == 1
        await assert_counts(store)


async def test_the_key_of_tokens_stays(opened: OpenStore) -> None:
    async with opened() as store:
        key = await store.callback_key()
    async with opened() as store:
        assert await store.callback_key() == key
    assert len(key) == 32
