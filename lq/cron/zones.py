"""How the clocks of a zone run: stretches of constant offset, and what lies between them.

Owns: finding the changes of a zone's offset, which `zoneinfo` does not show, and what a
stretch's clocks skip or repeat. Knows no rules.

Invariant: the stretches of a year are adjacent and cover it.

Units: everything here is in seconds; `start` and `end` since 1970 UTC, wall times naive.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from lq.cron.rule import DAY, new_year

BEGIN: Final = new_year(2) * DAY
END: Final = new_year(9999) * DAY
"""Nothing is computed before and after: a year from both ends of what Python's dates can hold."""

# Of all changes in the IANA database those of Freetown in 1939 follow each other most closely,
# after four days; since 1970 no two are less than 6.9 days apart. A step of three sees each.
_STEP: Final = 3 * DAY
# No offset reaches a day, so that what a change repeats is over two days after it.
_ECHO: Final = 2 * DAY
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class Change(NamedTuple):
    """At `at` the offset of a zone changes from `before` to `after`."""

    at: int
    before: int
    after: int

    @property
    def left(self) -> int:
        """The wall time at which the clocks are changed."""
        return self.at + self.before

    @property
    def reached(self) -> int:
        """The wall time to which they are changed."""
        return self.at + self.after


class Stretch(NamedTuple):
    """The clocks show `start + offset` to `end + offset`, without a jump.

    Shape: `fresh` is the first of these wall times that was not shown before; `skipped_from`,
    set if clocks were put forward at `start`, the first that they skipped.
    """

    start: int
    end: int
    offset: int
    fresh: int
    skipped_from: int | None


def changes(zone: tzinfo, start: int, end: int) -> list[Change]:
    """The changes in (start, end], in order."""
    found = []
    probes = [*range(start, end, _STEP), end]
    offsets = [offset_at(zone, at) for at in probes]
    for (low, before), (high, after) in pairwise(zip(probes, offsets, strict=True)):
        if before != after:
            found.append(Change(_bisect(zone, low, high, before), before, after))
    return found


def offset_at(zone: tzinfo, at: int) -> int:
    """The offset in force at an instant."""
    local = (_EPOCH + timedelta(seconds=at)).astimezone(zone)
    return (local.utcoffset() or timedelta()) // _SECOND


@lru_cache(maxsize=4096)
def stretches(zone: tzinfo, year: int) -> tuple[Stretch, ...]:
    """The stretches of a year of UTC, in order; the first and last are cut at its ends."""
    begin, end = new_year(year) * DAY, new_year(year + 1) * DAY
    found = changes(zone, begin - _ECHO, end - 1)
    cut = []
    for start, stop in pairwise([begin, *(one.at for one in found if one.at > begin), end]):
        last = next((one for one in reversed(found) if one.at <= start), None)
        if last is None:
            offset = offset_at(zone, start)
            cut.append(Stretch(start, stop, offset, fresh=start + offset, skipped_from=None))
        else:
            shown = start + last.after
            skips = last.at == start and last.left < last.reached
            cut.append(
                Stretch(
                    start,
                    stop,
                    last.after,
                    fresh=max(shown, last.left),
                    skipped_from=last.left if skips else None,
                )
            )
    return tuple(cut)


def _bisect(zone: tzinfo, low: int, high: int, before: int) -> int:
    """The instant in (low, high] at which the offset is no longer `before`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(zone, middle) == before else (low, middle)
    return high
