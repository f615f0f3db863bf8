"""What pushes and schedules can say beyond their payload, and the headers that say it.

Owns: the names of the options, each with its header. Never judges a value that the daemon will
judge: it only refuses what would be ambiguous, or what no header can say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import dumps
from typing import TYPE_CHECKING, Any

from lq.errors import ValidationError

if TYPE_CHECKING:
    from datetime import datetime

    from lq.client.keywords import PushOptions, ScheduleOptions

LEFT_OUT: Any = ...
"""Stands for an argument that was not given, where None is a value."""


def option_headers(options: PushOptions | ScheduleOptions) -> dict[str, str]:
    """The headers that say these options; what is None is left out, what is empty is not.

    Raises: ValidationError when two options would say the same, or a datetime has no zone.
    """
    headers: dict[str, str] = {}
    for option, value in options.items():
        if option not in _OPTIONS:
            raise TypeError(f"{option!r} is no option here")
        if value is None:
            continue
        name, written = _OPTIONS[option]
        if name in headers:
            raise ValidationError.of(option, f"is given twice, with {option.partition('_')[0]}")
        headers[name] = written(option, value)
    return headers


def payload_of(payload: bytes, json: object, headers: dict[str, str]) -> bytes:
    """The bytes to send; of `json` also the type, unless one is given.

    Raises: ValidationError when both are there, or `json` is nothing that JSON can say;
    TypeError when the payload is not bytes.
    """
    if json is LEFT_OUT:
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise TypeError(f"a payload is bytes, not {type(payload).__name__}; json= takes values")
        return bytes(payload)
    if payload:
        raise ValidationError.of("json", "is given together with a payload")
    headers.setdefault("Content-Type", "application/json")
    try:
        return dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError.of("json", f"cannot be said in JSON: {error}") from None


def duration(ms: int | str | None) -> str | None:
    """A duration as people write it, because a refusal quotes it; text stays as it is."""
    if ms is None or isinstance(ms, str):
        return ms
    from lq.when import format_duration

    return format_duration(ms)


def instant(name: str, value: str | datetime) -> str:
    """An instant in RFC 3339. Raises: ValidationError for a datetime without a zone."""
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise ValidationError.of(name, "a datetime needs a time zone")
    return value.isoformat()


def _text(name: str, value: object) -> str:
    return str(value)


def _duration(name: str, value: Any) -> str:
    return str(duration(value))


def _object(name: str, value: Any) -> str:
    return dumps(dict(value))


def _words(name: str, value: Any) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _validated(name: str, value: object) -> str:
    return "head" if value else "none"


_OPTIONS: Mapping[str, tuple[str, Callable[[str, Any], str]]] = {
    "content_type": ("Content-Type", _text),
    "target": ("x-lq-target", _text),
    "method": ("x-lq-method", _text),
    "headers": ("x-lq-headers", _object),
    "key": ("x-lq-key", _text),
    "if_exists": ("x-lq-if-exists", _text),
    "delay": ("x-lq-delay", _text),
    "delay_ms": ("x-lq-delay", _text),
    "on": ("x-lq-on", instant),
    "tz": ("x-lq-tz", _text),
    "times": ("x-lq-times", _text),
    "start": ("x-lq-start", instant),
    "until": ("x-lq-until", instant),
    "misfire": ("x-lq-misfire", _text),
    "overlap": ("x-lq-overlap", _text),
    "jitter": ("x-lq-jitter", _text),
    "jitter_ms": ("x-lq-jitter", _duration),
    "retry": ("x-lq-retry", _text),
    "timeout": ("x-lq-timeout", _text),
    "timeout_ms": ("x-lq-timeout", _duration),
    "expires": ("x-lq-expires", instant),
    "labels": ("x-lq-label", _words),
    "validate": ("x-lq-validate", _validated),
    "completion": ("x-lq-completion", _text),
    "traceparent": ("traceparent", _text),
    "tracestate": ("tracestate", _text),
}
