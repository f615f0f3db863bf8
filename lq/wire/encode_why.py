"""An explanation -> JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.why import Closed, Hold, Why
from lq.wire.parts import InstantText, StateWord, instant, one_of, state_of, to_json
from lq.wire.redaction import Hide, redact_job


class _Gate(Struct, kw_only=True, omit_defaults=True):
    """What holds an item. Shape: `by` are ids of the items that it waits for, the first of them."""

    gate: Annotated[str, one_of(*Hold)]
    reason: str
    until: InstantText | None = None
    by: tuple[str, ...] = ()


class _Why(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Why an item is where it is.

    Shape: `gates` are all that are closed to it, what concerns it alone first. `ahead` is how many
    due items of its queue start before it. `predictedStart` is left out where nobody can know.
    """

    id: str
    queue: str
    state: StateWord
    summary: str
    error: str | None = None
    gates: list[_Gate]
    ahead: int | None = None
    predicted_start: InstantText | None = None


ANSWERS: Final[Mapping[str, Any]] = {"Why": _Why}


def encode_why(why: Why, hide: Hide) -> bytes:
    """Why an item is where it is, and when it may start."""
    job = redact_job(why.job, hide)
    return to_json(
        _Why(
            id=job.id,
            queue=job.queue,
            state=state_of(job.state, job.failures),
            summary=why.summary,
            error=job.error,
            gates=[_gate(closed) for closed in why.gates],
            ahead=why.ahead,
            predicted_start=instant(why.starts_at),
        )
    )


def _gate(closed: Closed) -> _Gate:
    return _Gate(
        gate=closed.gate.value,
        reason=closed.reason,
        until=instant(closed.until),
        by=closed.by,
    )
