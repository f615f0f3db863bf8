"""What people type about a schedule, in the words of the API.

Owns: the spellings that the form takes beside the API's own. What they are worth the API judges.
"""

from __future__ import annotations

import re

from msgspec import DecodeError, Raw
from msgspec.json import decode

from lq.when import UnknownZone, format_instant, load_zone, parse_instant, parse_rfc3339


def rule_of(text: str) -> str:
    """A rule as the API reads it: "every 90s" and "every hour" are intervals."""
    every = re.fullmatch(r"every\s+(\S.*)", text.strip(), re.IGNORECASE | re.DOTALL)
    if every is None:
        return text
    return f"E={every[1]}" if every[1][0].isdigit() else f"E=1 {every[1]}"


def rule_words(rule: str) -> str:
    """A rule as the form shows it."""
    return f"every {rule[2:]}" if rule.startswith("E=") else rule


def instant_of(text: str, zone: str, now: int) -> str:
    """An instant; one without a zone is read in that of the schedule. Raises: ValueError."""
    try:
        parse_rfc3339(text)
    except ValueError:
        return format_instant(parse_instant(text, now, _known(zone)))
    return text


def type_of(payload: str) -> str:
    """The content type of what has been typed."""
    try:
        decode(payload.encode(), type=Raw)
    except (DecodeError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"


def _known(zone: str) -> str:
    """A zone to read times in, even if what was typed is none: the API says that."""
    try:
        load_zone(zone)
    except UnknownZone:
        return "UTC"
    return zone
