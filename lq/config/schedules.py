"""The schedules of lq.toml: `[[schedules]]`, each a table.

Owns what such a table may say. Whether a target may be called is for `daemon.egress`, and what
is done about schedules that come and go for `daemon.schedules`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from lq.config.kinds import (
    ATTEMPT,
    FLAG,
    HEADERS,
    METHOD,
    RETRY,
    TARGET,
    VALIDATE,
    Kind,
    choice,
    duration,
    integer,
    read_table,
    text_of,
    texts,
)
from lq.errors import ConfigError
from lq.firing import parse_rule
from lq.model import Completion, Misfire, Overlap, Push, ScheduleSpec
from lq.when import DAY_MS, MAX_MS, load_zone, parse_rfc3339, within_calendar
from lq.wire import check_queue, check_schedule_key
from lq.wire.fields import is_sendable, read_labels

Where = Callable[[tuple[str, ...]], str]
"""Where a key stands: `("schedules", "0", "queue")` -> "lq.toml:12"."""

_HINT: Final = "lq.toml.example shows a schedule with every key."


class FileSchedule(Struct, frozen=True, kw_only=True):
    """One schedule of lq.toml. `paused` is None where the file leaves that to people.

    Shape: `where` is "lq.toml:12", the line it begins on.
    """

    spec: ScheduleSpec
    where: str
    paused: bool | None = None


class _Payload(Struct, frozen=True):
    body: bytes
    content_type: str


def read_schedules(value: Any, where: Where) -> tuple[FileSchedule, ...]:
    """Read the array of tables. Raises: ConfigError, naming line, key and the accepted form."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ConfigError(f"{where(('schedules',))}: expected tables [[schedules]]", hint=_HINT)
    keys: dict[str, str] = {}
    found = []
    for number, table in enumerate(value):
        path = ("schedules", str(number))
        schedule = _read(table, path, where)
        key = schedule.spec.key or ""
        if key in keys:
            raise ConfigError(
                f"{where((*path, 'key'))}: [[schedules]] key: {key!r} is taken by {keys[key]}"
            )
        keys[key] = schedule.where
        found.append(schedule)
    return tuple(found)


def _read(table: Mapping[str, Any], path: tuple[str, ...], where: Where) -> FileSchedule:
    def refuse(name: str, message: str) -> ConfigError:
        at = where((*path, name) if name in table else path)
        return ConfigError(f"{at}: [[schedules]] {name}: {message}", hint=_HINT)

    members = read_table(table, _KINDS, refuse)
    for name in ("key", "schedule", "queue"):
        if name not in members:
            raise refuse(name, "is missing")
    start_at, until_at = members.get("start"), members.get("until")
    if start_at is not None and until_at is not None and until_at <= start_at:
        raise refuse("until", "must be after start")
    return FileSchedule(spec=_spec(members), where=where(path), paused=members.get("paused"))


def _spec(members: Mapping[str, Any]) -> ScheduleSpec:
    payload = members.get("payload", _Payload(b"", ""))
    push = Push(
        queue=members["queue"],
        payload=payload.body,
        content_type=members.get("content_type") or payload.content_type or None,
        target=members.get("target"),
        method=members.get("method"),
        headers=members.get("headers", {}),
        retry=members.get("retry"),
        timeout_ms=members.get("timeout"),
        expires_ms=members.get("expires"),
        labels=members.get("labels", ()),
        validate=members.get("validate") != "none",
        completion=Completion(members.get("completion", Completion.RESPONSE)),
    )
    return ScheduleSpec(
        rule=members["schedule"],
        push=push,
        zone=members.get("timezone", "UTC"),
        key=members["key"],
        times=members.get("times"),
        start_at=members.get("start"),
        until_at=members.get("until"),
        jitter_ms=members.get("jitter", 0),
        misfire=Misfire(members.get("misfire", Misfire.ONCE)),
        overlap=Overlap(members.get("overlap", Overlap.ALLOW)),
    )


def _zone_of(value: Any) -> str:
    name = text_of(value)
    load_zone(name)
    return name


def _instant_of(value: Any) -> int:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return within_calendar(parse_rfc3339(value.isoformat().replace("+00:00", "Z")))
    return within_calendar(parse_rfc3339(text_of(value)))


def _payload_of(value: Any) -> _Payload:
    if isinstance(value, str):
        return _Payload(value.encode(), "text/plain; charset=utf-8")
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except TypeError:
        raise ValueError("holds a date, which JSON has none of: write it as a string") from None
    except ValueError:
        raise ValueError("holds nan or inf, which JSON has none of") from None
    return _Payload(text.encode(), "application/json")


def _content_type_of(value: Any) -> str:
    text = text_of(value)
    if not text.isascii() or not is_sendable(text):
        raise ValueError
    return text


def _labels_of(value: Any) -> tuple[str, ...]:
    words = texts(value)
    if any("," in word for word in words):
        raise ValueError
    return read_labels(",".join(words)) if words else ()


def _in_any_case(kind: Kind) -> Kind:
    return kind._replace(read=lambda value: kind.read(text_of(value).lower()))


_INSTANT: Final = Kind("an instant with its offset such as 2026-12-01T09:00:00+01:00", _instant_of)
_KINDS: Final[Mapping[str, Kind]] = {
    "key": Kind("a key", lambda value: check_schedule_key(text_of(value))),
    "schedule": Kind(
        'a rule such as "30 2 * * *", "@daily" or "E=90s"', lambda value: parse_rule(text_of(value))
    ),
    "queue": Kind("a queue's name", lambda value: check_queue(text_of(value))),
    "timezone": Kind('a time zone such as "Europe/Berlin"', _zone_of),
    "target": TARGET,
    "method": METHOD,
    "headers": HEADERS,
    "payload": Kind("text, or a table that becomes JSON", _payload_of),
    "content_type": Kind('ASCII such as "application/json"', _content_type_of),
    "retry": RETRY,
    "timeout": ATTEMPT,
    "expires": duration(1, MAX_MS, 'from 1ms to 3653d, such as "1h"'),
    "labels": Kind('a list of words such as ["nightly"]', _labels_of),
    "times": integer(1, 1_000_000_000),
    "start": _INSTANT,
    "until": _INSTANT,
    "jitter": duration(0, DAY_MS, 'from 0s to 24h, such as "5m"'),
    "misfire": _in_any_case(choice(*Misfire)),
    "overlap": _in_any_case(choice(*Overlap)),
    "paused": FLAG,
    "validate": VALIDATE,
    "completion": _in_any_case(choice(*Completion)),
}
