"""The nouns of finding and of doing things to many: kinds of failures, and what a sweep has done.

Owns: what is asked and answered about many jobs at once, as frozen records. Never does anything.

Units: `*_at` are Unix milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct


class FailureFilter(Struct, frozen=True, kw_only=True):
    """Which kinds of failures a listing shows. Empty members do not restrict.

    Shape: `queues` are shell patterns (a token's). `from_at`: seen since. Else as of JobFilter.
    """

    queue: str | None = None
    queues: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    target: str | None = None
    error: str | None = None
    fingerprint: str | None = None
    from_at: int | None = None
    limit: int = 100
    cursor: str | None = None


class Failure(Struct, frozen=True, kw_only=True):
    """Jobs that have failed alike, as far as history remembers them.

    Shape: `queue` is that of the last one, `job` its id, and `error` its text; `queues` are all
    that have such jobs, the last seen first.
    """

    fingerprint: str
    target: str
    status: int | None
    error: str | None
    number: int
    first_at: int
    last_at: int
    queue: str
    queues: tuple[str, ...]
    job: str


class Touched(Struct, frozen=True):
    """One job that a step of a sweep has changed.

    Shape: `due_at` is when it is due, if it waits now.
    """

    id: str
    queue: str
    key: str | None
    labels: tuple[str, ...]
    schedule: str | None
    due_at: int | None = None


class Step(Struct, frozen=True, kw_only=True):
    """What one transaction of a sweep has done.

    Shape: `skipped` tells of jobs that could not be changed how many there were, by the reason.
    """

    touched: tuple[Touched, ...] = ()
    skipped: Mapping[str, int] = MappingProxyType({})


class Swept(Struct, frozen=True, kw_only=True):
    """What a sweep over many jobs has done so far.

    Shape: `matched` are all that the filter let through: those `done` and those `skipped`; of a dry
    one, nothing else. `until_at` is when the last one is due, of a replay. With a `cursor` there
    may be more: the next sweep goes on from it.
    """

    matched: int
    done: int = 0
    skipped: Mapping[str, int] = MappingProxyType({})
    until_at: int | None = None
    cursor: str | None = None
