"""The nouns of what needs a person: concerns, how bad they are, and troubled schedules.

Owns no rule: what is a concern is `daemon.attention`'s to say.

Units: `*_at` are Unix milliseconds UTC.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How bad something is, the worst first."""

    BAD = "bad"  # something is not done that should be
    WARN = "warn"  # it is held on purpose, or may become bad
    INFO = "info"  # it passes by itself


class ConcernKind(StrEnum):
    """What a concern is about, in the order in which equally bad ones are told."""

    DAEMON = "daemon"
    DISK = "disk"
    OVERDUE = "overdue"
    SCHEDULE_PAUSED = "schedule_paused"
    SCHEDULE_FAILING = "schedule_failing"
    QUEUE_LATE = "queue_late"
    ENDPOINT = "endpoint"
    BREAKER = "breaker"
    SLOWED = "slowed"
    QUEUE_PAUSED = "queue_paused"
    FAILURES = "failures"


class Concern(Struct, frozen=True, kw_only=True):
    """Something that needs a person now.

    Shape: `text` says what and why in one sentence. The others are set where it is about that:
    `schedule` is an id, `number` how many times, or items.
    """

    kind: ConcernKind
    level: Level
    text: str
    since_at: int | None = None
    queue: str | None = None
    schedule: str | None = None
    url: str | None = None
    fingerprint: str | None = None
    number: int | None = None


class Troubled(Struct, frozen=True, kw_only=True):
    """A schedule that lq has paused, for `reason`, or whose last jobs have failed.

    Shape: `failures` in a row, counted up to a bound, the first at `since_at`. `error` and
    `fingerprint` are the last one's, which was of `job_queue`.
    """

    id: str
    key: str | None
    queue: str
    reason: str | None = None
    failures: int = 0
    since_at: int | None = None
    error: str | None = None
    fingerprint: str | None = None
    job_queue: str = ""
