"""The keys about who may come in: `[tls]`, `[limits]` and the proxies that are believed."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from lq.config.kinds import Kind, duration, integer, texts, words_of

Network = IPv4Network | IPv6Network

MINUTE_MS: Final = 60_000


class Tls(Struct, frozen=True, kw_only=True):
    """The certificate and key to serve https with; neither for plain http."""

    cert: Path | None = None
    key: Path | None = None


class Limits(Struct, frozen=True, kw_only=True):
    """What strangers may take of the daemon over TCP. The unix socket knows only the time-outs.

    Shape: `bad_tokens` and `refused` are per address and minute; an IPv6 address stands for its
    /64. A 0 there means no limit.
    """

    connections: int = 1000
    connections_per_address: int = 64
    header_timeout_ms: int = 15_000  # from a connection, or its last answer, to a whole head
    body_timeout_ms: int = 30_000  # of answers, too; longer for as long as 16 KiB a second move
    bad_tokens: int = 20
    refused: int = 6_000  # 400, 401, 405 and the like, without a good token


def _networks(value: Any) -> tuple[Network, ...]:
    networks = tuple(ip_network(text) for text in texts(value))
    for network in networks:
        if network.prefixlen == 0:
            raise ValueError(f"{network} is everybody; name the addresses of your proxies")
    return networks


def _file(value: Any) -> str:
    """A path; "" is none."""
    if not isinstance(value, str) or (value and not value.isprintable()):
        raise ValueError
    return value


FILE: Final = Kind('a path, or "" for none', _file)
_PATIENCE: Final = duration(1000, 10 * MINUTE_MS, 'from 1s to 10m, such as "15s"')

PROXIES: Final = Kind(
    'a list of addresses and networks such as ["127.0.0.1", "10.0.0.0/8"]', _networks, words_of
)
TLS: Final[Mapping[str, Kind]] = {"cert": FILE, "key": FILE}
LIMITS: Final[Mapping[str, Kind]] = {
    "connections": integer(1, 100_000),
    "connections_per_address": integer(1, 100_000),
    "header_timeout": _PATIENCE,
    "body_timeout": _PATIENCE,
    "bad_tokens": integer(0, 1_000_000),
    "refused": integer(0, 1_000_000),
}
