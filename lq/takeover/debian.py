"""The times of a crontab's entry as Debian's cron reads them, and when it runs the entry.

Owns: a second opinion. This is the algorithm of Debian's daemon, carried out minute by minute where
clocks change; it shares nothing with `lq.cron`, whose answers are held against it.

Invariant: pure; `after` and the zone are the caller's.

Source: entry.c and cron.c of Debian's cron 3.0pl1-162. Units: instants are Unix milliseconds UTC.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice
from typing import Final

from msgspec import Struct

MINUTE: Final = 60_000
_DAY_MINUTES: Final = 1440
_FAR: Final = 3 * 60  # a change of clocks by more minutes than this starts afresh
_NEAR: Final = 5
_HORIZON_DAYS: Final = 30 * 366
_EPOCH: Final = date(1970, 1, 1).toordinal()

_MONTHS: Final = [name.lower() for name in calendar.month_abbr][1:]
_WEEKDAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_FIELDS: Final[tuple[tuple[str, int, int, list[str]], ...]] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
NICKNAMES: Final = {
    "@yearly": ("0", "0", "1", "1", "*"),
    "@annually": ("0", "0", "1", "1", "*"),
    "@monthly": ("0", "0", "1", "*", "*"),
    "@weekly": ("0", "0", "*", "*", "0"),
    "@daily": ("0", "0", "*", "*", "*"),
    "@midnight": ("0", "0", "*", "*", "*"),
    "@hourly": ("0", "*", "*", "*", "*"),
}


class Times(Struct, frozen=True):
    """The values of five fields, and which of them begin with a star.

    Shape: weekdays are 0 to 6, Sunday is 0. `wild` is cron's MIN_STAR or HR_STAR; `both` says that
    a day must match both day fields. `junk` are the ends of fields that cron skips unsaid.
    """

    values: tuple[frozenset[int], ...]
    wild: bool
    both: bool
    junk: tuple[str, ...] = ()

    def on(self, day: date) -> bool:
        """Whether the entry runs on a day at all."""
        _, _, days, months, weekdays = self.values
        by_day, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        matches = (by_day and by_weekday) if self.both else (by_day or by_weekday)
        return day.month in months and matches

    def at(self, minute: int) -> bool:
        """Whether the entry is for a minute. Units: naive minutes since 1970."""
        day, rest = divmod(minute, _DAY_MINUTES)
        hour, minute = divmod(rest, 60)
        fits = minute in self.values[0] and hour in self.values[1]
        return fits and self.on(date.fromordinal(day + _EPOCH))


def read(fields: Sequence[str]) -> Times:
    """Read five fields. Raises: ValueError, with cron's own words for the field, "bad minute"."""
    found = [_field(text, *kind) for text, kind in zip(fields, _FIELDS, strict=True)]
    values = [frozenset(one) for one, _ in found]
    values[4] = frozenset(value % 7 for value in values[4])
    starred = [text.startswith("*") for text in fields]
    return Times(
        tuple(values),
        wild=starred[0] or starred[1],
        both=starred[2] or starred[4],
        junk=tuple(junk for _, junk in found if junk),
    )


def runs(times: Times, zone: tzinfo, after: int, count: int) -> list[int]:
    """The next runs later than an instant, as many as there are within 30 years."""
    return list(islice(_runs(times, zone, after), count))


def runs_between(times: Times, zone: tzinfo, after: int, until: int) -> list[int]:
    """The runs in (after, until]."""
    found = []
    for at in _runs(times, zone, after):
        if at > until:
            break
        found.append(at)
    return found


def _field(text: str, name: str, low: int, high: int, names: list[str]) -> tuple[set[int], str]:
    values: set[int] = set()
    rest = text
    while True:
        match = re.match(r"(\*|([0-9A-Za-z]+)(-([0-9A-Za-z]+))?)(/([0-9A-Za-z]*))?", rest)
        if match is None:
            raise ValueError(f"bad {name}")
        star, single = match[1] == "*", match[3] is None
        first = low if star else _number(match[2], name, low, names)
        last = high if star else first if single else _number(match[4], name, low, names)
        step = _number("1" if match[5] is None else match[6], name, 0, [])
        stepped = match[5] is not None and not star and single
        if stepped or step < 1 or not (low <= first <= high and low <= last <= high):
            raise ValueError(f"bad {name}")
        values.update(range(first, last + 1, step))
        rest = rest[match.end() :]
        if not rest.startswith(","):
            return values, rest
        rest = rest[1:]


def _number(text: str, name: str, low: int, names: list[str]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not text.isdigit():
        raise ValueError(f"bad {name}")
    return int(text)


def _runs(times: Times, zone: tzinfo, after: int) -> Iterator[int]:
    first = after // (_DAY_MINUTES * MINUTE)
    for day in range(first, first + _HORIZON_DAYS):
        start = day * _DAY_MINUTES
        if start + 3 * _DAY_MINUTES > _last_minute():
            return
        here = _offset(zone, start)
        calm = _offset(zone, start - 240) == here == _offset(zone, start + _DAY_MINUTES)
        found = _plain(times, here, start) if calm else _changed(times, zone, start)
        yield from (minute * MINUTE for minute in found if minute * MINUTE > after)


def _last_minute() -> int:
    return (date.max.toordinal() - _EPOCH) * _DAY_MINUTES


def _plain(times: Times, offset: int, start: int) -> Iterator[int]:
    """The runs of a day of UTC without a change of clocks. Units: minutes since 1970."""
    low, high = start + offset, start + offset + _DAY_MINUTES
    for day in range(low // _DAY_MINUTES, (high - 1) // _DAY_MINUTES + 1):
        if times.on(date.fromordinal(day + _EPOCH)):
            for hour in sorted(times.values[1]):
                for minute in sorted(times.values[0]):
                    wall = day * _DAY_MINUTES + hour * 60 + minute
                    if low <= wall < high:
                        yield wall - offset


def _changed(times: Times, zone: tzinfo, start: int) -> Iterator[int]:
    """The runs of a day of UTC whose clocks change, by cron's main loop. Units: minutes."""
    begin = start - _DAY_MINUTES
    virtual = begin + _offset(zone, begin) - 1
    for now in range(begin, start + _DAY_MINUTES):
        running = now + _offset(zone, now)
        late = running - virtual
        wild, fixed = [running], []
        if late <= -_FAR or late > _FAR:
            virtual = running
            fixed = [running]
        elif late > 0:
            fixed = [*range(virtual + 1, running + 1)]
            wild = fixed if late <= _NEAR else wild
            virtual = running
        if now >= start:
            yield from (now for minute in (wild if times.wild else fixed) if times.at(minute))


def _offset(zone: tzinfo, minute: int) -> int:
    """How far a zone's clocks are ahead of UTC. Units: minutes since 1970, and minutes."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    return int((moment.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 60)
