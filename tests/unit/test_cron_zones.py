"""Every zone of the IANA database: no change is missed, and each is treated as promised."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from importlib import resources
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import pytest

from lq.cron import fires_between, next_fire, parse
from lq.cron.zones import Change, changes, stretches

HOUR = 3600
DAY = 24 * HOUR


def seconds(year: int) -> int:
    return round(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def data_of(name: str) -> bytes:
    """The TZif file of a zone, from where zoneinfo has it."""
    for folder in TZPATH:
        if (path := Path(folder, name)).is_file():
            return path.read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(name).read_bytes()


@cache
def zones() -> dict[str, bytes]:
    """One name for each set of rules, with its TZif file."""
    by_data = {data_of(name): name for name in sorted(available_timezones(), reverse=True)}
    return {name: data for data, name in by_data.items()}


def written(data: bytes) -> list[Change]:
    """The changes of offset that a TZif file lists (RFC 8536; those of its footer are not)."""
    header = struct.Struct(">4s1s15x6l")

    def size(counts: tuple[int, ...], width: int) -> int:
        is_ut, is_std, leap, times, types, characters = counts
        return times * (width + 1) + types * 6 + characters + leap * (width + 4) + is_std + is_ut

    _, _, *first = header.unpack_from(data)
    position = header.size + size(tuple(first), 4)
    _, _, *counts = header.unpack_from(data, position)
    times, types = counts[3], counts[4]
    position += header.size
    instants = struct.unpack_from(f">{times}q", data, position)
    kinds = data[position + 8 * times : position + 9 * times]
    offsets = [
        struct.unpack_from(">l", data, position + 9 * times + 6 * number)[0]
        for number in range(types)
    ]
    steps = [offsets[0], *(offsets[kind] for kind in kinds)]
    return [
        Change(at, before, after)
        for at, (before, after) in zip(instants, pairwise(steps), strict=True)
        if before != after
    ]


def test_no_change_is_missed() -> None:
    compared = 0
    for name, data in zones().items():
        expected = [change for change in written(data) if seconds(1970) < change.at < seconds(2038)]
        if expected:
            found = changes(ZoneInfo(name), seconds(1970), expected[-1].at)
            assert found == expected, name
            compared += len(found)
    assert compared > 10_000


def test_the_stretches_of_a_year_cover_it() -> None:
    for name in zones():
        for year in (1986, 2011, 2025):
            found = stretches(ZoneInfo(name), year)
            assert (found[0].start, found[-1].end) == (seconds(year), seconds(year + 1))
            assert all(one.end == other.start for one, other in pairwise(found))
            assert all(one.fresh >= one.start + one.offset for one in found)


def made(at: int, before: int, after: int) -> ZoneInfo:
    """A zone with a single change, as a TZif file."""
    empty = struct.pack(">4s1s15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + bytes(6) + b"LMT\0"
    header = struct.pack(">4s1s15x6l", b"TZif", b"2", 0, 0, 0, 1, 2, 4)
    types = struct.pack(">lbblbb", before, 0, 0, after, 0, 0)
    data = struct.pack(">qb", at, 1) + types + b"LMT\0\n\n"
    return ZoneInfo.from_file(BytesIO(empty + header + data))


def fires_around_new_year(zone: ZoneInfo, text: str) -> list[int]:
    """The fires within six hours of the start of 2027 in UTC, in minutes since then."""
    start, end = seconds(2027) - 6 * HOUR, seconds(2027) + 6 * HOUR
    found = fires_between(parse(text), zone, start * 1000, end * 1000)
    return [(at // 1000 - seconds(2027)) // 60 for at in found]


@pytest.mark.parametrize(
    ("text", "fires"),
    [
        ("0 0 1 1 *", [-60]),
        ("45 23 * * *", [-75]),
        ("*/15 0 1 1 *", [-60, -45, 0, 15, 30, 45]),
        ("0,15,30,45 0 1 1 *", [-60, -45, 30, 45]),
    ],
)
def test_what_is_shown_again_in_the_new_year(text: str, fires: list[int]) -> None:
    zone = made(seconds(2027) - HOUR // 2, HOUR, 0)
    assert fires_around_new_year(zone, text) == fires


@pytest.mark.parametrize(
    ("text", "fires"),
    [
        ("45,50 23 * * *", [-30]),
        ("0,45 0 1 1 *", [-30, -15]),
        ("*/15 0 1 1 *", [-30, -15]),
        ("0 0 31 12 *", []),
    ],
)
def test_what_is_skipped_into_the_new_year(text: str, fires: list[int]) -> None:
    zone = made(seconds(2027) - HOUR // 2, 0, HOUR)
    assert fires_around_new_year(zone, text) == fires


@pytest.mark.parametrize("at", [seconds(2027), seconds(2027) - 1, seconds(2027) + 1])
@pytest.mark.parametrize("after", [HOUR, -HOUR])
def test_a_change_where_a_year_begins(at: int, after: int) -> None:
    found = stretches(made(at, 0, after), 2027)
    assert all(one.start < one.end for one in found)
    assert found[-1].fresh - found[-1].offset == (at + HOUR if after < 0 else found[-1].start)
    skips = after > 0 and at >= seconds(2027)
    assert [one.skipped_from for one in found if one.skipped_from is not None] == [at] * skips


@pytest.mark.parametrize(
    ("gap", "fires"), [(1, True), (3 * HOUR, True), (3 * HOUR + 1, False), (23 * HOUR, False)]
)
def test_a_gap_of_three_hours_is_the_longest_made_up_for(gap: int, fires: bool) -> None:
    at = seconds(2026) + 2 * HOUR
    window = (at - 1) * 1000, at * 1000
    assert list(fires_between(parse("0 2 * * *"), made(at, 0, gap), *window)) == [at * 1000] * fires


@cache
def all_changes() -> list[tuple[ZoneInfo, Change]]:
    """Every change of every zone, 2005 to 2037."""
    return [
        (ZoneInfo(name), change)
        for name in zones()
        for change in changes(ZoneInfo(name), seconds(2005), seconds(2038))
    ]


def first_shown(wall: datetime, zone: ZoneInfo) -> int | None:
    """When the clocks show a wall time first, or end the gap that skips it; None if it is long."""
    early, late = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    if early <= late:
        return round(early)
    jump = round(early - late)
    if jump > 3 * HOUR:
        return None
    # Skipped: the gap's end is where the offset grows, in (late, early].
    low, high = round(late), round(early)
    after = datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


def daily(clock: time, zone: ZoneInfo, start: int, end: int) -> Iterator[int]:
    """Each day's run at one time of day in (start, end]."""
    day = datetime.fromtimestamp(start, zone).date() - timedelta(days=1)
    found = set()
    for number in range((end - start) // DAY + 5):
        fire = first_shown(datetime.combine(day + timedelta(days=number), clock), zone)
        if fire is not None and start < fire <= end:
            found.add(fire)
    yield from sorted(found)


@pytest.mark.parametrize("clock", [time(2, 30), time(0, 0), time(23, 45)])
def test_a_daily_time_at_every_change_of_every_zone(clock: time) -> None:
    rule = parse(f"{clock.minute} {clock.hour} * * *")
    for zone, change in all_changes():
        start, end = change.at - 30 * HOUR, change.at + 30 * HOUR
        fires = list(fires_between(rule, zone, start * 1000, end * 1000))
        assert fires == [at * 1000 for at in daily(clock, zone, start, end)], (zone, change)


def test_wildcards_at_every_change_of_every_zone() -> None:
    quarters, hours = parse("*/15 * * * *"), parse("30 * * * *")
    for zone, change in all_changes():
        start, end = change.at - 3 * HOUR, change.at + 3 * HOUR
        walls = [
            (at * 1000, datetime.fromtimestamp(at, zone).minute)
            for at in range(start + 900 - start % 900, end + 1, 900)
        ]
        for rule, minutes in ((quarters, {0, 15, 30, 45}), (hours, {30})):
            expected = [at for at, minute in walls if minute in minutes]
            fires = list(fires_between(rule, zone, start * 1000, end * 1000))
            assert fires == expected, (zone, change)


def test_offsets_below_a_minute() -> None:
    """Until 1972 the clocks of Liberia were 44 minutes and 30 seconds behind."""
    zone = ZoneInfo("Africa/Monrovia")
    noon = round(datetime(1971, 6, 1, 12, 44, 30, tzinfo=UTC).timestamp()) * 1000
    assert next_fire(parse("0 12 * * *"), zone, noon - DAY * 1000) == noon
    catch_up = round(datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC).timestamp()) * 1000
    assert next_fire(parse("30 0 * * *"), zone, catch_up - HOUR * 1000) == catch_up


class Counting(ZoneInfo):
    """A zone that counts how often it is asked."""

    asked = 0

    def fromutc(self, dt: datetime) -> datetime:
        Counting.asked += 1
        return super().fromutc(dt)


def test_a_zone_is_asked_a_bounded_number_of_times() -> None:
    rule = parse("0 0 29 2 */7")
    for year in (1900, 1970, 2040, 2096, 9000):
        Counting.asked = 0
        zone = Counting.no_cache("Africa/Casablanca")
        assert next_fire(rule, zone, seconds(year) * 1000) is not None
        assert Counting.asked < 200
