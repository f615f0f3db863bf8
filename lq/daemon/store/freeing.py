"""The verb of the SQLite store on jobs that an endpoint has held: let them go before their time.

Invariant: a job is freed only while it waits for what it was held for; what its maker asked for,
its place in a fifo queue and the wait before a retry stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from lq.daemon.store.reading import Fetch
from lq.daemon.store.transaction import Transaction

_MOST_LOOKED_AT: Final = 10_000
HeldJob = tuple[int, str]
"""The seq of a job, and what has held it."""


def held(fetch: Fetch, queue: str, target: str, reasons: Sequence[str], now: int) -> list[HeldJob]:
    """The jobs of a queue that a target has held, for reasons that begin so."""
    named = fetch("queue_id", name=queue)
    if not named:
        return []
    wanted = {
        "queue": named[0][0],
        "target": target,
        "reasons": json.dumps(list(reasons)),
        "now": now,
    }
    found = fetch("held_head", **wanted) + fetch("held_jobs", most=_MOST_LOOKED_AT, **wanted)
    return [(seq, error) for seq, error in found]


def free(tx: Transaction, jobs: Sequence[HeldJob], now: int) -> None:
    """Make held jobs due, in one transaction."""
    tx.over("free_jobs", [(seq, error, now) for seq, error in jobs])
