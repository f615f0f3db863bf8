"""OnCalendar= as cron rules, held against `systemd-analyze calendar` where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lq import cron
from lq.takeover.calendar import Calendar, CalendarError, convert
from lq.when import parse_rfc3339

BASE = "2027-01-01T00:00:00Z"
ORACLE = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        ("minutely", "* * * * *"),
        ("hourly", "0 * * * *"),
        ("daily", "0 0 * * *"),
        ("Weekly", "0 0 * * 1"),
        ("monthly", "0 0 1 * *"),
        ("quarterly", "0 0 1 */3 *"),
        ("semiannually", "0 0 1 1,7 *"),
        ("yearly", "0 0 1 1 *"),
        ("*:0/5", "*/5 * * * *"),
        ("03:10", "10 3 * * *"),
        ("3:10:30", "30 10 3 * * *"),
        ("*-*-* 00/6:00:00.000", "0 */6 * * *"),
        ("Mon..Fri 9..17:30", "30 9-17 * * 1-5"),
        ("Sat,Sun *-*-* 10:00", "0 10 * * 0,6"),
        ("Monday", "0 0 * * 1"),
        ("10-15", "0 0 15 10 *"),
        ("*-*~01", "0 0 L * *"),
        ("*-02~03 12:00", "0 12 L-2 2 *"),
        ("Mon *-05~07/1", "0 0 * 5 1L"),
        ("Mon *-*-01..07", "0 0 * * 1#1"),
        ("Mon,Thu *-*-8..14,22..28 4:00", "0 4 * * 1#2,4#2,1#4,4#4"),
        ("Mon *-*-01,15", "0 0 */31,15 * 1"),
        ("Sun,Wed *-*-13", "0 0 13 * */7,3"),
        ("*-*-* *:*:0/10", "*/10 * * * * *"),
        ("2027-*-01T05:00", "0 5 1 * *"),
    ],
)
def test_what_events_become(event: str, rule: str) -> None:
    assert convert(event).rule == rule


def test_zones_and_years() -> None:
    assert convert("daily Europe/Berlin") == Calendar("0 0 * * *", "Europe/Berlin")
    assert convert("*-*-* 3:00 UTC") == Calendar("0 3 * * *", "UTC")
    assert convert("2027-*-* 3:00") == Calendar("0 3 * * *", None, (2027, 2027))
    assert convert("2027..2029-*-* 3:00").years == (2027, 2029)
    assert convert("2027/1-*-* 3:00").years == (2027, None)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("Fri *-*-13", "no cron rule means these weekdays on these days"),
        ("Fri *-*~02", "no cron rule means these weekdays on these days"),
        ("*:*:00.5", "whole seconds"),
        ("2027,2029-01-01", "not in a row"),
        ("@1800000000", "one instant"),
        ("*-*~5..9/2", "no step"),
        ("daily Mars/Olympus", "no time zone"),
        ("fortnightly", "no weekday"),
        ("*:*/5", "no minute"),
        ("25:00", "no hour"),
        ("Sun..Mon", "backwards"),
        ("*-13-01", "no month"),
        ("12", "no calendar event"),
        ("0/24:00", "no hour"),
        ("", "no calendar event"),
        ("daily daily daily", "no time zone"),
        ("*-*-*-* 1:00", "no date"),
    ],
)
def test_what_no_rule_means(event: str, reason: str) -> None:
    with pytest.raises(CalendarError, match=reason):
        convert(event)


@given(st.text(alphabet="0123456789*-~:./, MonSuUTC@", max_size=30))
def test_any_text_is_an_event_or_none(text: str) -> None:
    try:
        found = convert(text)
    except CalendarError:
        return
    assert cron.parse(found.rule)


def systemd(event: str, count: int) -> list[int] | None:
    """When systemd runs an event after BASE; None if it is none. Units: ms."""
    done = subprocess.run(
        [
            *("systemd-analyze", "calendar", f"--iterations={count}"),
            *("--base-time=2027-01-01 00:00:00 UTC", event),
        ],
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    lines = [line.strip() for line in done.stdout.splitlines()]
    lines = [line for line in lines if line.startswith(("Next elapse:", "Iter"))]
    found = [line.partition(": ")[2].split()[1:3] for line in lines if "never" not in line]
    return [parse_rfc3339(f"{day}T{time}Z") for day, time in found]


def taken(event: str) -> tuple[cron.Rule | None, str]:
    """The rule for an event, or why there is none."""
    try:
        return cron.parse(convert(event).rule), ""
    except (CalendarError, cron.CronError) as error:
        return None, str(error)


NUMBERS = st.integers(0, 31).map("{:02d}".format)
PARTS = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, NUMBERS).map("..".join),
    st.tuples(NUMBERS, st.integers(1, 40).map(str)).map("/".join),
)
COMPONENTS = st.one_of(
    st.just("*"), st.lists(PARTS, min_size=1, max_size=2, unique=True).map(",".join)
)
WEEKDAYS = st.sampled_from(
    ["", "Mon ", "Sun ", "Mon..Fri ", "Sat,Sun ", "Tue,thu ", "Mon-Wed,Sunday "]
)
DAYS = st.one_of(
    COMPONENTS, st.sampled_from(["01..07", "8..14", "22..28,29..31", "1,15", "1/2", "*"])
)


@ORACLE
@settings(max_examples=150, deadline=None)
@given(WEEKDAYS, st.tuples(COMPONENTS, st.sampled_from("--~"), DAYS), COMPONENTS, COMPONENTS)
def test_systemd_agrees(weekdays: str, date: tuple[str, str, str], hour: str, minute: str) -> None:
    """What lq takes runs when systemd runs it, and what is no event is none to both."""
    event = f"{weekdays}*-{''.join(date)} {hour}:{minute}"
    expected = systemd(event, 6)
    rule, reason = taken(event)
    if rule is None:
        told = ("weekdays on these days", "no step", "never fires")
        assert not expected or any(text in reason for text in told)
        return
    if date[1] == "~" and "," in date[2] and expected is None:
        return  # of the lists counted from the month's end, systemd 252 refuses some
    assert expected is not None
    own, after = [], parse_rfc3339(BASE)
    for _ in expected:
        after = cron.next_fire(rule, ZoneInfo("UTC"), after) or 0
        own.append(after)
    assert own == expected
