"""Ports for applications that daemons are told of before they listen."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port that nobody listens on.

    Shape: below the ports that the kernel hands out by itself, so that no connection of
    another test takes it in between.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
