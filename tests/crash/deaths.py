"""A daemon that is killed at a random moment of its life.

LQ_CRASH_SECONDS makes storms longer, LQ_CRASH_SEED repeats one (its chances, not its timing).
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from random import Random

from tests.e2e.process import LAST_OF_BANNER, Daemon

from .load import now_ms

SECONDS = float(os.environ.get("LQ_CRASH_SECONDS", "20"))
SEED = os.environ.get("LQ_CRASH_SEED") or secrets.token_hex(4)


def live_and_die(daemon: Daemon, chance: Random) -> int:
    """Start the daemon and kill it at some moment of its life; when that was."""
    daemon.launch()
    if chance.random() < 0.25:
        time.sleep(chance.uniform(0, 0.5))  # perhaps before it serves
    else:
        daemon.wait_for(LAST_OF_BANNER)
        time.sleep(chance.uniform(0, 0.8))
    if chance.random() < 0.2:
        daemon.send(signal.SIGTERM)
        time.sleep(chance.uniform(0, 0.25))  # perhaps while it drains
    at = now_ms()
    assert "Traceback" not in daemon.kill().stderr
    return at
