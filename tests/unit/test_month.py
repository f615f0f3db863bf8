"""A month of a schedule, day by day, in its own zone."""

from __future__ import annotations

import datetime

import pytest

from lq.firing import Timing, timing
from lq.model import Push, ScheduleSpec
from lq.month import Day, Span, begin_of, days, following, month_of
from lq.when import DAY_MS, HOUR_MS, load_zone, parse_rfc3339

EVER = Span(0)


def times(rule: str, zone: str = "UTC", **members: int) -> Timing:
    wanted = ScheduleSpec(
        rule=rule,
        push=Push(queue="q", payload=b""),
        zone=zone,
        start_at=members.get("start_at"),
        until_at=members.get("until_at"),
    )
    return timing(wanted, members.get("anchor_at", 0))


def month(text: str) -> datetime.date:
    return datetime.date.fromisoformat(f"{text}-01")


def counts(found: list[Day]) -> dict[int, int]:
    return {day.date.day: day.count for day in found}


def of(rule: str, text: str, zone: str = "UTC", *spans: Span, **members: int) -> list[Day]:
    return [*days(times(rule, zone, **members), load_zone(zone), month(text), *(spans or (EVER,)))]


def test_a_rule_that_fires_each_second_is_counted() -> None:
    found = of("* * * * * *", "2027-02")
    assert counts(found) == dict.fromkeys(range(1, 29), 86_400)
    assert [at % DAY_MS for at in found[0].first] == [0, 1000, 2000]


def test_days_without_a_time_are_left_out() -> None:
    assert counts(of("0 9 * * 1", "2027-03")) == {1: 1, 8: 1, 15: 1, 22: 1, 29: 1}
    assert of("0 0 30 2 1#5", "2027-02") == []


@pytest.mark.parametrize(
    ("zone", "text", "day", "hours"),
    [
        ("Europe/Berlin", "2027-03", 28, 23),
        ("Europe/Berlin", "2027-10", 31, 25),
        ("Asia/Beirut", "2027-03", 28, 23),  # skips its midnight
        ("Atlantic/Azores", "2027-10", 31, 25),  # shows its midnight twice
        ("Pacific/Apia", "2011-12", 31, 24),  # the day before did not take place
        ("Australia/Lord_Howe", "2027-10", 3, 23),  # and a half
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone: str, text: str, day: int, hours: int) -> None:
    found = counts(of("E=1h", text, zone))
    assert found[day] == hours
    begin, end = (begin_of(one, load_zone(zone)) for one in (month(text), following(month(text))))
    assert sum(found.values()) == times("E=1h").count(begin - 1, end - 1)


def test_a_day_that_did_not_take_place_has_no_times() -> None:
    assert 30 not in counts(of("0 12 * * *", "2011-12", "Pacific/Apia"))


def test_only_times_of_the_spans_count() -> None:
    noon = parse_rfc3339("2027-02-10T12:00:00Z")
    assert counts(of("0 * * * *", "2027-02", "UTC", Span(noon - 2 * DAY_MS, noon))) == {
        **{8: 11, 9: 24},
        10: 13,
    }
    gap = (Span(noon - DAY_MS, noon), Span(noon + DAY_MS, most=3))
    found = of("0 * * * *", "2027-02", "UTC", *gap)
    assert counts(found) == {9: 11, 10: 13, 11: 3}
    assert found[2].first == tuple(noon + DAY_MS + hour * HOUR_MS for hour in (1, 2, 3))


def test_a_limited_number_of_times_runs_out_in_later_months() -> None:
    since = parse_rfc3339("2027-01-30T12:00:00Z")
    assert counts(of("@daily", "2027-02", "UTC", Span(since, most=3))) == {1: 1, 2: 1}
    assert of("@daily", "2027-03", "UTC", Span(since, most=3)) == []


def test_a_day_of_two_spans_names_the_first_times_of_both() -> None:
    morning = parse_rfc3339("2027-02-10T00:30:00Z")
    spans = (Span(morning, morning + HOUR_MS), Span(morning + 4 * HOUR_MS, most=4))
    (day,) = of("0 * * * *", "2027-02", "UTC", *spans)
    assert day.count == 5
    assert [at % DAY_MS // HOUR_MS for at in day.first] == [1, 5, 6]


def test_start_and_until_bound_a_month() -> None:
    start, until = (parse_rfc3339(f"2027-02-{day}T00:00:00Z") for day in ("10", "12"))
    assert counts(of("@daily", "2027-02", start_at=start, until_at=until)) == {10: 1, 11: 1, 12: 1}


def test_the_month_of_an_instant_is_that_of_its_zone() -> None:
    late = parse_rfc3339("2027-01-31T23:30:00Z")
    assert month_of(late, load_zone("UTC")) == month("2027-01")
    assert month_of(late, load_zone("Europe/Berlin")) == month("2027-02")
    assert following(month("2027-12")) == month("2028-01")
