"""How fast the jobs of a queue may start: the notation of a rate, and the bucket that keeps it.

Owns "10/s" and the arithmetic of a token bucket. Pure: whoever asks passes `now`.

Invariant: in any stretch of time no more start than its length allows, and a burst on top; a
clock that is set back delays nothing by more than a full bucket takes to fill.
"""

from __future__ import annotations

import math
import re
from typing import Final

from lq.model import Rate
from lq.when import format_duration, parse_duration

MAX_COUNT: Final = 1_000_000

_UNITS: Final = {
    "s": 1000, "sec": 1000, "second": 1000,
    "m": 60_000, "min": 60_000, "minute": 60_000,
    "h": 3_600_000, "hour": 3_600_000,
    "d": 86_400_000, "day": 86_400_000,
}  # fmt: skip
_SHORT: Final = {1000: "s", 60_000: "min", 3_600_000: "h", 86_400_000: "d"}
_MAX_PER_MS: Final = 30 * 86_400_000
_FORMS: Final = 'a rate such as "10/s", "100/min", "5/h" or "3/90s"'
# Without a burst of its own a bucket holds this stretch of its rate: what a busy daemon may be
# late by, and too little to be noticed in any second.
_DEFAULT_BURST_MS: Final = 100


def parse_rate(text: str) -> Rate:
    """Read "10/s", "100/min", "5/h", "1/day" or "3/90s". Raises: ValueError saying what is."""
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*(\S+)\s*", text)
    if found is None:
        raise ValueError(f"expected {_FORMS}")
    count, word = int(found[1]), found[2].lower()
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"expected {_FORMS}, with 1 to {MAX_COUNT} starts")
    try:
        per_ms = _UNITS.get(word) or parse_duration(word)
    except ValueError:
        raise ValueError(f"expected {_FORMS}") from None
    if not 1 <= per_ms <= _MAX_PER_MS:
        raise ValueError(f"expected {_FORMS}, over at most 30 days")
    return Rate(count, per_ms)


def format_rate(rate: Rate) -> str:
    """A rate as `parse_rate` reads it back."""
    return f"{rate.count}/{_SHORT.get(rate.per_ms) or format_duration(rate.per_ms)}"


class Bucket:
    """A token bucket, kept as one number: when it will be full again, if nothing is taken.

    Units: Unix milliseconds, not whole ones.
    """

    __slots__ = ("_rounding_ms", "burst", "full_at", "interval_ms", "rate")

    def __init__(self, rate: Rate, burst: int | None, full_at: float = 0.0) -> None:
        self.rate = rate
        self.interval_ms = rate.per_ms / rate.count
        self.burst = burst or max(1, rate.count * _DEFAULT_BURST_MS // rate.per_ms)
        # What instants of today lose as floating-point numbers, and little of an interval.
        self._rounding_ms = min(0.01, self.interval_ms / 1000)
        self.full_at = full_at

    def tokens(self, now: int) -> int:
        """How many may start now."""
        there_ms = self.burst * self.interval_ms - self._missing_ms(now) + self._rounding_ms
        return max(0, int(there_ms / self.interval_ms))

    def next_at(self, now: int, ahead: int = 0) -> int:
        """When the next may start, or the one behind `ahead` others."""
        wait_ms = self._missing_ms(now) - (self.burst - 1 - ahead) * self.interval_ms
        return now + max(0, math.ceil(wait_ms - self._rounding_ms))

    def take(self, number: int, now: int) -> None:
        """Take tokens; a negative number gives some back."""
        self.full_at = now + self._missing_ms(now) + number * self.interval_ms

    def _missing_ms(self, now: int) -> float:
        """How long it takes to fill up: no longer than from empty, also if the clock went back."""
        self.full_at = min(self.full_at, now + self.burst * self.interval_ms)
        return max(0.0, self.full_at - now)
