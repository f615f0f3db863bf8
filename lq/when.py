"""Durations and instants as people write them, and as lq writes them back.

Owns: the one parser for "5m", "1d12h", "tomorrow 09:00 Europe/Berlin" and RFC 3339, and the
formatting that goes the other way. Never asks for the time: `now` is the caller's.

Invariant: what is not understood is refused with a ValueError whose text says what is accepted
(callers put the name of the field before it). Nothing is guessed: a bare number is no duration,
a time without a zone is no instant.

Units: instants are Unix milliseconds UTC, durations are milliseconds.

`lq push` waits for this module: zoneinfo is imported, and patterns are compiled, on first use.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS

MAX_MS: Final = 3653 * DAY_MS
"""The longest duration, and how far ahead an instant may be: ten years, leap days included."""

MAX_AT: Final = 253_370_764_799_999
"""The end of the year 9998 in UTC: the last instant that a date can show in every zone."""

_UNITS: Final = {
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), WEEK_MS),
    **dict.fromkeys(("d", "day", "days"), DAY_MS),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), HOUR_MS),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), MINUTE_MS),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), SECOND_MS),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1),
}
_WRITTEN: Final = (("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1))
_SPOKEN: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_GRAINS: Final = ((3_600, 1), (86_400, 60), (7 * 86_400, 3_600))  # seconds: below, rounded to
_EPOCH: Final = datetime.datetime(1970, 1, 1)
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_AMOUNT: Final = r"([0-9]{1,20})(?:\.([0-9]{1,20}))? *([A-Za-z]+) *"
_NUMBER: Final = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_DATE: Final = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_SECOND: Final = r":(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
_OFFSET: Final = r"(?P<offset>[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_RFC3339: Final = rf"{_DATE}[Tt](?P<hour>[0-9]{{2}}):(?P<minute>[0-9]{{2}}){_SECOND}{_OFFSET}"
_INSTANT: Final = (
    rf"(?:{_DATE}(?:[Tt]| +)|(?P<word>[A-Za-z]+) +)?"
    rf"(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-9]{{2}})(?:{_SECOND})?"
    rf"(?: *{_OFFSET}| +(?P<zone>\S+))?"
)
# Capital first: tzdata folders also hold posix/, right/ (which counts leap seconds) and localtime.
_MAX_ZONE: Final = 64
_ZONE_NAME: Final = r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*"

_DURATION_FORMS: Final = 'a number with its unit, such as "250ms", "90s", "5m", "1d12h" or "1w"'
_RFC3339_FORMS: Final = 'RFC 3339 with an offset, such as "2026-12-01T09:00:00+01:00"'
_INSTANT_FORMS: Final = (
    '"2026-12-01T09:00:00Z", "2026-12-01 09:00 Europe/Berlin", "tomorrow 09:00", '
    '"monday 08:00", "09:00 Europe/Berlin" or "in 5m"'
)


class UnknownZone(ValueError):
    """The name is no time zone of the IANA database."""


def parse_duration(text: str) -> int:
    """Read a duration such as "90s", "1d12h", "1.5h" or "2 hours 30 minutes".

    Shape: units go from large to small, each at most once; what is below a millisecond is cut.
    Units: milliseconds. Raises: ValueError saying what is accepted.
    """
    stripped = text.strip()
    if not re.fullmatch(f"(?:{_AMOUNT})+", stripped):
        raise ValueError(f"expected {_DURATION_FORMS}, got {_shown(text)}")
    total_ms = 0
    last_unit_ms = MAX_MS
    for whole, fraction, unit in re.findall(_AMOUNT, stripped):
        # A lone capital is not folded: to half of its readers "5M" means months.
        unit_ms = _UNITS.get(unit if len(unit) == 1 else unit.lower())
        if unit_ms is None:
            raise ValueError(f"the units are ms, s, m, h, d and w, got {_shown(text)}")
        if unit_ms >= last_unit_ms:
            raise ValueError(
                f'units go from large to small, each once, as in "1d12h", got {_shown(text)}'
            )
        last_unit_ms = unit_ms
        total_ms += int(whole + fraction) * unit_ms // 10 ** len(fraction)
    if total_ms > MAX_MS:
        raise ValueError(f"a duration is at most 10 years (3653d), got {_shown(text)}")
    return total_ms


def parse_delay(text: str) -> int:
    """Read what `x-lq-delay` takes: milliseconds as JavaScript prints numbers, or a duration.

    Shape: a fraction is cut; a negative number means now, which is 0.
    Units: milliseconds. Raises: ValueError saying what is accepted.
    """
    stripped = text.strip()
    if re.fullmatch(_NUMBER, stripped):
        delay_ms = float(stripped)
        if delay_ms > MAX_MS:
            raise ValueError(f"a delay is at most 10 years ({MAX_MS} ms), got {_shown(text)}")
        return int(max(delay_ms, 0.0))
    try:
        return parse_duration(stripped)
    except ValueError as error:
        raise ValueError(f"{error} (a bare number is milliseconds)") from None


def parse_rfc3339(text: str) -> int:
    """Read an RFC 3339 instant with its offset, and nothing else.

    Shape: what is below a millisecond is cut; second 60 is the last millisecond of second 59.
    Raises: ValueError saying what is accepted; how far ahead it may be is for the caller.
    """
    match = re.fullmatch(_RFC3339, text)
    if match is None:
        raise ValueError(f"expected {_RFC3339_FORMS}, got {_shown(text)}")
    parts = match.groupdict()
    try:
        return _to_instant(_date(parts), _time_of_day(parts), _fixed_zone(parts["offset"]))
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is no instant: {error}") from None


def parse_instant(text: str, now: int, zone: str | None = None) -> int:
    """Read an instant such as "tomorrow 09:00 Europe/Berlin", "in 5m" or RFC 3339.

    Shape: `zone` stands in where the text names none; without either a time of day is refused.
    A time of day alone, or with a weekday, is the next such time. A time that the clocks skip
    means the first instant after the gap, one that they repeat its first pass. The past is fine.
    Raises: ValueError saying what is accepted, also for what is over ten years ahead.
    """
    stripped = text.strip()
    if stripped[:3].lower() == "in ":
        return now + parse_duration(stripped[3:])
    match = re.fullmatch(_INSTANT, stripped)
    if match is None:
        raise ValueError(f"expected an instant such as {_INSTANT_FORMS}, got {_shown(text)}")
    parts = match.groupdict()
    name = parts["zone"] or zone
    if parts["offset"]:
        rules = _fixed_zone(parts["offset"])
    elif name:
        rules = load_zone(name)
    else:
        raise ValueError(f"the time names no zone: write {_shown(text + ' Europe/Berlin')}")
    try:
        at = _resolve(parts, rules, now)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is no instant: {error}") from None
    if at > now + MAX_MS:
        raise ValueError(f"an instant is at most 10 years ahead, got {_shown(text)}")
    return at


def within_calendar(at: int) -> int:
    """An instant as the bound of something. Raises: ValueError before 1970.

    Shape: what lies beyond `MAX_AT` is taken for it, because "9999-12-31" means for ever.
    """
    if at < 0:
        raise ValueError(f"expected an instant from 1970 on, got {format_instant(at)}")
    return min(at, MAX_AT)


def local_time(at: int, zone: datetime.tzinfo | None) -> datetime.datetime:
    """What the clocks of a zone show, those of this machine without one; it ends at `MAX_AT`."""
    return datetime.datetime.fromtimestamp(min(at, MAX_AT) // 1000, zone)


def load_zone(name: str) -> datetime.tzinfo:
    """The rules of an IANA time zone. Raises: UnknownZone."""
    import struct
    import zoneinfo

    # OSError: "Europe" is a folder; struct.error, AssertionError: the zone's file is cut short.
    unfit = (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, struct.error, AssertionError)
    if len(name) <= _MAX_ZONE and re.fullmatch(_ZONE_NAME, name):
        with contextlib.suppress(*unfit):
            return zoneinfo.ZoneInfo(name)
    raise UnknownZone(
        f'there is no time zone {_shown(name)}: name one such as "Europe/Berlin" or "UTC"'
    )


def forget_zones() -> None:
    """Read the rules of zones anew from now on: their database may have been updated."""
    import zoneinfo

    zoneinfo.ZoneInfo.clear_cache()


def format_instant(at: int) -> str:
    """An instant as RFC 3339 with milliseconds and Z."""
    minute, ms = divmod(at, MINUTE_MS)
    return f"{_utc_minute(minute)}:{ms // 1000:02d}.{ms % 1000:03d}Z"


def format_duration(ms: int) -> str:
    """A duration as `parse_duration` reads it back exactly: "1d12h", "250ms", "0s"."""
    text = ""
    for unit, unit_ms in _WRITTEN:
        count, ms = divmod(ms, unit_ms)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def describe_instant(at: int, now: int, zone: str | None = None) -> str:
    """An instant for people: "2026-12-01 09:00:00 CET (in 9 days)".

    Shape: without `zone` it is shown in the zone of this machine. Raises: UnknownZone.
    """
    if zone is None:
        local = time.localtime(at // 1000)
        absolute = f"{time.strftime('%Y-%m-%d %H:%M:%S', local)} {local.tm_zone}"
    else:
        moment = local_time(at, load_zone(zone))
        absolute = f"{moment:%Y-%m-%d %H:%M:%S %Z}"
    return f"{absolute} ({_relative(at - now)})"


def _relative(ms: int) -> str:
    """How far off something is, to two units below a week: "in 1 hour 30 minutes"."""
    seconds = round(abs(ms) / 1000)
    if not seconds:
        return "now"
    grain = next((grain for below, grain in _GRAINS if seconds < below), 86_400)
    rest = (seconds + grain // 2) // grain * grain
    words = []
    for unit, unit_s in _SPOKEN:
        count, rest = divmod(rest, unit_s)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return f"in {' '.join(words)}" if ms > 0 else f"{' '.join(words)} ago"


@lru_cache(maxsize=4096)
def _utc_minute(number: int) -> str:
    # Cached, because the answers of one moment are about few minutes: three times as fast.
    year, month, day, hour, minute, *_ = time.gmtime(number * 60)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}"


def _resolve(parts: Mapping[str, str | None], zone: datetime.tzinfo, now: int) -> int:
    clock = _time_of_day(parts)
    if parts["year"]:
        return _to_instant(_date(parts), clock, zone)
    today = datetime.datetime.fromtimestamp(now // 1000, zone).date()
    word = (parts["word"] or "").lower()
    if word == "today":
        return _to_instant(today, clock, zone)
    if word == "tomorrow":
        return _to_instant(today + datetime.timedelta(days=1), clock, zone)
    ahead, period = (_days_until(word, today), 7) if word else (0, 1)
    at = _to_instant(today + datetime.timedelta(days=ahead), clock, zone)
    if at < now:
        at = _to_instant(today + datetime.timedelta(days=ahead + period), clock, zone)
    return at


def _days_until(word: str, today: datetime.date) -> int:
    for index, weekday in enumerate(_WEEKDAYS):
        if word in {weekday, weekday[:3]}:
            return (index - today.weekday()) % 7
    raise ValueError("a day is today, tomorrow, a weekday or a date")


def _date(parts: Mapping[str, str | None]) -> datetime.date:
    return datetime.date(*(int(parts[name] or 0) for name in ("year", "month", "day")))


def _time_of_day(parts: Mapping[str, str | None]) -> datetime.time:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    millisecond = int(((parts["fraction"] or "") + "000")[:3])
    if second == 60:  # a leap second; Unix time has none
        second, millisecond = 59, 999
    return datetime.time(hour, minute, second, millisecond * 1000)


def _fixed_zone(offset: str | None) -> datetime.tzinfo:
    if offset is None or offset in "Zz":
        return datetime.UTC
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return datetime.timezone(datetime.timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _to_instant(day: datetime.date, clock: datetime.time, zone: datetime.tzinfo) -> int:
    """The first instant at which the clocks of a zone show at least this time of this day."""
    wall = datetime.datetime.combine(day, clock)
    wall_ms = (wall - _EPOCH) // _MILLISECOND
    before_ms, after_ms = (_offset_ms(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if before_ms >= after_ms:
        return wall_ms - before_ms
    return _end_of_gap(wall_ms - after_ms, wall_ms - before_ms, zone)


def _end_of_gap(low: int, high: int, zone: datetime.tzinfo) -> int:
    """The instant in (low, high] at which the offset of a zone grows."""

    def offset_ms(at: int) -> int:
        return _offset_ms(datetime.datetime.fromtimestamp(at // 1000, zone))

    target = offset_ms(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if offset_ms(middle) == target else (middle, high)
    return high


def _offset_ms(moment: datetime.datetime) -> int:
    return (moment.utcoffset() or datetime.timedelta()) // _MILLISECOND


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
