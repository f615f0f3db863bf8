"""Cron rules against a walk over every minute, written from the words of the promise.

The walk knows nothing of lq.cron: a rule is a text together with what it means, drawn at the same
time, and a zone is what zoneinfo says about each minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lq.cron import (
    CronError,
    count_between,
    explain,
    fires_between,
    last_between,
    next_fire,
    note,
    parse,
    warnings,
)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
DAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Meaning(NamedTuple):
    """A text and what it means: which wall times match, and whether it is a wildcard rule."""

    text: str
    on: Callable[[date], bool]
    hours: frozenset[int]
    minutes: frozenset[int]
    wildcard: bool

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.on(wall.date())


class Drawn(NamedTuple):
    """A field's text, and which values or days it takes in."""

    text: str
    values: frozenset[int]
    on: Callable[[date], bool] = lambda day: False


def plain(low: int, high: int) -> st.SearchStrategy[Drawn]:
    """One item of a list: a value, a range, a step."""
    values = st.integers(low, high)
    pairs = st.tuples(values, values).map(sorted)
    steps = st.integers(1, high + 5)
    return st.one_of(
        values.map(lambda one: Drawn(str(one), frozenset({one}))),
        pairs.map(lambda two: Drawn(f"{two[0]}-{two[1]}", frozenset(range(two[0], two[1] + 1)))),
        st.tuples(pairs, steps).map(
            lambda of: Drawn(
                f"{of[0][0]}-{of[0][1]}/{of[1]}", frozenset(range(of[0][0], of[0][1] + 1, of[1]))
            )
        ),
        st.tuples(values, steps).map(
            lambda of: Drawn(f"{of[0]}/{of[1]}", frozenset(range(of[0], high + 1, of[1])))
        ),
        steps.map(lambda step: Drawn(f"*/{step}", frozenset(range(low, high + 1, step)))),
        st.just(Drawn("*", frozenset(range(low, high + 1)))),
    )


def listed(items: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    def join(drawn: list[Drawn]) -> Drawn:
        return Drawn(
            ",".join(one.text for one in drawn),
            frozenset().union(*(one.values for one in drawn)),
            lambda day: any(one.on(day) for one in drawn),
        )

    return st.lists(items, min_size=1, max_size=3).map(join)


def length(day: date) -> int:
    return ((day.replace(day=1) + 31 * DAY).replace(day=1) - DAY).day


def nearest(day: date, n: int) -> bool:
    """Whether a day is the weekday nearest to day n of its month."""
    if n > length(day):
        return False
    inside = [day.replace(day=one) for one in range(1, length(day) + 1)]
    weekdays = [one for one in inside if one.weekday() < 5]
    return day == min(weekdays, key=lambda one: abs(one.day - n))


def special_days() -> st.SearchStrategy[Drawn]:
    none: frozenset[int] = frozenset()
    return st.one_of(
        st.just(Drawn("L", none, lambda day: day.day == length(day))),
        st.just(Drawn("lw", none, lambda day: nearest(day, length(day)))),
        st.integers(1, 30).map(
            lambda n: Drawn(f"L-{n}", none, lambda day: day.day == length(day) - n)
        ),
        st.integers(1, 31).map(lambda n: Drawn(f"{n}W", none, lambda day: nearest(day, n))),
    )


def special_weekdays() -> st.SearchStrategy[Drawn]:
    none: frozenset[int] = frozenset()
    names = st.tuples(st.integers(0, 6), st.booleans()).map(
        lambda of: (of[0], DAY_NAMES[of[0]].upper() if of[1] else str(of[0] or 7))
    )
    return st.one_of(
        st.tuples(names, st.integers(1, 5)).map(
            lambda of: Drawn(
                f"{of[0][1]}#{of[1]}",
                none,
                lambda day: day.isoweekday() % 7 == of[0][0] and (day.day + 6) // 7 == of[1],
            )
        ),
        names.map(
            lambda of: Drawn(
                f"{of[1]}L",
                none,
                lambda day: day.isoweekday() % 7 == of[0] and day.day > length(day) - 7,
            )
        ),
        names.map(lambda of: Drawn(of[1], frozenset({of[0]}))),
    )


def day_test(days: Drawn, months: Drawn, weekdays: Drawn) -> Callable[[date], bool]:
    both = days.text.startswith(("*", "?")) or weekdays.text.startswith(("*", "?"))

    def on(day: date) -> bool:
        by_day = day.day in days.values or days.on(day)
        by_weekday = day.isoweekday() % 7 in weekdays.values or weekdays.on(day)
        chosen = by_day and by_weekday if both else by_day or by_weekday
        return day.month in months.values and chosen

    return on


day_fields = st.one_of(
    st.just(Drawn("*", frozenset(range(1, 32)))),
    st.just(Drawn("?", frozenset(range(1, 32)))),
    listed(plain(1, 31) | special_days()),
)
month_fields = st.one_of(
    st.just(Drawn("*", frozenset(range(1, 13)))),
    st.integers(1, 12).map(lambda one: Drawn(MONTH_NAMES[one - 1], frozenset({one}))),
    listed(plain(1, 12)),
)
weekday_fields = st.one_of(
    st.just(Drawn("*", frozenset(range(7)))),
    st.just(Drawn("?", frozenset(range(7)))),
    listed(plain(0, 6) | special_weekdays()),
)
days_of_rules = st.tuples(day_fields, month_fields, weekday_fields)


@st.composite
def meanings(draw: st.DrawFn) -> Meaning:
    # Small hours more often than others: that is when clocks change.
    hours = draw(listed(plain(0, 23)) | listed(plain(0, 23).filter(lambda one: 2 in one.values)))
    minutes = draw(listed(plain(0, 59)))
    everyday = draw(st.booleans())
    days, months, weekdays = draw(days_of_rules)
    if everyday:
        days, months, weekdays = (
            Drawn("*", frozenset(values)) for values in (range(1, 32), range(1, 13), range(7))
        )
    return Meaning(
        f"{minutes.text} {hours.text} {days.text} {months.text} {weekdays.text}",
        day_test(days, months, weekdays),
        hours.values,
        minutes.values,
        minutes.text.startswith("*") or hours.text.startswith("*"),
    )


def is_rule(meaning: Meaning) -> bool:
    try:
        parse(meaning.text)
    except CronError:
        return False
    return True


rules = meanings().filter(is_rule)

# Changes of an hour, of half and of two hours; at midnight and before; of a day; and none.
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe"),
    *("Antarctica/Troll", "Pacific/Chatham", "Asia/Beirut", "Africa/Cairo", "America/St_Johns"),
    *("Pacific/Apia", "Pacific/Kwajalein", "Asia/Kathmandu", "Africa/Casablanca", "Etc/GMT+5"),
    *("America/Santiago", "America/Caracas", "Europe/Dublin", "Asia/Gaza", "Pacific/Enderbury"),
)


def changes_of(zone: ZoneInfo) -> list[datetime]:
    """Days on which a zone's offset changes, and an ordinary one."""
    start = datetime(1975, 1, 1, tzinfo=UTC)
    days = [start + number * DAY for number in range(365 * 60)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return [
        datetime(2025, 1, 31, tzinfo=UTC),
        *(
            day
            for day, before, after in zip(days, offsets, offsets[1:], strict=False)
            if before != after
        ),
    ]


STARTS = [(ZoneInfo(name), day) for name in ZONES for day in changes_of(ZoneInfo(name))]
starts = st.tuples(st.sampled_from(STARTS), st.integers(-36 * 60, 36 * 60)).map(
    lambda of: (of[0][0], of[0][1] + of[1] * MINUTE)
)


def walk(meaning: Meaning, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every minute in (start, end] at which a rule fires, as lq promises it."""
    minute = start - 2 * DAY  # no clock is put back further than that
    shown: set[datetime] = set()
    before = (minute - MINUTE).astimezone(zone).replace(tzinfo=None)
    while minute <= end:
        wall = minute.astimezone(zone).replace(tzinfo=None)
        gap = [before + number * MINUTE for number in range(1, (wall - before) // MINUTE)]
        if meaning.wildcard:
            fires = meaning.matches(wall)
        else:
            fires = meaning.matches(wall) and wall not in shown
            fires |= len(gap) <= 180 and any(meaning.matches(skipped) for skipped in gap)
        if fires and minute > start:
            yield minute
        shown.add(wall)
        before = wall
        minute += MINUTE


def ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def meaning_of(text: str, hours: set[int], minutes: set[int], *, wildcard: bool) -> Meaning:
    return Meaning(text, lambda day: True, frozenset(hours), frozenset(minutes), wildcard)


BERLIN = ZoneInfo("Europe/Berlin")
HALF_PAST = meaning_of("30 2 * * *", {2}, {30}, wildcard=False)
THRICE = meaning_of("*/20 2 * * *", {2}, {0, 20, 40}, wildcard=True)
HOURS = meaning_of("0 0-23 * * *", set(range(24)), {0}, wildcard=False)


@settings(max_examples=150, deadline=None)
@given(rules, starts)
@example(HALF_PAST, (BERLIN, datetime(2025, 3, 29, 12, tzinfo=UTC)))
@example(THRICE, (BERLIN, datetime(2025, 3, 29, 12, tzinfo=UTC)))
@example(THRICE, (BERLIN, datetime(2025, 10, 25, 12, tzinfo=UTC)))
@example(HOURS, (ZoneInfo("Asia/Beirut"), datetime(2025, 10, 25, 12, tzinfo=UTC)))
@example(HOURS, (ZoneInfo("Pacific/Apia"), datetime(2011, 12, 30, 0, tzinfo=UTC)))
@example(HALF_PAST, (ZoneInfo("Asia/Kathmandu"), datetime(1985, 12, 31, 12, tzinfo=UTC)))
def test_fires_like_a_walk_over_minutes(meaning: Meaning, place: tuple[ZoneInfo, datetime]) -> None:
    zone, start = place
    end = start + 3 * DAY
    expected = [ms(minute) for minute in walk(meaning, zone, start, end)]
    rule = parse(meaning.text)
    assert rule.wildcard is meaning.wildcard
    assert list(fires_between(rule, zone, ms(start), ms(end))) == expected
    assert count_between(rule, zone, ms(start), ms(end)) == len(expected)
    assert last_between(rule, zone, ms(start), ms(end), 7) == expected[-7:]


@settings(deadline=None)
@given(rules, starts, st.integers(0, 59_999), st.integers(1, 400))
def test_every_view_shows_the_same_fires(
    meaning: Meaning, place: tuple[ZoneInfo, datetime], shift: int, hours: int
) -> None:
    zone, start = place
    rule, after = parse(meaning.text), ms(start) + shift
    until = after + hours * 3_600_000
    fires = list(fires_between(rule, zone, after, until))
    assert all(low < high for low, high in zip([after, *fires], fires, strict=False))
    stepped, last = [], after
    for _ in fires[:50]:
        last = next_fire(rule, zone, last) or 0
        stepped.append(last)
    assert stepped == fires[:50]
    assert count_between(rule, zone, after, until) == len(fires)
    for most in (1, 20, len(fires) + 1):
        assert last_between(rule, zone, after, until, most) == fires[-most:]
    middle = (after + until) // 2
    assert fires == [
        *fires_between(rule, zone, after, middle),
        *fires_between(rule, zone, middle, until),
    ]


@settings(deadline=None)
@given(rules, starts)
def test_six_fields_at_second_0_are_five(
    meaning: Meaning, place: tuple[ZoneInfo, datetime]
) -> None:
    zone, start = place
    five, six = parse(meaning.text), parse(f"0 {meaning.text}")
    until = ms(start + 3 * DAY)
    assert five.wildcard is six.wildcard
    assert list(fires_between(five, zone, ms(start), until)) == list(
        fires_between(six, zone, ms(start), until)
    )
    assert explain(five) == explain(six)


@settings(deadline=None)
@given(rules, starts, st.sets(st.integers(0, 59), min_size=1, max_size=4))
def test_seconds_go_through_each_minute(
    meaning: Meaning, place: tuple[ZoneInfo, datetime], seconds: set[int]
) -> None:
    zone, start = place
    five = parse(meaning.text)
    six = parse(f"{','.join(map(str, seconds))} {meaning.text}")
    window = ms(start) - 1, ms(start + DAY) - 1
    inside: dict[int, set[int]] = {}
    fires = list(fires_between(six, zone, *window))
    for fire in fires:
        inside.setdefault(fire // 60_000 * 60_000, set()).add(fire // 1000 % 60)
    assert list(inside) == list(fires_between(five, zone, *window))
    # Second 0 alone makes up, once, for all that was skipped; a minute may hold both.
    assert all(found in (seconds, {0}, {0} | seconds) for found in inside.values())
    assert count_between(six, zone, *window) == len(fires)


@settings(deadline=None, max_examples=20)
@given(days_of_rules)
@example((Drawn("*/31", frozenset({1})), Drawn("2", frozenset({2})), Drawn("2#5", frozenset())))
def test_a_rule_is_refused_exactly_if_it_never_fires(fields: tuple[Drawn, Drawn, Drawn]) -> None:
    days, months, weekdays = fields
    on = day_test(days, months, weekdays)
    first = date(2000, 1, 1).toordinal()
    cycle = (date.fromordinal(first + number) for number in range(146_097))
    expected = next((day for day in cycle if on(day)), None)
    text = f"0 0 {days.text} {months.text} {weekdays.text}"
    if expected is None:
        with pytest.raises(CronError, match="never fires"):
            parse(text)
    else:
        midnight = datetime(expected.year, expected.month, expected.day, tzinfo=UTC)
        start = ms(datetime(2000, 1, 1, tzinfo=UTC)) - 1
        assert next_fire(parse(text), UTC, start) == ms(midnight)


@settings(deadline=None)
@given(rules, starts)
def test_all_words_are_words(meaning: Meaning, place: tuple[ZoneInfo, datetime]) -> None:
    zone, start = place
    rule = parse(meaning.text)
    for text in [explain(rule), *warnings(rule, zone, ms(start))]:
        assert text.strip() == text
        assert text.isprintable()
        assert len(text) > 5
    for fire in islice(fires_between(rule, zone, ms(start), ms(start + 3 * DAY)), 100):
        said = note(rule, zone, fire)
        assert said is None or " on this day" in said
