"""Troubled schedules: which there are, whatever else their jobs and others have come to."""

from __future__ import annotations

from msgspec.structs import replace

from lq.attention import Troubled
from lq.daemon.store import Store
from lq.daemon.store.attention import MOST_IN_A_ROW
from lq.model import ById, Push, Schedule, State
from tests.clock import START
from tests.support.jobs import bury, claim, new_fire, new_schedule, succeed

FAILED, COMPLETED, CANCELLED = State.FAILED, State.COMPLETED, State.CANCELLED


async def made(store: Store, **members: object) -> Schedule:
    schedule = new_schedule(**members)
    await store.put_schedule(schedule)
    return schedule


async def end(store: Store, schedule: Schedule, *ends: State, at: int = START) -> None:
    """Jobs of a schedule that end so, one after the other, each a millisecond later."""
    for number, end in enumerate(ends):
        [job] = await store.fire([new_fire(schedule, None)], START)
        if end is CANCELLED:
            await store.cancel(ById(job.id), at + number)
            continue
        [run] = await claim(store)
        settlement = succeed(run, at + number) if end is COMPLETED else bury(run, at + number)
        assert (await store.settle(settlement)).applied


async def ids(store: Store, *patterns: str, limit: int = 10) -> list[str]:
    return [one.id for one in await store.troubled(patterns, limit)]


async def test_failures_in_a_row_are_counted_since_the_last_success(store: Store) -> None:
    schedule = await made(store, key="nightly")
    assert await store.troubled((), 10) == []
    await end(store, schedule, FAILED, COMPLETED)
    assert await store.troubled((), 10) == []
    await end(store, schedule, FAILED, CANCELLED, FAILED, CANCELLED, at=START + 10)
    [one] = await store.troubled((), 10)
    assert one.fingerprint is not None
    assert one == Troubled(
        id=schedule.id, key="nightly", queue="q", failures=2, since_at=START + 10,
        error="status 500", fingerprint=one.fingerprint, job_queue="q",
    )  # fmt: skip
    await end(store, schedule, COMPLETED, at=START + 20)
    assert await store.troubled((), 10) == []


async def test_the_count_has_a_bound(store: Store) -> None:
    schedule = await made(store)
    await end(store, schedule, *[FAILED] * (MOST_IN_A_ROW + 5))
    [one] = await store.troubled((), 10)
    assert (one.failures, one.since_at) == (MOST_IN_A_ROW, START + 5)


async def test_what_lq_has_paused_and_what_somebody_has(store: Store) -> None:
    by_lq = await made(store, paused=True, reason="it names no target", next_at=None)
    by_hand = await made(store, paused=True, next_at=None)
    await end(store, by_hand, FAILED)
    assert await store.troubled((), 10) == [
        Troubled(id=by_lq.id, key=None, queue="q", reason="it names no target")
    ]


async def test_a_job_that_runs_or_waits_is_no_verdict(store: Store) -> None:
    schedule = await made(store)
    await end(store, schedule, FAILED)
    await store.fire([new_fire(schedule, None)], START)
    assert await ids(store) == [schedule.id]
    await claim(store)
    assert await ids(store) == [schedule.id]


async def test_patterns_and_the_limit(store: Store) -> None:
    found = []
    for queue in ("mail-in", "shop", "mail-out"):
        push = Push(queue=queue, payload=b"", target="https://example.com/")
        found.append(await made(store, push=push, paused=True, reason="x", next_at=None))
    mail_in, shop, mail_out = (one.id for one in found)
    assert await ids(store) == [mail_in, shop, mail_out]
    assert await ids(store, "mail-*") == [mail_in, mail_out]
    assert await ids(store, "none") == []
    assert await ids(store, limit=2) == [mail_in, shop]


async def test_one_that_is_gone_is_nobodys_concern(store: Store) -> None:
    schedule = await made(store)
    await end(store, schedule, FAILED)
    await store.put_schedule(replace(schedule, paused=True, next_at=None))
    assert await ids(store) == []
    await store.put_schedule(schedule)
    assert await ids(store) == [schedule.id]
    await store.delete_schedule(schedule.id)
    assert await ids(store) == []
