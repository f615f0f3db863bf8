"""Kinds of failures, and what a sweep over many items has done -> JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from lq.finding import Failure, Swept
from lq.model import Page
from lq.wire.parts import InstantText, instant, to_json
from lq.wire.redaction import Hide, redact_error


class _Failure(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Items that failed alike. Shape: `error` is the text of the last one, whose id is `item`."""

    fingerprint: str
    target: str
    status: int | None = None
    error: str | None = None
    count: int
    first: InstantText
    last: InstantText
    queues: tuple[str, ...]
    item: str


class _Failures(Struct, omit_defaults=True):
    failures: list[_Failure]
    cursor: str | None = None


class _Swept(Struct, kw_only=True, omit_defaults=True):
    """What was done to many.

    Shape: `skipped` counts by the reason; `until` is when the last one is due.
    """

    matched: int
    skipped: Mapping[str, int] = {}
    until: InstantText | None = None
    cursor: str | None = None


class _Replayed(_Swept, kw_only=True, omit_defaults=True):
    replayed: int


class _CancelledMany(_Swept, kw_only=True, omit_defaults=True):
    cancelled: int


ANSWERS: Final[Mapping[str, Any]] = {
    "Failures": _Failures,
    "Replayed": _Replayed,
    "CancelledMany": _CancelledMany,
}


def encode_failures(page: Page[Failure], hide: Hide) -> bytes:
    """A page of kinds of failures."""
    return to_json(_Failures([_failure(kind, hide) for kind in page.items], page.cursor))


def encode_replayed(swept: Swept) -> bytes:
    """What a replay has done, or would do."""
    return to_json(_Replayed(replayed=swept.done, **_members(swept)))


def encode_cancelled_many(swept: Swept) -> bytes:
    """What a cancelling of many has done, or would do."""
    return to_json(_CancelledMany(cancelled=swept.done, **_members(swept)))


def _members(swept: Swept) -> dict[str, Any]:
    return {
        "matched": swept.matched,
        "skipped": dict(swept.skipped),
        "until": instant(swept.until_at),
        "cursor": swept.cursor,
    }


def _failure(kind: Failure, hide: Hide) -> _Failure:
    return _Failure(
        fingerprint=kind.fingerprint,
        target=kind.target,
        status=kind.status,
        error=redact_error(kind.error, hide(kind.queue)),
        count=kind.number,
        first=instant(kind.first_at) or "",
        last=instant(kind.last_at) or "",
        queues=kind.queues,
        item=kind.job,
    )
