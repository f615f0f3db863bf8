"""Hold the timer wheel against a heap with lazy deletion, side by side in one run.

Prints, for several sizes, the time of an item's way through each (push, then pop in steps as time
passes), and the ratio heap / wheel: above 1 the wheel is faster. Run: python tests/bench/wheel.py
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from lq.daemon.wheel import Wheel

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000


class Timers(Protocol):
    def push(self, item: int, due_at: int) -> None: ...
    def cancel(self, item: int) -> bool: ...
    def pop_due(self, now: int) -> list[int]: ...
    def next_due(self) -> int | None: ...


class Heap:
    """The peer: one heap of (due, order, item), whose dead entries are dropped as they surface."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int]] = []
        self._held: dict[int, tuple[int, int, int]] = {}
        self._pushes = 0

    def push(self, item: int, due_at: int) -> None:
        self._pushes += 1
        entry = (due_at, self._pushes, item)
        self._held[item] = entry
        heappush(self._heap, entry)

    def cancel(self, item: int) -> bool:
        return self._held.pop(item, None) is not None

    def pop_due(self, now: int) -> list[int]:
        items = []
        while self._heap and self._heap[0][0] <= now:
            entry = heappop(self._heap)
            if self._held.get(entry[2]) is entry:
                del self._held[entry[2]]
                items.append(entry[2])
        return items

    def next_due(self) -> int | None:
        while self._heap and self._held.get(self._heap[0][2]) is not self._heap[0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None


def push_and_pop(timers: Timers, delays: Sequence[int], step_ms: int) -> float:
    """Microseconds an item: push all, then let time pass in steps until nothing is left."""
    began = time.perf_counter()
    for item, delay in enumerate(delays):
        timers.push(item, NOW + delay)
    popped = 0
    now = NOW
    while (due := timers.next_due()) is not None:
        now = max(now + step_ms, due)
        popped += len(timers.pop_due(now))
    spent = time.perf_counter() - began
    assert popped == len(delays)
    return spent / len(delays) * 1e6


def churn(timers: Timers, delays: Sequence[int], step_ms: int) -> float:
    """Microseconds a change: each timer is set, moved once and, three times of four, cancelled."""
    began = time.perf_counter()
    for item, delay in enumerate(delays):
        timers.push(item, NOW + delay)
        timers.push(item, NOW + delay + step_ms)
        if item % 4:
            timers.cancel(item)
        timers.next_due()
    return (time.perf_counter() - began) / len(delays) * 1e6


def compare(name: str, measure: Callable[[Timers, Sequence[int], int], float]) -> None:
    print(f"{name:14} {'items':>9} {'within':>8} {'heap us':>9} {'wheel us':>9} {'heap/wheel':>11}")
    chance = random.Random(7)
    for count in (1_000, 20_000, 100_000):
        for within, span_ms in (("1 min", 60_000), ("1 h", HOUR_MS), ("30 d", 720 * HOUR_MS)):
            delays = [chance.randrange(span_ms) for _ in range(count)]
            rounds = 3
            heap = min(measure(Heap(), delays, 1_000) for _ in range(rounds))
            wheel = min(measure(Wheel(NOW), delays, 1_000) for _ in range(rounds))
            print(f"{'':14} {count:9,} {within:>8} {heap:9.2f} {wheel:9.2f} {heap / wheel:11.2f}")


if __name__ == "__main__":
    compare("push and pop", push_and_pop)
    compare("churn", churn)
