"""Endpoints -> JSON, and the requests about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.endpoint import Endpoint, EndpointState, Wait
from lq.when import format_instant
from lq.wire import fields
from lq.wire.decode import in_text
from lq.wire.parts import InstantText, instant, one_of, to_json
from lq.wire.reading import Known, read_document, read_query, require

ENDPOINTS_QUERY: Final[Known[str]] = MappingProxyType(
    {"queue": ("queue", fields.check_queue), "limit": ("limit", fields.read_limit)}
)
CHECK: Final[Known[object]] = MappingProxyType(
    {
        "url": ("url", in_text(fields.read_target)),
        "queue": ("queue", in_text(fields.check_queue)),
    }
)


class EndpointFilter(Struct, frozen=True):
    """Which endpoints a listing shows: of one queue, if it is given, and how many at most."""

    queue: str | None = None
    limit: int = 100


class EndpointCheck(Struct, frozen=True):
    """Which endpoint is to be asked, with the headers that it has in one queue or in all."""

    url: str
    queue: str | None = None


class _Wait(Struct):
    until: InstantText
    reason: str


class _Endpoint(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """An endpoint. Shape: of the headers it is called with the names alone.

    `since` is since when it is `invalid` or `validated`; it was asked last at `checked`, and a
    call asks it anew from `nextCheck` on. `fault` is what was wrong then; `exemptBy` the setting
    by which it need not prove itself. It is `slowed` by its Retry-After, `spared` by a breaker.
    """

    url: str
    headers: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    named_by: tuple[str, ...] = ()
    state: Annotated[str, one_of(*EndpointState)]
    since: InstantText | None = None
    checked: InstantText | None = None
    next_check: InstantText | None = None
    fault: str | None = None
    exempt_by: str | None = None
    slowed: _Wait | None = None
    spared: _Wait | None = None


class _Endpoints(Struct, rename="camel"):
    """Endpoints, those that need a look first. Shape: so many more there are."""

    endpoints: list[_Endpoint]
    left_out: int


ANSWERS: Final[Mapping[str, Any]] = {"Endpoint": _Endpoint, "Endpoints": _Endpoints}
"""As `encode.ANSWERS`."""


def decode_endpoint_filter(query: str) -> EndpointFilter:
    """Read `?queue=` and `?limit=`. Raises: ValidationError."""
    return EndpointFilter(**read_query(query, ENDPOINTS_QUERY))


def decode_endpoint_check(body: bytes) -> EndpointCheck:
    """Read which endpoint is to be asked. Raises: ValidationError."""
    members = read_document(body, CHECK)
    require(members, url="url")
    return EndpointCheck(**members)


def encode_endpoint(endpoint: Endpoint) -> bytes:
    """One endpoint."""
    return to_json(_endpoint(endpoint))


def encode_endpoints(endpoints: Sequence[Endpoint], limit: int) -> bytes:
    """The first of some endpoints."""
    shown = [_endpoint(one) for one in endpoints[:limit]]
    return to_json(_Endpoints(shown, len(endpoints) - len(shown)))


def _endpoint(one: Endpoint) -> _Endpoint:
    return _Endpoint(
        url=one.url,
        headers=one.headers,
        queues=one.queues,
        named_by=one.named_by,
        state=one.state,
        since=instant(one.since_at),
        checked=instant(one.checked_at),
        next_check=instant(one.next_check_at),
        fault=one.fault,
        exempt_by=one.exempt_by,
        slowed=_wait(one.slowed),
        spared=_wait(one.spared),
    )


def _wait(wait: Wait | None) -> _Wait | None:
    return None if wait is None else _Wait(format_instant(wait.until), wait.reason)
