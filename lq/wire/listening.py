"""Listening on the wire: what a listener asks for, the calls it is handed, and its answers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from lq.listening import Answered, Wanted
from lq.model import Job, Push
from lq.when import format_instant
from lq.wire import fields
from lq.wire.decode import PUSH_HEADERS
from lq.wire.parts import InstantText, to_json
from lq.wire.reading import (
    Known,
    RawHeaders,
    content_type_of,
    read_document,
    read_headers,
    read_query,
    require,
)

MOST_WAIT_MS: Final = 10_000
_MOST_REASON: Final = 1000
_MOST_HEADERS: Final = 16


def _wait(text: str) -> int:
    wait_ms = fields.read_patience(text)
    if wait_ms > MOST_WAIT_MS:
        raise ValueError(f"expected a duration of at most 10s, got {text!r}")
    return wait_ms


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ValueError(f"expected the number of a call, got {text!r}")
    return int(text)


def _status(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 100 <= int(text[:4]) <= 999:
        raise ValueError(f"expected a status from 100 to 999, got {text[:20]!r}")
    return int(text[:4])


def _headers(text: str) -> Mapping[str, str]:
    """The headers of an answer, whatever their names."""
    value = fields.read_json(text.encode("utf-8", "surrogateescape"))
    if not isinstance(value, dict) or len(value) > _MOST_HEADERS:
        raise ValueError(f"expected a JSON object of at most {_MOST_HEADERS} strings")
    for name, content in value.items():
        if not (isinstance(content, str) and fields.is_token(name) and content.isprintable()):
            raise ValueError("expected a JSON object of strings without control characters")
    return value


def _reason(text: str) -> str:
    if not text or len(text) > _MOST_REASON:
        raise ValueError(f"expected 1 to {_MOST_REASON} characters")
    return text


LISTENER: Final[Known[object]] = MappingProxyType(
    {
        "name": ("name", fields.token_name_of),
        "takeOver": ("take_over", fields.truth_of),
        "queues": ("queues", fields.patterns_of),
        "targets": ("targets", fields.patterns_of),
        "onlySent": ("only_sent", fields.truth_of),
    }
)
NEXT_QUERY: Final[Known[str]] = MappingProxyType(
    {
        "after": ("after", _number),
        "wait": ("wait_ms", _wait),
        "hold": ("hold", fields.read_flag),
    }
)
COPY_QUERY: Final[Known[str]] = MappingProxyType({"listener": ("listener", fields.read_id)})
ANSWER_HEADERS: Final[Known[str]] = MappingProxyType(
    {
        "x-lq-call": ("number", _number),
        "x-lq-status": ("status", _status),
        "x-lq-headers": ("headers", _headers),
        "x-lq-truncated": ("truncated", fields.read_flag),
        "x-lq-error": ("error", _reason),
    }
)
SAMPLE_HEADERS: Final[Known[str]] = MappingProxyType(
    {
        name: PUSH_HEADERS[name]
        for name in ("x-lq-target", "x-lq-key", "x-lq-headers", "x-lq-method", "x-lq-label")
    }
)


class _Listener(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Who listens. Shape: `ahead` are the names of those that take over before this one does;
    `lost` counts the copies that it did not get because too much waited for it.
    """

    id: str | None = None
    name: str
    take_over: bool
    queues: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    since: InstantText
    lost: int = 0
    ahead: tuple[str, ...] = ()


class _Call(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A call to make. Shape: `payload` is base64; `timeout` is in ms."""

    number: int
    copy: bool
    item: str
    queue: str
    key: str | None = None
    attempt: int
    max_attempts: int
    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    timeout: int
    payload: str = ""


class _Next(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What there is for a listener: a call, if one has come."""

    call: _Call | None = None
    lost: int = 0


class _Sent(Struct, kw_only=True):
    """Who got a copy, by name."""

    sent: Sequence[str]


class _Answered(Struct, kw_only=True):
    """An answer was taken."""

    number: int


ANSWERS: Final[Mapping[str, Any]] = {
    "Listener": _Listener,
    "Listeners": list[_Listener],
    "Next": _Next,
    "Sent": _Sent,
    "Answered": _Answered,
}
"""As `encode.ANSWERS`."""


class NextQuery(Struct, frozen=True):
    """Which call a listener asks for, and how long it waits for it.

    Shape: one that asks to `hold` gets none: it says that it is there, and has its hands full.
    """

    after: int = 0
    wait_ms: int = 0
    hold: bool = False


def decode_listener(body: bytes) -> Wanted:
    """Read who wants to listen to what. Raises: ValidationError."""
    members = read_document(body, LISTENER)
    require(members, name="name")
    return Wanted(**members)


def decode_next_call(query: str) -> NextQuery:
    """Read which call a listener asks for. Raises: ValidationError."""
    return NextQuery(**read_query(query, NEXT_QUERY))


def decode_copy(query: str) -> str | None:
    """Read which listener alone a copy is for. Raises: ValidationError."""
    listener: str | None = read_query(query, COPY_QUERY).get("listener")
    return listener


def decode_answer(headers: RawHeaders, body: bytes) -> Answered:
    """Read what a listener's application answered. Raises: ValidationError."""
    members, _ = read_headers(headers, ANSWER_HEADERS)
    require(members, number="x-lq-call")
    if members.get("status") is None:
        require(members, error="x-lq-status or x-lq-error")
    return Answered(body=body, **members)


def decode_sample(queue: str, headers: RawHeaders, payload: bytes) -> Push:
    """Read a sample: a push of what matters to a call alone. Raises: ValidationError."""
    members, plain = read_headers(headers, SAMPLE_HEADERS)
    return Push(queue=queue, payload=payload, content_type=content_type_of(plain), **members)


class Shown(Struct, frozen=True):
    """A listener as it may be shown."""

    wanted: Wanted
    name: str
    since: int
    lost: int
    ahead: tuple[str, ...]


def encode_listener(shown: Shown, listener_id: str) -> bytes:
    """A listener, with its id: for whoever made it."""
    return to_json(_listener(shown, listener_id))


def encode_listeners(listeners: Iterable[Shown]) -> bytes:
    """Everybody who listens."""
    return to_json([_listener(shown, None) for shown in listeners])


def _listener(shown: Shown, listener_id: str | None) -> _Listener:
    wanted = shown.wanted
    return _Listener(
        id=listener_id,
        name=shown.name,
        take_over=wanted.take_over,
        queues=wanted.queues,
        targets=wanted.targets,
        since=format_instant(shown.since),
        lost=shown.lost,
        ahead=shown.ahead,
    )


def encode_no_call(lost: int) -> bytes:
    """That no call has come."""
    return to_json(_Next(lost=lost))


def encode_call(
    job: Job,
    headers: Mapping[str, str],
    path: str,
    *,
    number: int,
    copy: bool,
    lost: int,
) -> bytes:
    """A call for a listener to make."""
    call = _Call(
        number=number,
        copy=copy,
        item=job.id,
        queue=job.queue,
        key=job.key,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        method=job.method,
        path=path,
        target=job.target,
        headers=headers,
        timeout=job.timeout_ms,
        payload=base64.b64encode(job.payload or b"").decode(),
    )
    return to_json(_Next(call=call, lost=lost))


def encode_sent(names: Sequence[str]) -> bytes:
    """Who got a copy."""
    return to_json(_Sent(sent=names))


def encode_answered(number: int) -> bytes:
    """That the answer to a call was taken."""
    return to_json(_Answered(number=number))
