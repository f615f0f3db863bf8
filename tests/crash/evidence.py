"""What a killed daemon leaves behind, read from copies of its files, and what must hold for it.

Reads copies, because SQLite would repair the originals before the daemon gets to do it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.e2e.endpoint import Call

from .load import Cancel, Load, Sent, Work, plan_of

_STATES = {
    "pending": "state = 'PENDING' AND failures = 0",
    "retrying": "state = 'PENDING' AND failures > 0",
    "running": "state = 'RUNNING'",
    "completed": "state = 'COMPLETED'",
    "failed": "state = 'FAILED'",
    "cancelled": "state = 'CANCELLED'",
}


class Job(NamedTuple):
    seq: int
    id: str
    queue: str
    key: str | None
    state: str
    error: str | None
    payload: bytes


class Run(NamedTuple):
    id: int
    job_seq: int
    attempt: int
    started_at: int
    ended_at: int | None
    outcome: str | None


class Left(NamedTuple):
    """The database as it was at one moment. Shape: jobs by id, runs in the order they started."""

    jobs: dict[str, Job]
    runs: Sequence[Run]
    faults: tuple[str, ...]


def read(data: Path, scratch: Path) -> Left:
    """Copy the database and its WAL, and read the copy; `faults` is what is wrong by itself."""
    scratch.mkdir()
    for name in ("lq.db", "lq.db-wal"):
        if (data / name).exists():
            shutil.copy(data / name, scratch)
    try:
        with closing(sqlite3.connect(scratch / "lq.db")) as connection:
            return _read(connection)
    finally:
        shutil.rmtree(scratch)


def _read(connection: sqlite3.Connection) -> Left:
    if not connection.execute("PRAGMA user_version").fetchone()[0]:
        return Left({}, (), ())  # killed before its first migration
    jobs = connection.execute(
        "SELECT j.seq, j.id, q.name, j.key, j.state, j.error, p.body FROM jobs j"
        " JOIN queues q ON q.id = j.queue_id JOIN payloads p ON p.job_seq = j.seq"
    )
    runs = connection.execute(
        "SELECT id, job_seq, attempt, started_at, ended_at, outcome FROM runs ORDER BY id"
    )
    return Left(
        {job.id: job for job in map(Job._make, jobs)},
        tuple(map(Run._make, runs)),
        tuple(_inconsistencies(connection)),
    )


def _inconsistencies(connection: sqlite3.Connection) -> Iterator[str]:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        yield f"integrity_check: {found}"
    yield from (f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check"))
    sums = ", ".join(f"coalesce(sum({where}), 0)" for where in _STATES.values())
    kept = connection.execute(f"SELECT id, name, {', '.join(_STATES)} FROM queues").fetchall()
    for queue, name, *counts in kept:
        counted = connection.execute(f"SELECT {sums} FROM jobs WHERE queue_id = ?", (queue,))
        if (real := list(counted.fetchone())) != counts:
            yield f"queue {name} counts {counts}, but holds {real}"
    (lost,) = connection.execute(
        "SELECT count(*) FROM jobs j LEFT JOIN payloads p ON p.job_seq = j.seq"
        " WHERE p.job_seq IS NULL"
    ).fetchone()
    if lost:
        yield f"{lost} jobs without a payload"
    (open_runs,) = connection.execute(
        "SELECT count(*) FROM runs r JOIN jobs j ON j.seq = r.job_seq"
        " WHERE r.ended_at IS NULL AND j.run_id IS NOT r.id AND j.state <> 'CANCELLED'"
    ).fetchone()
    if open_runs:
        yield f"{open_runs} open runs that their jobs do not know"


def faults(left: Left, load: Load, calls: Sequence[Call], deaths: Sequence[int]) -> tuple[str, ...]:
    """Everything that the end of a storm has not kept of what lq promises."""
    return (
        *left.faults,
        *load.faults,
        *_of_pushes(left, load.sent),
        *_of_jobs(left, load),
        *_of_cancels(left, load.cancels),
        *_of_runs(left, deaths),
        *_of_calls(left, calls),
        *_of_times(load.sent, calls),
        *_of_work(load, deaths),
    )


def _of_pushes(left: Left, pushers: Sequence[Sequence[Sent]]) -> Iterator[str]:
    """Every acknowledged push is there, with its payload or that of a later push of its key."""
    for sent in pushers:
        for place, one in enumerate(sent):
            if one.id is None:
                continue
            job = left.jobs.get(one.id)
            if job is None:
                yield f"{one} was acknowledged and is lost"
                continue
            token = plan_of(job.payload).token
            if token != one.plan.token and token not in _may_replace(one, sent[place + 1 :]):
                yield f"{one} was acknowledged, but its job holds the payload of {token}"


def _may_replace(one: Sent, later: Iterable[Sent]) -> set[str]:
    """The tokens of pushes that may have taken the place of one in its job."""
    if one.key is None:
        return set()
    return {
        other.plan.token
        for other in later
        if (other.queue, other.key) == (one.queue, one.key) and other.id in {one.id, None}
    }


def _of_jobs(left: Left, load: Load) -> Iterator[str]:
    """Every job has ended as its handler said, or was cancelled; no push made two."""
    tokens = Counter(plan_of(job.payload).token for job in left.jobs.values())
    yield from (
        f"push {token} made {number} jobs" for token, number in tokens.items() if number > 1
    )
    may_be_cancelled = {cancel.id for cancel in load.cancels if cancel.done is not False}
    for job in left.jobs.values():
        plan = plan_of(job.payload)
        ends = {plan.ends_as}
        if job.id in may_be_cancelled:
            ends.add("CANCELLED")
        if job.key is not None and (job.error or "").startswith("superseded"):
            ends.add("FAILED")
        if job.state not in ends:
            yield f"{job.id} is {job.state} ({job.error}) instead of {plan.ends_as}"


def _of_cancels(left: Left, cancels: Iterable[Cancel]) -> Iterator[str]:
    """What was cancelled stays so, and no run follows."""
    done = {cancel.id: cancel for cancel in cancels if cancel.done}
    ids = {job.seq: job.id for job in left.jobs.values()}
    for item in done:
        if left.jobs[item].state != "CANCELLED":
            yield f"{item} was cancelled, but is {left.jobs[item].state}"
    for run in left.runs:
        cancel = done.get(ids[run.job_seq])
        if cancel is not None and run.started_at > cancel.answered_at:
            yield f"{cancel.id} was cancelled at {cancel.answered_at}, then came {run}"


def _of_runs(left: Left, deaths: Sequence[int]) -> Iterator[str]:
    """Runs of a job follow each other, and each interruption has a death of its own."""
    ids = {job.seq: job for job in left.jobs.values()}
    by_job: dict[str, list[Run]] = defaultdict(list)
    for run in left.runs:
        by_job[ids[run.job_seq].id].append(run)
    for name, runs in by_job.items():
        if unended := [run for run in runs if run.ended_at is None]:
            yield f"{name} has runs that never ended: {unended}"
        for run, after in pairwise(runs):
            if run.ended_at is not None and after.started_at < run.ended_at:
                yield f"{name} ran twice at once: {run} {after}"
        interrupted = [run for run in runs if run.outcome == "interrupted"]
        lives = [sum(death < run.started_at for death in deaths) for run in interrupted]
        if len(set(lives)) != len(lives):
            yield f"{name} was interrupted twice by one death: {interrupted}"
        ended = [run.attempt for run in runs if run.outcome != "interrupted"]
        # A push with its key may have begun the attempts of a waiting job anew.
        if left.jobs[name].key is None and ended != sorted(set(ended)):
            yield f"{name} repeated an attempt that had ended: {runs}"


def _of_work(load: Load, deaths: Sequence[int]) -> Iterator[str]:
    """Neither a job nor a key is worked on twice at once.

    But for calls that lq cannot take back: those of a dead daemon, and of a cancelled job.
    """
    cancelled = {cancel.id for cancel in load.cancels}
    by_name: dict[str, list[Work]] = defaultdict(list)
    for work in load.worked:
        by_name[work.name].append(work)
    for name, works in by_name.items():
        for work, after in pairwise(sorted(works, key=lambda work: work.began_at)):
            died = any(work.began_at <= death <= after.began_at for death in deaths)
            if after.began_at < work.ended_at and not died and work.id not in cancelled:
                yield f"{name} was worked on twice at once: {work} {after}"


def _of_calls(left: Left, calls: Sequence[Call]) -> Iterator[str]:
    """What the endpoint saw: no call without a run, none too early, none after the end."""
    by_job: dict[str, list[Call]] = defaultdict(list)
    runs: dict[int, list[Run]] = defaultdict(list)
    for call in calls:
        by_job[call.id].append(call)
        named = {call.headers["idempotency-key"], f'"{call.headers["webhook-id"]}"'}
        if named != {f'"{call.id}"'}:
            yield f"{call.id} was called as {named}"
    for run in left.runs:
        runs[run.job_seq].append(run)
    for name, seen in by_job.items():
        if name not in left.jobs:
            yield f"{name} was called, but is not stored"
            continue
        job = left.jobs[name]
        own = runs[job.seq]
        if len(seen) > len(own):
            yield f"{name} was called {len(seen)} times in {len(own)} runs"
        for call in seen:
            if not any(_belongs(call, run) for run in own):
                yield f"{name} was called at {call.at}, in none of its runs: {own}"
    for job in left.jobs.values():
        ended = [run for run in runs[job.seq] if run.outcome in {"succeeded", "failed", "rejected"}]
        for run in ended:
            if not any(_belongs(call, run) for call in by_job[job.id]):
                yield f"{job.id} has a result of {run}, but was not called"


def _of_times(pushers: Sequence[Sequence[Sent]], calls: Sequence[Call]) -> Iterator[str]:
    """No call comes before the time that its push asked for."""
    known = {one.plan.token: one for sent in pushers for one in sent}
    for call in calls:
        sent = known[plan_of(call.body).token]
        if call.at < sent.not_before:
            yield f"{call.id} was called {sent.not_before - call.at} ms too early"


def _belongs(call: Call, run: Run) -> bool:
    """Whether a call was made in a run.

    A call of an interrupted run may arrive after the death of its daemon, from the kernel's
    buffers.
    """
    if call.attempt != run.attempt or call.at < run.started_at:
        return False
    return run.outcome == "interrupted" or run.ended_at is None or call.at <= run.ended_at
