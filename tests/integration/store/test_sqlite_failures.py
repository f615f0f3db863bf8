"""When the disk is full, locked, broken or damaged under a store that is open."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lq.daemon.store.database import open_database
from lq.daemon.store.sqlite import JobBook, SqliteStore, open_store
from lq.errors import DataError, StorageFull, StoreFailed, Unavailable
from lq.model import ById, State
from tests.clock import START
from tests.support.handler import GIVE_UP_S
from tests.support.jobs import all_of, assert_counts, claim, fail, new_job, push_running, succeed
from tests.support.sqlite import Disk, beside, no_file_may_grow

from .conftest import at_work, sqlite


class OnSmallDisk(NamedTuple):
    store: SqliteStore
    disk: Disk


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[OnSmallDisk]:
    store, disk = await Disk.open(tmp_path)
    async with at_work(store):
        yield OnSmallDisk(store, disk)


async def fill(small: OnSmallDisk) -> None:
    """Take the room that is left, down to what the smallest job needs."""
    small.disk.pages = 0
    for size in (4000, 100, 0):
        with contextlib.suppress(StorageFull):
            while True:
                await small.store.push(new_job(payload=bytes(size), delay_ms=10**6))


async def test_a_full_disk_refuses_pushes_and_stores_nothing_of_them(small: OnSmallDisk) -> None:
    store = small.store
    await store.push(new_job(delay_ms=5))
    await fill(small)
    before = await all_of(store.unfinished)
    for _ in range(3):
        with pytest.raises(StorageFull) as refused:
            await store.push(new_job(payload=bytes(10_000), claim=True))
        assert "nothing was stored" in refused.value.message
    assert await all_of(store.unfinished) == before
    await assert_counts(store)


async def test_it_recovers_when_there_is_room_again(small: OnSmallDisk) -> None:
    store = small.store
    await fill(small)
    known = len(await all_of(store.unfinished))
    small.disk.pages = None
    pushed = await store.push(new_job(payload=bytes(100_000), claim=True))
    assert pushed.run is not None
    assert (await store.settle(succeed(pushed.run))).applied
    assert len(await all_of(store.unfinished)) == known
    await assert_counts(store)


async def test_of_one_moment_what_still_fits_is_stored(small: OnSmallDisk) -> None:
    store = small.store
    small.disk.pages = 3
    jobs = [new_job(payload=bytes(100_000 if n % 5 == 2 else 1), claim=n < 8) for n in range(15)]
    answers = await asyncio.gather(*map(store.push, jobs), return_exceptions=True)
    refused = [isinstance(answer, StorageFull) for answer in answers]
    assert refused == [n % 5 == 2 for n in range(15)]
    stored = await all_of(store.unfinished)
    assert {job.id for job in stored} == {
        job.id for job, no in zip(jobs, refused, strict=True) if not no
    }
    await assert_counts(store)


async def test_on_a_full_disk_what_runs_can_still_end(small: OnSmallDisk) -> None:
    """Ends, cancels and reads need no new page, and so go on."""
    store = small.store
    runs = [await push_running(store) for _ in range(3)]
    await fill(small)
    assert (await store.settle(succeed(runs[0]))).applied
    assert (await store.settle(fail(runs[1]))).applied
    cancelled = await store.cancel(ById(runs[2].job.id), START)
    assert cancelled is not None
    assert cancelled.state is State.CANCELLED
    [again] = await claim(store, now=START + 1000)
    assert again.job.id == runs[1].job.id
    await assert_counts(store)


async def test_a_read_only_disk(small: OnSmallDisk) -> None:
    store = small.store
    run = await push_running(store)
    small.disk.read_only = True
    for refused in (store.push(new_job()), store.settle(succeed(run))):
        with pytest.raises(Unavailable, match="read-only"):
            await refused
    assert await store.get(ById(run.job.id)) == run.job
    small.disk.read_only = False
    assert (await store.settle(succeed(run))).applied
    await assert_counts(store)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program is writing, and does not come to an end."""
    with beside(folder) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_locked_by_another_process_for_longer_than_it_waits(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        run = await push_running(store)
        with locked(tmp_path):
            pushing = [store.push(new_job()) for _ in range(3)]
            await asyncio.sleep(0)
            # Reads do not wait for it.
            assert await store.get(ById(run.job.id)) == run.job
            answers = await asyncio.gather(*pushing, return_exceptions=True)
            assert [type(answer) for answer in answers] == [Unavailable] * 3
        assert (await store.settle(succeed(run))).applied
        assert await all_of(store.unfinished) == []
        await assert_counts(store)


async def test_locked_by_another_process_at_the_start(tmp_path: Path) -> None:
    """What ran is known all the same; what is to be written waits."""
    async with sqlite(tmp_path) as store:
        run = await push_running(store)
        lost = await push_running(store)
        await store.cancel(ById(lost.job.id), START)
    with locked(tmp_path):
        starting = await open_store(tmp_path)
        orphans = await starting.orphans(START)
    async with at_work(starting):
        assert orphans == [run]
        assert (await starting.settle(succeed(run))).applied


async def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        with locked(tmp_path):
            pushing = store.push(new_job())
            await store.queues()
        assert (await pushing).job.state is State.PENDING


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_that_is_cancelled_leaves_no_transaction_open(
    tmp_path: Path, turns: int
) -> None:
    """At whatever moment it is: the job is stored, and others can write."""
    async with sqlite(tmp_path) as store:
        job = new_job()

        async def push() -> None:
            await store.push(job)

        caller = asyncio.create_task(push())
        await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait({caller})
        stored = await store.revoke_token("nobody", START)  # a write that comes after it
        assert stored is None
        assert await store.get(ById(job.id)) is not None
        with beside(tmp_path) as other:
            other.execute("PRAGMA busy_timeout = 0")
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")


class Counting(JobBook):
    """A Book that counts the transactions it was asked for."""

    transactions = 0

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        self.transactions += 1
        return super().apply(connection, group)


@pytest.mark.parametrize("turns", range(4))
async def test_a_failing_disk_ends_the_store(tmp_path: Path, turns: int) -> None:
    """Nothing is tried again, nobody waits for ever, and `run` says why.

    Whether the writes are of one moment, or the second commit stands behind the first.
    """
    book = Counting()
    store = SqliteStore(await open_database(tmp_path, book))
    work = asyncio.create_task(store.run())
    kept = (await store.push(new_job())).job
    book.transactions = 0
    with no_file_may_grow():
        pushing = [store.push(new_job()) for _ in range(2)]
        for _ in range(turns):
            await asyncio.sleep(0)
        pushing.append(store.push(new_job()))
        answers = await asyncio.gather(*pushing, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreFailed] * 3
        assert book.transactions == 1
        with pytest.raises(StoreFailed, match="the disk failed"):
            async with asyncio.timeout(GIVE_UP_S):
                await work
    with pytest.raises(StoreFailed):
        async with asyncio.timeout(GIVE_UP_S):
            await store.push(new_job())
    await store.close()
    async with sqlite(tmp_path) as again:
        assert [job.id for job in await all_of(again.unfinished)] == [kept.id]
        await assert_counts(again)


@pytest.mark.parametrize("asked", ["a read", "a write"])
async def test_damage_found_while_serving_ends_the_store(tmp_path: Path, asked: str) -> None:
    async with sqlite(tmp_path) as filling:
        for _ in range(100):
            filling.push(new_job(payload=b"x" * 1000))
    store = SqliteStore(await open_database(tmp_path, JobBook()))
    work = asyncio.create_task(store.run())
    size = (tmp_path / "lq.db").stat().st_size
    with (tmp_path / "lq.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(DataError, match="damaged"):
        async with asyncio.timeout(GIVE_UP_S):
            await (store.get(ById("job_1")) if asked == "a read" else store.push(new_job()))
    with pytest.raises(DataError, match="damaged"):
        async with asyncio.timeout(GIVE_UP_S):
            await work
    await store.close()


async def test_a_value_that_cannot_be_stored_harms_only_its_own_write(tmp_path: Path) -> None:
    """A bug of ours upstream must not take the daemon down, nor others' pushes with it."""
    async with sqlite(tmp_path) as store:
        jobs = [new_job(), new_job(tracestate="\ud800"), new_job(due_at=1 << 70), new_job()]
        answers = await asyncio.gather(*map(store.push, jobs), return_exceptions=True)
        assert [type(answer).__name__ for answer in answers] == [
            "Pushed", "UnicodeEncodeError", "OverflowError", "Pushed",
        ]  # fmt: skip
        assert [job.id for job in await all_of(store.unfinished)] == [jobs[0].id, jobs[3].id]
        await assert_counts(store)
