"""How much went into each queue and came out of it lately, counted as it happens.

Owns: the counts of the last minute, a second each. Never touches the disk: what was before the
daemon's start is history's.
Invariant: what is counted costs nobody a wait, and memory only for queues at work in that minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from lq.overview import Throughput

WINDOW_S: Final = 10
"""Over how long a rate is taken: shorter jumps, longer lags behind what a person sees."""
MINUTE_S: Final = 60

IN, DONE, FAILED, AGAIN, ASIDE = range(5)
_PLACES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "push": IN,
        "revive": IN,
        "succeed": DONE,
        "bury": FAILED,
        "expire": FAILED,
        "fail": AGAIN,
        "cancel": ASIDE,
    }
)
_Counts = dict[str, list[int]]


class Throughputs:
    """The last minute of every queue. Units: `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._second = int(self._began)
        self._now: _Counts = {}
        self._seconds: deque[tuple[int, _Counts]] = deque([(self._second, self._now)])

    def count(self, queue: str, verb: str) -> None:
        """A job of this queue has moved."""
        place = _PLACES.get(verb)
        if place is None:
            return
        second = int(self._monotonic())
        if second != self._second:
            self._turn(second)
        counts = self._now.get(queue)
        if counts is None:
            counts = self._now[queue] = [0] * len(range(ASIDE + 1))
        counts[place] += 1

    def lately(self) -> dict[str, Throughput]:
        """The rates of the queues that were at work in the last minute."""
        at = self._monotonic()
        self._turn(int(at))
        first = self._second - WINDOW_S + 1
        span_s = max(at - max(first, self._began), 1.0)
        found: dict[str, list[int]] = {}
        for second, counted in self._seconds:
            for queue, counts in counted.items():
                sums = found.setdefault(queue, [0, 0, 0, 0])
                if second >= first:
                    sums[0] += counts[IN]
                    sums[1] += counts[DONE] + counts[FAILED] + counts[ASIDE]
                sums[2] += counts[FAILED]
                sums[3] += counts[AGAIN]
        return {
            queue: Throughput(taken / span_s, ended / span_s, failed, again)
            for queue, (taken, ended, failed, again) in found.items()
        }

    def _turn(self, second: int) -> None:
        """Begin a second, and forget those that are over a minute old."""
        if second != self._second:
            self._second, self._now = second, {}
            self._seconds.append((second, self._now))
        while self._seconds[0][0] <= second - MINUTE_S:
            self._seconds.popleft()
