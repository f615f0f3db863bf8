"""A hierarchical timer wheel: what is due by now, and what is due next.

Owns: an order of items by due time. Never knows what time it is: `now` is the caller's.

Time is cut into fine slots of 256 ms; 256 of them make a slot of the next level, 256 of those one
of the level after it, for any 64-bit instant. An item lies in the coarsest slot that does not
hold the present; when time enters that slot, its items move to finer ones. One bitmap says which
slots are occupied, so that empty time is skipped, not walked. Each slot is a small heap: the
order is exact without a slot for each millisecond.

Invariant: written in base 256, the fine slot of an item at level L equals `_position` in all
digits above L and exceeds it at L. So the first occupied slot of the lowest occupied level holds
the soonest item, and what is not after `_position` lies in `_near`, sooner than any slot.

A move or a cancel leaves an entry behind that is dead: only the one in `_held` counts. When
most are dead, the wheel is laid out anew.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

_FINE_BITS: Final = 8
_DIGIT_BITS: Final = 8
_SLOTS: Final = 1 << _DIGIT_BITS
_LEVELS: Final = 7
_DEAD_ALLOWED: Final = 1_000


class Wheel(Generic[T]):
    """Items by due time, equal times in push order. Units: Unix milliseconds."""

    def __init__(self, now: int) -> None:
        self._held: dict[T, tuple[int, int, T]] = {}
        self._pushes = 0
        self._dead = 0
        self._position = _fine_slot(now)
        self._near: list[tuple[int, int, T]] = []
        self._slots: list[list[tuple[int, int, T]]] = [[] for _ in range(_LEVELS * _SLOTS)]
        self._occupied = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, item: object) -> bool:
        return item in self._held

    def push(self, item: T, due_at: int) -> None:
        """Hold an item until its time; one that is held already moves."""
        moves = item in self._held
        self._pushes += 1
        entry = (due_at, self._pushes, item)
        self._held[item] = entry
        self._place(entry)
        if moves:
            self._count_dead()

    def cancel(self, item: T) -> bool:
        """Let go of an item; whether it was held."""
        if self._held.pop(item, None) is None:
            return False
        self._count_dead()
        return True

    def pop_due(self, now: int) -> list[T]:
        """Let go of every item due by now, the soonest first."""
        present = _fine_slot(now)
        if present < self._position - _SLOTS:  # the clock went back: what was near is far again
            self._lay_out(present)
        opened = []
        while self._near and self._near[0][0] <= now:
            opened.append(heappop(self._near))
        while self._occupied and self._first_start() <= present:
            opened += self._take_first()
        self._position = max(self._position, present)
        due = []
        for entry in opened:
            if self._held.get(entry[2]) is not entry:
                self._dead -= 1
            elif entry[0] <= now:
                due.append(entry)
            else:
                self._place(entry)
        due.sort()
        items = [item for _, _, item in due]
        for item in items:
            del self._held[item]
        return items

    def next_due(self) -> int | None:
        """When the soonest item is due."""
        self._drop_dead(self._near)
        if self._near:
            return self._near[0][0]
        while self._occupied:
            first = self._slots[self._first()]
            self._drop_dead(first)
            if first:
                return first[0][0]
            self._take_first()
        return None

    def _place(self, entry: tuple[int, int, T]) -> None:
        number = entry[0] >> _FINE_BITS
        if number <= self._position:
            heappush(self._near, entry)
            return
        level = ((number ^ self._position).bit_length() - 1) // _DIGIT_BITS
        index = level * _SLOTS + (number >> level * _DIGIT_BITS) % _SLOTS
        slot = self._slots[index]
        if not slot:
            self._occupied |= 1 << index
        heappush(slot, entry)

    def _first(self) -> int:
        """The index of the soonest occupied slot."""
        return (self._occupied & -self._occupied).bit_length() - 1

    def _first_start(self) -> int:
        """The number of the fine slot at which the soonest occupied slot begins."""
        level, digit = divmod(self._first(), _SLOTS)
        shift = level * _DIGIT_BITS
        return ((self._position >> shift) // _SLOTS * _SLOTS + digit) << shift

    def _take_first(self) -> list[tuple[int, int, T]]:
        index = self._first()
        self._occupied ^= 1 << index
        entries, self._slots[index] = self._slots[index], []
        return entries

    def _lay_out(self, position: int) -> None:
        """Place all that is held as seen from `position`, and forget the dead."""
        self._position = position
        self._near.clear()
        while self._occupied:
            self._take_first()
        for entry in self._held.values():
            self._place(entry)
        self._dead = 0

    def _drop_dead(self, heap: list[tuple[int, int, T]]) -> None:
        while heap and self._held.get(heap[0][2]) is not heap[0]:
            heappop(heap)
            self._dead -= 1

    def _count_dead(self) -> None:
        self._dead += 1
        if self._dead > 2 * len(self._held) + _DEAD_ALLOWED:
            self._lay_out(self._position)


def _fine_slot(now: int) -> int:
    # Before 1970 all is in `_near`: the digits of a negative number never end.
    return max(now >> _FINE_BITS, 0)
