"""Pings a URL outside as long as all is well, so that somebody notices when lq itself is gone.

Owns the interval, and what "well" is: what /healthz says, and that the way out works. A ping is no
job: one that waited in the store would say that all was well when it no longer is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lq.clock import Clock
from lq.config import WatchConfig

log = logging.getLogger(__name__)

_TIMEOUT_MS = 10_000

Get = Callable[[str, int], Awaitable[str | None]]
"""Calls a URL within so many ms; what went wrong, or None."""


class Ping:
    """Calls `[watch] ping` each `every`; the log says when that fails, and when it works again."""

    def __init__(self, config: WatchConfig, clock: Clock, live: Callable[[], bool], get: Get):
        self._config = config
        self._clock = clock
        self._live = live
        self._get = get
        self._fails = False

    async def run(self) -> None:
        """Ping until cancelled; nothing to do without a URL."""
        url = self._config.ping
        while url is not None:
            if self._live():
                self._note(await self._get(url, min(_TIMEOUT_MS, self._config.every_ms)))
            await self._clock.wait(asyncio.Event(), self._config.every_ms)

    def _note(self, error: str | None) -> None:
        fails = error is not None
        if fails and not self._fails:
            log.warning("[watch] ping fails: %s", error)
        elif self._fails and not fails:
            log.info("[watch] ping works again")
        self._fails = fails
