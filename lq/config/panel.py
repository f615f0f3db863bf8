"""`[panel]`: whom the admin panel is served for, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from lq.config.kinds import FLAG, Kind, duration, texts, words_of

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


class PanelConfig(Struct, frozen=True, kw_only=True):
    """Whether there is a panel, the names that it is reached by, and how long a login lasts."""

    enabled: bool = True
    hosts: tuple[str, ...] = ()  # besides this machine's own, `listen` and `public_url`
    idle_ms: int = 2 * _HOUR_MS  # without a click
    lifetime_ms: int = _DAY_MS


def _hosts_of(value: object) -> tuple[str, ...]:
    names = tuple(name.lower() for name in texts(value))
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError
    return names


PANEL: Final[Mapping[str, Kind]] = {
    "enabled": FLAG,
    "hosts": Kind('a list of names without a port such as ["lq.example.com"]', _hosts_of, words_of),
    "idle": duration(_MINUTE_MS, 30 * _DAY_MS, 'from 1m to 30d, such as "2h"'),
    "lifetime": duration(_MINUTE_MS, 365 * _DAY_MS, 'from 1m to 365d, such as "24h"'),
}
