"""Requests -> the nouns: headers of a push or PATCH, JSON bodies, query strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from msgspec import Struct

from lq.backoff import parse_retry
from lq.errors import Issue, ValidationError
from lq.model import Edit, JobFilter, Push, QueueEdit, Scope
from lq.when import parse_delay, parse_rfc3339
from lq.wire import fields

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Names and values as they came over the socket."""

V = TypeVar("V")
Reader = Callable[[V], object]
Known = Mapping[str, tuple[str, Reader[V]]]
"""What may be said: its name on the wire -> the member it becomes, and what reads it."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)

_EDIT_HEADERS: Final[Known[str]] = MappingProxyType(
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
_PUSH_HEADERS: Final[Known[str]] = MappingProxyType(
    {
        **_EDIT_HEADERS,
        "x-lq-key": ("key", fields.check_key),
        "x-lq-if-exists": ("if_exists", fields.read_if_exists),
        "x-lq-completion": ("completion", fields.read_completion),
        "x-lq-expires": ("expires", fields.read_expires),
        "x-lq-label": ("labels", fields.read_labels),
        "x-lq-validate": ("validate", fields.read_validate),
    }
)
_LISTING: Final[Known[str]] = MappingProxyType(
    {
        "queue": ("queue", fields.check_queue),
        "key": ("key", fields.check_key),
        "label": ("label", fields.read_label),
        "limit": ("limit", fields.read_limit),
        "cursor": ("cursor", fields.read_cursor),
    }
)
_UNFINISHED: Final[Known[str]] = MappingProxyType(
    {**_LISTING, "state": ("state", fields.read_state)}
)
_HISTORY: Final[Known[str]] = MappingProxyType(
    {
        **_LISTING,
        "state": ("state", fields.read_finished_state),
        "from": ("from_at", fields.read_instant),
        "to": ("to_at", fields.read_instant),
    }
)


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
    members, plain = _decode_headers(headers, _PUSH_HEADERS)
    if b"idempotency-key" in plain:
        raise ValidationError.of(
            "Idempotency-Key",
            "is not supported yet; a push under the same x-lq-key makes no second item",
            "unsupported",
        )
    members.pop("completion", None)  # only one way yet
    if b"content-type" in plain:
        members["content_type"] = _content_type(plain[b"content-type"])
    if b"traceparent" in plain:
        members.update(_trace(plain))
    return Push(queue=queue, payload=payload, **members)


def decode_edit(headers: RawHeaders, body: bytes) -> Edit:
    """Read a PATCH of an item: the headers of a push, and a new payload unless it is empty.

    Shape: `Content-Type` belongs to the body and counts only with one.
    Raises: ValidationError.
    """
    members, plain = _decode_headers(headers, _EDIT_HEADERS)
    if body:
        given = plain.get(b"content-type")
        members["payload"] = body
        members["content_type"] = None if given is None else _content_type(given)
    return Edit(**members)


def decode_queue_edit(body: bytes, now: int) -> QueueEdit:
    """Read a PATCH of a queue: null takes a setting away. Raises: ValidationError."""
    members = _decode_json(
        body,
        {
            "target": ("target", _or_none(_in_text(fields.read_target))),
            "method": ("method", _or_none(_in_text(fields.read_method))),
            "headers": ("headers", _or_none(fields.headers_of)),
            "concurrency": ("concurrency", _or_none(fields.concurrency_of)),
            "retry": ("retry", _or_none(fields.retry_of)),
            "timeout": ("timeout_ms", _or_none(fields.timeout_of)),
            "paused": ("paused", fields.truth_of),
            "pausedUntil": ("paused_until", _or_none(_in_text(_future(now)))),
            "rate": ("rate", _not_yet),
        },
    )
    if members.get("paused_until") is not None and members.setdefault("paused", True) is False:
        raise ValidationError.of("pausedUntil", "does not go together with paused: false")
    return QueueEdit(**members)


def decode_token_request(body: bytes, now: int) -> TokenRequest:
    """Read what a new token shall be. Raises: ValidationError."""
    members = _decode_json(
        body,
        {
            "name": ("name", fields.token_name_of),
            "scopes": ("scopes", fields.scopes_of),
            "queues": ("queues", fields.patterns_of),
            "expires": ("expires_at", _or_none(_in_text(_future(now)))),
        },
    )
    missing = [Issue(n, "is missing", "required") for n in ("name", "scopes") if n not in members]
    if missing:
        raise ValidationError(missing)
    return TokenRequest(**members)


def decode_filter(query: str, *, queue: str | None = None) -> JobFilter:
    """Read the query of a listing of unfinished items. Raises: ValidationError.

    Shape: with `queue` (the path names it) the query may not name another.
    """
    if queue is None:
        return JobFilter(**_decode_query(query, _UNFINISHED))
    known = {name: field for name, field in _UNFINISHED.items() if name != "queue"}
    return JobFilter(queue=queue, **_decode_query(query, known))


def decode_history_filter(query: str) -> JobFilter:
    """Read the query of a listing of finished items. Raises: ValidationError."""
    return JobFilter(**_decode_query(query, _HISTORY))


def decode_pause(query: str, now: int) -> QueueEdit:
    """Read `?until=` of a pause: an instant or a duration from now. Raises: ValidationError."""
    members = _decode_query(query, {"until": ("until", _future(now))})
    return QueueEdit(paused=True, paused_until=members.get("until"))


def refuse_query(query: str) -> None:
    """Where no parameter means anything. Raises: ValidationError when there is one."""
    if query:
        _decode_query(query, {})


def decode_force(query: str) -> bool:
    """Read `?force=1`. Raises: ValidationError."""
    return bool(_decode_query(query, {"force": ("force", fields.read_flag)}).get("force"))


def _decode_headers(
    headers: RawHeaders, known: Known[str]
) -> tuple[dict[str, Any], dict[bytes, bytes]]:
    """Read the x-lq-* headers; the others are handed back as they came, names in lower case."""
    members: dict[str, Any] = {}
    plain: dict[bytes, bytes] = {}
    issues: list[Issue] = []
    for raw_name, value in headers:
        lowered = raw_name.lower()
        if not lowered.startswith(b"x-lq-"):
            plain.setdefault(lowered, value)
            continue
        name = _text(lowered)
        field = known.get(name)
        if field is None:
            issues.append(_unknown_header(name, known))
        elif field[0] in members:
            issues.append(Issue(name, "is there more than once", "repeated"))
        else:
            _read(members, issues, name, field, _text(value))
    if issues:
        raise ValidationError(issues)
    if "on_at" in members:
        members.pop("delay_ms", None)
    if "expires" in members:
        member, value_ms = members.pop("expires")
        members[member] = value_ms
    return members, plain


def _decode_json(body: bytes, known: Known[Any]) -> dict[str, Any]:
    try:
        value = fields.read_json(body)
    except ValueError as error:
        raise ValidationError.of("body", str(error)) from None
    if not isinstance(value, dict):
        raise ValidationError.of("body", f"expected a JSON object{_members(known)}")
    return _decode_members(value.items(), known)


def _decode_query(query: str, known: Known[str]) -> dict[str, Any]:
    from urllib.parse import parse_qsl

    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise ValidationError.of("query", "expected name=value pairs in UTF-8") from None
    return _decode_members(pairs, known)


def _decode_members(pairs: Iterable[tuple[str, Any]], known: Known[Any]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    issues: list[Issue] = []
    for name, value in pairs:
        field = known.get(name)
        if field is None:
            text = f"is not known here{fields.suggestion(name, known)}"
            issues.append(Issue(name, text, "unknown"))
        elif field[0] in members:
            issues.append(Issue(name, "is there more than once", "repeated"))
        else:
            _read(members, issues, name, field, value)
    if issues:
        raise ValidationError(issues)
    return members


def _read(
    members: dict[str, Any],
    issues: list[Issue],
    name: str,
    field: tuple[str, Reader[V]],
    value: V,
) -> None:
    member, read = field
    try:
        members[member] = read(value)
    except ValueError as error:
        issues.append(Issue(name, str(error)))


def _text(value: bytes) -> str:
    # fetch sends Latin-1 where curl sends UTF-8; Latin-1 is hardly ever valid UTF-8 by chance.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _content_type(value: bytes) -> str:
    # It goes out again byte for byte, which only ASCII survives on every path.
    if not value.isascii() or not fields.is_sendable(text := value.decode("ascii")):
        raise ValidationError.of("content-type", 'expected ASCII such as "application/json"')
    return text


def _trace(plain: Mapping[bytes, bytes]) -> dict[str, str]:
    """The W3C trace context; a malformed one is to be ignored, says its specification."""
    traceparent = _text(plain[b"traceparent"])
    if not _TRACEPARENT.match(traceparent) or not fields.is_sendable(traceparent):
        return {}
    trace = {"traceparent": traceparent}
    tracestate = _text(plain.get(b"tracestate", b""))
    if tracestate and fields.is_sendable(tracestate):
        trace["tracestate"] = tracestate
    return trace


def _unknown_header(name: str, known: Known[str]) -> Issue:
    if name in _PUSH_HEADERS:
        return Issue(name, "cannot be changed any more; push the item anew instead", "unknown")
    return Issue(name, f"is not known here{fields.suggestion(name, known)}", "unknown")


def _members(known: Known[Any]) -> str:
    return f" with members of {', '.join(sorted(known))}"


def _in_text(read: Callable[[str], object]) -> Reader[object]:
    return lambda value: read(fields.text_of(value))


def _or_none(read: Reader[object]) -> Reader[object]:
    return lambda value: None if value is None else read(value)


def _future(now: int) -> Callable[[str], int]:
    return lambda text: fields.read_future(text, now)


def _not_yet(value: object) -> object:
    raise ValueError("is not supported yet; use concurrency to slow a queue down")
