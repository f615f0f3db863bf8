"""Durations and instants as people write them, hostile people among them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lq.when import (
    MAX_MS,
    UnknownZone,
    describe_instant,
    format_duration,
    format_instant,
    load_zone,
    parse_delay,
    parse_duration,
    parse_instant,
    parse_rfc3339,
)

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = utc("2026-11-21T21:26:40")  # a Saturday

# With gaps and repeats of an hour and of half an hour, at midnight, for a day, and with none.
zones = st.sampled_from(
    [
        *["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe"],
        *["Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "Antarctica/Troll"],
    ]
).map(ZoneInfo)
seconds = st.integers(utc("1975-01-01T00:00:00") // SECOND, utc("2036-01-01T00:00:00") // SECOND)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("0s", 0),
        ("90s", 90 * SECOND),
        ("5m", 5 * MINUTE),
        ("1d12h", 36 * HOUR),
        ("1w", 7 * DAY),
        ("1.5h", 90 * MINUTE),
        ("0.1s", 100),
        ("1.005s", 1_005),
        ("0.57s", 570),
        ("1.9999ms", 1),
        ("1w 2d 3h 4m 5s 6ms", 9 * DAY + 3 * HOUR + 4 * MINUTE + 5 * SECOND + 6),
        ("  5 m ", 5 * MINUTE),
        ("1 day", DAY),
        ("2 hours 30 minutes", 150 * MINUTE),
        ("2 Hours 30 MIN", 150 * MINUTE),
        ("3 weeks", 21 * DAY),
        ("10 secs", 10 * SECOND),
        ("007m", 7 * MINUTE),
        ("3653d", MAX_MS),
    ],
)
def test_duration(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "5", "5.5", "0", "1e3s", "five minutes", "5 parsecs", "5y", "5 months", "5M"],
        *["-5m", "+5m", "5m-", "- 5m", "1h-30m", "NaN", "nan s", "inf", "infinity s", "0x10s"],
        *["1h1h", "1m1h", "1m 1min", "5m 3", "m", "5m,", "5m;", "1,5h", ".5h", "5.h", "1..5h"],
        *[
            "PT5M",
            "05:00",
            "1:30",
            "1h and 30m",
            "5m\x00",
            "5\nm",
            "٥m",
            "５m",
            "5µs",
            "5 ｍ",
            "½h",
        ],
        *["3653d1ms", "523w", "99999999999999999999w", "9" * 5_000 + "s", "1e400s", "5\u00a0m"],
    ],
)
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number with its unit|units|10 years"):
        parse_duration(text)


def test_a_refusal_says_what_is_accepted_and_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"^expected .* such as \"250ms\".* got '5'$"):
        parse_duration("5")
    with pytest.raises(ValueError, match=r"^the units are ms, s, m, h, d and w, got '5 parsecs'$"):
        parse_duration("5 parsecs")
    with pytest.raises(ValueError, match=r"from large to small.* got '1m1h'$"):
        parse_duration("1m1h")


def test_a_refusal_cannot_carry_control_characters_or_a_flood() -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        parse_duration("\x1b[31m\r\n\u202e" + "x" * 10_000)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


@given(st.integers(0, MAX_MS))
@example(0)
@example(36 * HOUR)
def test_durations_round_trip(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (250, "250ms"), (90 * SECOND, "1m30s"), (36 * HOUR, "1d12h"), (30 * DAY, "30d")],
)
def test_duration_written(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1500", 1_500),
        ("1500.5", 1_500),
        ("1500.999999", 1_500),
        ("0", 0),
        ("-0", 0),
        ("-5", 0),
        ("-0.5", 0),
        ("-1e+21", 0),
        ("-1e400", 0),
        ("1e-7", 0),
        ("1e3", 1_000),
        ("1.5e+3", 1_500),
        (f"{MAX_MS}", MAX_MS),
        ("5m", 5 * MINUTE),
        (" 1d12h ", 36 * HOUR),
    ],
)
def test_delay(text: str, ms: int) -> None:
    assert parse_delay(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        *["", "NaN", "Infinity", "-Infinity", "inf", "1e+21", "1e308", "1e400", "9" * 5_000],
        *[
            "9223372036854775808",
            f"{MAX_MS + 1}",
            "5 parsecs",
            "-5m",
            "+5",
            "1_000",
            "0x10",
            "１５",
        ],
        *["1,500", "1500 500", "true", "null", "[]", ".5", "5.", "1e", "--5"],
    ],
)
def test_no_delay(text: str) -> None:
    with pytest.raises(ValueError, match=r"a bare number is milliseconds|at most 10 years"):
        parse_delay(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01T09:00:00Z", "2026-12-01T09:00:00"),
        ("2026-12-01t09:00:00z", "2026-12-01T09:00:00"),
        ("2026-12-01T09:00:00.5Z", "2026-12-01T09:00:00.500"),
        ("2026-12-01T09:00:00.123987654321Z", "2026-12-01T09:00:00.123"),
        ("2026-12-01T09:00:00+01:00", "2026-12-01T08:00:00"),
        ("2026-12-01T09:00:00-00:00", "2026-12-01T09:00:00"),
        ("2026-12-01T09:00:00+23:59", "2026-11-30T09:01:00"),
        ("2026-12-01T09:00:00-23:59", "2026-12-02T08:59:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999"),
        ("2016-12-31T23:59:60.25Z", "2016-12-31T23:59:59.999"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00"),
        ("2038-01-19T03:14:08Z", "2038-01-19T03:14:08"),
        ("2100-03-01T00:00:00Z", "2100-03-01T00:00:00"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999"),
    ],
)
def test_rfc3339(text: str, expected: str) -> None:
    assert parse_rfc3339(text) == utc(expected)
    assert parse_instant(text, utc(expected)) == utc(expected)


@pytest.mark.parametrize(
    "text",
    [
        *["", "2026-12-01", "2026-12-01T09:00:00", "2026-12-01T09:00Z", "2026-12-01T09Z", "now"],
        *["0000-01-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z"],
        *["2026-12-00T00:00:00Z", "2026-02-29T00:00:00Z", "2026-12-32T00:00:00Z"],
        *["2026-12-01T24:00:00Z", "2026-12-01T09:60:00Z", "2026-12-01T09:00:61Z"],
        *["2026-12-01T09:00:00+24:00", "2026-12-01T09:00:00+25:00", "2026-12-01T09:00:00+01:60"],
        *["2026-12-01T09:00:00+0100", "2026-12-01T09:00:00+01", "2026-12-01T09:00:00 Z"],
        *["2026-12-01T09:00:00.Z", "2026-12-01T09:00:00,5Z", "+2026-12-01T09:00:00Z"],
        *["12026-12-01T09:00:00Z", "26-12-01T09:00:00Z", "2026-12-1T09:00:00Z", "20261201T090000Z"],
        *["2026-12-01T09:00:00Z\n", " 2026-12-01T09:00:00Z", "２026-12-01T09:00:00Z"],
        *["2026-12-01T09:00:00ZZ", "2026-12-01T09:00:00Z Europe/Berlin", "1795296400000"],
    ],
)
def test_no_rfc3339(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected RFC 3339 with an offset|is no instant"):
        parse_rfc3339(text)


@given(st.integers(utc("0001-01-01T00:00:00"), utc("9999-12-31T23:59:59") + 999))
@example(-1)
@example(0)
def test_instants_round_trip(at: int) -> None:
    text = format_instant(at)
    assert parse_rfc3339(text) == at
    assert len(text) == len("2026-12-01T09:00:00.000Z")
    assert text.endswith("Z")


@given(seconds, st.integers(0, 999), zones)
def test_rfc3339_agrees_with_the_standard_library(second: int, ms: int, zone: ZoneInfo) -> None:
    moment = datetime.fromtimestamp(second, zone).replace(microsecond=ms * 1000)
    assert parse_rfc3339(moment.isoformat(timespec="milliseconds")) == second * SECOND + ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01 09:00 Europe/Berlin", "2026-12-01T08:00:00"),
        ("2026-12-01T09:00:30 Europe/Berlin", "2026-12-01T08:00:30"),
        ("2026-12-01  9:00   UTC", "2026-12-01T09:00:00"),
        ("2026-12-01 09:00:00.250 Asia/Kolkata", "2026-12-01T03:30:00.250"),
        ("2026-12-01 09:00Z", "2026-12-01T09:00:00"),
        ("2026-12-01 09:00 +05:30", "2026-12-01T03:30:00"),
        ("2026-12-01 09:00", "2026-12-01T14:00:00"),
        ("2020-01-01 00:00 UTC", "2020-01-01T00:00:00"),
        ("today 18:00", "2026-11-21T23:00:00"),
        ("today 08:00", "2026-11-21T13:00:00"),
        ("Tomorrow 09:00", "2026-11-22T14:00:00"),
        ("tomorrow 09:00 Pacific/Auckland", "2026-11-22T20:00:00"),
        ("tomorrow 09:00 Europe/Berlin", "2026-11-22T08:00:00"),
        ("monday 08:00", "2026-11-23T13:00:00"),
        ("Mon 08:00 UTC", "2026-11-23T08:00:00"),
        ("saturday 17:00", "2026-11-21T22:00:00"),
        ("saturday 16:00", "2026-11-28T21:00:00"),
        ("friday 23:59:59", "2026-11-28T04:59:59"),
        ("09:00 Europe/Berlin", "2026-11-22T08:00:00"),
        ("22:26:40 Europe/Berlin", "2026-11-21T21:26:40"),
        ("22:26:39 Europe/Berlin", "2026-11-22T21:26:39"),
        ("23:30 Europe/Berlin", "2026-11-21T22:30:00"),
        ("17:00", "2026-11-21T22:00:00"),
        ("21:30Z", "2026-11-21T21:30:00"),
        ("in 5m", "2026-11-21T21:31:40"),
        ("In 2 hours 30 minutes", "2026-11-21T23:56:40"),
        (" in 0s ", "2026-11-21T21:26:40"),
    ],
)
def test_instant(text: str, expected: str) -> None:
    assert parse_instant(text, NOW, "America/New_York") == utc(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A gap: the first instant after it.
        ("2027-03-28 02:30 Europe/Berlin", "2027-03-28T01:00:00"),
        ("2027-03-28 02:00 Europe/Berlin", "2027-03-28T01:00:00"),
        ("2027-03-28 02:59:59.999 Europe/Berlin", "2027-03-28T01:00:00"),
        ("2027-03-28 03:00 Europe/Berlin", "2027-03-28T01:00:00"),
        ("2027-03-28 01:59:59.999 Europe/Berlin", "2027-03-28T00:59:59.999"),
        ("2027-10-03 02:15 Australia/Lord_Howe", "2027-10-02T15:30:00"),
        ("2018-11-04 00:30 America/Sao_Paulo", "2018-11-04T03:00:00"),
        ("2011-12-30 12:00 Pacific/Apia", "2011-12-30T10:00:00"),
        # A repeated hour: its first pass.
        ("2026-10-25 02:30 Europe/Berlin", "2026-10-25T00:30:00"),
        ("2026-10-25 02:00 Europe/Berlin", "2026-10-25T00:00:00"),
        ("2026-10-25 03:00 Europe/Berlin", "2026-10-25T02:00:00"),
        ("2027-04-04 01:45 Australia/Lord_Howe", "2027-04-03T14:45:00"),
        # The same, reached by name of day.
        ("tomorrow 02:30 Europe/Berlin", "2027-03-28T01:00:00"),
    ],
)
def test_clocks_that_jump(text: str, expected: str) -> None:
    assert parse_instant(text, utc("2027-03-27T12:00:00")) == utc(expected)


@given(seconds, zones)
def test_a_wall_clock_is_read_back_as_its_first_pass(second: int, zone: ZoneInfo) -> None:
    moment = datetime.fromtimestamp(second, zone)
    at = parse_instant(f"{moment:%Y-%m-%d %H:%M:%S} {zone.key}", NOW)
    assert at == moment.replace(fold=0).timestamp() * SECOND
    assert at <= second * SECOND


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected"),
        ("now", "expected"),
        ("2026-12-01", "expected"),
        ("tomorrow", "expected"),
        ("1795296400000", "expected"),
        ("9am UTC", "expected"),
        ("2026-12-01T09:00:00Z Europe/Berlin", "expected"),
        ("2026-12-01 09:00 Europe/Berlin please", "expected"),
        ("2026/12/01 09:00 UTC", "expected"),
        ("2026-12-01 09:00 UTC\n\x00", "expected"),
        ("in five minutes", "expected"),
        ("in -5m", "expected"),
        ("in 5", "expected"),
        ("in 4000d", "10 years"),
        ("2026-02-30 09:00 UTC", "no instant"),
        ("0000-01-01 00:00 UTC", "no instant"),
        ("25:00 UTC", "no instant"),
        ("24:00 UTC", "no instant"),
        ("tomorrow 09:60 UTC", "no instant"),
        ("someday 09:00 UTC", "a day is today, tomorrow, a weekday or a date"),
        ("m 09:00 UTC", "a day is today"),
        ("2026-12-01T09:00:00+25:00", "expected"),
        ("2026-12-01 09:00 +0100", "no time zone"),
        ("2026-12-01 09:00 Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("2037-12-01T09:00:00Z", "10 years"),
        ("9999-12-31T23:59:59-23:59", "10 years"),
        ("9999-12-31 23:59:59 America/New_York", "10 years"),
    ],
)
def test_no_instant(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        parse_instant(text, NOW, "UTC")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "text", ["2026-12-01 09:00", "2026-12-01T09:00:00", "09:00", "monday 8:00"]
)
def test_a_time_without_a_zone_is_refused_unless_one_is_given(text: str) -> None:
    with pytest.raises(ValueError, match=f"names no zone: write '{text} Europe/Berlin'"):
        parse_instant(text, NOW)
    assert parse_instant(text, NOW, "UTC") > NOW


def test_ten_years_ahead_is_the_limit_and_the_far_past_is_none() -> None:
    assert parse_instant("2036-11-21T21:26:40Z", NOW) == NOW + MAX_MS
    with pytest.raises(ValueError, match="10 years"):
        parse_instant("2036-11-21T21:26:40.001Z", NOW)
    assert (
        parse_instant("0001-01-01T00:00:00+23:59", NOW) == utc("0001-01-01T00:00:00") - 86_340_000
    )
    assert parse_instant("0001-01-01 00:00 America/New_York", NOW) < utc("0001-01-02T00:00:00")


@pytest.mark.parametrize(
    "name",
    [
        *["", "Nowhere", "Europe", "Europe/", "/Europe/Berlin", "Europe/Berlin/", "Europe//Berlin"],
        *["../../etc/passwd", "/etc/localtime", "Europe/../Europe/Berlin", "posix/Europe/Berlin"],
        *[
            "right/Europe/Berlin",
            "localtime",
            "posixrules",
            "zone.tab",
            "tzdata.zi",
            "CEST",
            "+01:00",
        ],
        *["Europe/Berlin\x00", "Europe/Berlin\n", "A" * 5_000, "Eur\u00f6pe/Berlin", "\ud800"],
    ],
)
def test_no_zone(name: str) -> None:
    with pytest.raises(UnknownZone, match="there is no time zone"):
        load_zone(name)


@given(st.text("0123456789:-+.TtZz /esinmhdwowtayEuropBrlUC\u0661\x00\n", max_size=30))
@pytest.mark.parametrize(
    "read",
    [parse_duration, parse_delay, parse_rfc3339, lambda text: parse_instant(text, NOW, "UTC")],
)
def test_whatever_is_written_is_understood_or_refused(
    read: Callable[[str], int], text: str
) -> None:
    with suppress(ValueError):
        assert read(text) <= NOW + MAX_MS or read is parse_rfc3339


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, "now"),
        (499, "now"),
        (-499, "now"),
        (1_000, "in 1 second"),
        (59_600, "in 1 minute"),
        (90 * SECOND, "in 1 minute 30 seconds"),
        (5 * MINUTE - 3, "in 5 minutes"),
        (HOUR, "in 1 hour"),
        (HOUR - 1, "in 1 hour"),
        (90 * MINUTE + 20 * SECOND, "in 1 hour 30 minutes"),
        (DAY - 20 * SECOND, "in 1 day"),
        (36 * HOUR, "in 1 day 12 hours"),
        (7 * DAY - 20 * MINUTE, "in 7 days"),
        (9 * DAY + 3 * HOUR, "in 9 days"),
        (3653 * DAY, "in 3653 days"),
        (-5 * MINUTE, "5 minutes ago"),
        (-DAY, "1 day ago"),
    ],
)
def test_how_far_off_in_words(ahead: int, words: str) -> None:
    assert describe_instant(NOW + ahead, NOW, "UTC").endswith(f" UTC ({words})")


def test_described_in_a_zone() -> None:
    at = utc("2026-12-01T08:00:00.999")
    assert (
        describe_instant(at, at - 9 * DAY, "Europe/Berlin") == "2026-12-01 09:00:00 CET (in 9 days)"
    )
    assert describe_instant(at, at, "America/Sao_Paulo") == "2026-12-01 05:00:00 -03 (now)"
    with pytest.raises(UnknownZone):
        describe_instant(at, at, "Mars/Olympus")


@pytest.fixture
def machine_in_berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    del os.environ["TZ"]
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("machine_in_berlin")
def test_described_in_the_zone_of_the_machine() -> None:
    at = utc("2026-07-01T08:00:00")
    assert describe_instant(at, at - HOUR) == "2026-07-01 10:00:00 CEST (in 1 hour)"


def test_importing_it_does_not_load_zoneinfo() -> None:
    loaded = "import sys, lq.when; print({'zoneinfo'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "set()\n"
