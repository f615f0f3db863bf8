"""What one transaction of the SQLite store may hold up a push for, however much there is to do."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from lq.daemon.store import ClaimRequest
from lq.daemon.store.database import open_database
from lq.daemon.store.sqlite import JobBook, SqliteStore
from lq.model import ById, State
from tests.clock import START
from tests.support.jobs import FAR, all_of, assert_counts, bury, new_job, push_running, succeed

from .conftest import at_work

MOST_ROWS = 1000
MOST_BYTES = 8 << 20


class Watched(JobBook):
    """A Book that remembers the most rows one transaction changed, and the most pages it freed."""

    def __init__(self) -> None:
        super().__init__()
        self.most_rows = self.most_freed = 0

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        rows, free = connection.total_changes, _free_bytes(connection)
        answers = super().apply(connection, group)
        self.most_rows = max(self.most_rows, connection.total_changes - rows)
        self.most_freed = max(self.most_freed, _free_bytes(connection) - free)
        return answers


def _free_bytes(connection: sqlite3.Connection) -> int:
    [pages] = connection.execute("PRAGMA freelist_count").fetchone()
    [size] = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(size)


class Stepping(NamedTuple):
    store: SqliteStore
    book: Watched


@pytest.fixture
async def stepping(tmp_path: Path) -> AsyncIterator[Stepping]:
    book = Watched()
    async with at_work(store := SqliteStore(await open_database(tmp_path, book))):
        yield Stepping(store, book)


async def push_many(store: SqliteStore, number: int, **members: Any) -> None:
    for start in range(0, number, 400):
        jobs = [new_job(**members) for _ in range(min(400, number - start))]
        await asyncio.gather(*map(store.push, jobs))


async def test_a_queue_is_deleted_in_steps(stepping: Stepping) -> None:
    store, book = stepping
    await push_many(store, 1900)
    book.most_rows = 0
    assert await store.delete_queue("q", START, force=True) == 1900
    assert book.most_rows <= MOST_ROWS
    assert await store.queue("q") is None
    assert len(await all_of(store.finished)) == 1900


async def test_a_push_between_the_steps_of_a_delete(stepping: Stepping) -> None:
    """It is cancelled and counted with the others, or it brings the queue back."""
    store, _ = stepping
    await push_many(store, 1900)
    deleting = asyncio.ensure_future(store.delete_queue("q", START, force=True))
    pushed = []
    while not deleting.done():
        pushed.append((await store.push(new_job())).job)
    waiting = await all_of(store.unfinished)
    cancelled = await all_of(store.finished)
    assert await deleting == len(cancelled)
    assert len(waiting) + len(cancelled) == 1900 + len(pushed)
    assert (await store.queue("q") is None) == (waiting == [])
    # Those that were pushed before its last step, and no others.
    assert [job.id for job in waiting] == [job.id for job in pushed[len(pushed) - len(waiting) :]]
    await assert_counts(store)


async def test_two_deletes_at_one_moment_count_each_job_once(stepping: Stepping) -> None:
    store, _ = stepping
    await push_many(store, 1900)
    answers = await asyncio.gather(*(store.delete_queue("q", START, force=True) for _ in range(2)))
    assert sum(number or 0 for number in answers) == 1900
    assert None not in answers


async def test_large_payloads_are_pruned_in_steps(stepping: Stepping) -> None:
    store, book = stepping
    for _ in range(200):
        run = await push_running(store, payload=bytes(200_000))
        await store.settle(succeed(run))
    book.most_freed = 0
    assert await store.prune(START + 1, FAR, 500) == 200
    assert 0 < book.most_freed <= MOST_BYTES
    assert await all_of(store.finished) == []


async def test_large_answers_are_pruned_in_steps(stepping: Stepping) -> None:
    store, book = stepping
    for _ in range(200):
        settlement = succeed(await push_running(store))
        assert settlement.outcome is not None
        outcome = replace(settlement.outcome, body=bytes(64 * 1024))
        await store.settle(replace(settlement, outcome=outcome))
    book.most_freed = 0
    assert await store.prune(START + 1, FAR, 500) == 200
    assert 0 < book.most_freed <= MOST_BYTES


async def test_one_that_is_larger_than_a_step_is_pruned_all_the_same(stepping: Stepping) -> None:
    store, _ = stepping
    for end in (succeed, bury):
        run = await push_running(store, payload=bytes(2 * MOST_BYTES))
        await store.settle(end(run))
    assert await store.prune(START + 1, FAR, 1) == 1
    assert await store.prune(START + 1, FAR, 500) == 1


async def test_pruning_keeps_to_its_limit(stepping: Stepping) -> None:
    store, _ = stepping
    for _ in range(60):
        await store.settle(succeed(await push_running(store, payload=bytes(200_000))))
    assert [await store.prune(START + 1, FAR, 50) for _ in range(3)] == [50, 10, 0]


async def test_expired_jobs_in_front_cost_a_claim_nothing(stepping: Stepping) -> None:
    store, book = stepping
    await push_many(store, 1900, expires_at=START + 5)
    alive = (await store.push(new_job())).job
    book.most_rows = 0
    claimed = None
    while claimed is None or not claimed.runs:
        [claimed] = await store.claim(lambda: ([ClaimRequest("q", 100)], START + 5))
    assert [run.job.id for run in claimed.runs] == [alive.id]
    assert book.most_rows <= 2 * 100 + 3  # each failure is counted, too
    assert claimed.next_due_at is None
    found = await store.get(ById(alive.id))
    assert found is not None
    assert found.state is State.RUNNING
    await assert_counts(store)
