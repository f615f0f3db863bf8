"""Events on the wire: which ones a reader asks for, and each one as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.event import VERBS, Event, EventFilter
from lq.model import PushOutcome
from lq.when import format_instant
from lq.wire import fields
from lq.wire.parts import InstantText, StateWord, instant, one_of, state_of, to_json
from lq.wire.reading import Known, read_query
from lq.wire.redaction import redact_error

MISSED: Final = "missed"
"""The verb of what is told in place of events that are gone."""
GAPS: Final = ("overrun", "restart")
LAST_EVENT_ID: Final = "Last-Event-ID"


def _states(text: str) -> frozenset[str]:
    return frozenset(fields.read_state(word) for word in text.split(","))


def _verbs(text: str) -> frozenset[str]:
    return frozenset(fields.choice(word.lower(), VERBS) for word in text.split(","))


EVENTS_QUERY: Final[Known[str]] = MappingProxyType(
    {
        "queue": ("queue", fields.check_queue),
        "state": ("states", _states),
        "verb": ("verbs", _verbs),
        "key": ("key", fields.check_key),
        "label": ("label", fields.read_label),
        "schedule": ("schedule", fields.read_id),
    }
)


class _Event(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One event of the stream. Shape: without `id` it is about a queue; `missed` is about neither.

    `attempt` is the number of the attempt that began or ended.
    """

    verb: Annotated[str, one_of(*VERBS, MISSED)]
    at: InstantText
    id: str | None = None
    queue: str | None = None
    key: str | None = None
    state: StateWord | None = None
    attempt: int | None = None
    status: int | None = None
    error: str | None = None
    next_attempt: InstantText | None = None
    schedule: str | None = None
    labels: tuple[str, ...] = ()
    outcome: Annotated[str, one_of(PushOutcome.CREATED, PushOutcome.REPLACED)] | None = None
    reason: Annotated[str, one_of(*GAPS)] | None = None


ANSWERS: Final[Mapping[str, Any]] = {"Event": _Event}
"""As `encode.ANSWERS`."""


def decode_event_filter(query: str, queues: tuple[str, ...]) -> EventFilter:
    """Read which events are asked for. Shape: `queues` are a token's. Raises: ValidationError."""
    return EventFilter(queues=queues, **read_query(query, EVENTS_QUERY))


def encode_event(event: Event, words: Sequence[str]) -> bytes:
    """An event. Shape: `words` is the `redact` of its queue."""
    state = event.state
    return to_json(
        _Event(
            verb=event.verb,
            at=format_instant(event.at),
            id=event.job_id or None,
            queue=event.queue,
            key=event.key,
            state=None if state is None else state_of(state, event.failures),
            attempt=event.attempt,
            status=event.status,
            error=redact_error(event.error, words),
            next_attempt=instant(event.due_at),
            schedule=event.schedule,
            labels=event.labels,
            outcome=event.outcome,
        )
    )


def encode_missed(reason: str, at: int) -> bytes:
    """What is told in place of events that are gone."""
    return to_json(_Event(verb=MISSED, at=format_instant(at), reason=reason))
