"""What an app wanted of lq while it could not be reached: tried again when lq calls.

Owns: the waiting wishes, one for each name, the newest. Never keeps an app from starting, and
never holds up a call: what waits is tried on a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from lq.client import ApiError, Unreachable

log = logging.getLogger("lq")

Json = dict[str, Any]
Wish = Callable[[], Json]

_PAUSE_S = 10.0
_PASSING = frozenset({429, 503, 507})


class Later:
    """Wishes that wait until lq can be reached."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Wish] = {}
        self._is_trying = False
        self._next_try = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether anything is left to be done."""
        return bool(self._waiting)

    def now_or_later(self, name: str, wish: Wish) -> Json | None:
        """Carry a wish out, or keep it and return None when that is impossible just now."""
        try:
            done = wish()
        except (Unreachable, ApiError) as error:
            if isinstance(error, ApiError) and error.status not in _PASSING:
                raise
            log.warning("%s waits until lq can be reached: %s", name, error.message)
            with self._lock:
                self._waiting[name] = wish
            return None
        with self._lock:
            self._waiting.pop(name, None)
        return done

    def catch_up(self) -> None:
        """Try again what waits, beside the caller; called when lq has shown that it is there."""
        if not self._waiting:
            return
        with self._lock:
            now = time.monotonic()
            if self._is_trying or now < self._next_try:
                return
            self._is_trying, self._next_try = True, now + _PAUSE_S
        threading.Thread(target=self._try_all, name="lq-later", daemon=True).start()

    def _try_all(self) -> None:
        try:
            for name, wish in list(self._waiting.items()):
                try:
                    self.now_or_later(name, wish)
                except ApiError as error:
                    log.error("%s was refused by lq: %s", name, error.message)
                    with self._lock:
                        self._waiting.pop(name, None)
        finally:
            self._is_trying = False


LATER = Later()
"""The one of this process."""
