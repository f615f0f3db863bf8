"""What has happened, slot by slot of time: which of it is asked for, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.activity import Activity, Span, Tally
from lq.when import format_duration, format_instant
from lq.wire import fields
from lq.wire.parts import InstantText, one_of, to_json
from lq.wire.reading import Known, read_query


def _span(text: str) -> Span:
    return Span(fields.choice(text.lower(), Span))


ACTIVITY_QUERY: Final[Known[str]] = MappingProxyType(
    {"span": ("span", _span), "queue": ("queue", fields.check_queue)}
)


class ActivityQuery(Struct, frozen=True):
    """What somebody wants to see. Shape: without `queue` it is of all that they may see."""

    span: Span = Span.HOUR
    queue: str | None = None


class _Point(Struct, kw_only=True, rename="camel"):
    """What happened in a slot that began `at` then.

    Shape: `taken` were pushed or retried by hand, `failed` are failures for good and `retried` the
    others; `late…` is how long after their time attempts started.
    """

    at: InstantText
    taken: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    started: int
    late_mean_ms: int
    late_max_ms: int


class _Activity(Struct, kw_only=True, rename={"from_": "from"}):
    """A span of time in slots. Shape: the last slot is the present one; `to` is when it ends."""

    span: Annotated[str, one_of(*Span)]
    slot: str
    from_: InstantText
    to: InstantText
    points: list[_Point]


ANSWERS: Final[Mapping[str, Any]] = {"Activity": _Activity}
"""As `encode.ANSWERS`."""


def decode_activity(query: str) -> ActivityQuery:
    """Read `?span=` and `?queue=`. Raises: ValidationError."""
    return ActivityQuery(**read_query(query, ACTIVITY_QUERY))


def encode_activity(activity: Activity) -> bytes:
    """What happened in a span."""
    span = activity.span
    return to_json(
        _Activity(
            span=span.value,
            slot=format_duration(span.slot_ms),
            from_=format_instant(activity.first_at),
            to=format_instant(activity.end_at),
            points=[
                _point(activity.first_at + n * span.slot_ms, tally)
                for n, tally in enumerate(activity.tallies)
            ],
        )
    )


def _point(at: int, tally: Tally) -> _Point:
    return _Point(
        at=format_instant(at),
        taken=tally.taken,
        completed=tally.completed,
        failed=tally.failed,
        retried=tally.retried,
        cancelled=tally.cancelled,
        started=tally.started,
        late_mean_ms=tally.late_mean_ms,
        late_max_ms=tally.late_max_ms,
    )
