"""Held jobs are let go, and no others: none of another target, none that waits for its time."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lq.daemon.store import ResolvedEdit, Store
from lq.model import ById, Edit, Job
from tests.clock import START
from tests.support.jobs import HOUR, claim, fail, new_job, push_running, release

REASON = "endpoint not validated: "
TARGET = "https://example.com/"


async def held(store: Store, reason: str = f"{REASON}no signature", **members: Any) -> str:
    """A job that its target has put off by an hour; its id."""
    run = await push_running(store, **members)
    await store.settle(replace(release(run, due_at=START + HOUR), error=reason))
    return run.job.id


async def found(store: Store, queue: str = "q", *reasons: str) -> list[str]:
    """The reasons of those that would be let go."""
    jobs = await store.held_jobs(queue, TARGET, reasons or (REASON,), START)
    return [reason for _, reason in jobs]


async def free(store: Store, queue: str = "q") -> None:
    await store.free_jobs(await store.held_jobs(queue, TARGET, (REASON,), START), START)


async def job(store: Store, job_id: str) -> Job:
    found = await store.get(ById(job_id))
    assert found is not None
    return found


async def test_a_held_job_is_due_again(store: Store) -> None:
    job_id = await held(store)
    assert await claim(store) == []
    await free(store)
    freed = await job(store, job_id)
    assert (freed.due_at, freed.error, freed.failures) == (START, None, 0)
    assert [run.job.id for run in await claim(store)] == [job_id]


async def test_others_stay(store: Store) -> None:
    await held(store, target="https://example.com/other")
    await held(store, "https://example.com keeps failing (status 500)")
    await held(store, queue="other")
    await store.push(new_job(delay_ms=HOUR))
    await store.settle(fail(await push_running(store), due_at=START + HOUR))
    assert await found(store) == []
    assert await found(store, "no such queue") == []
    reason = "https://example.com keeps failing ("
    assert await found(store, "q", REASON, reason) == [f"{reason}status 500)"]
    assert await found(store, "other") == [f"{REASON}no signature"]


async def test_a_reason_is_no_pattern(store: Store) -> None:
    await held(store, "abc")
    assert await found(store, "q", "%", "a%c", "A", "") == ["abc"]  # "" begins all
    assert await found(store, "q", "%", "a%c", "A") == []


async def test_the_head_of_a_fifo_queue_keeps_its_place(store: Store) -> None:
    run = await push_running(store)
    behind = await store.push(new_job())
    end = replace(release(run), held_until=START + HOUR, error=f"{REASON}no signature")
    await store.settle(end)
    await free(store)
    head = await job(store, run.job.id)
    assert (head.due_at, head.held_until) == (START, None)
    assert [run.job.id for run in await claim(store)] == [head.id, behind.job.id]


async def test_what_has_changed_meanwhile_is_left_alone(store: Store) -> None:
    """It was put off by hand, or has failed, or runs by the time that it is let go."""
    by_hand, failed, runs = [await held(store) for _ in range(3)]
    jobs = await store.held_jobs("q", TARGET, (REASON,), START)
    assert len(jobs) == 3
    later = START + 2 * HOUR
    edit = ResolvedEdit(edit=Edit(delay_ms=2 * HOUR), now=START, not_before=later, due_at=later)
    await store.edit(ById(by_hand), edit)
    claimed = {run.job.id: run for run in await claim(store, now=START + HOUR)}
    await store.settle(fail(claimed[failed], due_at=later))
    await store.free_jobs(jobs, START)
    assert (await job(store, by_hand)).due_at == later
    assert (await job(store, failed)).due_at == later
    assert (await job(store, runs)).state == "RUNNING"
