"""Jobs and crons in the words of the orchestrator: its table, its states, read from lq's answers.

Owns the translation. lq knows more states than SCHEDULED, RUNNING and FAILED: a job that is done
or was cancelled is not deleted, as history keeps it; and waiting for a retry is SCHEDULED, with
the reason of the last failure.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Json = dict[str, Any]


class Status(StrEnum):
    """Where a job is."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class ScheduleType(StrEnum):
    """How a cron's times are said: as a cron expression, or in the words of `ms`."""

    CRON = "CRON"
    VERCEL_MS = "VERCEL_MS"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A job, or a cron that makes jobs.

    Shape: `custom_id` is its key. `run_at` is when it is due, or was; None for a cron that has
    had its times or is paused. `reason` is what the last attempt failed with, or what holds it.
    `count` is how many attempts have been made; of a cron how often it fired, at most
    `count_limit`. `payload` is None where an answer left it out. `cron` is the id of the cron
    that made a job.
    """

    id: str
    queue: str
    status: Status
    run_at: datetime.datetime | None
    custom_id: str | None = None
    payload: Any = None
    reason: str | None = None
    count: int = 0
    cron: str | None = None
    schedule_type: ScheduleType | None = None
    schedule: str | None = None
    count_limit: int | None = None


_STATUSES: Final = {"PENDING": Status.SCHEDULED, "RETRY": Status.SCHEDULED}


def of_item(item: Json) -> Record:
    """The record of an item as the API shows it."""
    state = item["state"]
    return Record(
        id=item["id"],
        queue=item["queue"],
        status=_STATUSES.get(state) or Status(state),
        run_at=_instant(item.get("nextAttempt") or item.get("notBefore")),
        custom_id=item.get("key"),
        payload=item.get("payload"),
        reason=item.get("error"),
        count=item["attempts"],
        cron=item.get("schedule"),
    )


def of_schedule(schedule: Json) -> Record:
    """The record of a schedule as the API shows it."""
    rule = schedule["schedule"]
    is_interval = rule.startswith("E=")
    reason = schedule.get("reason")
    status = Status.SCHEDULED
    if reason is not None:
        status = Status.FAILED
    elif schedule["paused"]:
        status = Status.CANCELLED
    elif "nextRun" not in schedule:
        status = Status.COMPLETED
    return Record(
        id=schedule["id"],
        queue=schedule["queue"],
        status=status,
        run_at=_instant(schedule.get("nextRun")),
        custom_id=schedule.get("key"),
        payload=schedule.get("payload"),
        reason=reason,
        count=schedule["fired"],
        schedule_type=ScheduleType.VERCEL_MS if is_interval else ScheduleType.CRON,
        schedule=rule.removeprefix("E="),
        count_limit=schedule.get("times"),
    )


def _instant(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)
