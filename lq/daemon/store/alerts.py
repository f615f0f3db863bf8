"""The verbs of the SQLite store on alerts: notices of what has ended, and what is made of them.

Invariant: a notice is written in the transaction of the ending it is about, and forgotten in the
one that stores what it led to, the alert's job included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from lq.alerts import WELL, Happened, Line, Notice, Standing
from lq.daemon.store import AlertBook, Judged, rows
from lq.daemon.store.pushing import Batch
from lq.daemon.store.reading import Fetch
from lq.daemon.store.transaction import Transaction
from lq.model import Job, NewJob, Run, Settlement, State


def note_ends(tx: Transaction, ends: Iterable[tuple[Settlement, State]]) -> None:
    """Keep notices of runs that have ended with their jobs in these states."""
    _keep(tx, (tx.watch.ended(end, state) for end, state in ends))


def note_expired(tx: Transaction, expired: Sequence[Job], now: int) -> None:
    """Keep notices of jobs that have expired."""
    _keep(tx, (_waited(job, Happened.FAILED, now) for job in expired))


def note_missed(tx: Transaction, fired: Iterable[NewJob]) -> None:
    """Keep notices of the times for which schedules made no job, or one for several."""
    _keep(tx, (_missed(new) for new in fired))


def _missed(new: NewJob) -> Notice | None:
    firing = new.firing
    if firing is None:
        return None
    skipped = new.skipped is not None and new.skipped.startswith("misfire: ")
    if not skipped and not firing.missed:
        return None
    return Notice(
        happened=Happened.MISSED,
        at=new.created_at,
        job=new.id,
        queue=new.queue,
        target=new.target,
        not_before=new.not_before,
        schedule=firing.schedule,
        key=new.key,
        error=new.skipped,
        missed=firing.missed or 1,
    )


def _waited(job: Job, happened: Happened, now: int) -> Notice:
    return Notice(
        happened=happened,
        at=now,
        job=job.id,
        queue=job.queue,
        target=job.target,
        not_before=job.not_before,
        schedule=job.firing.schedule if job.firing else None,
        key=job.key,
        attempts=job.failures,
        error=job.error,
    )


def _keep(tx: Transaction, notices: Iterable[Notice | None]) -> None:
    kept = [
        (msgspec.json.encode(notice).decode(),)
        for notice in notices
        if notice is not None and tx.watch.wants(notice.queue, notice.target, notice.schedule)
    ]
    tx.over("insert_notices", kept)
    tx.noticed |= bool(kept)


def notices(tx: Transaction, limit: int) -> list[tuple[int, Notice]]:
    """The oldest notices that were not judged. In a write, so that it comes after their commit."""
    found = tx.all("notices", limit=limit)
    return [(id_, msgspec.json.decode(body, type=Notice)) for id_, body in found]


def book(fetch: Fetch) -> AlertBook:
    """All that is remembered of alerts."""
    return AlertBook(
        standings={
            (alert, subject): msgspec.json.decode(body, type=Standing)
            for alert, subject, body in fetch("standings")
        },
        lines={
            (alert, line.subject, line.kind): line
            for alert, body in fetch("alert_lines")
            for line in (msgspec.json.decode(body, type=Line),)
        },
        sent_at=dict(fetch("alert_messages")),
    )


def judged(tx: Transaction, done: Judged) -> list[Job]:
    """Store what notices have led to, and forget them; the jobs of the messages that were made."""
    if done.last_notice is not None:
        tx.change("forget_notices", id=done.last_notice)
    for (alert, subject), standing in done.standings.items():
        if standing == WELL:
            tx.change("forget_standing", alert=alert, subject=subject)
        else:
            body = msgspec.json.encode(standing).decode()
            tx.change("put_standing", alert=alert, subject=subject, body=body)
    for (alert, subject, kind), line in done.lines.items():
        body = msgspec.json.encode(line).decode()
        tx.change("put_alert_line", alert=alert, subject=subject, kind=kind, body=body)
    batch = Batch(tx)
    jobs = [
        batch.add(new, tx.queue(new.queue, new.created_at), claim=False).job
        for new in (*done.messages.values(), *done.tests)
    ]
    for alert, new in done.messages.items():
        tx.change("forget_alert_lines", alert=alert)
        tx.change("put_alert_message", alert=alert, at=new.created_at)
    batch.insert()
    return jobs


def late(fetch: Fetch, queue: str, before: int, limit: int, now: int) -> list[Notice]:
    """Notices of the jobs of a queue that were due before an instant and have not begun."""
    found = [
        row
        for (queue_id,) in fetch("queue_id", name=queue)
        for row in fetch("late_jobs", queue=queue_id, before=before, limit=limit)
    ]
    return [_waited(rows.job(row), Happened.WAITS, now) for row in found]


def running(fetch: Fetch, before: int, limit: int, now: int) -> list[Notice]:
    """Notices of the runs that began before an instant and go on."""
    found = fetch("running_since", before=before, limit=limit)
    return [
        msgspec.structs.replace(_waited(run.job, Happened.RUNS, now), started_at=run.started_at)
        for run in (Run(0, rows.job(row), row[-1]) for row in found)
    ]
