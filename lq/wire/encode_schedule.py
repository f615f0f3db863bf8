"""Schedules, and their times -> JSON, as bytes ready to send."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

from lq import firing
from lq.backoff import format_retry
from lq.firing import RuleError
from lq.model import (
    Completion,
    FileOrigin,
    LastJob,
    Misfire,
    Origin,
    Overlap,
    Page,
    PushOutcome,
    Schedule,
)
from lq.month import Day
from lq.when import MINUTE_MS, format_duration, format_instant, load_zone, local_time
from lq.wire.parts import (
    InstantText,
    StateWord,
    Target,
    TypeWord,
    instant,
    one_of,
    payload_members,
    redacted,
    state_of,
    to_json,
    type_of,
)
from lq.wire.redaction import Hide, redact_schedule

_OVERDUE_MS: Final = MINUTE_MS
_EPOCH: Final = datetime.datetime(1970, 1, 1)


class _LastItem(Struct, kw_only=True, omit_defaults=True):
    id: str
    state: StateWord | None = None
    finished: InstantText | None = None
    error: str | None = None


class _Schedule(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A schedule as listings and changes answer it."""

    id: str
    key: str | None = None
    created: InstantText
    paused: bool
    reason: str | None = None
    schedule: str
    explanation: str | None = None
    timezone: str
    next_run: InstantText | None = None
    last_run: InstantText | None = None
    overdue: bool = False
    queue: str
    target: Target | None = None
    type: TypeWord
    misfire: Annotated[str, one_of(*Misfire)]
    overlap: Annotated[str, one_of(*Overlap)]
    jitter: str | None = None
    times: int | None = None
    fired: int
    start: InstantText | None = None
    until: InstantText | None = None
    origin: Annotated[str, one_of(*Origin)]
    last_item: _LastItem | None = None
    outcome: Annotated[str, one_of(*PushOutcome)] | None = None


class _File(Struct, omit_defaults=True):
    """Where lq.toml sets a schedule. Shape: no `paused` means that the file leaves it to people."""

    where: str
    paused: bool | None = None


class _FullSchedule(_Schedule, kw_only=True, omit_defaults=True, rename="camel"):
    """A schedule as a GET answers it.

    Shape: no `payload` means an empty one, no `validate` that the endpoint proves itself,
    no `completion` that the response of a call completes its item.
    """

    retry: str | None = None
    timeout: str | None = None
    expires: str | None = None
    labels: tuple[str, ...] = ()
    validate: str | None = None
    completion: Annotated[str, one_of(Completion.CALLBACK)] | None = None
    headers: Mapping[str, str] = {}
    payload: Raw | str | None = None
    payload_type: str | None = None
    payload_encoding: str | None = None
    redacted: tuple[str, ...] = ()
    file: _File | None = None


class _Schedules(Struct, omit_defaults=True):
    items: list[_Schedule]
    cursor: str | None = None


class _Times(Struct):
    times: list[InstantText]


class _Day(Struct):
    date: Annotated[str, Meta(extra_json_schema={"format": "date"})]
    count: int
    first: list[InstantText]


class _Calendar(Struct, omit_defaults=True):
    """A month in the schedule's zone: the days on which it fires."""

    month: str
    today: Annotated[str, Meta(extra_json_schema={"format": "date"})]
    timezone: str
    days: list[_Day]
    notes: Mapping[str, str] = {}


class _Cron(Struct, omit_defaults=True):
    schedule: str
    timezone: str
    explanation: str
    warnings: Sequence[str]
    times: list[InstantText]
    notes: Mapping[str, str] = {}


ANSWERS: Final[Mapping[str, Any]] = {
    "Schedule": _Schedule,
    "FullSchedule": _FullSchedule,
    "Schedules": _Schedules,
    "Times": _Times,
    "Calendar": _Calendar,
    "Cron": _Cron,
}
"""As `encode.ANSWERS`."""


def encode_schedule(
    schedule: Schedule, now: int, hide: Hide, outcome: PushOutcome | None = None
) -> bytes:
    """A Schedule; `outcome` is what a POST did."""
    schedule = redact_schedule(schedule, hide)
    return to_json(_Schedule(outcome=outcome, **_members(schedule, now)))


def encode_full_schedule(
    schedule: Schedule, now: int, hide: Hide, file: FileOrigin | None = None
) -> bytes:
    """A Schedule with its payload and how its items are called; credentials are not shown."""
    schedule = redact_schedule(schedule, hide)
    push = schedule.spec.push
    return to_json(
        _FullSchedule(
            retry=None if push.retry is None else format_retry(push.retry),
            timeout=_duration(push.timeout_ms),
            expires=_duration(push.expires_ms),
            labels=push.labels,
            validate=None if push.validate else "none",
            completion=None if push.completion is Completion.RESPONSE else push.completion,
            headers=redacted(push.headers),
            redacted=tuple(hide(push.queue)),
            file=None if file is None else _File(file.where, file.paused),
            **payload_members(push.payload, push.content_type),
            **_members(schedule, now),
        )
    )


def encode_schedules(page: Page[Schedule], now: int, hide: Hide) -> bytes:
    """One page of a listing: `{"items": […], "cursor": "…"}`, no cursor on the last one."""
    items = [_Schedule(**_members(redact_schedule(schedule, hide), now)) for schedule in page.items]
    return to_json(_Schedules(items, page.cursor))


def encode_times(times: Sequence[int]) -> bytes:
    """The next times of a schedule."""
    return to_json(_Times([format_instant(at) for at in times]))


def encode_calendar(
    rule: str, zone: str, month: datetime.date, days: Sequence[Day], now: int
) -> bytes:
    """A month of a schedule: times with the zone's own offset, notes by time."""
    rules = load_zone(zone)
    local = {at: _local(at, rules) for day in days for at in day.first}
    return to_json(
        _Calendar(
            month=f"{month:%Y-%m}",
            today=local_time(now, rules).date().isoformat(),
            timezone=zone,
            days=[
                _Day(day.date.isoformat(), day.count, [local[at] for at in day.first])
                for day in days
            ],
            notes=_notes(rule, zone, local),
        )
    )


def encode_cron(rule: str, zone: str, times: Sequence[int], now: int) -> bytes:
    """What a rule means, and when: times with the zone's own offset, notes by time.

    Shape: `now` is what the warnings look ahead from.
    """
    rules = load_zone(zone)
    local = {at: _local(at, rules) for at in times}
    return to_json(
        _Cron(
            schedule=rule,
            timezone=zone,
            explanation=firing.explain(rule),
            warnings=firing.warnings(rule, zone, now),
            times=list(local.values()),
            notes=_notes(rule, zone, local),
        )
    )


def _notes(rule: str, zone: str, local: Mapping[int, str]) -> dict[str, str]:
    return {text: note for at, text in local.items() if (note := firing.note(rule, zone, at))}


def _members(schedule: Schedule, now: int) -> dict[str, Any]:
    spec, push, next_at = schedule.spec, schedule.spec.push, schedule.next_at
    return {
        "id": schedule.id,
        "key": spec.key,
        "created": format_instant(schedule.created_at),
        "paused": schedule.paused,
        "reason": schedule.reason,
        "schedule": spec.rule,
        "explanation": _explanation(spec.rule),
        "timezone": spec.zone,
        "next_run": instant(next_at),
        "last_run": instant(schedule.last_at),
        "overdue": next_at is not None and now - next_at > _OVERDUE_MS,
        "queue": push.queue,
        "target": None if push.target is None else Target(push.target, push.method or "POST"),
        "type": type_of(push.target),
        "misfire": spec.misfire,
        "overlap": spec.overlap,
        "jitter": _duration(spec.jitter_ms or None),
        "times": spec.times,
        "fired": schedule.fired,
        "start": instant(spec.start_at),
        "until": instant(spec.until_at),
        "origin": schedule.origin,
        "last_item": schedule.last and _last_item(schedule.last),
    }


def _last_item(last: LastJob) -> _LastItem:
    return _LastItem(
        id=last.id,
        state=None if last.state is None else state_of(last.state, last.failures),
        finished=instant(last.finished_at),
        error=last.error,
    )


def _explanation(rule: str) -> str | None:
    try:
        return firing.explain(rule)
    except RuleError:  # stored once, and refused by now: its schedule is paused and says so
        return None


def _duration(ms: int | None) -> str | None:
    return None if ms is None else format_duration(ms)


def _local(at: int, zone: datetime.tzinfo) -> str:
    """An instant as RFC 3339 with the offset of a zone, to the minute as that format has it."""
    moment = local_time(at, zone)
    minutes = round((moment.utcoffset() or datetime.timedelta()) / datetime.timedelta(minutes=1))
    wall = _EPOCH + datetime.timedelta(milliseconds=at, minutes=minutes)
    sign, ahead = ("-" if minutes < 0 else "+"), abs(minutes)
    text = wall.isoformat(timespec="milliseconds")
    return f"{text}{sign}{ahead // 60:02d}:{ahead % 60:02d}"
