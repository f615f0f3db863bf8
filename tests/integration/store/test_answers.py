"""What was answered under an idempotency key: kept for a day, with what was done."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from lq.daemon.store import Store
from lq.errors import IdempotencyMismatch, KeyExists
from lq.model import (
    ById,
    Idempotency,
    IfExists,
    Job,
    MadeSchedule,
    NewJob,
    PushOutcome,
    State,
)
from lq.when import DAY_MS
from tests.clock import START
from tests.support.jobs import all_of, claim, new_job, new_schedule, succeed

from .conftest import OpenStore


def asked(key: str = "a", request: str = "r", at: int = START) -> Idempotency:
    return Idempotency(sha256(key.encode()).digest(), sha256(request.encode()).digest(), at)


def once(idempotency: Idempotency | None = None, **members: Any) -> NewJob:
    return new_job(idempotency=idempotency or asked(), **members)


def shown(job: Job) -> Job:
    """What of a job an answer tells."""
    return replace(job, payload=None, headers=MappingProxyType({}))


async def test_the_same_request_pushes_once(store: Store) -> None:
    headers = MappingProxyType({"authorization": "Bearer x"})
    first = await store.push(once(payload=b"p", headers=headers, labels=("a",)))
    assert not first.repeats
    again = await store.push(once(payload=b"p", headers=headers))
    assert (again.repeats, again.outcome, again.run) == (True, PushOutcome.CREATED, None)
    assert again.job == shown(first.job)
    assert [job.id for job in await all_of(store.unfinished)] == [first.job.id]
    assert await store.pushed_before(asked()) == again


async def test_what_was_not_asked_before_is_not_known(store: Store) -> None:
    await store.push(new_job())
    assert await store.pushed_before(asked()) is None
    assert await store.made_before(asked()) is None


@pytest.mark.parametrize("claimed", [False, True])
async def test_many_at_one_moment_are_one(store: Store, *, claimed: bool) -> None:
    answers = await asyncio.gather(*(store.push(once(claim=claimed)) for _ in range(50)))
    assert len({answer.job.id for answer in answers}) == 1
    assert [answer.repeats for answer in answers] == [False] + [True] * 49
    assert [answer.run is not None for answer in answers] == [claimed] + [False] * 49
    [job] = await all_of(store.unfinished)
    assert job.id == answers[0].job.id


async def test_another_request_under_the_key_is_refused(store: Store) -> None:
    await store.push(once())
    other = asked(request="another")
    for refused in (store.push(once(other)), store.pushed_before(other), store.made_before(other)):
        with pytest.raises(IdempotencyMismatch):
            await refused
    both = await asyncio.gather(
        *(store.push(once(asked("b", request))) for request in "xy"), return_exceptions=True
    )
    assert [type(one).__name__ for one in both] == ["Pushed", "IdempotencyMismatch"]
    assert len(await all_of(store.unfinished)) == 2


async def test_another_key_is_another_push(store: Store) -> None:
    pushed = [await store.push(once(asked(key))) for key in "abc"]
    assert len({one.job.id for one in pushed}) == 3


async def test_the_answer_is_the_first_one_whatever_became_of_the_job(store: Store) -> None:
    first = await store.push(once(claim=True))
    assert first.run is not None
    await store.settle(succeed(first.run))
    again = await store.push(once())
    assert (again.job.state, again.job.id) == (State.RUNNING, first.job.id)
    await store.prune(START + 1, START + 1, 10)
    assert await store.get(ById(first.job.id)) is None
    assert await store.push(once()) == again
    assert await claim(store) == []


@pytest.mark.parametrize("if_exists", [IfExists.REPLACE, IfExists.KEEP])
async def test_outcomes_of_a_key_are_repeated(store: Store, if_exists: IfExists) -> None:
    await store.push(new_job(key="k", delay_ms=9, payload=b"before"))
    pushed = await store.push(once(key="k", delay_ms=5, if_exists=if_exists))
    await store.push(new_job(key="k", delay_ms=7, payload=b"after"))
    again = await store.push(once(key="k", delay_ms=5, if_exists=if_exists))
    assert (again.outcome, again.job) == (pushed.outcome, shown(pushed.job))
    found = await store.get(ById(pushed.job.id))
    assert found is not None
    assert found.payload == b"after"


async def test_what_was_refused_may_be_asked_again(store: Store) -> None:
    waiting = await store.push(new_job(key="k"))
    job = once(key="k", if_exists=IfExists.REJECT)
    for _ in range(2):
        with pytest.raises(KeyExists):
            await store.push(job)
    await store.cancel(ById(waiting.job.id), START)
    pushed = await store.push(job)
    assert (pushed.outcome, pushed.repeats) == (PushOutcome.CREATED, False)
    assert (await store.push(job)).repeats


async def test_it_outlives_the_store(opened: OpenStore) -> None:
    async with opened() as store:
        first = await store.push(once())
    async with opened() as store:
        assert (await store.push(once())).job == shown(first.job)


@pytest.mark.parametrize(
    ("later", "repeats"), [(0, True), (DAY_MS - 1, True), (DAY_MS, False), (-DAY_MS * 400, True)]
)
async def test_a_key_counts_for_a_day_by_the_clock(
    store: Store, later: int, *, repeats: bool
) -> None:
    first = await store.push(once())
    again = await store.push(once(asked(at=START + later)))
    assert (again.repeats, again.job.id == first.job.id) == (repeats, repeats)
    assert (await store.push(once(asked(at=START + max(later, 0))))).job.id == again.job.id


async def test_a_key_that_is_too_old_may_belong_to_another_request(store: Store) -> None:
    await store.push(once())
    other = await store.push(once(asked(request="another", at=START + DAY_MS)))
    assert not other.repeats
    with pytest.raises(IdempotencyMismatch):
        await store.push(once(asked(at=START + DAY_MS)))


async def test_old_answers_are_forgotten_in_steps(store: Store) -> None:
    for number in range(12):
        await store.push(once(asked(str(number), at=START + number % 2)))
    assert await store.forget_answers(START + DAY_MS - 1, 4) == 0
    steps = [await store.forget_answers(START + DAY_MS, 4) for _ in range(3)]
    assert steps == [4, 2, 0]
    # Looked for at an instant when all would count: those that are left are the younger ones.
    known = [await store.pushed_before(asked(str(number))) for number in range(12)]
    assert [one is not None for one in known] == [False, True] * 6


async def test_a_schedule_is_made_once(store: Store) -> None:
    schedule = new_schedule(key="k")
    made = MadeSchedule(schedule, PushOutcome.CREATED, START)
    assert await store.make_schedule(asked(), made, schedule) == made
    again = await store.made_before(asked())
    assert again is not None
    push = replace(schedule.spec.push, payload=b"")
    assert again == replace(
        made, schedule=replace(schedule, spec=replace(schedule.spec, push=push))
    )
    other = replace(made, schedule=new_schedule(key="k2"))
    assert await store.make_schedule(asked(), other, other.schedule) == again
    assert await store.schedule(ById(other.schedule.id)) is None
    await store.delete_schedule(schedule.id)
    assert await store.make_schedule(asked(), made, schedule) == again
    assert await store.schedule(ById(schedule.id)) is None


async def test_a_schedule_that_was_kept_is_told_of_again(store: Store) -> None:
    schedule = new_schedule(key="k")
    await store.put_schedule(schedule)
    kept = MadeSchedule(schedule, PushOutcome.KEPT, START)
    await store.make_schedule(asked(), kept, None)
    again = await store.made_before(asked())
    assert again is not None
    assert (again.outcome, again.schedule.id) == (PushOutcome.KEPT, schedule.id)


async def test_a_schedule_that_was_refused_may_be_asked_again(store: Store) -> None:
    first, second = new_schedule(key="k"), new_schedule(key="k")
    await store.put_schedule(first)
    made = MadeSchedule(second, PushOutcome.CREATED, START)
    with pytest.raises(KeyExists):
        await store.make_schedule(asked(), made, second)
    assert await store.made_before(asked()) is None
    await store.delete_schedule(first.id)
    assert await store.make_schedule(asked(), made, second) == made
    with pytest.raises(IdempotencyMismatch):
        await store.make_schedule(asked(request="another"), made, None)
