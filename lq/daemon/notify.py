"""Tells the service manager how the daemon is, as sd_notify(3) does.

Owns: the datagrams (READY, RELOADING, STOPPING, STATUS, WATCHDOG) and the variables that name their
socket, which no child inherits. Never decides whether the daemon is well: it is told, and asks.

Invariant: a service manager that cannot be told changes nothing about the daemon.

Source: sd_notify(3) and sd_watchdog_enabled(3) of systemd.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

log = logging.getLogger(__name__)

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """The service manager that started this process, or nobody.

    Shape: `watchdog_s` is how often it wants to hear that all is well, None if it does not.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Manager:
        """Learn from the environment who it is, and take that out: no child is to speak for us."""
        address, usec, pid = (environ.pop(name, None) for name in _VARIABLES)
        if not address or address[0] not in "/@":
            return cls()
        ours = not pid or pid == str(os.getpid())
        watched = ours and (usec or "").isdecimal() and int(usec or 0) > 0
        return cls(address, int(usec or 0) / 1_000_000 if watched else None)

    def ready(self, status: str) -> None:
        """Say that the daemon serves; also after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` ends it."""
        # CLOCK_MONOTONIC, which systemd compares with its own.
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reading lq.toml again")

    def stopping(self, status: str) -> None:
        """Say that the daemon has begun to stop."""
        self._send("STOPPING=1", f"STATUS={status}")

    async def watch(self, well: Callable[[], bool], status: Callable[[], str]) -> None:
        """Say that all is well, as often as is wanted twice over, for as long as it is."""
        if self.watchdog_s is None:
            return
        while True:
            if well():
                self._send("WATCHDOG=1", f"STATUS={status()}")
            else:
                self._send(f"STATUS={status()}")
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # A name that begins with @ is in Linux's abstract namespace.
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        text = "\n".join(" ".join(line.splitlines()) for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto(text.encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", lines[0], error.strerror)
