"""What is counted while lq works, for whoever watches it from outside.

Owns the counts that nothing else keeps: attempts by what came of them, how late jobs start, how
long calls and commits take, how late the event loop is. Each is an addition to a number or two;
what they are called, and all else that is shown, is `wire.exposition`'s.

Invariant: as many queues have counts of their own as the configuration lets; the others share one,
so that no stranger's queue names can fill the memory of lq or of what watches it.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Final

from lq.exposition import OTHER, Counted, Distribution
from lq.model import Outcome, OutcomeKind

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0)
_LAG_EVERY_S: Final = 1.0
_WORDS: Final = {
    "timeout": "timeout",
    "connect_error": "connect",
    "dns_error": "dns",
    "tls_error": "tls",
    "closed": "closed",
    "incomplete_response": "closed",
    "protocol_error": "protocol",
    "target_blocked": "blocked",
    "exit": "exit",
    "killed": "killed",
    "exec": "exec",
}


class Histogram:
    """How often a measure was how large. Shape: `counts` has a place more than `bounds`."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def seen(self) -> Distribution:
        return Distribution(self.bounds, tuple(self.counts), self.total)


class Metrics:
    """The counts of one life of a daemon."""

    def __init__(self, most_queues: int) -> None:
        """Shape: `most_queues` have counts of their own, those that move first."""
        self._most = most_queues
        self._names: dict[str, str] = {}
        self._moves: Counter[tuple[str, str]] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._lateness: dict[str, Histogram] = {}
        self._commits = Histogram()
        self._group_sizes = Histogram(SIZES)
        self._lag = Histogram()

    def name(self, queue: str) -> str:
        """What a queue is counted as."""
        known = self._names.get(queue)
        if known is None:
            known = queue if len(self._names) < self._most else OTHER
            if known is queue:
                self._names[queue] = queue
        return known

    def moved(self, queue: str, verb: str) -> None:
        """A job has moved."""
        self._moves[self.name(queue), verb] += 1

    def started(self, queue: str, late_ms: int) -> None:
        """A job was claimed so long after it was due."""
        _of(self._lateness, self.name(queue)).observe(max(0, late_ms) / 1000)

    def attempted(self, queue: str, outcome: Outcome, seconds: float) -> None:
        """An attempt has ended."""
        name = self.name(queue)
        self._attempts[name, kind_of(outcome)] += 1
        _of(self._durations, name).observe(seconds)

    def committed(self, writes: int, seconds: float) -> None:
        """So many writes were committed together."""
        self._commits.observe(seconds)
        self._group_sizes.observe(writes)

    async def run(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(_LAG_EVERY_S)
            self._lag.observe(max(0.0, time.monotonic() - asleep_at - _LAG_EVERY_S))

    def counted(self) -> Counted:
        """All of it, as it is now."""
        return Counted(
            moves=dict(self._moves),
            attempts=dict(self._attempts),
            durations=_seen(self._durations),
            lateness=_seen(self._lateness),
            commits=self._commits.seen(),
            group_sizes=self._group_sizes.seen(),
            loop_lag=self._lag.seen(),
        )


def kind_of(outcome: Outcome) -> str:
    """What came of an attempt, in one of few words."""
    if outcome.kind is OutcomeKind.INTERRUPTED:
        return "interrupted"
    word = (outcome.error or "").partition(":")[0].partition(" ")[0]
    if word in _WORDS:
        return _WORDS[word]
    if outcome.status is not None and 100 <= outcome.status < 600:
        return f"{outcome.status // 100}xx"
    return "succeeded" if outcome.kind is OutcomeKind.SUCCEEDED else "other"


def _of(histograms: dict[str, Histogram], name: str) -> Histogram:
    found = histograms.get(name)
    if found is None:
        found = histograms[name] = Histogram()
    return found


def _seen(histograms: Mapping[str, Histogram]) -> dict[str, Distribution]:
    return {name: histogram.seen() for name, histogram in histograms.items()}
