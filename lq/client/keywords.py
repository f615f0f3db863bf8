"""The keyword arguments of verbs, as types. Nothing here runs: `lq push` does without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from datetime import datetime


class PushOptions(TypedDict, total=False):
    """What a push or an edit may say beyond the payload; None is the same as leaving it out.

    Shape: `delay` and `timeout` are durations ("5m", "1d12h"); `on` is an RFC 3339 instant or a
    datetime with a zone, `expires` one of these or a duration; `retry` is a count or waits
    ("10s,1m"). In an edit "" for `expires` and no `labels` take away what is set.
    Units: `delay_ms` and `timeout_ms` are milliseconds.
    """

    content_type: str | None
    target: str | None
    method: str | None
    headers: Mapping[str, str] | None
    key: str | None
    if_exists: str | None
    delay: str | None
    delay_ms: int | None
    on: str | datetime | None
    retry: str | int | None
    timeout: str | None
    timeout_ms: int | None
    expires: str | datetime | None
    labels: Sequence[str] | None
    validate: bool | None
    completion: str | None
    traceparent: str | None
    tracestate: str | None


class Filter(TypedDict, total=False):
    """Which items are meant; None is the same as leaving it out.

    Shape: `schedule` is the id of the one that made them. `target` is a whole one, or its beginning
    and "*"; `error` is a part of the text; `fingerprint` is one of `failures`. `since` and `until`
    are RFC 3339 instants: of when it finished, of an unfinished item of when it was pushed.
    """

    state: str | None
    label: str | None
    key: str | None
    schedule: str | None
    target: str | None
    error: str | None
    fingerprint: str | None
    since: str | None
    until: str | None


class ScheduleOptions(TypedDict, total=False):
    """What a schedule may say beyond rule, queue and payload; None is the same as leaving it out.

    Shape: `start` and `until` are RFC 3339 instants or datetimes with a zone, `expires`, `timeout`
    and `jitter` are durations, `retry` is a count or waits ("10s,1m"). In an edit "" takes away
    what is optional, as do no labels and no headers.
    Units: `timeout_ms` and `jitter_ms` are milliseconds.
    """

    content_type: str | None
    target: str | None
    method: str | None
    headers: Mapping[str, str] | None
    key: str | None
    tz: str | None
    times: int | str | None
    start: str | datetime | None
    until: str | datetime | None
    misfire: str | None
    overlap: str | None
    jitter: str | None
    jitter_ms: int | str | None
    retry: str | int | None
    timeout: str | None
    timeout_ms: int | str | None
    expires: str | None
    labels: Sequence[str] | None
    validate: bool | None
    completion: str | None


class QueueSettings(TypedDict, total=False):
    """Settings of a queue; None takes one away, and what is left out stays.

    Shape: `timeout` is a duration ("30s"), `retry` a count or waits, `rate` starts in a stretch of
    time ("10/s", "100/min"), `paused_until` an RFC 3339 instant or a duration.
    """

    target: str | None
    method: str | None
    headers: Mapping[str, str] | None
    concurrency: int | None
    rate: str | None
    burst: int | None
    fifo: bool | None
    retry: str | int | None
    timeout: str | None
    paused: bool | None
    paused_until: str | None
    pause_reason: str | None
