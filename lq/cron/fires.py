"""When a rule fires.

Owns: the rule of Debian's cron for clocks that skip or repeat time, with its catch-ups merged.
Wildcard rules fire whenever the clocks show a match: in both passes of what is repeated, never
in what is skipped. The others, with fixed times, fire on the first pass only; matches that clocks
put forward by at most three hours skip are made up for by one fire, at the first instant after
the gap. A longer gap is a correction of the calendar, and what it skips is dropped.

Invariant: fires are whole seconds, strictly increasing, and the same from wherever one starts.

Units: the public functions take and give Unix milliseconds, the private ones seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from itertools import islice
from typing import Final, NamedTuple

from lq.cron.rule import DAY, Rule, year_of
from lq.cron.zones import BEGIN, END, Stretch, stretches

MAX_GAP: Final = 3 * 3600
_HORIZON: Final = 400 * 366 * DAY


class _Part(NamedTuple):
    """What fires in a stretch: perhaps a catch-up at its start, then matches in [low, high)."""

    catch_up: bool
    low: int
    high: int


def next_fire(rule: Rule, zone: tzinfo, after: int) -> int | None:
    """The first fire later than an instant; None when 400 years, or the year 9999, bring none."""
    low = max(after // 1000 + 1, BEGIN)
    return next(_fires(rule, zone, low, low + _HORIZON), None)


def fires_between(rule: Rule, zone: tzinfo, after: int, until: int) -> Iterator[int]:
    """The fires in (after, until], in order, each computed when it is asked for."""
    return _fires(rule, zone, after // 1000 + 1, until // 1000 + 1)


def count_between(rule: Rule, zone: tzinfo, after: int, until: int) -> int:
    """How many fires lie in (after, until], without going through them."""
    low, high = after // 1000 + 1, until // 1000 + 1
    total = 0
    for stretch in _stretches(rule, zone, low, high):
        part = _part(rule, stretch, low, high)
        total += part.catch_up + rule.count(part.low, part.high)
    return total


def last_between(rule: Rule, zone: tzinfo, after: int, until: int, most: int) -> list[int]:
    """The newest fires in (after, until], at most so many, in order."""
    newest = _fires(rule, zone, after // 1000 + 1, until // 1000 + 1, newest_first=True)
    return [*islice(newest, max(most, 0))][::-1]


def _fires(
    rule: Rule, zone: tzinfo, low: int, high: int, *, newest_first: bool = False
) -> Iterator[int]:
    """The fires in [low, high). Units: from seconds to milliseconds."""
    for stretch in _stretches(rule, zone, low, high, newest_first=newest_first):
        part = _part(rule, stretch, low, high)
        if part.catch_up and not newest_first:
            yield stretch.start * 1000
        for wall in rule.walls(part.low, part.high, newest_first=newest_first):
            yield (wall - stretch.offset) * 1000
        if part.catch_up and newest_first:
            yield stretch.start * 1000


def _stretches(
    rule: Rule, zone: tzinfo, low: int, high: int, *, newest_first: bool = False
) -> Iterator[Stretch]:
    """The stretches that touch [low, high), of the years in which the rule may fire."""
    low, high = max(low, BEGIN), min(high, END)
    if high <= low:
        return
    first, last = year_of(low // DAY), year_of((high - 1) // DAY)
    for year in range(last, first - 1, -1) if newest_first else range(first, last + 1):
        # No offset reaches a day: what is not within a day of this year does not fire in it.
        if not rule.calendar.reaches(year):
            continue
        found = stretches(zone, year)
        for stretch in reversed(found) if newest_first else found:
            if stretch.start < high and low < stretch.end:
                yield stretch


def _part(rule: Rule, stretch: Stretch, low: int, high: int) -> _Part:
    """What fires of a stretch in [low, high)."""
    high = min(high, stretch.end) + stretch.offset
    if rule.wildcard:
        return _Part(False, max(low, stretch.start) + stretch.offset, high)
    catch_up = low <= stretch.start and _catches_up(rule, stretch)
    # The catch-up takes the place of a match at the same instant.
    low = max(low, stretch.start + catch_up) + stretch.offset
    return _Part(catch_up, max(low, stretch.fresh), high)


def _catches_up(rule: Rule, stretch: Stretch) -> bool:
    """Whether the start of a stretch makes up for what the clocks skip right before it."""
    if stretch.skipped_from is None:
        return False
    reached = stretch.start + stretch.offset
    return (
        reached - stretch.skipped_from <= MAX_GAP and rule.count(stretch.skipped_from, reached) > 0
    )
