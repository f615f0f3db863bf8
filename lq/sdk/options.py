"""What a push or a schedule may say beyond its payload, in Python's own types.

Owns: turning timedeltas, datetimes and the instants that people write into what the client
takes. What is left out has the queue's default, else the daemon's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

from lq.errors import ValidationError
from lq.sdk.outcomes import duration_ms
from lq.when import format_duration, format_instant, parse_instant


class Defaults(TypedDict, total=False):
    """What a queue may say once for all its items.

    Shape: durations are text ("5m") or timedeltas; `retry` is a number of retries, or the waits
    between them ("10s,1m", or a sequence).
    """

    method: str | None
    headers: Mapping[str, str] | None
    retry: int | str | Sequence[str | timedelta] | None
    timeout: str | timedelta | None
    expires: str | timedelta | datetime | None
    labels: Sequence[str] | None
    validate: bool | None


class PushOptions(Defaults, total=False):
    """What a push may say.

    Shape: `on` is a datetime with a zone, or text such as "2026-12-01T09:00:00Z" or "tomorrow
    09:00 Europe/Berlin"; `if_exists` is "replace", "keep" or "reject".
    """

    key: str | None
    delay: str | timedelta | None
    on: str | datetime | None
    if_exists: str | None
    idempotency_key: str | None
    target: str | None


class ScheduleOptions(Defaults, total=False):
    """What a schedule may say.

    Shape: `start` and `until` are as `on` of a push; `misfire` is "once", "skip" or "all",
    `overlap` "allow" or "skip".
    """

    times: int | None
    start: str | datetime | None
    until: str | datetime | None
    misfire: str | None
    overlap: str | None
    jitter: str | timedelta | None
    target: str | None


def written(options: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Options as the client takes them; what is None is left out.

    Raises: TypeError for a name that is not known, ValidationError for a value that cannot be.
    """
    told: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known.__annotations__:
            raise TypeError(f"{name!r} is no option here; known are {', '.join(_names(known))}")
        if value is not None:
            told[name] = _WRITERS[name](name, value) if name in _WRITERS else value
    return told


def _names(known: type) -> list[str]:
    return sorted(known.__annotations__)


def _duration(name: str, value: str | timedelta) -> str:
    try:
        return format_duration(duration_ms(value))
    except ValueError as error:
        raise ValidationError.of(name, str(error)) from None


def _instant(name: str, value: str | datetime) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValidationError.of(name, "a datetime needs a time zone")
        return value.isoformat()
    try:
        return format_instant(parse_instant(value, time.time_ns() // 1_000_000))
    except ValueError as error:
        raise ValidationError.of(name, str(error)) from None


def _expiry(name: str, value: str | timedelta | datetime) -> str:
    if isinstance(value, datetime) or (isinstance(value, str) and value[4:5] == "-"):
        return _instant(name, value)
    return _duration(name, value)


def _retry(name: str, value: int | str | Sequence[str | timedelta]) -> str:
    if isinstance(value, int | str):
        return str(value)
    return ",".join(_duration(name, wait) for wait in value)


_WRITERS: Mapping[str, Any] = {
    **dict.fromkeys(("delay", "timeout", "jitter"), _duration),
    **dict.fromkeys(("on", "start", "until"), _instant),
    "expires": _expiry,
    "retry": _retry,
}
