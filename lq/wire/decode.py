"""Requests -> the nouns: headers of a push or PATCH, JSON bodies, query strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from lq.backoff import parse_retry
from lq.errors import ValidationError
from lq.model import Edit, Push, QueueEdit, Scope
from lq.rate import parse_rate
from lq.when import DAY_MS, parse_delay, parse_rfc3339
from lq.wire import fields
from lq.wire.reading import (
    Known,
    RawHeaders,
    Reader,
    Refusing,
    content_type_of,
    header_text,
    read_document,
    read_headers,
    read_query,
    require,
)

# Later versions may say more behind the flags; the first one says nothing else.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)

_CHANGEABLE: Final[Known[str]] = MappingProxyType(
    {
        "x-lq-target": ("target", fields.read_target),
        "x-lq-delay": ("delay_ms", parse_delay),
        "x-lq-on": ("on_at", parse_rfc3339),
        "x-lq-headers": ("headers", fields.read_headers),
        "x-lq-method": ("method", fields.read_method),
        "x-lq-retry": ("retry", parse_retry),
        "x-lq-timeout": ("timeout_ms", fields.read_timeout),
        "x-lq-expires": ("expires", fields.read_expires_or_none),
        "x-lq-label": ("labels", fields.read_labels_or_none),
    }
)
PUSH_HEADERS: Final[Known[str]] = MappingProxyType(
    {
        **_CHANGEABLE,
        "x-lq-key": ("key", fields.check_key),
        "x-lq-if-exists": ("if_exists", fields.read_if_exists),
        "x-lq-completion": ("completion", fields.read_completion),
        "x-lq-expires": ("expires", fields.read_expires),
        "x-lq-label": ("labels", fields.read_labels),
        "x-lq-validate": ("validate", fields.read_validate),
    }
)
_FIXED: Final = Refusing("cannot be changed any more; push the item anew instead")
EDIT_HEADERS: Final[Known[str]] = MappingProxyType(
    {name: (name, _FIXED) for name in PUSH_HEADERS} | {**_CHANGEABLE}
)
FAIL_HEADERS: Final[Known[str]] = MappingProxyType({"x-lq-retry": ("again", fields.read_again)})
ATOMIC_QUERY: Final[Known[str]] = MappingProxyType({"atomic": ("atomic", fields.read_flag)})
DRY_QUERY: Final[Known[str]] = MappingProxyType({"dry": ("dry", fields.read_flag)})
DEEP_QUERY: Final[Known[str]] = MappingProxyType({"deep": ("deep", fields.read_flag)})
ROTATION_QUERY: Final[Known[str]] = MappingProxyType(
    {"overlap": ("overlap_ms", fields.read_overlap)}
)
ITEM_QUERY: Final[Known[str]] = MappingProxyType(
    {"payload": ("as_base64", fields.read_payload_form)}
)
LOG_QUERY: Final[Known[str]] = MappingProxyType(
    {
        "attempt": ("attempt", fields.read_attempt),
        "offset": ("offset", fields.read_offset),
        "wait": ("wait_ms", fields.read_patience),
    }
)
OVERVIEW_QUERY: Final[Known[str]] = MappingProxyType({"limit": ("limit", fields.read_limit)})
FORCE_QUERY: Final[Known[str]] = MappingProxyType({"force": ("force", fields.read_flag)})


class CallbackAnswer(Struct, frozen=True):
    """What a handler calls back with.

    Shape: `again` is whether another attempt may follow a failure; `retry_after` as in HTTP.
    """

    body: bytes
    content_type: str | None = None
    again: bool = True
    retry_after: str | None = None


class TokenRequest(Struct, frozen=True):
    """A token as its maker wants it. Shape: `queues` are shell patterns; empty means all."""

    name: str
    scopes: frozenset[Scope]
    queues: tuple[str, ...] = ()
    expires_at: int | None = None


def decode_push(queue: str, headers: RawHeaders, payload: bytes) -> Push:
    """Read a push: the body is the payload, everything else is an `x-lq-*` header.

    Raises: ValidationError naming each header that is misspelled, repeated or not understood.
    """
    members, plain = read_headers(headers, PUSH_HEADERS)
    members["content_type"] = content_type_of(plain)
    members |= read_trace(plain)
    return Push(queue=queue, payload=payload, **placed(members))


def decode_complete(headers: RawHeaders, body: bytes) -> CallbackAnswer:
    """Read the result that a handler calls back with. Raises: ValidationError."""
    _, plain = read_headers(headers, {})
    return CallbackAnswer(body, content_type_of(plain))


def decode_fail(headers: RawHeaders, body: bytes) -> CallbackAnswer:
    """Read why a handler has given up. Raises: ValidationError."""
    members, plain = read_headers(headers, FAIL_HEADERS)
    waits = plain.get(b"retry-after")
    return CallbackAnswer(
        body,
        content_type_of(plain),
        again=members.get("again", True),
        retry_after=None if waits is None else header_text(waits),
    )


def decode_edit(headers: RawHeaders, body: bytes) -> Edit:
    """Read a PATCH of an item: the headers of a push, and a new payload unless it is empty.

    Shape: `Content-Type` belongs to the body and counts only with one.
    Raises: ValidationError.
    """
    members, plain = read_headers(headers, EDIT_HEADERS)
    if body:
        members |= {"payload": body, "content_type": content_type_of(plain)}
    return Edit(**placed(members))


def queue_members(now: int) -> Known[object]:
    """What a PATCH of a queue may say."""
    return {
        "target": ("target", _or_none(in_text(fields.read_target))),
        "method": ("method", _or_none(in_text(fields.read_method))),
        "headers": ("headers", _or_none(fields.headers_of)),
        "concurrency": ("concurrency", _or_none(fields.concurrency_of)),
        "retry": ("retry", _or_none(fields.retry_of)),
        "timeout": ("timeout_ms", _or_none(fields.timeout_of)),
        "paused": ("paused", fields.truth_of),
        "pausedUntil": ("paused_until", _or_none(in_text(_future(now)))),
        "pauseReason": ("pause_reason", _or_none(fields.reason_of)),
        "rate": ("rate", _or_none(in_text(parse_rate))),
        "burst": ("burst", _or_none(fields.burst_of)),
        "fifo": ("fifo", _or_none(fields.truth_of)),
    }


def token_members(now: int) -> Known[object]:
    """What a request for a token may say."""
    return {
        "name": ("name", fields.token_name_of),
        "scopes": ("scopes", fields.scopes_of),
        "queues": ("queues", fields.patterns_of),
        "expires": ("expires_at", _or_none(in_text(_future(now)))),
    }


def pause_query(now: int) -> Known[str]:
    """What the query of a pause may say."""
    return {"until": ("until", _future(now)), "reason": ("reason", fields.reason_of)}


def decode_queue_edit(body: bytes, now: int) -> QueueEdit:
    """Read a PATCH of a queue: null takes a setting away. Raises: ValidationError."""
    members = read_document(body, queue_members(now))
    for member, name in (("paused_until", "pausedUntil"), ("pause_reason", "pauseReason")):
        if members.get(member) is not None and members.setdefault("paused", True) is False:
            raise ValidationError.of(name, "does not go together with paused: false")
    if members.get("fifo") and members.get("concurrency") not in {None, 1}:
        raise ValidationError.of("fifo", "needs a concurrency of 1: leave it out, or say 1")
    return QueueEdit(**members)


def decode_token_request(body: bytes, now: int) -> TokenRequest:
    """Read what a new token shall be. Raises: ValidationError."""
    members = read_document(body, token_members(now))
    require(members, name="name", scopes="scopes")
    return TokenRequest(**members)


def decode_pause(query: str, now: int) -> QueueEdit:
    """Read `?until=` (an instant or a duration from now) and `?reason=` of a pause.

    Raises: ValidationError.
    """
    members = read_query(query, pause_query(now))
    return QueueEdit(
        paused=True, paused_until=members.get("until"), pause_reason=members.get("reason")
    )


def decode_deep(query: str) -> bool:
    """Read `?deep=1`. Raises: ValidationError."""
    return bool(read_query(query, DEEP_QUERY).get("deep"))


def decode_atomic(query: str) -> bool:
    """Read `?atomic=1`. Raises: ValidationError."""
    return bool(read_query(query, ATOMIC_QUERY).get("atomic"))


def decode_dry(query: str) -> bool:
    """Read `?dry=1`. Raises: ValidationError."""
    return bool(read_query(query, DRY_QUERY).get("dry"))


def decode_item_query(query: str) -> bool:
    """Read `?payload=base64`. Raises: ValidationError."""
    return bool(read_query(query, ITEM_QUERY).get("as_base64"))


class LogQuery(Struct, frozen=True):
    """Which part of which attempt's log, and how long to wait for it."""

    attempt: int | None = None
    offset: int = 0
    wait_ms: int = 0


def decode_log_query(query: str) -> LogQuery:
    """Read `?attempt=`, `?offset=` and `?wait=`. Raises: ValidationError."""
    return LogQuery(**read_query(query, LOG_QUERY))


def decode_overlap(query: str) -> int:
    """Read `?overlap=` of a rotation; a day if it is not there. Raises: ValidationError."""
    overlap: int = read_query(query, ROTATION_QUERY).get("overlap_ms", DAY_MS)
    return overlap


def refuse_query(query: str) -> None:
    """Where no parameter means anything. Raises: ValidationError when there is one."""
    if query:
        read_query(query, {})


def decode_force(query: str) -> bool:
    """Read `?force=1`. Raises: ValidationError."""
    return bool(read_query(query, FORCE_QUERY).get("force"))


def decode_overview(query: str) -> int:
    """Read `?limit=`. Raises: ValidationError."""
    return int(read_query(query, OVERVIEW_QUERY).get("limit", 10))


def placed(members: dict[str, Any]) -> dict[str, Any]:
    """Resolve what can be said in two ways: an instant wins over a delay, an expiry says which."""
    if "on_at" in members:
        members.pop("delay_ms", None)
    if "expires" in members:
        member, value_ms = members.pop("expires")
        members[member] = value_ms
    return members


def read_trace(plain: Mapping[bytes, bytes]) -> dict[str, str]:
    """The W3C trace context; a malformed one is to be ignored, says its specification."""
    traceparent = header_text(plain.get(b"traceparent", b""))
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[2]) or not fields.is_sendable(traceparent):
        return {}
    trace = {"traceparent": traceparent}
    tracestate = header_text(plain.get(b"tracestate", b""))
    if tracestate and fields.is_sendable(tracestate):
        trace["tracestate"] = tracestate
    return trace


def in_text(read: Callable[[str], object]) -> Reader[object]:
    """What reads a member of a JSON object that has to be a string."""
    return lambda value: read(fields.text_of(value))


def _or_none(read: Reader[object]) -> Reader[object]:
    return lambda value: None if value is None else read(value)


def _future(now: int) -> Callable[[str], int]:
    return lambda text: fields.read_future(text, now)
