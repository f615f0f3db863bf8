"""Jobs, schedules, and what stores are asked about them, in few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from msgspec.structs import replace

from lq.daemon.store import ClaimRequest, Fire, Store
from lq.model import (
    Counts,
    Firing,
    Job,
    JobFilter,
    NewJob,
    Outcome,
    OutcomeKind,
    Page,
    Push,
    RetryPolicy,
    Run,
    Schedule,
    ScheduleSpec,
    Settlement,
    State,
)
from tests.clock import START

SUCCEEDED = Outcome(kind=OutcomeKind.SUCCEEDED, status=200)
FAILED = Outcome(kind=OutcomeKind.FAILED, status=500, error="status 500")
INTERRUPTED = Outcome(kind=OutcomeKind.INTERRUPTED, error="interrupted")

FAR = START + 10**13  # later than anything in a test
HOUR = 3_600_000

_numbers = count(1)


def new_job(**members: Any) -> NewJob:
    """A job as the engine would have it stored: now, unless it says otherwise.

    Shape: `delay_ms` and `on_at` set all that a delay and an instant would; the rest are
    members of NewJob.
    """
    created_at = members.setdefault("created_at", START)
    if (delay_ms := members.pop("delay_ms", None)) is not None:
        due_at = created_at + delay_ms
        members |= {"asked": "delay", "not_before": due_at, "due_at": due_at}
    if (on_at := members.pop("on_at", None)) is not None:
        members |= {"asked": "on", "not_before": on_at, "due_at": max(on_at, created_at)}
    plain = NewJob(
        id=f"job_{next(_numbers)}",
        queue="q",
        created_at=created_at,
        not_before=created_at,
        due_at=created_at,
        target="https://example.com/",
        method="POST",
        retry=RetryPolicy(3),
        timeout_ms=60_000,
        payload=b"payload",
    )
    return replace(plain, **members)


def new_schedule(**members: Any) -> Schedule:
    """An hourly schedule as the engine would have it stored: due now, unless it says otherwise.

    Shape: members of ScheduleSpec and of Schedule.
    """
    plain = ScheduleSpec(
        rule="@hourly",
        push=Push(queue="q", payload=b"payload", target="https://example.com/"),
    )
    names = set(ScheduleSpec.__struct_fields__) & set(members)
    spec = replace(plain, **{name: members.pop(name) for name in names})
    schedule = Schedule(
        id=f"sch_{next(_numbers)}",
        spec=spec,
        created_at=START - HOUR,
        anchor_at=START - HOUR,
        seen_at=START - HOUR,
        next_at=START,
    )
    return replace(schedule, **members)


def new_fire(schedule: Schedule, *times: int | None, **members: Any) -> Fire:
    """What the scheduler would do with a schedule at these times; None is a run by hand.

    Shape: the schedule goes on by an hour from the last time, unless `members` of Fire differ.
    """
    jobs = tuple(
        new_job(queue=schedule.spec.push.queue, firing=Firing(schedule.id, at)) for at in times
    )
    seen_at = max((at for at in times if at is not None), default=schedule.seen_at)
    plain = Fire(
        id=schedule.id,
        seen_before=schedule.seen_at,
        seen_at=seen_at,
        next_at=seen_at + HOUR,
        jobs=jobs,
    )
    return replace(plain, **members)


def succeed(run: Run, at: int = START) -> Settlement:
    return _end(run, "succeed", at, outcome=SUCCEEDED)


def fail(run: Run, at: int = START, *, due_at: int | None = None) -> Settlement:
    """The run failed and is tried again, a second later unless `due_at` says when."""
    return _end(
        run, "fail", at, failures=run.job.failures + 1, outcome=FAILED, error="status 500",
        due_at=at + 1000 if due_at is None else due_at,
    )  # fmt: skip


def bury(run: Run, at: int = START) -> Settlement:
    failures = run.job.failures + 1
    return _end(run, "bury", at, failures=failures, outcome=FAILED, error="status 500")


def release(run: Run, at: int = START, *, due_at: int | None = None) -> Settlement:
    """The run is given back and forgotten: its target was never called."""
    interruptions = run.job.interruptions
    due_at = run.job.due_at if due_at is None else due_at
    return _end(run, "release", at, interruptions=interruptions, error="held", due_at=due_at)


def interrupt(run: Run, at: int = START) -> Settlement:
    """The run is given back because the daemon ended."""
    return _end(
        run, "release", at, interruptions=run.job.interruptions + 1, outcome=INTERRUPTED,
        due_at=run.job.due_at, error="interrupted",
    )  # fmt: skip


def _end(run: Run, verb: str, at: int, **members: Any) -> Settlement:
    members.setdefault("failures", run.job.failures)
    return Settlement(run=run, verb=verb, ended_at=at, **members)


async def claim(store: Store, queue: str = "q", *, limit: int = 100, now: int = START) -> list[Run]:
    """The runs of a queue's due jobs."""
    [claimed] = await store.claim(lambda: ([ClaimRequest(queue, limit)], now))
    return list(claimed.runs)


async def push_running(store: Store, **members: Any) -> Run:
    """Push a job and claim it in the same commit."""
    run = (await store.push(new_job(claim=True, **members))).run
    assert run is not None
    return run


_EVERYTHING = JobFilter()


async def all_of(
    listing: Callable[[JobFilter], Awaitable[Page[Job]]], wanted: JobFilter = _EVERYTHING
) -> list[Job]:
    """Every job of a listing, page by page."""
    jobs: list[Job] = []
    while True:
        page = await listing(wanted)
        assert len(page.items) <= wanted.limit
        jobs += page.items
        if page.cursor is None:
            return jobs
        wanted = replace(wanted, cursor=page.cursor)


async def assert_counts(store: Store) -> None:
    """Each queue's counts are what its jobs count to, by a full listing."""
    for queue in await store.queues():
        wanted = JobFilter(queue=queue.name)
        jobs = await all_of(store.unfinished, wanted) + await all_of(store.finished, wanted)
        found = Counter(
            "retry" if job.state is State.PENDING and job.failures else job.state.value.lower()
            for job in jobs
        )
        assert queue.counts == Counts(**found)
        pending = [job.due_at for job in jobs if job.state is State.PENDING]
        assert queue.next_due_at == min(pending, default=None)


async def expire(store: Store, now: int, limit: int) -> tuple[int, int | None]:
    """Fail what has expired: how many jobs, each of which says so, and when the next one does."""
    jobs, next_at = await store.expire(now, limit)
    assert all(job.state is State.FAILED and job.finished_at == now for job in jobs)
    return len(jobs), next_at
