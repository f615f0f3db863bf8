"""The queries of the SQLite store for a glance at the daemon. They change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lq.daemon.store import rows
from lq.daemon.store.reading import Fetch
from lq.model import Run, Schedule
from lq.patterns import meant


def running(fetch: Fetch, patterns: Sequence[str], limit: int) -> list[Run]:
    """The runs that began first, in queues that one of the patterns means; none means all."""
    queues = None
    if patterns:
        named = fetch("queue_names")
        queues = json.dumps([number for number, name in named if meant(name, patterns)])
    found = fetch("running_first", queues=queues, limit=limit)
    return [Run(row[18], rows.job(row), row[-1]) for row in found]


def next_schedules(fetch: Fetch, patterns: Sequence[str], limit: int) -> list[Schedule]:
    """The schedules that fire next, of such queues."""
    queues = None
    if patterns:
        named = fetch("schedule_queues")
        queues = json.dumps([name for (name,) in named if meant(name, patterns)])
    return [rows.schedule(row) for row in fetch("schedules_next", queues=queues, limit=limit)]
