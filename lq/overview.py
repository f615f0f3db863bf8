"""What a person at a screen wants to see of a daemon at one glance, as records.

Owns no rule: what is in them is counted by `daemon.throughput` and read by `daemon.store`.
"""

from __future__ import annotations

from msgspec import Struct

from lq.model import Queue, Run, Schedule


class Throughput(Struct, frozen=True):
    """How a queue has been at work lately.

    Units: `taken` and `ended` are jobs a second over the last ten; `failed` (for good) and
    `retried` are attempts of the last minute.
    """

    taken: float = 0.0
    ended: float = 0.0
    failed: int = 0
    retried: int = 0


class Overview(Struct, frozen=True):
    """A daemon at one moment.

    Shape: `running` are the runs that began first, `schedules` those that fire next, without
    payloads. `trouble` says what ails the daemon.
    """

    at: int
    queues: tuple[tuple[Queue, Throughput], ...]
    running: tuple[Run, ...]
    schedules: tuple[Schedule, ...]
    trouble: tuple[str, ...] = ()
