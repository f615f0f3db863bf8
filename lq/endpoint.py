"""The nouns of endpoints as people see them: what is known of each, and who names it.

Owns no rule: what is known is `daemon.endpoints`' to say, and of breakers `daemon.breaker`'s.

Units: `*_at` and `*_until` are Unix milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


class EndpointState(StrEnum):
    """What is known of an endpoint, the worst first."""

    INVALID = "invalid"  # it was asked, and did not prove that it knows the secret
    UNKNOWN = "unknown"  # it was not asked yet
    VALIDATED = "validated"
    EXEMPT = "exempt"  # it need not prove anything


class Named(Struct, frozen=True):
    """An endpoint that a queue or a schedule names, called or not. Shape: `by` says which."""

    url: str
    headers: Mapping[str, str]
    queue: str
    by: str
    validate: bool = True


class Wait(Struct, frozen=True):
    """Until when an endpoint is not called, and why."""

    until: int
    reason: str


class Endpoint(Struct, frozen=True, kw_only=True):
    """An endpoint: a URL, and the headers that it is called with, of which the names alone.

    Shape: `queues` are those whose jobs met it, and `named_by` who names it, the first of each.
    `since_at` is since when it is `invalid` or `validated`; it was asked last at `checked_at`, and
    is asked anew, before a call of it, from `next_check_at` on. `fault` is what was found wrong
    then, also with one that is `exempt`, for which `exempt_by` is the reason. It is `slowed` by its
    own Retry-After, and `spared` by a breaker.
    """

    url: str
    headers: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    named_by: tuple[str, ...] = ()
    state: EndpointState = EndpointState.UNKNOWN
    since_at: int | None = None
    checked_at: int | None = None
    next_check_at: int | None = None
    fault: str | None = None
    exempt_by: str | None = None
    slowed: Wait | None = None
    spared: Wait | None = None
