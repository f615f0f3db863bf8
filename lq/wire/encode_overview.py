"""A daemon at one glance -> JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from lq.model import Queue, Run, Schedule
from lq.overview import Overview, Throughput
from lq.when import MINUTE_MS, format_instant
from lq.wire.parts import InstantText, instant, to_json


class _QueueNow(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A queue at one moment.

    Shape: `inRate` and `outRate` are items a second, over the last ten; `failures` (for good) and
    `retries` are attempts of the last minute.
    """

    name: str
    paused: bool = False
    paused_until: InstantText | None = None
    pending: int
    retry: int
    running: int
    failed: int
    oldest_due: InstantText | None = None
    concurrency: int | None = None
    in_rate: float = 0.0
    out_rate: float = 0.0
    failures: int = 0
    retries: int = 0


class _RunNow(Struct, kw_only=True, omit_defaults=True):
    """An attempt that is under way."""

    id: str
    queue: str
    key: str | None = None
    target: str
    attempt: int
    started: InstantText
    schedule: str | None = None


class _NextRun(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A schedule, and when it fires next."""

    id: str
    key: str | None = None
    queue: str
    next_run: InstantText
    overdue: bool = False


class _Overview(Struct, kw_only=True, omit_defaults=True):
    """A daemon at one moment. Shape: `reasons` say what ails it."""

    now: InstantText
    queues: list[_QueueNow]
    running: list[_RunNow]
    schedules: list[_NextRun]
    reasons: tuple[str, ...] = ()


ANSWERS: Final[Mapping[str, Any]] = {"Overview": _Overview}
"""As `encode.ANSWERS`."""


def encode_overview(overview: Overview) -> bytes:
    """What there is now."""
    return to_json(
        _Overview(
            now=format_instant(overview.at),
            queues=[_queue(queue, rate) for queue, rate in overview.queues],
            running=[_run(run) for run in overview.running],
            schedules=[_next(schedule, overview.at) for schedule in overview.schedules],
            reasons=overview.trouble,
        )
    )


def _queue(queue: Queue, rate: Throughput) -> _QueueNow:
    counts = queue.counts
    return _QueueNow(
        name=queue.name,
        paused=queue.paused,
        paused_until=instant(queue.paused_until),
        pending=counts.pending,
        retry=counts.retry,
        running=counts.running,
        failed=counts.failed,
        oldest_due=instant(queue.next_due_at),
        concurrency=queue.settings.concurrency,
        in_rate=round(rate.taken, 2),
        out_rate=round(rate.ended, 2),
        failures=rate.failed,
        retries=rate.retried,
    )


def _run(run: Run) -> _RunNow:
    job = run.job
    return _RunNow(
        id=job.id,
        queue=job.queue,
        key=job.key,
        target=job.target,
        attempt=job.attempt,
        started=format_instant(run.started_at),
        schedule=None if job.firing is None else job.firing.schedule,
    )


def _next(schedule: Schedule, now: int) -> _NextRun:
    at = schedule.next_at or 0
    return _NextRun(
        id=schedule.id,
        key=schedule.spec.key,
        queue=schedule.spec.push.queue,
        next_run=format_instant(at),
        overdue=now - at > MINUTE_MS,
    )
