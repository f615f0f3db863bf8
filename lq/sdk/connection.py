"""Where the daemon is, and the clients that all queues of an app share.

Invariant: the environment is read when a client is needed, not before; when it has changed, so
has the client.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lq.client import Client

if TYPE_CHECKING:
    from lq.client import AsyncClient

_VARIABLES = ("LQ_API_URL", "LQ_TOKEN", "LQ_CONFIG", "LQ_SOCKET", "LQ_DATA_DIR", "HOME")


class Daemon(NamedTuple):
    """Which daemon is meant; without an URL and a socket the environment says."""

    url: str | None = None
    token: str | None = None
    socket: str | Path | None = None

    def client(self) -> Client:
        """The client for threads."""
        return _client(self, _environment())

    def async_client(self) -> AsyncClient:
        """The client for event loops."""
        return _async_client(self, _environment())

    def impatient_client(self) -> Client:
        """A client for what an app does while it starts: it must not be held up for long."""
        return _impatient_client(self, _environment())


def _environment() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, _VARIABLES))


@lru_cache(maxsize=16)
def _client(daemon: Daemon, _: tuple[str | None, ...]) -> Client:
    return Client(*daemon)


@lru_cache(maxsize=16)
def _async_client(daemon: Daemon, _: tuple[str | None, ...]) -> AsyncClient:
    from lq.client import AsyncClient

    return AsyncClient(*daemon)


@lru_cache(maxsize=16)
def _impatient_client(daemon: Daemon, _: tuple[str | None, ...]) -> Client:
    return Client(*daemon, timeout_s=5.0, retries=0)
