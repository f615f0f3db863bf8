"""The queries of the SQLite store that change nothing: one job, its attempts, pages of many.

Pages are keyset pages: a cursor holds the place of the last row shown, so a page costs the
same however far it is, and rows that come or go in between shift nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

from lq.daemon.store import MOST_AHEAD, Place, rows
from lq.daemon.store.rows import Row
from lq.errors import ValidationError
from lq.model import Attempt, ById, Job, JobFilter, Page, Queue, Ref, State


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
    return Place(ahead[0][0], head[0][0] if head else job.id, called[0][0] if called else None)


def queues(fetch: Fetch, name: str | None = None) -> list[Queue]:
    return [rows.queue(row) for row in fetch("queues", name=name)]


def unfinished(fetch: Fetch, wanted: JobFilter) -> Page[Job]:
    """Running jobs, then waiting ones, after the cursor."""
    shared = _shared(fetch, wanted)
    if shared is None:
        return Page(())
    part, place = _cursor(wanted.cursor, {"r": 1, "p": 3}, start=("r", (-1,)))
    found: list[Row] = []
    if part == "r" and wanted.state in {None, State.RUNNING.value}:
        found = fetch(
            "running_page",
            after_run=place[0],
            limit=wanted.limit + 1,
            **shared,
        )
    shown = len(found)
    if shown <= wanted.limit and wanted.state != State.RUNNING.value:
        after = place if part == "p" else (-1, -1, -1)
        found = found + _pending(fetch, wanted, shared, after, wanted.limit + 1 - shown)
    return _page(found, wanted.limit, _unfinished_cursor)


def _pending(
    fetch: Fetch, wanted: JobFilter, shared: dict[str, Any], after: Sequence[int], limit: int
) -> list[Row]:
    retrying = {"PENDING": False, "RETRY": True}.get(wanted.state or "")
    values = shared | {"retrying": retrying, "limit": limit}
    values |= {"after_queue": after[0], "after_due": after[1], "after_seq": after[2]}
    if wanted.schedule is not None:
        return fetch("pending_page_of_schedule", **values)
    return fetch("pending_page" if wanted.queue is None else "pending_page_of_queue", **values)


def finished(fetch: Fetch, wanted: JobFilter) -> Page[Job]:
    """Finished jobs, newest first, before the cursor."""
    shared = _shared(fetch, wanted)
    if shared is None:
        return Page(())
    newest = (1 << 62, 1 << 62)
    _, place = _cursor(wanted.cursor, {"f": 2}, start=("f", newest))
    found = fetch(
        "finished_page" if wanted.schedule is None else "finished_page_of_schedule",
        before_at=place[0],
        before_seq=place[1],
        state=wanted.state,
        limit=wanted.limit + 1,
        **shared,
    )
    return _page(found, wanted.limit, lambda row: f"f.{row[22]}.{row[0]}")


def _shared(fetch: Fetch, wanted: JobFilter) -> dict[str, Any] | None:
    """The parameters all pages take; None when no queue can match."""
    queue = None
    if wanted.queue is not None:
        found = fetch("queue_id", name=wanted.queue)
        if not found:
            return None
        queue = found[0][0]
    allowed = None
    if wanted.queues:
        allowed = [
            number
            for number, name in fetch("queue_names")
            if any(fnmatchcase(name, pattern) for pattern in wanted.queues)
        ]
        if queue is not None and queue not in allowed:
            return None
    return {
        "queue": queue,
        "queues": None if allowed is None else json.dumps(allowed),
        "schedule": wanted.schedule,
        "key": wanted.key,
        "label": None if wanted.label is None else f",{wanted.label},",
        "from_at": wanted.from_at,
        "to_at": wanted.to_at,
    }


def _page(found: list[Row], limit: int, cursor: Any) -> Page[Job]:
    shown = found[:limit]
    more = cursor(shown[-1]) if len(found) > limit else None
    return Page(tuple(rows.job(row) for row in shown), more)


def _unfinished_cursor(row: Row) -> str:
    if row[3] == State.RUNNING.value:
        return f"r.{row[18]}"
    return f"p.{rows.queue_id(row)}.{row[6]}.{row[0]}"


def _cursor(
    text: str | None, parts: dict[str, int], start: tuple[str, tuple[int, ...]]
) -> tuple[str, tuple[int, ...]]:
    """Read a cursor `part.n.n…` that an earlier page gave."""
    if text is None:
        return start
    part, *numbers = text.split(".")
    fits = parts.get(part) == len(numbers) and all(
        number.isascii() and number.isdigit() and len(number) < 19 for number in numbers
    )
    if not fits:
        raise ValidationError.of("cursor", "not a cursor that this listing gave")
    return part, tuple(int(number) for number in numbers)
