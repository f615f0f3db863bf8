"""The verbs of the SQLite store on what has happened, slot by slot of time.

Invariant: what is added to a minute is added to its quarter of an hour in the same transaction.
What is old is only decided by a clock that has been around here for an hour, and no transaction
forgets much: one that is wrong for a while takes little along, and no push waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec.structs import astuple

from lq.activity import KEPT_MS, QUARTER_MS, Tally, slot_at
from lq.daemon.store import Minute
from lq.daemon.store.reading import Fetch
from lq.daemon.store.transaction import Transaction
from lq.patterns import meant
from lq.when import DAY_MS, HOUR_MS

_ALL: Final = 0
_FORGOTTEN: Final = 500


def add(tx: Transaction, minutes: Sequence[Minute], now: int) -> None:
    """Add what happened in minutes to their slots; forget some of the slots that are too old."""
    slots = list(_slots(tx, minutes))
    tx.over("add_activity", slots)
    if not tx.all(
        "was_here", slot_ms=QUARTER_MS, after=now - DAY_MS - HOUR_MS, before=now - HOUR_MS
    ):
        return
    limit = _FORGOTTEN + 2 * len(slots)  # more than comes to them: what is old becomes less
    for slot_ms, kept_ms in KEPT_MS.items():
        tx.change("forget_old_activity", slot_ms=slot_ms, before=now - kept_ms, limit=limit)
        tx.change("forget_future_activity", slot_ms=slot_ms, after=now + DAY_MS, limit=limit)


def _slots(tx: Transaction, minutes: Sequence[Minute]) -> Iterator[tuple[Any, ...]]:
    """The rows that these minutes are added to, with what is added."""
    for minute in minutes:
        # Not `tx.queue`, which would bring a queue back that was deleted meanwhile.
        queue = _ALL if minute.queue is None else tx.known_queue(minute.queue)
        if queue is not None:
            for slot_ms in KEPT_MS:
                yield slot_ms, slot_at(minute.at, slot_ms), queue, *astuple(minute.tally)


def find(
    fetch: Fetch,
    slot_ms: int,
    first_at: int,
    end_at: int,
    *,
    queue: str | None,
    patterns: Sequence[str],
) -> list[tuple[int, Tally]]:
    """The slots of this length that begin in a range of time, where something happened."""
    if queue is None and patterns:
        named = fetch("queue_names")
        numbers = json.dumps([number for number, name in named if meant(name, patterns)])
        found = fetch(
            "activity_of_queues", slot_ms=slot_ms, first_at=first_at, end_at=end_at, queues=numbers
        )
    else:
        known = [(_ALL,)] if queue is None else fetch("queue_id", name=queue)
        slots = json.dumps(list(range(first_at, end_at, slot_ms)))
        found = [
            row
            for (number,) in known
            for row in fetch("activity", slot_ms=slot_ms, slots=slots, queue=number)
        ]
    return [(at, Tally(*counts)) for at, *counts in found]
