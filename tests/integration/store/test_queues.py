"""Queues: settings, pause, counts; delete, and what brings a deleted one back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from lq.daemon.store import Store
from lq.errors import Conflict
from lq.model import ById, Counts, JobFilter, Queue, QueueEdit, QueueSettings, RetryPolicy, State
from tests.clock import START
from tests.support.jobs import (
    FAR,
    all_of,
    assert_counts,
    bury,
    claim,
    fail,
    new_job,
    push_running,
    succeed,
)

from .conftest import OpenStore

FULL = QueueEdit(
    target="https://example.com/",
    method="PUT",
    headers={"X-A": "ü"},
    concurrency=3,
    retry=RetryPolicy(2, (1000, 5)),
    timeout_ms=77,
    paused=True,
    paused_until=START + 9,
)


async def get(store: Store, name: str = "q") -> Queue:
    queue = await store.queue(name)
    assert queue is not None
    return queue


async def test_a_queue_comes_into_being_with_its_first_push(store: Store) -> None:
    assert await store.queues() == []
    assert await store.queue("q") is None
    await store.push(new_job(created_at=START + 5))
    assert await store.queues() == [
        Queue(
            name="q", created_at=START + 5, settings=QueueSettings(), counts=Counts(pending=1),
            next_due_at=START + 5,
        )
    ]  # fmt: skip


async def test_all_settings_come_back(opened: OpenStore) -> None:
    async with opened() as store:
        made = await store.set_queue("q", FULL, START)
    assert made.settings == QueueSettings(
        target="https://example.com/", method="PUT", headers={"X-A": "ü"}, concurrency=3,
        retry=RetryPolicy(2, (1000, 5)), timeout_ms=77,
    )  # fmt: skip
    assert (made.paused, made.paused_until) == (True, START + 9)
    async with opened() as store:
        assert await get(store) == made


FROM_FILE = {"validate", "redact"}
"""What lq.toml alone can set."""


@pytest.mark.parametrize(
    "change",
    [
        {},
        *({name: None} for name in QueueSettings.__struct_fields__ if name not in FROM_FILE),
        {"target": "https://other.example/"},
        {"headers": {}},
        {"concurrency": 1},
        {"retry": RetryPolicy(0)},
    ],
)
async def test_an_edit_changes_what_it_names_and_nothing_else(
    store: Store, change: dict[str, Any]
) -> None:
    before = await store.set_queue("q", FULL, START)
    after = await store.set_queue("q", QueueEdit(**change), START + 1)
    assert after == structs.replace(before, settings=structs.replace(before.settings, **change))
    assert await get(store) == after


async def test_pauses(store: Store) -> None:
    def state(queue: Queue) -> tuple[bool, int | None]:
        return queue.paused, queue.paused_until

    async def edited(**members: Any) -> tuple[bool, int | None]:
        return state(await store.set_queue("q", QueueEdit(**members), START))

    assert await edited(paused=True) == (True, None)
    assert await edited(paused_until=START + 5) == (True, START + 5)
    assert await edited(concurrency=2) == (True, START + 5)
    assert await edited(paused_until=None) == (True, None)
    assert await edited(paused=False) == (False, None)
    assert await edited(paused=True, paused_until=START + 7) == (True, START + 7)
    # An end without a pause means nothing.
    assert await edited(paused=False, paused_until=START + 7) == (False, None)


async def test_counts_follow_every_move(store: Store) -> None:
    await store.push(new_job())
    assert (await get(store)).counts == Counts(pending=1)
    [run] = await claim(store)
    assert (await get(store)).counts == Counts(running=1)
    await store.settle(fail(run))
    assert (await get(store)).counts == Counts(retry=1)
    assert (await get(store)).next_due_at == START + 1000
    [run] = await claim(store, now=START + 1000)
    await store.settle(succeed(run))
    assert (await get(store)).counts == Counts(completed=1)
    assert (await get(store)).next_due_at is None
    await store.settle(bury(await push_running(store)))
    await store.cancel(ById((await store.push(new_job())).job.id), START)
    assert (await get(store)).counts == Counts(completed=1, failed=1, cancelled=1)
    await store.prune(START + 10**6, FAR, 10)
    assert (await get(store)).counts == Counts()


async def test_queues_are_listed_by_name(store: Store) -> None:
    for name in ("b", "a/b", "ä", "B", "a"):
        await store.push(new_job(queue=name))
    names = [queue.name for queue in await store.queues()]
    assert names == sorted(["b", "a/b", "ä", "B", "a"])


async def test_delete_an_empty_queue(store: Store) -> None:
    run = await push_running(store)
    await store.settle(succeed(run))
    await store.set_queue("q", FULL, START)
    assert await store.delete_queue("q", START, force=False) == 0
    assert await store.queue("q") is None
    assert await store.queues() == []
    assert [job.queue for job in await all_of(store.finished, JobFilter(queue="q"))] == ["q"]
    assert await store.delete_queue("q", START, force=True) is None
    assert await store.delete_queue("never", START, force=True) is None


@pytest.mark.parametrize("state", ["pending", "retry", "running"])
async def test_delete_a_queue_that_holds_jobs(store: Store, state: str) -> None:
    if state == "pending":
        await store.push(new_job())
    else:
        run = await push_running(store)
        if state == "retry":
            await store.settle(fail(run))
    await store.set_queue("q", FULL, START)
    before = await get(store)
    with pytest.raises(Conflict, match="1 unprocessed"):
        await store.delete_queue("q", START, force=False)
    assert await get(store) == before
    await assert_counts(store)


async def test_force_cancels_what_waits_and_lets_run_what_runs(store: Store) -> None:
    running = await push_running(store)
    retrying = await push_running(store)
    await store.settle(fail(retrying))
    waiting = await store.push(new_job())
    other = await store.push(new_job(queue="other"))
    assert await store.delete_queue("q", START + 1, force=True) == 2
    for job in (retrying.job, waiting.job):
        found = await store.get(ById(job.id))
        assert found is not None
        assert (found.state, found.finished_at) == (State.CANCELLED, START + 1)
    # It shows for as long as something runs in it.
    assert (await get(store)).counts.running == 1
    assert (await get(store)).settings == QueueSettings()
    assert (await store.settle(succeed(running))).applied
    assert [queue.name for queue in await store.queues()] == ["other"]
    assert [job.id for job in await all_of(store.unfinished)] == [other.job.id]
    await assert_counts(store)


async def bring_back(store: Store, how: str) -> None:
    if how == "push":
        await store.push(new_job())
    elif how == "set":
        await store.set_queue("q", QueueEdit(), START)
    else:
        [job] = await all_of(store.finished)
        await store.revive(ById(job.id), START)


@pytest.mark.parametrize("how", ["push", "set", "revive"])
async def test_what_brings_a_deleted_queue_back(opened: OpenStore, how: str) -> None:
    async with opened() as store:
        run = await push_running(store)
        await store.settle(succeed(run))
        await store.set_queue("q", FULL, START)
        await store.delete_queue("q", START, force=False)
        await bring_back(store, how)
        for waiting in await claim(store):
            await store.settle(succeed(waiting))
        back = await get(store)  # and stays, though it is empty again
        assert (back.settings, back.paused) == (QueueSettings(), False)
        await assert_counts(store)
    async with opened() as store:
        assert await get(store) == back


async def test_delete_and_a_push_at_one_moment(store: Store) -> None:
    for _ in range(5):
        await store.push(new_job())
        await asyncio.gather(
            store.delete_queue("q", START, force=True), store.push(new_job(claim=True))
        )
        assert (await get(store)).counts.running == 1
        await assert_counts(store)
        await store.delete_queue("q", START, force=True)
        for run in await store.orphans(START):
            await store.settle(succeed(run))
        assert await store.queue("q") is None


async def test_delete_and_a_revive_at_one_moment(store: Store) -> None:
    """A queue that holds a job is not deleted, not even in the commit that put it there."""
    run = await push_running(store)
    await store.settle(succeed(run))
    await store.set_queue("q", FULL, START)
    revived, refused = await asyncio.gather(
        store.revive(ById(run.job.id), START),
        store.delete_queue("q", START, force=False),
        return_exceptions=True,
    )
    assert revived is not None
    assert isinstance(refused, Conflict)
    assert (await get(store)).settings.concurrency == 3


async def test_delete_and_the_end_of_the_last_run_at_one_moment(store: Store) -> None:
    run = await push_running(store)
    settled, cancelled = await asyncio.gather(
        store.settle(succeed(run)), store.delete_queue("q", START, force=False)
    )
    assert settled.applied
    assert cancelled == 0
    assert await store.queue("q") is None


async def test_what_a_change_answers_counts_the_moment_it_was_made(store: Store) -> None:
    run = await push_running(store)
    _, changed = await asyncio.gather(
        store.settle(succeed(run)), store.set_queue("q", QueueEdit(), START)
    )
    assert changed == await get(store)
