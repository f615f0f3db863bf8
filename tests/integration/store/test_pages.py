"""Listings: order, filters, and pages that stay right while rows come, go and move."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
from msgspec.structs import replace

from lq.daemon.store import Store
from lq.errors import ValidationError
from lq.model import ById, Job, JobFilter, State
from tests.clock import START
from tests.support.jobs import FAR, all_of, bury, fail, new_job, push_running, succeed


async def fill(store: Store) -> None:
    """Jobs of all states in three queues."""
    chance = random.Random(7)
    for n in range(60):
        members: dict[str, Any] = {
            "queue": f"team/{n % 3}",
            "labels": ("even",) if n % 2 == 0 else ("odd", "evening"),
            "key": f"k{n}" if n % 5 == 0 else None,
            "created_at": START + n,
        }
        if n % 4 == 0:
            await store.push(new_job(delay_ms=chance.randrange(20), **members))
            continue
        run = await push_running(store, **members)
        if n % 4 == 1:
            continue
        end = (succeed, bury, fail)[n % 3]
        await store.settle(end(run, START + chance.randrange(20)))
        if n % 12 == 11:
            await store.cancel(ById(run.job.id), START + 5)


async def stored(store: Store) -> list[Job]:
    """Every job, without help from filters."""
    everything = JobFilter(limit=1000)
    unfinished, finished = await store.unfinished(everything), await store.finished(everything)
    assert (unfinished.cursor, finished.cursor) == (None, None)
    return [*unfinished.items, *finished.items]


def word(job: Job) -> str:
    """A job's state as the wire says it."""
    return "RETRY" if job.state is State.PENDING and job.failures else job.state.value


FILTERS = [
    JobFilter(),
    JobFilter(queue="team/1"),
    JobFilter(queue="never"),
    JobFilter(queues=("team/[02]",)),
    JobFilter(queues=("*",)),
    JobFilter(queues=("Team/*", "nobody")),
    JobFilter(queue="team/1", queues=("team/2",)),
    JobFilter(queue="team/1", queues=("team/2", "team/*")),
    *(JobFilter(state=state) for state in ("PENDING", "RETRY", "RUNNING")),
    JobFilter(key="k15"),
    JobFilter(key="k%"),
    JobFilter(label="even"),
    JobFilter(label="eve"),
    JobFilter(from_at=START + 10, to_at=START + 30),
    JobFilter(queue="team/0", state="PENDING", label="even"),
    JobFilter(queue="team/0", state="RETRY", from_at=START + 10),
]


def matches(job: Job, wanted: JobFilter, at: int | None) -> bool:
    """What JobFilter promises, in Python."""
    prefixes = {"team/[02]": ("team/0", "team/2"), "*": ("team/",), "team/*": ("team/",)}
    allowed = [prefix for pattern in wanted.queues for prefix in prefixes.get(pattern, (pattern,))]
    return (
        wanted.queue in {None, job.queue}
        and (not wanted.queues or job.queue.startswith(tuple(allowed)))
        and wanted.state in {None, word(job)}
        and wanted.key in {None, job.key}
        and (wanted.label is None or wanted.label in job.labels)
        and (at is None or wanted.from_at is None or wanted.from_at <= at)
        and (at is None or wanted.to_at is None or at < wanted.to_at)
    )


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_each_filter_shows_what_it_promises_page_by_page(store: Store, limit: int) -> None:
    await fill(store)
    jobs = await stored(store)
    for wanted in FILTERS:
        paged = replace(wanted, limit=limit)
        expected = {
            job.id for job in jobs if not job.finished_at and matches(job, wanted, job.created_at)
        }
        found = [job.id for job in await all_of(store.unfinished, paged)]
        assert sorted(found) == sorted(expected), wanted
        finished = replace(paged, state="FAILED" if wanted.state else None)
        expected = {
            job.id for job in jobs if job.finished_at and matches(job, finished, job.finished_at)
        }
        found = [job.id for job in await all_of(store.finished, finished)]
        assert sorted(found) == sorted(expected), wanted


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_unfinished_jobs_in_order(store: Store, limit: int) -> None:
    """Running ones first, then waiting ones by queue in due order, then push order."""
    await fill(store)
    jobs = await all_of(store.unfinished, JobFilter(limit=limit))
    running = [job.state is State.RUNNING for job in jobs]
    assert running == sorted(running, reverse=True)
    queues = [job.queue for job in jobs if job.state is State.PENDING]
    assert len(list(itertools.groupby(queues))) == 3
    for name in set(queues):
        waiting = [job for job in jobs if job.state is State.PENDING and job.queue == name]
        assert waiting == sorted(waiting, key=lambda job: (job.due_at, job.seq))


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_finished_jobs_newest_first(store: Store, limit: int) -> None:
    await fill(store)
    jobs = await all_of(store.finished, JobFilter(limit=limit))
    assert jobs == sorted(jobs, key=lambda job: (job.finished_at or 0, job.seq), reverse=True)


async def test_pages_stay_right_while_rows_change(store: Store) -> None:
    """What stays where it is, is shown exactly once, whatever happens around it."""
    staying = [await store.push(new_job(delay_ms=10 * n)) for n in range(40)]
    moving = [await store.push(new_job(delay_ms=10 * n + 5)) for n in range(40)]
    seen: list[str] = []
    wanted = JobFilter(limit=7)
    while True:
        page = await store.unfinished(wanted)
        seen += [job.id for job in page.items]
        if page.cursor is None:
            break
        wanted = replace(wanted, cursor=page.cursor)
        for change in (moving.pop(), moving.pop(0)):
            await store.cancel(ById(change.job.id), START)
        await store.push(new_job(delay_ms=1))
        await store.push(new_job(queue="another"))
    for one in staying:
        assert seen.count(one.job.id) == 1
    assert len(seen) == len(set(seen))


async def test_history_stays_right_while_more_is_finished(store: Store) -> None:
    ended = []
    for n in range(20):
        run = await push_running(store)
        await store.settle(succeed(run, START + n // 3))
        ended.append(run.job.id)
    seen: list[str] = []
    wanted = JobFilter(limit=3)
    while True:
        page = await store.finished(wanted)
        seen += [job.id for job in page.items]
        if page.cursor is None:
            break
        wanted = replace(wanted, cursor=page.cursor)
        newer = await push_running(store)
        await store.settle(succeed(newer, START + 1000))
        await store.prune(START + 1, FAR, 1)
    assert seen == [job for job in reversed(ended) if job in seen]
    assert set(ended[6:]) <= set(seen)


async def test_the_last_page_has_no_cursor(store: Store) -> None:
    await asyncio.gather(*(store.push(new_job()) for _ in range(3)))
    runs = [await push_running(store) for _ in range(3)]
    for limit in (6, 7):
        page = await store.unfinished(JobFilter(limit=limit))
        assert (len(page.items), page.cursor) == (6, None)
    page = await store.unfinished(JobFilter(limit=3))
    assert {job.id for job in page.items} == {run.job.id for run in runs}
    assert page.cursor is not None
    for run in runs:
        await store.settle(succeed(run))
    page = await store.finished(JobFilter(limit=3))
    assert (len(page.items), page.cursor) == (3, None)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "p", "p.1", "p.1.2", "p.1.2.3.4", "p.a.b.c", "p.-1.2.3", "p.1.2.3 ", "r.1.2.3",
     "f.1", "f.9999999999999999999.1", "p.1.2.٣", "p.1.2.3'--", "\ud800", "p.." + "." * 50],
)  # fmt: skip
async def test_a_cursor_that_no_listing_gave(store: Store, cursor: str) -> None:
    await store.push(new_job())
    for listing in (store.unfinished, store.finished):
        with pytest.raises(ValidationError, match="cursor"):
            await listing(JobFilter(cursor=cursor))
