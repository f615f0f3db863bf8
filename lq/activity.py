"""What has happened in lq, slot by slot of time, as records: what charts are drawn from.

Owns which spans there are, of which slots each is made, and what is kept how long. Counts nothing
(`daemon.activity`), keeps nothing (`daemon.store.activity`).
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from lq.when import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS

QUARTER_MS: Final = 15 * MINUTE_MS
KEPT_MS: Final = MappingProxyType({MINUTE_MS: 2 * HOUR_MS, QUARTER_MS: 8 * DAY_MS})
"""How long slots of each length are kept."""


class Span(StrEnum):
    """How far back a chart goes."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def ms(self) -> int:
        return {Span.HOUR: HOUR_MS, Span.DAY: DAY_MS, Span.WEEK: WEEK_MS}[self]

    @property
    def slot_ms(self) -> int:
        """How long each point of it is."""
        return {Span.HOUR: MINUTE_MS, Span.DAY: QUARTER_MS, Span.WEEK: HOUR_MS}[self]

    @property
    def source_ms(self) -> int:
        """How long the slots are that its points are made of, as they are kept."""
        return MINUTE_MS if self is Span.HOUR else QUARTER_MS


class Tally(Struct, gc=False):
    """What happened in one slot. It is added to.

    Shape: `taken` were pushed or revived, `failed` are failures for good and `retried` the others.
    Of the `started`, `timed` are those of which it is known how late they were: in a fifo queue
    that is not. Units: `late_ms` is the sum over them.
    """

    taken: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    started: int = 0
    timed: int = 0
    late_ms: int = 0
    late_max_ms: int = 0

    def add(self, other: Tally) -> None:
        """Take in what another one has counted."""
        self.taken += other.taken
        self.completed += other.completed
        self.failed += other.failed
        self.retried += other.retried
        self.cancelled += other.cancelled
        self.started += other.started
        self.timed += other.timed
        self.late_ms += other.late_ms
        self.late_max_ms = max(self.late_max_ms, other.late_max_ms)

    @property
    def late_mean_ms(self) -> int:
        """How late a start was on the average; 0 where none was timed."""
        return round(self.late_ms / self.timed) if self.timed else 0


class Activity(Struct, frozen=True):
    """What happened in a span. Shape: a tally for each of its slots, the first of them begins at
    `first_at`, the last one is not over.
    """

    span: Span
    first_at: int
    tallies: tuple[Tally, ...]

    @property
    def end_at(self) -> int:
        """When its last slot will be over."""
        return self.first_at + len(self.tallies) * self.span.slot_ms


def slot_at(at: int, slot_ms: int) -> int:
    """When the slot began that an instant is in."""
    return at - at % slot_ms
