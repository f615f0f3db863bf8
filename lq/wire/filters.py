"""Which items are meant: the query strings of listings, of failures, and of sweeps over many.

Owns the words of filters, which are the same wherever many items are named at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from lq.errors import ValidationError
from lq.finding import FailureFilter
from lq.model import JobFilter, Rate
from lq.rate import parse_rate
from lq.wire import fields
from lq.wire.reading import Known, read_query

MAX_TARGET: Final = 8192
MAX_TEXT: Final = 200
FINGERPRINT: Final = "[0-9a-f]{16}"
WAITING: Final = ("PENDING", "RETRY")


def _read_target(text: str) -> str:
    if not 0 < len(text) <= MAX_TARGET or not text.isprintable() or text == "*":
        raise ValueError('expected a whole target, or its beginning and a "*"')
    return text


def _read_error(text: str) -> str:
    if not 0 < len(text) <= MAX_TEXT or not text.isprintable():
        raise ValueError(f"expected a part of an error's text, 1 to {MAX_TEXT} characters")
    return text


def _read_fingerprint(text: str) -> str:
    if not re.fullmatch(FINGERPRINT, text.lower()):
        raise ValueError("expected 16 hexadecimal digits, as `lq failures` shows them")
    return text.lower()


def _read_waiting(text: str) -> str:
    return fields.choice(text.upper(), WAITING)


_FOUND: Final[Known[str]] = MappingProxyType(
    {
        "queue": ("queue", fields.check_queue),
        "key": ("key", fields.check_key),
        "label": ("label", fields.read_label),
        "schedule": ("schedule", fields.read_id),
        "target": ("target", _read_target),
        "error": ("error", _read_error),
        "fingerprint": ("fingerprint", _read_fingerprint),
        "from": ("from_at", fields.read_instant),
        "to": ("to_at", fields.read_instant),
    }
)
_PAGED: Final[Known[str]] = MappingProxyType(
    {"limit": ("limit", fields.read_limit), "cursor": ("cursor", fields.read_cursor)}
)
_SWEPT: Final[Known[str]] = MappingProxyType(
    {
        "cursor": ("cursor", fields.read_cursor),
        "dry": ("dry", fields.read_flag),
        "all": ("everything", fields.read_flag),
    }
)
UNFINISHED_QUERY: Final[Known[str]] = MappingProxyType(
    {**_FOUND, **_PAGED, "state": ("state", fields.read_state)}
)
HISTORY_QUERY: Final[Known[str]] = MappingProxyType(
    {**_FOUND, **_PAGED, "state": ("state", fields.read_finished_state)}
)
FAILURES_QUERY: Final[Known[str]] = MappingProxyType(
    {name: _FOUND[name] for name in ("queue", "target", "error", "fingerprint", "from")}
    | {**_PAGED}
)
REPLAY_QUERY: Final[Known[str]] = MappingProxyType(
    {
        **_FOUND,
        **_SWEPT,
        "state": ("state", fields.read_finished_state),
        "rate": ("rate", parse_rate),
    }
)
CANCEL_QUERY: Final[Known[str]] = MappingProxyType(
    {
        **_FOUND,
        **_SWEPT,
        "state": ("state", lambda text: fields.choice(text.upper(), (*WAITING, "RUNNING"))),
    }
)
PURGE_QUERY: Final[Known[str]] = MappingProxyType(
    {name: field for name, field in {**_FOUND, **_SWEPT}.items() if name not in {"queue", "all"}}
    | {"state": ("state", _read_waiting)}
)


class Sweep(Struct, frozen=True, kw_only=True):
    """Something to be done to all items that a filter lets through, or with `dry` to be counted."""

    wanted: JobFilter
    dry: bool = False
    rate: Rate | None = None


def decode_filter(query: str, *, queue: str | None = None) -> JobFilter:
    """Read the query of a listing of unfinished items. Raises: ValidationError.

    Shape: with `queue` (the path names it) the query may not name another.
    """
    if queue is None:
        return JobFilter(**_ordered(read_query(query, UNFINISHED_QUERY)))
    known = {name: field for name, field in UNFINISHED_QUERY.items() if name != "queue"}
    return JobFilter(queue=queue, **_ordered(read_query(query, known)))


def decode_history_filter(query: str) -> JobFilter:
    """Read the query of a listing of finished items. Raises: ValidationError."""
    return JobFilter(**_ordered(read_query(query, HISTORY_QUERY)))


def decode_failure_filter(query: str) -> FailureFilter:
    """Read the query of a listing of kinds of failures. Raises: ValidationError."""
    return FailureFilter(**read_query(query, FAILURES_QUERY))


def decode_replay(query: str) -> Sweep:
    """Read which finished items to run again, and how fast. Raises: ValidationError."""
    return _sweep(read_query(query, REPLAY_QUERY), {})


def decode_cancel(query: str) -> Sweep:
    """Read which unfinished items to cancel. Raises: ValidationError."""
    return _sweep(read_query(query, CANCEL_QUERY), {})


def decode_purge(query: str, queue: str) -> Sweep:
    """Read which waiting items of a queue to cancel. Raises: ValidationError."""
    return _sweep(read_query(query, PURGE_QUERY), {"queue": queue})


def _sweep(members: dict[str, Any], fixed: Mapping[str, Any]) -> Sweep:
    """Shape: what names nothing means nothing, unless it says that all is meant."""
    dry, rate = bool(members.pop("dry", False)), members.pop("rate", None)
    everything = members.pop("everything", False)
    wanted = _ordered({**members, **fixed})
    if not everything and not wanted.keys() - {"cursor"}:
        raise ValidationError.of("all", "say what is meant with a filter, or all=1", "required")
    return Sweep(wanted=JobFilter(**wanted), dry=dry, rate=rate)


def _ordered(members: dict[str, Any]) -> dict[str, Any]:
    since, until = members.get("from_at"), members.get("to_at")
    if since is not None and until is not None and since > until:
        raise ValidationError.of("to", "is before from")
    return members
