"""What lq says about cron rules: the sentence, the warnings, the notes."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from lq.cron import explain, fires_between, note, parse, warnings

BERLIN = ZoneInfo("Europe/Berlin")
HAVANA = ZoneInfo("America/Havana")
UTC = ZoneInfo("UTC")
DAY = 86_400_000


def at(text: str, zone: ZoneInfo = UTC, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


NOW = at("2026-11-22T00:00:00")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0,15,30,45 * * * *", "every 15 minutes"),
        ("*/25 * * * *", "at minutes 0, 25 and 50 of every hour"),
        ("*/7 * * * *", "at minutes 0, 7, 14, … and 56 of every hour"),
        ("5/15 * * * *", "at minutes 5, 20, 35 and 50 of every hour"),
        ("7 * * * *", "at minute 7 of every hour"),
        ("@hourly", "at minute 0 of every hour"),
        ("50-59 23 * * *", "at minutes 50 to 59 of hour 23 every day"),
        ("30 2 * * *", "at 02:30 every day"),
        ("0 9,12 * * *", "at 09:00 and 12:00 every day"),
        ("0 9-17 * * 1-5", "every hour from 09:00 to 17:00 on Monday to Friday"),
        ("30 */2 * * *", "every 2 hours from 00:30 to 22:30 every day"),
        ("*/15 9-17 * * *", "every 15 minutes from 09:00 to 17:45 every day"),
        ("* 2 * * *", "every minute from 02:00 to 02:59 every day"),
        ("5,50 9-17 * * *", "at minutes 5 and 50 of every hour from 09 to 17 every day"),
        ("*/10 8,12,16 * * *", "every 10 minutes of the hours 08, 12 and 16 every day"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month, or on Friday"),
        ("0 0 13 3 5", "at 00:00 on day 13 of the month, or on Friday, in March only"),
        (
            "0 0 1-7 * */2",
            "at 00:00 on days 1 to 7 of the month if it is also Tuesday, Thursday, Saturday or"
            " Sunday",
        ),
        ("0 0 1-31 * 1", "at 00:00 every day"),
        ("0 0 13 * 0-6", "at 00:00 every day"),
        ("0 0 ? * 0-6", "at 00:00 every day"),
        ("0 0 */2 * *", "at 00:00 on days 1, 3, 5, … and 31 of the month"),
        ("0 0 1,15,L * *", "at 00:00 on days 1 and 15 and the last day of the month"),
        ("0 0 L-1 * *", "at 00:00 on the day before the last of the month"),
        ("0 0 L-3 * *", "at 00:00 on the day 3 days before the last of the month"),
        ("0 9 LW 3 *", "at 09:00 on the last weekday of the month in March"),
        ("0 9 15W * *", "at 09:00 on the weekday nearest day 15 of the month"),
        ("0 0 * * 0,6", "at 00:00 on Saturday and Sunday"),
        ("0 0 * * 5-7", "at 00:00 on Friday to Sunday"),
        ("0 0 * * 1#1", "at 00:00 on the first Monday of the month"),
        ("0 0 * * 3,fril", "at 00:00 on Wednesday and the last Friday of the month"),
        ("0 0 * 1-3,6 *", "at 00:00 every day in January to March and June"),
        ("*/5 * * 2 *", "every 5 minutes in February"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("*/7 * * * * *", "at seconds 0, 7, 14, … and 56 of every minute"),
        ("0 */15 * * * *", "every 15 minutes"),
        ("30 */15 * * * *", "at second 30 of minutes 0, 15, 30 and 45 of every hour"),
        ("15,45 59 23 31 12 *", "at 23:59:15 and 23:59:45 on day 31 of the month in December"),
        ("0,30 0 12 * * *", "at 12:00:00 and 12:00:30 every day"),
        ("* * 9-17 * * *", "every second from 09:00:00 to 17:59:59 every day"),
        ("7 * 3 * * *", "at second 7 of every minute of hour 03 every day"),
        ("*/5 10 * * * *", "every 5 seconds of minute 10 of every hour"),
        (
            "1,3,7,12,14,20,22,29,31,47 * * * *",
            "at minutes 1, 3, 7, 12, 14, 20, … and 47 of every hour",
        ),
    ],
)
def test_explain(text: str, sentence: str) -> None:
    assert explain(parse(text)) == sentence


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("*/15 * * * *", BERLIN, []),
        ("0 9 * * 1-5", BERLIN, []),
        ("0 0 1 * *", UTC, []),
        ("0 0 L * *", UTC, []),
        ("0 0 1 1 *", UTC, []),
        ("5/20 * * * *", UTC, []),
        ("10-50/15 * * * *", UTC, []),
        ("0 0 15-31 * *", UTC, []),
        (
            "0 0 29 2 *",
            UTC,
            [
                "fires rarely: next on 2028-02-29, and then on 2032-02-29",
                "there is no day 29 in February outside leap years",
            ],
        ),
        (
            "0 0 13 * 5",
            UTC,
            [
                "fires on day 13 of the month AND on Friday: when both day fields are restricted,"
                " days that match either will do"
            ],
        ),
        (
            "0 0 1-7 * */3",
            UTC,
            [
                'fires only on days that match both day fields, because "*/3" begins with *; if'
                " neither did, days that match either would do",
                '"*/3" does not come out even: the gap from Saturday to Sunday is 1 day, not 3',
            ],
        ),
        (
            "*/25 * * * *",
            UTC,
            ['"*/25" does not come out even: the gap from :50 to :00 is 10 minutes, not 25'],
        ),
        (
            "0 */5 * * *",
            UTC,
            ['"*/5" does not come out even: the gap from hour 20 to hour 0 is 4 hours, not 5'],
        ),
        (
            "0 0 1 */5 *",
            UTC,
            ['"*/5" does not come out even: the gap from November to January is 2 months, not 5'],
        ),
        (
            "*/40 * * * * *",
            UTC,
            ['"*/40" does not come out even: the gap from :40 to :00 is 20 seconds, not 40'],
        ),
        ("0 0 */2 * *", UTC, ['"*/2" counts from day 1 of each month, not on from the last one']),
        (
            "*/90 * * * *",
            UTC,
            ['the step of "*/90" is longer than what it goes through: only :00 is left'],
        ),
        (
            "0 0 31 * *",
            UTC,
            ["there is no day 31 in February, April, June, September or November"],
        ),
        ("0 0 31W 4,5 *", UTC, ["there is no day 31 in April"]),
        (
            "30 2 * * *",
            BERLIN,
            [
                "on 2027-03-28 the clocks of Europe/Berlin skip 02:00 to 03:00: 02:30 fires once,"
                " at 03:00; likewise on 2028-03-26",
                "on 2027-10-31 the clocks of Europe/Berlin go through 02:00 to 03:00 twice: 02:30"
                " fires on the first pass only; likewise on 2028-10-29",
            ],
        ),
        (
            "*/20 2 * * *",
            BERLIN,
            [
                "on 2027-03-28 the clocks of Europe/Berlin skip 02:00 to 03:00: the rule does not"
                " fire at all on that day; likewise on 2028-03-26",
                "on 2027-10-31 the clocks of Europe/Berlin go through 02:00 to 03:00 twice: the"
                " rule fires in both passes; likewise on 2028-10-29",
            ],
        ),
        (
            "0 0 14 3 *",
            HAVANA,
            [
                "on 2027-03-14 the clocks of America/Havana skip 00:00 to 01:00: 00:00 fires once,"
                " at 01:00"
            ],
        ),
    ],
)
def test_warnings(text: str, zone: ZoneInfo, expected: list[str]) -> None:
    assert warnings(parse(text), zone, NOW) == expected


def test_warns_of_a_day_that_is_dropped() -> None:
    zone, now = ZoneInfo("Pacific/Apia"), at("2011-12-01T00:00:00")
    assert any(
        "2011-12-30 the clocks of Pacific/Apia skip 00:00 to 00:00: 12:00 does not fire" in warning
        for warning in warnings(parse("0 12 * * *"), zone, now)
    )


def test_warns_at_the_end_of_time() -> None:
    rule = parse("0 0 29 2 *")
    assert warnings(rule, UTC, at("9997-01-01T00:00:00"))[0] == (
        "does not fire any more before the year 9999"
    )
    assert warnings(rule, UTC, at("9995-01-01T00:00:00"))[0] == (
        "fires only once more before the year 9999, on 9996-02-29"
    )


@pytest.mark.parametrize(
    ("text", "zone", "fire", "expected"),
    [
        (
            "30 2 * * *",
            BERLIN,
            at("2027-03-28T01:00:00"),
            "02:30 is skipped by the clocks on this day; runs at 03:00",
        ),
        (
            "0,30 0 * * *",
            HAVANA,
            at("2027-03-14T05:00:00"),
            "00:00 and 00:30 are skipped by the clocks on this day; runs at 01:00",
        ),
        (
            "30 2 * * *",
            BERLIN,
            at("2027-10-31T00:30:00"),
            "02:30 comes twice on this day: runs on the first pass only",
        ),
        (
            "*/30 2 * * *",
            BERLIN,
            at("2027-10-31T00:30:00"),
            "02:30 comes twice on this day: this is the first pass",
        ),
        (
            "*/30 2 * * *",
            BERLIN,
            at("2027-10-31T01:30:00"),
            "02:30 comes twice on this day: this is the second pass",
        ),
        ("30 2 * * *", BERLIN, at("2027-10-31T01:30:00"), None),
        ("30 2 * * *", BERLIN, at("2027-10-30T00:30:00"), None),
        ("0 3 * * *", BERLIN, at("2027-03-28T01:00:00"), None),
        ("0 * * * *", BERLIN, at("2027-03-28T01:00:00"), None),
        ("0 0 * * *", ZoneInfo("Pacific/Apia"), at("2011-12-30T10:00:00"), None),
        ("0 0 * * *", UTC, at("2027-03-28T00:00:00"), None),
        ("0 0 * * *", UTC, at("2027-03-28T00:00:00") + 1, None),
        ("0 0 * * *", UTC, at("2027-03-28T05:00:00"), None),
    ],
)
def test_note(text: str, zone: ZoneInfo, fire: int, expected: str | None) -> None:
    assert note(parse(text), zone, fire) == expected


def test_each_year_has_one_note_of_each_kind() -> None:
    rule = parse("30 2 * * *")
    fires = fires_between(rule, BERLIN, NOW, NOW + 365 * DAY)
    assert len([fire for fire in fires if note(rule, BERLIN, fire)]) == 2
