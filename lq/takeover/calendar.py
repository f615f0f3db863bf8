"""systemd's calendar events (OnCalendar=) as cron rules of lq.

Owns: the grammar of systemd.time(7), and the refusal of what one cron rule cannot say. Pure.

    event   = shorthand | [weekdays] [date] [time] [zone]
    date    = [year "-"] month ("-" | "~") day        "~" counts days from the month's end
    time    = hour ":" minute [":" second]
    each    = "*" | part *("," part);  part = value [".." value] ["/" step]

Invariant: a Calendar that exists runs exactly when systemd would run the event, as long as the
clocks of its zone do not change.

Source: systemd.time(7) and calendarspec.c of systemd 252.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from lq.when import load_zone

_SHORTHANDS: Final = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "anually": "*-01-01 00:00:00",  # systemd takes this spelling, too
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
}
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORD: Final = r"[A-Za-z]+"
_WEEKS: Final = tuple(frozenset(range(first, min(first + 7, 32))) for first in (1, 8, 15, 22, 29))
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_BOTH: Final = (
    "no cron rule means these weekdays on these days of the month: take one of them, and let the"
    " command look at the date for the other"
)


class Calendar(Struct, frozen=True):
    """A rule that means the event.

    Shape: `zone` is None for the machine's; `years` are the first and the last, either None if
    there is no such end.
    """

    rule: str
    zone: str | None = None
    years: tuple[int | None, int | None] = (None, None)


class CalendarError(ValueError):
    """No event, or one that no rule of lq means."""


def convert(text: str) -> Calendar:
    """The rule for a calendar event. Raises: CalendarError."""
    words = text.split()
    words, zone = _without_zone(words)
    if len(words) == 1:
        words = _SHORTHANDS.get(words[0].lower(), words[0]).split()
    if len(words) == 1 and re.match("[0-9*].*T.", words[0]):
        words = words[0].split("T", 1)
    weekdays: frozenset[int] | None = None
    if words and words[0][0].isalpha():
        weekdays = _weekdays(words.pop(0))
    date, time = _date_and_time(words, text, bare=weekdays is not None)
    years, months, days, from_end = _date(date)
    hours, minutes, seconds = _time(time)
    day, weekday = _day_fields(days, from_end, weekdays)
    fields = [_field(minutes, 0, 59), _field(hours, 0, 23), day, _field(months, 1, 12), weekday]
    if seconds != {0}:
        fields.insert(0, _field(seconds, 0, 59))
    return Calendar(" ".join(fields), zone, years)


def _without_zone(words: list[str]) -> tuple[list[str], str | None]:
    """Take a zone off the end; a lone word is a shorthand, a weekday or nothing."""
    if len(words) < 2 or not re.match("[A-Za-z]", words[-1]):
        return words, None
    if words[-1].upper() == "UTC":
        return words[:-1], "UTC"
    try:
        load_zone(words[-1])
    except ValueError:
        raise CalendarError(f"{words[-1]} is no time zone that lq knows") from None
    return words[:-1], words[-1]


def _date_and_time(words: list[str], text: str, *, bare: bool) -> tuple[str, str]:
    if text.strip().startswith("@"):
        raise CalendarError("it names one instant: push a job for that time instead")
    match words:
        case [] if bare:
            return "*-*-*", "00:00:00"
        case [one] if ":" in one:
            return "*-*-*", one
        case [one] if "-" in one or "~" in one:
            return one, "00:00:00"
        case [date, time] if ":" in time and ":" not in date:
            return date, time
    raise CalendarError("it is no calendar event of systemd")


def _weekdays(text: str) -> frozenset[int]:
    """Weekdays in cron's numbers: 0 is Sunday."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        ends = re.fullmatch(rf"({_WORD})(?:(?:\.\.|-)({_WORD}))?", part)
        if ends is None:
            raise CalendarError(f"{part} is no weekday")
        first = _weekday(ends[1])
        last = _weekday(ends[2]) if ends[2] else first
        if last < first:
            raise CalendarError(f"{part} runs backwards")
        found.update((day + 1) % 7 for day in range(first, last + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    for number, day in enumerate(_DAYS):
        if name.lower() in {day, day[:3]}:
            return number
    raise CalendarError(f"{name} is no weekday")


def _date(
    text: str,
) -> tuple[tuple[int | None, int | None], frozenset[int], frozenset[int] | None, frozenset[int]]:
    """Years, months, days (None for all) and days counted from the month's end."""
    found = re.fullmatch(r"(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)", text)
    if found is None:
        raise CalendarError(f"{text} is no date of a calendar event")
    years = _years(found[1] or "*")
    months = _chain(found[2], 1, 12, "month")
    if found[3] == "~":
        if found[4] == "*":
            return years, months, None, frozenset()
        return years, months, None, _chain(found[4], 1, 28, "day", from_end=True)
    days = _chain(found[4], 1, 31, "day")
    return years, months, None if len(days) == 31 else days, frozenset()


def _years(text: str) -> tuple[int | None, int | None]:
    if text == "*":
        return None, None
    years = sorted(_chain(text, _FIRST_YEAR, _LAST_YEAR, "year"))
    if years[-1] - years[0] + 1 != len(years):
        raise CalendarError(f"the years {text} are not in a row: lq knows a first and a last one")
    return years[0], None if years[-1] == _LAST_YEAR else years[-1]


def _time(text: str) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    parts = text.split(":")
    if len(parts) not in {2, 3}:
        raise CalendarError(f"{text} is no time of a calendar event")
    hours, minutes = _chain(parts[0], 0, 23, "hour"), _chain(parts[1], 0, 59, "minute")
    seconds = parts[2] if len(parts) == 3 else "0"
    whole = re.sub(r"\.0+(?![0-9])", "", seconds)
    if re.search(r"(?<!\.)\.(?!\.)", whole):
        raise CalendarError(f"lq runs at whole seconds, not at {seconds}")
    return hours, minutes, _chain(whole, 0, 59, "second")


def _chain(text: str, low: int, high: int, name: str, *, from_end: bool = False) -> frozenset[int]:
    """The values of one component; `v/step` goes on to the end of what the component counts."""
    if text == "*":
        return frozenset(range(low, high + 1))
    values: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]+)(?:\.\.([0-9]+))?(?:/([0-9]+))?", part)
        if found is None:
            raise CalendarError(f"{part} is no {name} of a calendar event")
        first = _number(found[1], low, high, name)
        step = int(found[3] or 1)
        last = _number(found[2], low, high, name) if found[2] else high if found[3] else first
        end = 1 if from_end else last
        if step < 1 or last < first or (found[3] and abs(end - first) < step):
            raise CalendarError(f"{part} is no {name} of a calendar event")
        if from_end and found[3]:
            if found[2]:
                raise CalendarError(f"{part}: a range from the month's end has no step in lq")
            values.update(range(first, 0, -step))  # forward through the month, so towards 1
        else:
            values.update(range(first, last + 1, step))
    return frozenset(values)


def _number(text: str, low: int, high: int, name: str) -> int:
    value = int(text)
    if name == "year" and value < 100:
        value += 2000 if value < 70 else 1900
    if not low <= value <= high:
        raise CalendarError(f"there is no {name} {text}")
    return value


def _day_fields(
    days: frozenset[int] | None, from_end: frozenset[int], weekdays: frozenset[int] | None
) -> tuple[str, str]:
    """Both day fields of a rule for days that must match both.

    Cron takes days that match either of two restricted fields, unless one begins with a star. So
    a field is begun with a star whose step is too long to add anything: */31 is day 1, */7 Sunday.
    """
    if weekdays is None or len(weekdays) == 7:
        if from_end:
            return ",".join("L" if day == 1 else f"L-{day - 1}" for day in sorted(from_end)), "*"
        return ("*" if days is None else _field(days, 1, 31)), "*"
    if from_end:
        if from_end == frozenset(range(1, 8)):
            return "*", ",".join(f"{day}L" for day in sorted(weekdays))
        raise CalendarError(_BOTH)
    if days is None:
        return "*", _field(weekdays, 0, 6)
    weeks = [number for number, week in enumerate(_WEEKS, start=1) if week <= days]
    if frozenset[int]().union(*(_WEEKS[number - 1] for number in weeks)) == days:
        return "*", ",".join(f"{day}#{week}" for week in weeks for day in sorted(weekdays))
    if 1 in days:
        return _starred("*/31", days - {1}), _field(weekdays, 0, 6)
    if 0 in weekdays:
        return _field(days, 1, 31), _starred("*/7", weekdays - {0})
    raise CalendarError(_BOTH)


def _starred(star: str, values: frozenset[int]) -> str:
    return ",".join([star, *map(str, sorted(values))])


def _field(values: frozenset[int], low: int, high: int) -> str:
    """Values as a field of a cron rule, in the shortest of its forms."""
    ordered = sorted(values)
    if len(ordered) == high - low + 1:
        return "*"
    step = ordered[1] - ordered[0] if len(ordered) > 2 else 0
    if step > 1 and ordered == [*range(low, high + 1, step)]:
        return f"*/{step}"
    return ",".join(_run(first, last) for first, last in _runs(ordered))


def _run(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}{'-' if last > first + 1 else ','}{last}"


def _runs(ordered: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for value in ordered:
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs
