"""What a cron rule is: its fields, its times of day, its calendar.

Owns: which naive wall times a rule matches, day by day. Knows no zones and reads no text.

Invariant: the Gregorian calendar knows 14 kinds of year (leap or not, times the weekday of
1 January), so that a rule's days are 14 masks of 366 bits. Whether it ever fires, its next or
last day, and how many days lie between two others are questions about their bits, exactly.

Units: a day is a number of days since 1970-01-01; a time of day is in seconds since midnight.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import isleap
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Final

from msgspec import Struct

DAY: Final = 86400
_EPOCH: Final = date(1970, 1, 1).toordinal()
LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EVERY_WEEK: Final = sum(1 << 7 * week for week in range(6))
_KINDS: Final = tuple(  # of the years of one cycle, from a multiple of 400: they repeat exactly
    7 * isleap(year) + date(year, 1, 1).toordinal() % 7 for year in range(2000, 2400)
)


class FromEnd(Struct, frozen=True):
    """`L` and `L-n`: the day `days` before the last one of the month."""

    days: int

    def mask(self, length: int, first: int) -> int:
        day = length - self.days
        return 1 << day if day >= 1 else 0


class Nearest(Struct, frozen=True):
    """`nW` and, with no day, `LW`: the weekday nearest to a day, never in another month.

    A month without that day has none.
    """

    day: int | None

    def mask(self, length: int, first: int) -> int:
        day = self.day or length
        if day > length:
            return 0
        match (first + day - 1) % 7:
            case 6:
                return 1 << (day - 1 if day > 1 else 3)
            case 0:
                return 1 << (day + 1 if day < length else day - 2)
            case _:
                return 1 << day


class Nth(Struct, frozen=True):
    """`d#n` and, with no n, `dL`: the n-th or last such weekday of the month."""

    weekday: int
    n: int | None

    def mask(self, length: int, first: int) -> int:
        earliest = 1 + (self.weekday - first) % 7
        count = (length - earliest) // 7 + 1
        n = self.n or count
        return 1 << earliest + 7 * (n - 1) if n <= count else 0


class Step(Struct, frozen=True):
    """A `/n` as written: `text` is its whole list item, `low` to `high` what it steps through."""

    text: str
    n: int
    low: int
    high: int


class Field(Struct, frozen=True):
    """One field: its plain values in order (Sunday is 0), and the days that months decide."""

    text: str
    values: tuple[int, ...]
    special: tuple[FromEnd | Nearest | Nth, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def starred(self) -> bool:
        """Whether the text begins with `*` or `?`, which decides more than the values do."""
        return self.text.startswith(("*", "?"))

    def special_mask(self, length: int, first: int) -> int:
        mask = 0
        for special in self.special:
            mask |= special.mask(length, first)
        return mask


class Times(Struct, frozen=True):
    """The times of day of a rule, in order, numbered from 0."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def at(self, number: int) -> int:
        """The time of day with a number."""
        rest, second = divmod(number, len(self.seconds))
        hour, minute = divmod(rest, len(self.minutes))
        return self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]

    def before(self, clock: int) -> int:
        """How many times of day lie before this one (at most 24:00)."""
        hour, rest = divmod(clock, 3600)
        minute, second = divmod(rest, 60)
        whole = bisect_left(self.hours, hour)
        if whole == len(self.hours) or self.hours[whole] != hour:
            return whole * len(self.minutes) * len(self.seconds)
        number = bisect_left(self.minutes, minute)
        before = (whole * len(self.minutes) + number) * len(self.seconds)
        if number == len(self.minutes) or self.minutes[number] != minute:
            return before
        return before + bisect_left(self.seconds, second)


class Calendar(Struct, frozen=True):
    """The days of a rule: for each kind of year a mask whose bit 0 is 1 January."""

    masks: tuple[int, ...]

    @property
    def empty(self) -> bool:
        return not any(self.masks)

    def reaches(self, year: int) -> bool:
        """Whether a day lies in a year, or on the day before or after it."""
        return bool(
            self._year(year)
            or self._year(year + 1) & 1
            or self._year(year - 1) >> (364 + isleap(year - 1))
        )

    def has(self, day: int) -> bool:
        """Whether a day is one of them."""
        year = year_of(day)
        return bool(self._year(year) >> day - new_year(year) & 1)

    def days(self, first: int, last: int, *, newest_first: bool = False) -> Iterator[int]:
        """The days in [first, last)."""
        low, high = year_of(first), year_of(last - 1)
        for year in range(high, low - 1, -1) if newest_first else range(low, high + 1):
            start = new_year(year)
            mask = self._year(year) & ((1 << max(last - start, 0)) - 1)
            mask = mask >> max(first - start, 0) << max(first - start, 0)
            while mask:
                bit = (mask if newest_first else mask & -mask).bit_length() - 1
                yield start + bit
                mask ^= 1 << bit

    def count(self, first: int, last: int) -> int:
        """How many days lie in [first, last)."""
        if last <= first:
            return 0
        low, high = year_of(first), year_of(last)
        whole = sum(self._year(year).bit_count() for year in range(low, high))
        return whole - self._before(low, first) + self._before(high, last)

    def _year(self, year: int) -> int:
        return self.masks[_KINDS[year % 400]]

    def _before(self, year: int, day: int) -> int:
        return (self._year(year) & ((1 << day - new_year(year)) - 1)).bit_count()


class Rule(Struct, frozen=True):
    """A rule that fires some day.

    Shape: `text` is trimmed and single-spaced, as typed; a nickname is in lower case, and its
    fields are those it stands for. Five fields have the second 0, and `seconds.text` is empty.
    `wildcard` rules follow the clock through skipped and repeated hours, others keep their daily
    times (see `fires`). `both` says that a day must match both day fields, instead of either.
    """

    text: str
    seconds: Field
    minutes: Field
    hours: Field
    days: Field
    months: Field
    weekdays: Field
    wildcard: bool
    both: bool
    times: Times
    calendar: Calendar

    @property
    def any_day(self) -> bool:
        """Whether the day of the month restricts nothing."""
        return len(self.days.values) == 31

    @property
    def any_weekday(self) -> bool:
        """Whether the day of the week restricts nothing."""
        return len(self.weekdays.values) == 7

    def walls(self, low: int, high: int, *, newest_first: bool = False) -> Iterator[int]:
        """The wall times in [low, high) that match. Units: naive seconds since 1970."""
        if high <= low:
            return
        for day in self.calendar.days(low // DAY, (high - 1) // DAY + 1, newest_first=newest_first):
            midnight = day * DAY
            first = self.times.before(max(low - midnight, 0))
            last = self.times.before(min(high - midnight, DAY))
            numbers = range(first, last)
            for number in reversed(numbers) if newest_first else numbers:
                yield midnight + self.times.at(number)

    def count(self, low: int, high: int) -> int:
        """How many wall times in [low, high) match. Units: naive seconds since 1970."""
        if high <= low:
            return 0
        first, last = low // DAY, high // DAY
        return (
            self.calendar.count(first, last) * self.times.count
            - self._before(first, low)
            + self._before(last, high)
        )

    def _before(self, day: int, wall: int) -> int:
        return self.times.before(wall - day * DAY) if self.calendar.has(day) else 0


@lru_cache(maxsize=1024)
def calendar_of(days: Field, months: Field, weekdays: Field, both: bool) -> Calendar:
    """The days on which two day fields hold, `both` or either, in these months.

    Cached, because the rules of many schedules differ in their times alone.
    """
    table = {
        (length, first): _month(days, weekdays, both, length, first)
        for length in (28, 29, 30, 31)
        for first in range(7)
    }
    masks = []
    for kind in range(14):
        leap, first = divmod(kind, 7)
        mask, start = 0, 0
        for number, usual in enumerate(LENGTHS, start=1):
            length = usual + (leap if number == 2 else 0)
            if number in months.values:
                mask |= table[length, (first + start) % 7] >> 1 << start
            start += length
        masks.append(mask)
    return Calendar(tuple(masks))


def new_year(year: int) -> int:
    """The day number of 1 January."""
    return date(year, 1, 1).toordinal() - _EPOCH


def year_of(day: int) -> int:
    """The year in which a day lies."""
    return date.fromordinal(day + _EPOCH).year


def _month(days: Field, weekdays: Field, both: bool, length: int, first: int) -> int:
    """The days of a month of this length that begins on this weekday; bit 1 is its first day."""
    by_day, by_weekday = days.special_mask(length, first), weekdays.special_mask(length, first)
    for day in days.values:
        by_day |= 1 << day
    for weekday in weekdays.values:
        by_weekday |= _EVERY_WEEK << 1 + (weekday - first) % 7
    mask = by_day & by_weekday if both else by_day | by_weekday
    return mask & ((2 << length) - 2)
