"""What the author of a cron rule may not expect: of the rule, and of one of its fires.

Owns: the warnings and the notes. Never refuses anything: what is wrong is the grammar's.

Invariant: each warning and each note is one sentence, and true of this rule in this zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta, tzinfo
from itertools import islice
from typing import Final, NamedTuple

from lq.cron.fires import MAX_GAP, next_fire
from lq.cron.rule import DAY, LENGTHS, Nearest, Rule, Step
from lq.cron.words import MONTHS, WEEKDAYS, clock, day_words, listed, weekday_words
from lq.cron.zones import BEGIN, END, Change, changes, offset_at

_AHEAD: Final = 731 * DAY
_RARE: Final = 367 * DAY  # a year, and what clocks and leap days add to it
_ECHO: Final = 2 * DAY  # what a change repeats is over by then
_EPOCH: Final = date(1970, 1, 1)


class _Cycle(NamedTuple):
    """What a field counts: its unit, its first and last value, and how to say a value."""

    unit: str
    low: int
    high: int
    form: Callable[[int], str]


def warnings(rule: Rule, zone: tzinfo, now: int) -> list[str]:
    """What may surprise the author of a rule, a sentence each."""
    return [
        *_rare(rule, zone, now),
        *_day_fields(rule),
        *_steps(rule),
        *_missing_days(rule),
        *_clocks(rule, zone, now // 1000),
    ]


def note(rule: Rule, zone: tzinfo, at: int) -> str | None:
    """What the clocks do to one fire of a rule; None for an ordinary one, and for what is none."""
    if next_fire(rule, zone, at - 1) != at:
        return None
    second = at // 1000
    wall = second + offset_at(zone, second)
    for change in _changes(zone, second - _ECHO, second + _ECHO):
        if change.at == second and _is_made_up_for(rule, change):
            skipped = _matches(rule, change.left, change.reached)
            verb = "are" if rule.count(change.left, change.reached) > 1 else "is"
            return f"{skipped} {verb} skipped by the clocks on this day; runs at {clock(wall)}"
        if change.reached <= wall < change.left:
            if not rule.wildcard:
                return f"{clock(wall)} comes twice on this day: runs on the first pass only"
            number = "second" if change.at <= second else "first"
            return f"{clock(wall)} comes twice on this day: this is the {number} pass"
    return None


def _rare(rule: Rule, zone: tzinfo, now: int) -> Iterator[str]:
    first = next_fire(rule, zone, now)
    if first is None:
        yield "does not fire any more before the year 9999"
        return
    second = next_fire(rule, zone, first)
    if second is None:
        yield f"fires only once more before the year 9999, on {_date(zone, first)}"
    elif second - first > _RARE * 1000:
        yield f"fires rarely: next on {_date(zone, first)}, and then on {_date(zone, second)}"


def _day_fields(rule: Rule) -> Iterator[str]:
    if rule.any_day and rule.any_weekday:
        return
    if rule.both:
        if rule.any_day or rule.any_weekday:
            return
        starred = rule.days if rule.days.starred else rule.weekdays
        yield (
            f'fires only on days that match both day fields, because "{starred.text}" begins with'
            f" {starred.text[0]}; if neither did, days that match either would do"
        )
    elif rule.any_day or rule.any_weekday:
        yield "fires every day: when both day fields are restricted, days that match either will do"
    else:
        yield (
            f"fires on {day_words(rule.days)} AND on {weekday_words(rule.weekdays)}: when both day"
            " fields are restricted, days that match either will do"
        )


def _steps(rule: Rule) -> Iterator[str]:
    for field, cycle in (
        (rule.seconds, _Cycle("second", 0, 59, ":{:02d}".format)),
        (rule.minutes, _Cycle("minute", 0, 59, ":{:02d}".format)),
        (rule.hours, _Cycle("hour", 0, 23, "hour {}".format)),
        (rule.days, _Cycle("day", 1, 31, "day {}".format)),
        (rule.months, _Cycle("month", 1, 12, lambda month: MONTHS[month - 1])),
        (rule.weekdays, _Cycle("day", 0, 6, WEEKDAYS.__getitem__)),
    ):
        for step in field.steps:
            if step.n > step.high - step.low:
                yield (
                    f'the step of "{step.text}" is longer than what it goes through: only'
                    f" {cycle.form(step.low)} is left"
                )
            # Only where a step goes on to the end, and alone, does one expect it to come round.
            elif field.text == step.text and step.high == cycle.high and step.n > 1:
                yield from _uneven(step, cycle)


def _uneven(step: Step, cycle: _Cycle) -> Iterator[str]:
    last = step.high - (step.high - step.low) % step.n
    gap = cycle.high - cycle.low + 1 - last + step.low
    if cycle.high == 31:
        yield f'"{step.text}" counts from day {step.low} of each month, not on from the last one'
    elif gap != step.n:
        yield (
            f'"{step.text}" does not come out even: the gap from {cycle.form(last)} to'
            f" {cycle.form(step.low)} is {gap} {cycle.unit}{'s' if gap > 1 else ''}, not {step.n}"
        )


def _missing_days(rule: Rule) -> Iterator[str]:
    if rule.days.starred:
        return
    days = {day for day in rule.days.values if day > 28 and day - 1 not in rule.days.values}
    days |= {one.day for one in rule.days.special if isinstance(one, Nearest) and one.day}
    for day in sorted(days):
        months = [month for month in rule.months.values if LENGTHS[month - 1] < day]
        if months:
            leap = " outside leap years" if day == 29 else ""
            yield f"there is no day {day} in {listed([MONTHS[n - 1] for n in months], 'or')}{leap}"


def _clocks(rule: Rule, zone: tzinfo, now: int) -> Iterator[str]:
    """What the clock changes of the next two years do to a rule, kind by kind."""
    found: dict[str, list[str]] = {}
    for change in _changes(zone, now, now + _AHEAD):
        effect = _effect(rule, zone, change)
        if effect:
            day = _EPOCH + timedelta(days=min(change.left, change.reached) // DAY)
            found.setdefault(effect, []).append(str(day))
    for effect, (first, *later) in found.items():
        again = f"; likewise on {listed(later)}" if later else ""
        yield f"on {first} {effect}{again}"


def _effect(rule: Rule, zone: tzinfo, change: Change) -> str | None:
    low, high = sorted((change.left, change.reached))
    if not rule.count(low, high):
        return None
    span = f"{clock(low)} to {clock(high)}"
    times, several = _matches(rule, low, high), rule.count(low, high) > 1
    if change.left > change.reached:
        clocks = f"the clocks of {zone} go through {span} twice"
        if not rule.wildcard:
            return f"{clocks}: {times} {'fire' if several else 'fires'} on the first pass only"
        return f"{clocks}: the rule fires in both passes" if len(rule.hours.values) < 24 else None
    clocks = f"the clocks of {zone} skip {span}"
    if _is_made_up_for(rule, change):
        return f"{clocks}: {times} {'fire' if several else 'fires'} once, at {clock(high)}"
    if not rule.wildcard:
        return f"{clocks}: {times} {'do' if several else 'does'} not fire"
    midnight = low - low % DAY
    if rule.count(midnight, midnight + DAY) == rule.count(low, min(high, midnight + DAY)):
        return f"{clocks}: the rule does not fire at all on that day"
    return None


def _is_made_up_for(rule: Rule, change: Change) -> bool:
    """Whether a rule fires right after clocks were put forward, for what they skip."""
    return (
        not rule.wildcard
        and 0 < change.reached - change.left <= MAX_GAP
        and rule.count(change.left, change.reached) > 0
    )


def _changes(zone: tzinfo, low: int, high: int) -> list[Change]:
    low, high = max(low, BEGIN), min(high, END)
    return changes(zone, low, high) if low < high else []


def _matches(rule: Rule, low: int, high: int) -> str:
    """The times in [low, high) at which a rule fires: "02:00, 02:30"."""
    times = [clock(wall) for wall in islice(rule.walls(low, high), 4)]
    return f"{', '.join(times[:3])} …" if len(times) > 3 else listed(times)


def _date(zone: tzinfo, at: int) -> str:
    second = at // 1000
    return str(_EPOCH + timedelta(days=(second + offset_at(zone, second)) // DAY))
