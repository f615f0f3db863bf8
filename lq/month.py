"""A month of a schedule: how often it fires on each day, and when first.

Owns: where the days of a zone begin, and which times count. Goes through no times but the few that
it names: a rule may fire each second. Pure.

Invariant: days are those of the schedule's zone, and each of its times is counted on one of them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec import Struct

from lq.firing import Timing
from lq.when import local_time

FIRST_TIMES: Final = 3
"""How many times of a day are named."""


class Day(Struct, frozen=True):
    """A day on which a schedule fires. Shape: `first` are the first of its `count` times."""

    date: datetime.date
    count: int
    first: tuple[int, ...]


class Span(Struct, frozen=True):
    """The times in (after, until], at most so many of them; without `until` all that come."""

    after: int
    until: int | None = None
    most: int | None = None


def month_of(at: int, zone: datetime.tzinfo) -> datetime.date:
    """The first day of the month that an instant is in."""
    return local_time(at, zone).date().replace(day=1)


def begin_of(date: datetime.date, zone: datetime.tzinfo) -> int:
    """When a day begins: where its midnight is skipped, right after the gap."""
    midnight = datetime.datetime(date.year, date.month, date.day, tzinfo=zone)
    return round(midnight.timestamp()) * 1000


def following(month: datetime.date) -> datetime.date:
    """The first day of the next month."""
    return (month + datetime.timedelta(days=31)).replace(day=1)


def days(times: Timing, zone: datetime.tzinfo, month: datetime.date, *spans: Span) -> Iterator[Day]:
    """The days of a month on which any of the spans has times. Shape: spans are in order, apart."""
    date, end = month, following(month)
    while date < end:
        morrow = date + datetime.timedelta(days=1)
        after, until = begin_of(date, zone) - 1, begin_of(morrow, zone) - 1
        parts = [(max(after, span.after), _count(times, span, after, until)) for span in spans]
        total = sum(count for _, count in parts)
        if total:
            first = (at for low, count in parts for at in _first(times, low, count))
            yield Day(date, total, tuple(islice(first, FIRST_TIMES)))
        date = morrow


def _count(times: Timing, span: Span, after: int, until: int) -> int:
    """How many times of a span lie in (after, until]."""
    low = max(after, span.after)
    high = until if span.until is None else min(until, span.until)
    count = times.count(low, high) if low < high else 0
    if count and span.most is not None:
        return min(count, max(span.most - times.count(span.after, low), 0))
    return count


def _first(times: Timing, after: int, count: int) -> Iterator[int]:
    """The first of `count` times after an instant."""
    for _ in range(min(count, FIRST_TIMES)):
        at = times.next(after)
        if at is None:
            return
        yield at
        after = at
