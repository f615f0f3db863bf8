"""Debian's cron as a second opinion: its times, its clocks, and lq's rules held against it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lq import cron
from lq.takeover import compare, debian
from lq.takeover.fromcron import rule_of
from lq.takeover.job import Rule

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def runs(rule: str, after: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    found = debian.runs(debian.read(rule.split()), ZoneInfo(zone), at(after), count)
    moments = [datetime.fromtimestamp(one / 1000, UTC) for one in found]
    return [f"{one:%Y-%m-%dT%H:%M}Z" for one in moments]


@pytest.mark.parametrize(
    ("rule", "after", "expected"),
    [
        ("30 2 * * *", "2027-01-01T00:00Z", ["2027-01-01T01:30Z", "2027-01-02T01:30Z"]),
        # The clocks skip 02:00 to 03:00: fixed times run at 03:00 sharp, each of them.
        (
            "0,30 2 * * *",
            "2027-03-27T23:00Z",
            ["2027-03-28T01:00Z", "2027-03-28T01:00Z", "2027-03-29T00:00Z"],
        ),
        # Wildcards follow the clocks, and run nothing for what they skip.
        ("30 * * * *", "2027-03-28T00:00Z", ["2027-03-28T00:30Z", "2027-03-28T01:30Z"]),
        ("*/30 2 * * *", "2027-03-27T23:00Z", ["2027-03-29T00:00Z", "2027-03-29T00:30Z"]),
        # The clocks go through 02:00 to 03:00 twice: fixed times run in the first pass alone.
        ("30 2 * * *", "2027-10-30T22:00Z", ["2027-10-31T00:30Z", "2027-11-01T01:30Z"]),
        (
            "30 * * * *",
            "2027-10-30T23:00Z",
            ["2027-10-30T23:30Z", "2027-10-31T00:30Z", "2027-10-31T01:30Z", "2027-10-31T02:30Z"],
        ),
        # Both day fields: either, or both if one begins with a star.
        ("0 0 13 * 5", "2027-08-01T00:00Z", ["2027-08-05T22:00Z", "2027-08-12T22:00Z"]),
        ("0 0 */2 * 0", "2027-08-01T00:00Z", ["2027-08-14T22:00Z", "2027-08-28T22:00Z"]),
        ("0 0 29 2 *", "2027-01-01T00:00Z", ["2028-02-28T23:00Z", "2032-02-28T23:00Z"]),
    ],
)
def test_runs(rule: str, after: str, expected: list[str]) -> None:
    assert runs(rule, after, len(expected)) == expected


def test_what_never_runs_ends() -> None:
    assert runs("0 0 31 2 *", "2027-01-01T00:00Z", 5) == []


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("60 * * * *", "bad minute"),
        ("1/5 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("-1 * * * *", "bad minute"),
        (", * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day of month"),
        ("* * L * *", "bad day of month"),
        ("* * ? * *", "bad day of month"),
        ("* * * 13 *", "bad month"),
        ("* * * sun *", "bad month"),
        ("* * * * 8", "bad day of week"),
        ("* * * * funday", "bad day of week"),
        ("5-64/30 * * * *", "bad minute"),
        ("5x * * * *", "bad minute"),
        ("*/5x * * * *", "bad minute"),
    ],
)
def test_what_cron_refuses(rule: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        debian.read(rule.split())


def test_what_cron_skips_unsaid_is_known() -> None:
    assert debian.read(["0~59", "*L", "*", "*", "*"]).junk == ("~59", "L")


FIELDS = (
    st.sampled_from(["*", "*/7", "0", "59", "15,45", "10-20/3", "0-59", "*/15,7"]),
    st.sampled_from(["*", "*/5", "0", "2", "2,3", "1-4", "23", "0-23/6"]),
    st.sampled_from(["*", "1", "31", "13", "1-7", "*/2", "28-31", "*/31,5"]),
    st.sampled_from(["*", "1", "mar", "oct,nov", "*/3", "2"]),
    st.sampled_from(["*", "0", "7", "5", "mon-fri", "*/2", "0-7", "6,sun"]),
)


@settings(max_examples=300, deadline=None)
@given(st.tuples(*FIELDS), st.sampled_from(ZONES), st.integers(0, 365 * 3))
def test_lq_runs_what_cron_runs(fields: tuple[str, ...], zone: str, day: int) -> None:
    """The rule for an entry runs when cron runs the entry; catch-ups of one instant are one."""
    try:
        rule = cron.parse(rule_of(fields))
    except ValueError:
        times = debian.read(fields)  # cron takes it, and never runs it
        assert debian.runs(times, UTC_ZONE, at("2027-01-01T00:00Z"), 1) == []
        return
    low = at("2027-01-01T00:00Z") + day * 86_400_000
    high = low + 5 * 86_400_000
    ours = list(cron.fires_between(rule, ZoneInfo(zone), low, high))
    assert ours == sorted(set(debian.runs_between(debian.read(fields), ZoneInfo(zone), low, high)))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ("30 2 * * *", "30 2 * * *"),
        ("0,30 2 1-7 jan mon", "0,30 2 1-7 jan mon"),
        ("*/15~ 5 * * *", "*/15 5 * * *"),
        ("5+ */2- * * *", "5 */2 * * *"),
        ("* * * * 5-7", "* * * * 5-7"),
        ("0 0 */2# * 1", "0 0 */2 * 1"),
    ],
)
def test_rules_are_what_was_written_where_that_means_the_same(fields: str, rule: str) -> None:
    found = rule_of(tuple(fields.split()))
    assert found == rule


@pytest.mark.parametrize("fields", ["22-2 * * * *", "0 0 * * fri-sun", "0 5-1 * * *"])
def test_ranges_that_cron_takes_for_nothing_are_refused(fields: str) -> None:
    with pytest.raises(ValueError, match="for none at all"):
        rule_of(tuple(fields.split()))


def test_the_two_are_laid_side_by_side() -> None:
    rule = Rule(rule="0 2 * * *", source="", zone="Europe/Berlin", fields=("0", "2", "*", "*", "*"))
    after = at("2027-03-26T12:00Z")
    old = compare.of_cron(rule, "Europe/Berlin", after, 3)
    assert [(row.lq, row.old) for row in compare.next_runs(rule, old, after, 3)] == [(1, 1)] * 3
    elsewhere = compare.of_cron(rule, "UTC", after, 3)
    rows = compare.next_runs(rule, elsewhere, after, 3)
    assert Counter((row.lq, row.old) for row in rows) == {(1, 0): 2, (0, 1): 1}
    assert all(row.lq for row in compare.next_runs(rule, None, after, 3))


def test_what_differs_at_a_change_of_clocks_is_found() -> None:
    now = at("2027-01-01T00:00Z")
    same = Rule(rule="30 2 * * *", source="", fields=("30", "2", "*", "*", "*"))
    assert compare.at_changes(same, "Europe/Berlin", now) == []
    twice = Rule(rule="0,30 2 * * *", source="", fields=("0,30", "2", "*", "*", "*"))
    odd = compare.at_changes(twice, "Europe/Berlin", now)
    gap = at("2027-03-28T01:00Z")
    assert [(one.at, one.lq, one.old) for one in odd] == [
        (gap, (), (gap,)),
        (at("2028-03-26T01:00Z"), (), (at("2028-03-26T01:00Z"),)),
    ]
    assert gap - now < timedelta(days=731) / timedelta(milliseconds=1)
