"""Durations in the words of the npm package `ms`: "2 days", "10h", "2.5 hrs", "1y".

Owns that grammar, exactly: what it reads, `ms` reads, with the same result. Its words are not all
lq's own (a bare number is milliseconds, case does not matter, a year is 365.25 days), which is why
they are taken where the orchestrator promises them and nowhere else.

Source: github.com/vercel/ms, 2.1.3.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Final

from lq.errors import ValidationError

_SECOND: Final = 1000
_DAY: Final = 86_400 * _SECOND
_UNITS: Final = {
    **dict.fromkeys(("years", "year", "yrs", "yr", "y"), _DAY * 365.25),
    **dict.fromkeys(("weeks", "week", "w"), 7 * _DAY),
    **dict.fromkeys(("days", "day", "d"), _DAY),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), 3600 * _SECOND),
    **dict.fromkeys(("minutes", "minute", "mins", "min", "m"), 60 * _SECOND),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), _SECOND),
    **dict.fromkeys(("milliseconds", "millisecond", "msecs", "msec", "ms"), 1),
}
_MOST_CHARACTERS: Final = 100
# JavaScript's \d is ASCII, and its `i` folds no letter outside of it.
_FORM: Final = re.compile(rf"(-?[0-9]*\.?[0-9]+) *({'|'.join(_UNITS)})?", re.IGNORECASE | re.ASCII)
_ACCEPTED: Final = 'such as "2 days", "10h", "2.5 hrs", "1m", "5s" or "1y" (a number is ms)'

Interval = str | float | datetime.timedelta
"""Text in the words of `ms`, a number of milliseconds, or a timedelta."""


def parse_ms(text: str) -> float | None:
    """What `ms(text)` gives, be it negative or a fraction; None where it gives nothing."""
    match = _FORM.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if match is None:
        return None
    return float(match[1]) * _UNITS[(match[2] or "ms").lower()]


def milliseconds(field: str, interval: Interval) -> int:
    """An interval as whole milliseconds, which may be negative; what is below is cut.

    Raises: ValidationError on `field`.
    """
    if isinstance(interval, datetime.timedelta):
        return interval // datetime.timedelta(milliseconds=1)
    if isinstance(interval, str):
        found = parse_ms(interval)
    else:
        is_number = isinstance(interval, int | float) and not isinstance(interval, bool)
        found = float(interval) if is_number else None
    if found is None or not math.isfinite(found):
        shown = repr(interval)
        raise ValidationError.of(field, f"expected a duration {_ACCEPTED}, got {shown[:60]}")
    return int(found)
