"""The queries of the SQLite store for what needs a person. They change nothing.

Invariant: an answer looks at so many schedules and jobs and no more, however many there are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from lq.attention import Troubled
from lq.daemon.store.reading import Fetch
from lq.model import State
from lq.patterns import meant

MOST_IN_A_ROW: Final = 100
_MOST_SCHEDULES: Final = 5_000
_BACK: Final = 20  # what was cancelled or skipped is looked past so far


def troubled(fetch: Fetch, patterns: Sequence[str], limit: int) -> list[Troubled]:
    """Schedules that lq has paused or whose last jobs failed; no patterns mean all queues."""
    queues = None
    if patterns:
        named = fetch("schedule_queues")
        queues = json.dumps([name for (name,) in named if meant(name, patterns)])
    found = fetch(
        "troubled_schedules", queues=queues, most=_MOST_SCHEDULES, back=_BACK, limit=limit
    )
    return [
        Troubled(id=schedule_id, key=key, queue=queue, reason=reason)
        if reason is not None
        else _failing(fetch, schedule_id, key, queue)
        for schedule_id, key, queue, reason in found
    ]


def _failing(fetch: Fetch, schedule_id: str, key: str | None, queue: str) -> Troubled:
    """How often its last jobs have failed in a row, and why the last of them has."""
    found = fetch("last_of_schedule", schedule=schedule_id, limit=MOST_IN_A_ROW + _BACK)
    failed = []
    for row in found:
        if row[0] == State.COMPLETED:
            break
        if row[0] == State.FAILED:
            failed.append(row)
    failed = failed[:MOST_IN_A_ROW]
    return Troubled(
        id=schedule_id,
        key=key,
        queue=queue,
        failures=len(failed),
        since_at=failed[-1][1],
        error=failed[0][2],
        fingerprint=failed[0][3],
        job_queue=failed[0][4],
    )
