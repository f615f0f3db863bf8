"""Requests -> schedules: the headers of a POST or PATCH, and the queries about times."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from lq.backoff import parse_retry
from lq.errors import Issue, ValidationError
from lq.firing import RuleError, check_start, parse_rule
from lq.model import Misfire, Overlap, Push, ScheduleEdit, ScheduleFilter, ScheduleSpec
from lq.when import DAY_MS, load_zone, parse_duration, parse_rfc3339, within_calendar
from lq.wire import fields
from lq.wire.reading import (
    Known,
    RawHeaders,
    Reader,
    Refusing,
    content_type_of,
    read_headers,
    read_query,
    require,
)

MAX_FIRINGS: Final = 1_000_000_000
MAX_JITTER_MS: Final = DAY_MS
MAX_TIMES: Final = 1000
"""How many times one question about a schedule may ask for."""

_DEFAULT_TIMES: Final = 5
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998


class NextQuery(Struct, frozen=True):
    """Which times of a schedule to tell. Shape: without `after` those from now on."""

    count: int = _DEFAULT_TIMES
    after: int | None = None


class CalendarQuery(Struct, frozen=True):
    """Which month of a schedule to tell, by its first day. Shape: without one the present one."""

    month: datetime.date | None = None


class CronQuery(Struct, frozen=True):
    """A rule to explain, and the times to tell of it."""

    rule: str
    after: int
    zone: str = "UTC"
    count: int = _DEFAULT_TIMES


def decode_schedule(headers: RawHeaders, payload: bytes, now: int) -> ScheduleSpec:
    """Read a schedule: the body is the payload of its jobs, everything else is a header.

    Raises: ValidationError naming each header that is missing, misspelled, repeated or not
    understood.
    """
    members, plain = read_headers(headers, SCHEDULE_HEADERS)
    require(members, rule="x-lq-schedule", queue="x-lq-queue")
    _check_span(members, now)
    spec, push = _split(members)
    push |= {"payload": payload, "content_type": content_type_of(plain)}
    return ScheduleSpec(push=Push(**push), **spec)


def decode_schedule_edit(headers: RawHeaders, body: bytes, now: int) -> ScheduleEdit:
    """Read a PATCH of a schedule: its headers, and a new payload unless the body is empty.

    Shape: an empty header takes an optional member away. `Content-Type` belongs to the body and
    counts only with one. Raises: ValidationError.
    """
    members, plain = read_headers(headers, SCHEDULE_EDIT_HEADERS)
    _check_span(members, now)
    spec, push = _split(members)
    if body:
        push |= {"payload": body, "content_type": content_type_of(plain)}
    return ScheduleEdit(spec=spec, push=push)


def decode_schedule_filter(query: str) -> ScheduleFilter:
    """Read the query of a listing of schedules. Raises: ValidationError."""
    return ScheduleFilter(**read_query(query, SCHEDULES_QUERY))


def decode_next(query: str) -> NextQuery:
    """Read which times of a schedule to tell. Raises: ValidationError."""
    return NextQuery(**read_query(query, TIMES_QUERY))


def decode_calendar(query: str) -> CalendarQuery:
    """Read which month of a schedule to tell. Raises: ValidationError."""
    return CalendarQuery(**read_query(query, CALENDAR_QUERY))


def decode_cron(query: str, now: int) -> CronQuery:
    """Read a rule to explain without storing it. Raises: ValidationError."""
    members = read_query(query, CRON_QUERY)
    require(members, rule="expr")
    return CronQuery(**{"after": now, **members})


def _split(members: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members of a spec, and those of its push."""
    spec = {name: value for name, value in members.items() if name in _SPEC}
    push = {name: value for name, value in members.items() if name not in _SPEC}
    return spec, push


def _check_span(members: Mapping[str, Any], now: int) -> None:
    """Refuse what is never within its bounds. Raises: ValidationError.

    An `until` that is over is for others to judge: what made a schedule makes it again, unchanged,
    at each start of an application, for years.
    """
    start_at, until_at = members.get("start_at"), members.get("until_at")
    issues = []
    try:
        check_start(start_at, now)
    except ValueError as error:
        issues.append(Issue("x-lq-start", str(error), "too_far"))
    if until_at is not None and start_at is not None and until_at <= start_at:
        issues.append(Issue("x-lq-until", "must be after x-lq-start"))
    if issues:
        raise ValidationError(issues)


def _read_rule(text: str) -> str:
    try:
        return parse_rule(text)
    except RuleError as error:
        # Counted from 1 and as its author would: the SDK puts "C=" before what it was given.
        prefix = 2 if text.lstrip(" \t")[:2].upper() == "C=" else 0
        raise ValueError(f"{error} (at position {error.position - prefix + 1})") from None


def _read_zone(text: str) -> str:
    load_zone(text)
    return text


def _read_query_zone(text: str) -> str:
    return _read_zone(text.replace(" ", "+"))  # which a query makes of the "+" in Etc/GMT+5


def _read_instant(text: str) -> int:
    return within_calendar(parse_rfc3339(text))


def _read_query_instant(text: str) -> int:
    return within_calendar(fields.read_instant(text))


def _read_month(text: str) -> datetime.date:
    found = re.fullmatch("([0-9]{4})-([0-9]{2})", text)
    year, month = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and 1 <= month <= 12):
        raise ValueError(f'expected a month such as "2027-03", got {fields.shown(text)}')
    return datetime.date(year, month, 1)


def _read_firings(text: str) -> int:
    return _number(text, MAX_FIRINGS)


def _read_count(text: str) -> int:
    return _number(text, MAX_TIMES)


def _number(text: str, most: int) -> int:
    number = int(text) if re.fullmatch("[0-9]{1,10}", text) else 0
    if not 1 <= number <= most:
        raise ValueError(f"expected 1 to {most}, got {fields.shown(text)}")
    return number


def _read_jitter(text: str) -> int:
    jitter_ms = parse_duration(text)
    if jitter_ms > MAX_JITTER_MS:
        raise ValueError(f'expected 0s to 24h such as "5m", got {fields.shown(text)}')
    return jitter_ms


def _read_lifetime(text: str) -> int:
    """How long after its time a job of the schedule expires. Units: milliseconds."""
    try:
        expires_ms = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}; it counts for each item from when it is due") from None
    if not expires_ms:
        raise ValueError("expected a duration, 0 would let every item expire at once")
    return expires_ms


def _read_misfire(text: str) -> Misfire:
    return Misfire(fields.choice(text.lower(), Misfire))


def _read_overlap(text: str) -> Overlap:
    return Overlap(fields.choice(text.lower(), Overlap))


def _or_nothing(member: str, read: Reader[str]) -> Reader[str]:
    nothing = _NOTHING.get(member)
    return lambda text: read(text) if text else nothing


_SPEC: Final = frozenset(ScheduleSpec.__struct_fields__)
_NOTHING: Final[Mapping[str, object]] = MappingProxyType(
    {"headers": MappingProxyType({}), "labels": (), "jitter_ms": 0}
)
"""What takes the place of an optional member that is taken away, unless it is None."""

_OPTIONAL: Final[Known[str]] = MappingProxyType(
    {
        "x-lq-target": ("target", fields.read_target),
        "x-lq-headers": ("headers", fields.read_headers),
        "x-lq-method": ("method", fields.read_method),
        "x-lq-retry": ("retry", parse_retry),
        "x-lq-timeout": ("timeout_ms", fields.read_timeout),
        "x-lq-expires": ("expires_ms", _read_lifetime),
        "x-lq-label": ("labels", fields.read_labels),
        "x-lq-times": ("times", _read_firings),
        "x-lq-start": ("start_at", _read_instant),
        "x-lq-until": ("until_at", _read_instant),
        "x-lq-jitter": ("jitter_ms", _read_jitter),
    }
)
_LASTING: Final[Known[str]] = MappingProxyType(
    {
        "x-lq-schedule": ("rule", _read_rule),
        "x-lq-queue": ("queue", fields.check_queue),
        "x-lq-tz": ("zone", _read_zone),
        "x-lq-misfire": ("misfire", _read_misfire),
        "x-lq-overlap": ("overlap", _read_overlap),
        "x-lq-validate": ("validate", fields.read_validate),
        "x-lq-completion": ("completion", fields.read_completion),
        "x-lq-cron": ("cron", Refusing("is called x-lq-schedule")),
        "x-lq-timezone": ("timezone", Refusing("is called x-lq-tz")),
        "x-lq-delay": (
            "delay_ms",
            Refusing("is for items; x-lq-jitter spreads those of a schedule over some time"),
        ),
        "x-lq-on": (
            "on_at",
            Refusing("is for items; x-lq-schedule says when, and x-lq-start from when on"),
        ),
        "x-lq-if-exists": (
            "if_exists",
            Refusing("is for items; a schedule whose x-lq-key is there is updated in place"),
        ),
    }
)
SCHEDULE_HEADERS: Final[Known[str]] = MappingProxyType(
    {**_OPTIONAL, **_LASTING, "x-lq-key": ("key", fields.check_schedule_key)}
)
SCHEDULE_EDIT_HEADERS: Final[Known[str]] = MappingProxyType(
    {
        **{name: (member, _or_nothing(member, read)) for name, (member, read) in _OPTIONAL.items()},
        **_LASTING,
        "x-lq-key": (
            "key",
            Refusing("cannot be changed; make a schedule under the new key and delete this one"),
        ),
    }
)
SCHEDULES_QUERY: Final[Known[str]] = MappingProxyType(
    {
        "queue": ("queue", fields.check_queue),
        "limit": ("limit", fields.read_limit),
        "cursor": ("cursor", fields.read_cursor),
    }
)
TIMES_QUERY: Final[Known[str]] = MappingProxyType(
    {"count": ("count", _read_count), "from": ("after", _read_query_instant)}
)
CALENDAR_QUERY: Final[Known[str]] = MappingProxyType({"month": ("month", _read_month)})
CRON_QUERY: Final[Known[str]] = MappingProxyType(
    {**TIMES_QUERY, "expr": ("rule", _read_rule), "tz": ("zone", _read_query_zone)}
)
