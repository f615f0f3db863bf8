"""The nouns of an explanation: what can hold a job, and what holds this one."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from lq.model import Job


class Hold(StrEnum):
    """What can hold a job."""

    TIME = "time"
    RETRY = "retry"
    PAUSE = "pause"
    KEY = "key"
    ORDER = "order"
    CONCURRENCY = "concurrency"
    SLOTS = "slots"
    RATE = "rate"
    VALIDATION = "validation"
    BREAKER = "breaker"
    TARGET = "target"
    STORE = "store"
    DRAIN = "drain"
    FROZEN = "frozen"


class Closed(Struct, frozen=True, kw_only=True):
    """A gate that is closed to a job. Shape: `by` are the ids of the jobs that it waits for."""

    gate: Hold
    reason: str
    until: int | None = None
    by: tuple[str, ...] = ()


class Why(Struct, frozen=True, kw_only=True):
    """The explanation. Shape: `starts_at` is a prediction, None where nobody can know."""

    job: Job
    summary: str
    gates: tuple[Closed, ...] = ()
    ahead: int | None = None
    starts_at: int | None = None
