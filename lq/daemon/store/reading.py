"""The queries of the SQLite store that change nothing, but for what finds jobs among many.

Owns one job, its attempts, its place in its queue, and the queues.
"""

from __future__ import annotations

from typing import Any, Protocol

from lq.daemon.store import MOST_AHEAD, Place, rows
from lq.daemon.store.rows import Row
from lq.model import Attempt, ById, Job, Queue, Ref


class Fetch(Protocol):
    """Runs a named statement and fetches all rows."""

    def __call__(self, name: str, /, **values: Any) -> list[Row]: ...


def find(fetch: Fetch, ref: Ref) -> list[Row]:
    """The rows a reference names: one by id; by key the waiting, then the running one."""
    if isinstance(ref, ById):
        return fetch("job_by_id", id=ref.id)
    return fetch("jobs_by_key", queue=ref.queue, key=ref.key)


def get(fetch: Fetch, ref: Ref) -> Job | None:
    found = find(fetch, ref)
    return rows.job(found[0]) if found else None


def attempts(fetch: Fetch, ref: Ref) -> list[Attempt] | None:
    job = get(fetch, ref)
    return None if job is None else [rows.attempt(row) for row in fetch("attempts", id=job.id)]


def place(fetch: Fetch, job: Job, now: int) -> Place:
    """Where a waiting job stands in its queue."""
    queue = fetch("queue_id", name=job.queue)[0][0]
    ahead = fetch("ahead", queue=queue, now=now, due_at=job.due_at, seq=job.seq, limit=MOST_AHEAD)
    head = fetch("head_of_queue", queue=queue)
    called = fetch("called_with_key", queue=queue, key=job.key) if job.key is not None else []
    first, at = head[0] if head else (job.id, job.next_at)
    return Place(ahead[0][0], first, at, called[0][0] if called else None)


def queues(fetch: Fetch, name: str | None = None) -> list[Queue]:
    return [rows.queue(row) for row in fetch("queues", name=name)]
