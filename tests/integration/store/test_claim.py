"""Claim: which jobs start, in which order, and when the next one is due."""

from __future__ import annotations

import asyncio
import random

from lq.daemon.store import ClaimRequest, Store
from lq.model import ById, State
from tests.clock import START
from tests.support.jobs import (
    all_of,
    assert_counts,
    claim,
    fail,
    new_job,
    push_running,
    succeed,
)


async def next_due(store: Store, queue: str = "q", *, limit: int = 0, now: int = START) -> object:
    [claimed] = await store.claim(lambda: ([ClaimRequest(queue, limit)], now))
    return claimed.next_due_at


async def test_due_order_then_push_order(store: Store) -> None:
    due = [random.Random(1).randrange(20) for _ in range(60)]
    pushed = [await store.push(new_job(delay_ms=ms)) for ms in due]
    expected = sorted((one.job.due_at, one.job.seq) for one in pushed)
    runs = await claim(store, now=START + 20)
    assert [(run.job.due_at, run.job.seq) for run in runs] == expected


async def test_a_run_carries_the_job_as_it_is_stored(store: Store) -> None:
    pushed = await store.push(new_job(payload=b"body", labels=("a",)))
    [run] = await claim(store, now=START + 7)
    assert run.started_at == START + 7
    assert run.job.run_id == run.id
    assert run.job.state is State.RUNNING
    assert run.job.payload == b"body"
    assert await store.get(ById(pushed.job.id)) == run.job
    [attempt] = await store.attempts(ById(pushed.job.id)) or []
    assert (attempt.n, attempt.started_at, attempt.ended_at, attempt.outcome) == (
        1, START + 7, None, None,
    )  # fmt: skip


async def test_not_a_millisecond_early(store: Store) -> None:
    await store.push(new_job(delay_ms=1000))
    assert await claim(store, now=START + 999) == []
    assert len(await claim(store, now=START + 1000)) == 1


async def test_limits_and_when_the_next_is_due(store: Store) -> None:
    for ms in (0, 1, 1, 5):
        await store.push(new_job(delay_ms=ms))
    seen = []
    for _ in range(3):
        [claimed] = await store.claim(lambda: ([ClaimRequest("q", 2)], START + 1))
        due = claimed.next_due_at
        seen.append((len(claimed.runs), None if due is None else due - START))
    assert seen == [(2, 1), (1, 5), (0, 5)]
    assert await next_due(store, limit=1, now=START + 5) is None
    await assert_counts(store)


async def test_many_queues_in_one_claim(store: Store) -> None:
    for name in ("a", "b", "b", "d"):
        await store.push(new_job(queue=name))
    await store.push(new_job(queue="c", delay_ms=50))
    requests = [ClaimRequest(name, limit) for name, limit in (("d", 0), ("c", 1), ("b", 9))]
    claimed = await store.claim(lambda: ([*requests, ClaimRequest("never", 5)], START))
    assert [(one.queue, len(one.runs), one.next_due_at) for one in claimed] == [
        ("d", 0, START), ("c", 0, START + 50), ("b", 2, None), ("never", 0, None),
    ]  # fmt: skip
    assert [run.job.queue for run in await claim(store, "a")] == ["a"]
    await assert_counts(store)


async def test_what_has_expired_never_starts(store: Store) -> None:
    expired = await store.push(new_job(expires_at=START + 10))
    await store.push(new_job(delay_ms=20))
    assert await next_due(store, now=START + 9) == START
    assert await next_due(store, limit=1, now=START + 10) == START + 20
    found = await store.get(ById(expired.job.id))
    assert found is not None
    assert (found.state, found.finished_at, found.error) == (
        State.FAILED, START + 10, "expired before it could start",
    )  # fmt: skip
    await assert_counts(store)


async def test_a_claim_buries_no_more_than_it_may_start(store: Store) -> None:
    """However many have expired before the first that has not, each claim stays short."""
    for _ in range(3):
        await store.push(new_job(expires_at=START + 5))
    run = await push_running(store, expires_at=START + 5)
    await store.settle(fail(run, due_at=START))
    alive = await store.push(new_job())
    seen = []
    for _ in range(4):
        [claimed] = await store.claim(lambda: ([ClaimRequest("q", 2)], START + 5))
        seen.append(([run.job.id for run in claimed.runs], claimed.next_due_at))
        await assert_counts(store)
    assert seen == [([], START), ([], START), ([alive.job.id], None), ([], None)]


async def test_what_must_wait_for_its_key_is_not_next(store: Store) -> None:
    run = await push_running(store, key="k")
    await store.push(new_job(key="k"))
    assert await next_due(store) is None
    await store.push(new_job(delay_ms=70))
    assert await next_due(store) == START + 70
    await store.settle(succeed(run))
    assert await next_due(store) == START


async def test_each_attempt_has_its_number(store: Store) -> None:
    pushed = await store.push(new_job())
    now = START
    for number in (1, 2, 3):
        [run] = await claim(store, now=now)
        assert run.job.attempt == number
        await store.settle(fail(run, now))
        now += 1000
    attempts = await store.attempts(ById(pushed.job.id)) or []
    assert [attempt.n for attempt in attempts] == [1, 2, 3]
    assert [attempt.started_at - START for attempt in attempts] == [0, 1000, 2000]


async def test_many_claims_at_one_moment_share_no_job(store: Store) -> None:
    await asyncio.gather(*(store.push(new_job()) for _ in range(100)))
    answers = await asyncio.gather(*(claim(store, limit=7) for _ in range(20)))
    runs = [run for answer in answers for run in answer]
    assert len(runs) == len({run.id for run in runs}) == len({run.job.id for run in runs}) == 100
    assert all(job.state is State.RUNNING for job in await all_of(store.unfinished))
    await assert_counts(store)
