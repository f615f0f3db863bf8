"""A cron rule in one English sentence.

Owns: the wording. Says what the values of a rule mean, not how they are spelled (`*/15` and
`0,15,30,45` read alike), so that the sentence is true of every rule: what looks like a pace but
breaks at the end of the hour is not called one.

Invariant: pure, and never empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

from lq.cron.rule import DAY, Field, FromEnd, Nearest, Nth, Rule, Times

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS: Final = (
    *("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")
_MOST_TIMES: Final = 6
_MOST_PARTS: Final = 8


def explain(rule: Rule) -> str:
    """Say when a rule fires: "at 02:30 on Monday to Friday", "every 15 minutes"."""
    either = not (rule.both or rule.any_day or rule.any_weekday)
    months = _months(rule)
    if months and either:
        months = f", {months} only"
    elif months:
        months = f" {months}"
    days = _days(rule, either=either)
    return f"{_times(rule.times)}{days and ' '}{days}{months}"


def clock(second: int) -> str:
    """A time of day, or the one of a naive instant: "02:30", "02:30:15"."""
    minute, second = divmod(second % DAY, 60)
    hour, minute = divmod(minute, 60)
    return f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if second else "")


def listed(parts: Sequence[str], last: str = "and") -> str:
    """Words as a list: "a", "a and b", "a, b and c"; in long ones "…" stands for some."""
    if len(parts) > _MOST_PARTS:
        return f"{', '.join(parts[: _MOST_PARTS - 2])}, … {last} {parts[-1]}"
    *most, end = parts
    return f"{', '.join(most)} {last} {end}" if most else end


def day_words(field: Field) -> str:
    """The days of the month of a field: "days 1 to 7 and the last day of the month"."""
    parts = [_numbers("day", field.values, str)] if field.values else []
    parts += [_special(one) for one in field.special]
    return f"{listed(parts)} of the month"


def weekday_words(field: Field, last: str = "and") -> str:
    """The weekdays of a field: "Monday to Friday", "Monday and the last Friday of the month"."""
    # Sunday comes last, where a weekend is in one piece; a condition ("or") names each day.
    week = sorted(value or 7 for value in field.values)
    runs = _runs(week, WEEKDAYS.__getitem__) if last == "and" else [WEEKDAYS[d] for d in week]
    special = [_special(one) for one in field.special]
    return listed([*runs, *special], last) + (" of the month" if special else "")


def _times(times: Times) -> str:
    if times.count <= _MOST_TIMES:
        return f"at {listed([_clock(times, times.at(number)) for number in range(times.count)])}"
    hours, minutes, seconds = times.hours, times.minutes, times.seconds
    pace = _pace(minutes, "minute") if seconds == (0,) else ""
    if seconds != (0,) and len(minutes) == 60:
        pace = _pace(seconds, "second")
    if pace and _even(hours) == 1:
        return pace + ("" if len(hours) == 24 else _span(times))
    if pace:
        return f"{pace} of {_hours(hours)}"
    if seconds != (0,):
        return f"{_seconds(seconds)} of {_minutes(minutes, hours)}"
    if len(minutes) == 1 and len(hours) < 24 and (step := _even(hours)):
        return f"every {'hour' if step == 1 else f'{step} hours'}{_span(times)}"
    return f"at {_minutes(minutes, hours)}"


def _seconds(seconds: tuple[int, ...]) -> str:
    return _pace(seconds, "second") or f"at {_numbers('second', seconds, str)}"


def _minutes(minutes: tuple[int, ...], hours: tuple[int, ...]) -> str:
    if len(minutes) == 60 and len(hours) == 24:
        return "every minute"
    named = "every minute" if len(minutes) == 60 else _numbers("minute", minutes, str)
    return f"{named} of {_hours(hours)}"


def _hours(hours: tuple[int, ...]) -> str:
    if len(hours) == 24:
        return "every hour"
    if len(hours) > 2 and _even(hours) == 1:
        return f"every hour from {hours[0]:02d} to {hours[-1]:02d}"
    return ("the " if len(hours) > 1 else "") + _numbers("hour", hours, "{:02d}".format)


def _span(times: Times) -> str:
    return f" from {_clock(times, times.at(0))} to {_clock(times, times.at(times.count - 1))}"


def _clock(times: Times, second: int) -> str:
    """A time of day, with its second if any time of the rule has one."""
    return clock(second) if second % 60 or times.seconds == (0,) else f"{clock(second)}:00"


def _pace(values: tuple[int, ...], unit: str) -> str:
    """How often these minutes or seconds come round, if always after the same time; else ""."""
    step = _even(values)
    if not step or values[0] or step * len(values) != 60:
        return ""
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _even(values: Sequence[int]) -> int:
    """The step between values that are all equally far apart; 1 for a single one, else 0."""
    steps = {high - low for low, high in pairwise(values)} or {1}
    return steps.pop() if len(steps) == 1 else 0


def _days(rule: Rule, *, either: bool) -> str:
    if (rule.any_day and rule.any_weekday) or not (rule.both or either):
        return "" if len(rule.times.hours) == 24 else "every day"
    if either:
        return f"on {day_words(rule.days)}, or on {weekday_words(rule.weekdays)}"
    if rule.any_day:
        return f"on {weekday_words(rule.weekdays)}"
    if rule.any_weekday:
        return f"on {day_words(rule.days)}"
    return f"on {day_words(rule.days)} if it is also {weekday_words(rule.weekdays, 'or')}"


def _months(rule: Rule) -> str:
    values = rule.months.values
    return "" if len(values) == 12 else f"in {listed(_runs(values, lambda n: MONTHS[n - 1]))}"


def _special(day: FromEnd | Nearest | Nth) -> str:
    match day:
        case FromEnd(days=0):
            return "the last day"
        case FromEnd(days=1):
            return "the day before the last"
        case FromEnd(days=days):
            return f"the day {days} days before the last"
        case Nearest(day=None):
            return "the last weekday"
        case Nearest(day=nearest):
            return f"the weekday nearest day {nearest}"
        case Nth(weekday=weekday, n=n):
            return f"the {'last' if n is None else _ORDINALS[n - 1]} {WEEKDAYS[weekday]}"


def _numbers(unit: str, values: Sequence[int], form: Callable[[int], str]) -> str:
    """Values with their unit: "minute 7", "minutes 0, 25 and 50", "days 1, 3, 5, … and 31"."""
    if len(values) == 1:
        return f"{unit} {form(values[0])}"
    if _even(values) > 1 and len(values) > _MOST_TIMES:
        return f"{unit}s {', '.join(map(form, values[:3]))}, … and {form(values[-1])}"
    return f"{unit}s {listed(_runs(values, form))}"


def _runs(values: Iterable[int], form: Callable[[int], str]) -> list[str]:
    """Values as words, three or more that follow each other as "1 to 7"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    words: list[str] = []
    for run in runs:
        if len(run) > 2:
            words.append(f"{form(run[0])} to {form(run[-1])}")
        else:
            words += map(form, run)
    return words
