"""The keys of `[events]`: who may watch, and how much of what happened is kept in mind for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from lq.config.kinds import Kind, duration, integer

MINUTE_MS: Final = 60_000


class EventsConfig(Struct, frozen=True, kw_only=True):
    """What streams of events may cost. Who connects again is given what it missed from memory."""

    remember: int = 10_000  # events, over all queues
    linger_ms: int = 5 * MINUTE_MS  # how long they are kept in mind when nobody listens any more
    subscribers: int = 64  # over TCP, at once


EVENTS: Final[Mapping[str, Kind]] = {
    "remember": integer(100, 1_000_000),
    "linger": duration(0, 60 * MINUTE_MS, 'from 0s to 1h, such as "5m"'),
    "subscribers": integer(0, 100_000),
}
