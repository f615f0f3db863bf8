"""What cron expressions mean, in UTC: the grammar, the calendar, and bounded work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from types import FrameType
from typing import Any

import pytest
from croniter import croniter  # type: ignore[import-untyped]  # it brings no types
from hypothesis import example, given
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
from lq.when import load_zone

DAY = 86_400_000
BERLIN = load_zone("Europe/Berlin")


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


START = utc("2025-01-01T00:00:00")


def days(text: str, count: int = 6, start: int = START) -> list[str]:
    """The first days in UTC on which a rule fires."""
    fires = fires_between(parse(text), UTC, start - 1, start + 20_000 * DAY)
    return [str(datetime.fromtimestamp(fire // 1000, UTC).date()) for fire in islice(fires, count)]


def same(first: str, second: str) -> bool:
    """Whether two texts mean the same times, days and treatment of clock changes."""
    one, other = parse(first), parse(second)
    return (one.times, one.calendar, one.wildcard) == (other.times, other.calendar, other.wildcard)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("  0\t 0   * * * ", "0 0 * * *"),
        ("007 00 001 01 *", "7 0 1 1 *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * sat-sun", "0 0 * * 0,6"),
        ("0 0 * * Fri-7", "0 0 * * 0,5,6"),
        ("0 0 * * sun-sun", "0 0 * * 0"),
        ("0 0 * * sun-tue", "0 0 * * 0-2"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 * * mon/2", "0 0 * * 1,3,5"),
        ("0 0 * * 7/2", "0 0 * * 0,2,4,6"),
        ("0 0 * * mon-sun/3", "0 0 * * 1,4,0"),
        ("0 0 * jan-MAR,Dec *", "0 0 * 1,2,3,12 *"),
        ("0 0 * 10/1 *", "0 0 * 10-12 *"),
        ("5-5 3-3 * * *", "5 3 * * *"),
        ("50/5 0 * * *", "50,55 0 * * *"),
        ("59/999 0 * * *", "59 0 * * *"),
        ("*/60 0 * * *", "*/999 0 * * *"),
        ("0 0 ? * ?", "0 0 * * *"),
        ("0 0 ? * 5", "0 0 * * 5"),
        ("0 0 13 * ?", "0 0 13 * *"),
        ("0 0 L-1,l,1 * *", "0 0 1,L,L-1 * *"),
        ("0 0 * * fril,MON#2", "0 0 * * 1#2,5L"),
        ("0 0 * * 7#1,sunL", "0 0 * * 0#1,0L"),
        ("0 0 lw * *", "0 0 LW * *"),
        ("0 30 2 * * *", "30 2 * * *"),
        ("@YEARLY", "0 0 1 1 *"),
        ("@annually", "@yearly"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * sun"),
        ("@midnight", "@daily"),
        ("@hourly", "0 * * * *"),
        ("*,5 * * * *", "* * * * *"),
    ],
)
def test_spellings(text: str, means: str) -> None:
    assert same(text, means)


def test_keeps_the_text_as_typed() -> None:
    assert parse(" 0  0\t* jan MON ").text == "0 0 * jan MON"
    assert parse("@Daily").text == "@daily"  # one rule, however it is shouted


def test_is_a_value() -> None:
    assert parse("*/5 * 1,L * 1#2") == parse("*/5 * 1,L * 1#2")
    assert len({parse("0 0 * * *"), parse("0  0 * * *"), parse("0 1 * * *")}) == 2


@pytest.mark.parametrize(
    ("text", "wildcard"),
    [
        ("0 * * * *", True),
        ("*/5 3 * * *", True),
        ("0 0-23 * * *", False),
        ("0,* * * * *", True),
        ("0,* 0,* * * *", False),
        ("0 0 * * *", False),
        ("@hourly", True),
        ("@daily", False),
        ("* 0 0 * * *", True),
        ("0 0 0 * * *", False),
    ],
)
def test_wildcard_is_a_matter_of_the_first_character(text: str, wildcard: bool) -> None:
    assert parse(text).wildcard is wildcard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 L * *", ["2025-01-31", "2025-02-28", "2025-03-31"]),
        ("0 0 L-1 2 *", ["2025-02-27", "2026-02-27", "2027-02-27", "2028-02-28"]),
        ("0 0 L-30 * *", ["2025-01-01", "2025-03-01", "2025-05-01"]),
        ("0 0 L-28 2 *", ["2028-02-01", "2032-02-01"]),
        ("0 0 1W * *", ["2025-01-01", "2025-02-03", "2025-03-03", "2025-04-01"]),
        ("0 0 30W * *", ["2025-01-30", "2025-03-31", "2025-04-30", "2025-05-30", "2025-06-30"]),
        ("0 0 31W 5,8 *", ["2025-05-30", "2025-08-29"]),
        ("0 0 29W 2 *", ["2028-02-29", "2032-02-27"]),
        ("0 0 15W 2,6,11 *", ["2025-02-14", "2025-06-16", "2025-11-14"]),
        ("0 0 LW 2-5 *", ["2025-02-28", "2025-03-31", "2025-04-30", "2025-05-30"]),
        ("0 0 * * 5#5", ["2025-01-31", "2025-05-30", "2025-08-29"]),
        ("0 0 * * sunL", ["2025-01-26", "2025-02-23", "2025-03-30"]),
        ("0 0 * 2 2#5", ["2028-02-29", "2056-02-29"]),
        ("0 0 */31 * 2#1", ["2025-04-01", "2025-07-01"]),
        ("0 0 13 * 5", ["2025-01-03", "2025-01-10", "2025-01-13"]),
        ("0 0 */2 * 1", ["2025-01-13", "2025-01-27", "2025-02-03"]),
        ("0 0 29 2 */7", ["2032-02-29", "2060-02-29"]),
        ("0 0 31 2,12 *", ["2025-12-31", "2026-12-31"]),
    ],
)
def test_days(text: str, expected: list[str]) -> None:
    assert days(text, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "position", "field", "words"),
    [
        ("", 0, None, "five fields"),
        (" \t ", 0, None, "five fields"),
        ("* * * *", 6, None, "only 4 fields"),
        ("0 0 * * * * 2025", 12, None, "year cannot be given"),
        ("0 12 * * ? 2025", 11, "day of week", "year cannot be given"),
        ("* * * * * /bin/true now", 20, None, "write five fields"),
        ("* * * * * /bin/true", 10, "day of week", "lists a,b"),
        (" TZ=UTC 0 0 * * *", 1, None, "zone is given beside"),
        ("CRON_TZ=Asia/Tokyo 0 0 * * *", 0, None, "zone is given beside"),
        ("0 0 * * MON 30", 8, "month", 'seconds come first, as in "30 0 0 * * MON"'),
        ("@every 5m", 0, None, '"E=5m"'),
        ("@every", 0, None, '"E=5m"'),
        ("@reboot", 0, None, "names no time"),
        ("@dayly", 0, None, "the nicknames are @yearly, "),
        ("  @daily 5", 9, None, 'stands for "0 0 * * *"'),
        ("0 24 * * *", 2, "hour", "midnight is 0"),
        ("60 * * * *", 0, "minute", "60 is out of range, it takes 0 to 59"),
        ("0000 * * * *", 0, "minute", "out of range"),
        ("0 0 0 * *", 4, "day of month", "1 to 31"),
        ("0 0 1,15,32 * *", 9, "day of month", '"32"'),
        ("  0  22-2 * * *", 5, "hour", "write 22-23,0-2"),
        ("0 22-2/2 * * *", 2, "hour", "write 22,0,2"),
        ("0 0 * * 5-1/2", 8, "day of week", "write 5,0"),
        ("0 0 * nov-feb *", 6, "month", "write 11-12,1-2"),
        ("0 0 * dec-jan *", 6, "month", "write 12,1"),
        ("0 0 * * fri-mon", 8, "day of week", "write 5-6,0-1"),
        ("0 0 * * sat-mon", 8, "day of week", "write 6,0-1"),
        ("0 0 * * 6-0", 8, "day of week", "write 6-7"),
        ("0 0 * * 7-0", 8, "day of week", "write 0"),
        ("0 0 * * 7-2", 8, "day of week", "write 0-2"),
        ("0 0 * * L", 8, "day of week", "6L for its last Saturday"),
        ("0 0 * * L5", 8, "day of week", "6L"),
        ("0 0 * * 1-5#2", 8, "day of week", "a single weekday"),
        ("0 0 * * 5#0", 8, "day of week", "1 to 5"),
        ("0 0 * * 8L", 8, "day of week", "out of range"),
        ("0 0 * * monday", 8, "day of week", "write mon"),
        ("0 0 * february *", 6, "month", "write feb"),
        ("0 0 * mon *", 6, "month", "1 to 12 or jan to dec"),
        ("jan * * * *", 0, "minute", "names are for the month"),
        ("0 0 L-0 * *", 4, "day of month", "L-1 to L-30"),
        ("0 0 L-31 * *", 4, "day of month", "L-1 to L-30"),
        ("0 0 L-3W * *", 4, "day of month", "15W"),
        ("0 0 5L * *", 4, "day of month", "L stands alone"),
        ("0 0 1#2 * *", 4, "day of month", "W follows a single day"),
        ("0 5W * * *", 2, "hour", "for the day fields"),
        ("0 ? * * *", 2, "hour", "? stands alone"),
        ("0 0 ?/2 * *", 4, "day of month", "? stands alone"),
        ("0 0 1,? * *", 6, "day of month", "? stands alone"),
        ("H/15 * * * *", 0, "minute", "hash or chance"),
        ("R(0-9) * * * *", 0, "minute", "hash or chance"),
        ("*5 * * * *", 0, "minute", "* stands alone"),
        ("*-5 * * * *", 0, "minute", "* stands alone"),
        ("-5 * * * *", 0, "minute", "both ends"),
        ("5- * * * *", 0, "minute", "both ends"),
        ("+5 * * * *", 0, "minute", "0 to 59"),
        ("1.5 * * * *", 0, "minute", "0 to 59"),
        ("*/0 * * * *", 0, "minute", "1 to 999"),
        ("*/1000 * * * *", 0, "minute", "1 to 999"),
        ("*/5/2 * * * *", 0, "minute", "a step is"),
        ("1, 2 * * * *", 2, "second", "each comma"),
        ("* * * * *\n", 9, None, "plain ASCII"),
        ("* * *\xa0* *", 5, None, "plain ASCII"),
        ("٣ * * * *", 0, None, "plain ASCII"),
        ("* * * * *" + " " * 504, 0, None, "at most 512"),
        ("0 0 31 2,4 *", 4, "day of month", "never fires"),
        ("0 0 0 30 2 ?", 6, "day of month", "never fires"),
        ("0 0 */31 2 2#5", 4, "day of month", "never fires"),
        ("0 0 30W 2 *", 4, "day of month", "never fires"),
        ("0 0 L-30 4 *", 4, "day of month", "never fires"),
    ],
)
def test_says_what_is_wrong(text: str, position: int, field: str | None, words: str) -> None:
    with pytest.raises(CronError) as raised:
        parse(text)
    assert words in str(raised.value)
    assert (raised.value.position, raised.value.field) == (position, field)


@pytest.mark.parametrize(
    "text", ["@" + "x" * 500, "x" * 502 + " * * * *", "TZ=" + "x" * 500, "9" * 500 + " * * * *"]
)
def test_a_message_does_not_repeat_a_long_text(text: str) -> None:
    with pytest.raises(CronError, match="…") as raised:
        parse(text)
    assert len(str(raised.value)) < 200


@given(st.text(max_size=40) | st.text("*/-,?LW#0123456789 @hMON\t", max_size=40))
@example("@" * 513)
@example("L" * 512)
@example("* * * * 1#99999999999999999999")
@example("\ud800 * * * *")
def test_any_text_is_a_rule_or_a_cron_error(text: str) -> None:
    with suppress(CronError):
        assert next_fire(parse(text), UTC, START) is not None


@st.composite
def plain_texts(draw: st.DrawFn) -> str:
    """What croniter reads as Debian's cron does: one day field at most, ranges that grow."""

    def field(low: int, high: int) -> str:
        values = st.integers(low, high)
        one = st.one_of(
            values.map(str),
            st.lists(values, min_size=2, max_size=2, unique=True).map(
                lambda ends: f"{min(ends)}-{max(ends)}"
            ),
            st.integers(1, high).map(lambda step: f"*/{step}"),
        )
        return draw(st.just("*") | st.lists(one, min_size=1, max_size=3).map(",".join))

    days, weekdays = field(1, 28), field(0, 6)
    if draw(st.booleans()):
        days = "*"
    else:
        weekdays = "*"
    return f"{field(0, 59)} {field(0, 23)} {days} {field(1, 12)} {weekdays}"


@given(plain_texts(), st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)))
def test_agrees_with_croniter_on_plain_rules(text: str, start: datetime) -> None:
    start = start.replace(tzinfo=UTC)
    oracle = croniter(text, start, ret_type=datetime)
    expected = [round(oracle.get_next().timestamp() * 1000) for _ in range(5)]
    after = int(start.timestamp() * 1000)
    assert list(islice(fires_between(parse(text), UTC, after, expected[-1]), 6)) == expected


@pytest.mark.parametrize("after", [-(10**30), -1, 0, 1, utc("9998-12-31T23:59:59"), 10**30])
@pytest.mark.parametrize(
    "zone", ["UTC", "Etc/GMT+12", "Etc/GMT-14", "Asia/Manila", "Europe/Dublin"]
)
@pytest.mark.parametrize("text", ["* * * * * *", "30 2 * * *", "0 0 29 2 */7"])
def test_any_instant_is_fine(text: str, zone: str, after: int) -> None:
    rule, rules_of_zone = parse(text), load_zone(zone)
    fire = next_fire(rule, rules_of_zone, after)
    assert fire is None if after > START * 2 else fire is not None and fire > after
    window = (after, after + 400 * DAY)
    assert count_between(rule, rules_of_zone, *window) >= len(
        last_between(rule, rules_of_zone, *window, 3)
    )
    assert isinstance(warnings(rule, rules_of_zone, after), list)
    assert note(rule, rules_of_zone, after) is None or after == 0


def test_a_fire_is_later_than_what_is_asked_for() -> None:
    rule = parse("* * * * * *")
    assert next_fire(rule, UTC, 1000) == 2000
    assert next_fire(rule, UTC, 1001) == 2000
    assert next_fire(rule, UTC, 999) == 1000
    assert list(fires_between(rule, UTC, 999, 3000)) == [1000, 2000, 3000]
    assert list(fires_between(rule, UTC, 1000, 2999)) == [2000]


@pytest.mark.parametrize(("after", "until"), [(5000, 5000), (5000, 1000)])
def test_an_empty_span_has_no_fires(after: int, until: int) -> None:
    rule = parse("* * * * * *")
    assert list(fires_between(rule, UTC, after, until)) == []
    assert count_between(rule, UTC, after, until) == 0
    assert last_between(rule, UTC, after, until, 5) == []


def test_no_fires_are_asked_for() -> None:
    assert last_between(parse("* * * * *"), UTC, 0, DAY, 0) == []


@pytest.mark.parametrize(
    ("text", "after", "until", "count"),
    [
        ("* * * * * *", "1975-01-01", "2025-01-01", 18_263 * 86_400),
        ("*/15 * * * *", "2024-01-01", "2025-01-01", 366 * 96),
        ("0 0 29 2 *", "1901-01-01", "2101-01-01", 49),
        ("30 2 * * *", "1900-01-01", "2300-01-01", 146_097),
    ],
)
def test_counts_without_going_through(text: str, after: str, until: str, count: int) -> None:
    first, last = utc(f"{after}T00:00:00") - 1, utc(f"{until}T00:00:00") - 1
    assert count_between(parse(text), UTC, first, last) == count


def test_counts_what_the_clocks_do() -> None:
    year = utc("2026-12-31T23:00:00"), utc("2027-12-31T23:00:00")
    assert count_between(parse("30 2 * * *"), BERLIN, *year) == 365
    assert (
        count_between(parse("*/30 2 * * *"), BERLIN, *year) == 730
    )  # none in March, four in October
    assert count_between(parse("0 * * * *"), BERLIN, *year) == 8760


def calls(work: Callable[[], object]) -> int:
    """How many Python functions a piece of work enters, or takes up again."""
    total = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal total
        total += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return total


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Africa/Casablanca", "Pacific/Chatham"])
@pytest.mark.parametrize(
    "text",
    [
        *["*/15 * * * *", "57 */3 * * *", "0 0 29 2 */7", "0 0 29 2 *", "0 0 31W 12 *"],
        *["59 59 23 31 12 */7", "0 0 L-28 2 1#1", "* * */3 * *", "*/20 2 29 2 *", "0 0 */31 * 2#1"],
    ],
)
@pytest.mark.parametrize("year", [1900, 2011, 2096, 9000])
def test_work_is_bounded(text: str, zone: str, year: int) -> None:
    rule, rules_of_zone = parse(text), load_zone(zone)
    after = utc(f"{year}-03-01T00:00:00")
    until = after + 50 * 366 * DAY
    next_fire(rule, rules_of_zone, after)
    assert calls(lambda: next_fire(rule, rules_of_zone, after)) < 400
    assert calls(lambda: last_between(rule, rules_of_zone, after, until, 3)) < 2_000
    assert calls(lambda: count_between(rule, rules_of_zone, after, until)) < 15_000


def test_reading_is_bounded() -> None:
    longest = ",".join(["L-30", "31W", "1-31/1"] * 40)
    text = f"0 0 {longest[:480].rpartition(',')[0]} * *"
    assert calls(lambda: parse(text)) < 10_000
    assert explain(parse(text))
