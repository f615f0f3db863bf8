"""The verbs of the SQLite store on jobs that do not run: cancel, edit, revive, expire, prune."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from msgspec import UNSET

from lq.daemon.store import ResolvedEdit, rows, running
from lq.daemon.store.reading import find
from lq.daemon.store.rows import Row
from lq.daemon.store.transaction import Transaction, counted_as
from lq.errors import Conflict
from lq.model import FINISHED, ById, Job, Ref, State

# What one transaction may forget, because every push waits for it.
_PRUNED_JOBS = 500
_PRUNED_BYTES = 4 << 20


def _job(row: Row) -> tuple[int, Job]:
    return rows.queue_id(row), rows.job(row)


def cancel(tx: Transaction, ref: Ref, now: int) -> Job | Conflict | None:
    """Cancel the job, by key the waiting and the running one; answers the first of them."""
    found = [_job(row) for row in find(tx.all, ref)]
    for queue, job in found:
        if job.state in FINISHED:
            return Conflict(f"item {job.id} is {job.state} already; nothing was cancelled")
        tx.change("cancel_job", seq=job.seq, now=now)
        tx.move(queue, counted_as(job.state, job.failures), "cancelled")
    return _reread(tx, found[0][1]) if found else None


def edit(tx: Transaction, ref: Ref, wanted: ResolvedEdit) -> Job | Conflict | None:
    """Change a waiting job; what the edit leaves UNSET stays."""
    found = next(iter(find(tx.all, ref)), None)
    if found is None:
        return None
    job, change = rows.job(found), wanted.edit
    if job.state is not State.PENDING:
        return Conflict(
            f"item {job.id} is {job.state}; only waiting items change",
            hint=_instead_of_editing(job),
        )

    def kept(value: Any, present: Any) -> Any:
        return present if value is UNSET else value

    not_before, due_at, error = job.not_before, job.due_at, job.error
    held_until = job.held_until
    if _frees(job, wanted):
        error = None
        due_at = due_at if held_until else max(not_before, wanted.now)
        held_until = None
    if wanted.not_before is not None and wanted.due_at is not None:
        # The head of a fifo queue goes on from its place there.
        stays = held_until is not None and wanted.due_at <= wanted.now
        not_before, due_at = wanted.not_before, due_at if stays else wanted.due_at
        held_until = None
    tx.change(
        "edit_job",
        seq=job.seq,
        not_before=not_before,
        due_at=due_at,
        error=error,
        held_until=held_until,
        expires_at=kept(wanted.expires_at, job.expires_at),
        expires_ms=kept(change.expires_ms, None),
        target=kept(change.target, job.target),
        method=kept(change.method, job.method),
        headers=rows.headers_text(kept(change.headers, job.headers)),
        content_type=kept(change.content_type, job.content_type),
        retry=rows.retry_text(kept(change.retry, job.retry)),
        timeout_ms=kept(change.timeout_ms, job.timeout_ms),
        labels=rows.labels_text(kept(change.labels, job.labels)),
    )
    if change.payload is not UNSET:
        tx.change("replace_payload", seq=job.seq, body=change.payload)
    return _reread(tx, job)


def _frees(job: Job, wanted: ResolvedEdit) -> bool:
    """Whether an edit leads a job away from the endpoint whose verdict has put it off."""
    target, headers = wanted.edit.target, wanted.edit.headers
    elsewhere = (target is not UNSET and target != job.target) or (
        headers is not UNSET and headers != job.headers
    )
    held = job.failures == 0 and job.next_at > max(job.not_before, wanted.now)
    return elsewhere and held


def _instead_of_editing(job: Job) -> str:
    if job.state in FINISHED:
        return "retry it to make it wait again"
    return "push again with its key to make a successor" if job.key else "push a new item"


def revive(
    tx: Transaction, ref: Ref, now: int, wanted: ResolvedEdit | None = None
) -> Job | Conflict | None:
    """Make a finished job wait again, changed as it is wanted."""
    found = next(iter(find(tx.all, ref)), None)
    if found is None:
        return None
    queue, job = _job(found)
    if job.state not in FINISHED:
        return Conflict(
            f"item {job.id} is {job.state}, not finished",
            hint="run it now instead of retrying it" if job.state is State.PENDING else None,
        )
    if job.key and (row := tx.one("waiting_successor", queue=queue, key=job.key)):
        return Conflict(f"key {job.key!r} is waiting already as {row[0]}")
    if tx.one("open_run", seq=job.seq):
        return Conflict(
            f"the call of item {job.id} that was cancelled has not ended",
            hint="retry it when the call has ended: two at once would be possible otherwise",
        )
    tx.queue(job.queue, now)
    tx.change("revive_job", seq=job.seq, now=now)
    tx.move(queue, counted_as(job.state, job.failures), "pending")
    return _reread(tx, job) if wanted is None else edit(tx, ById(job.id), wanted)


def expire(tx: Transaction, now: int, limit: int) -> tuple[tuple[Job, ...], int | None]:
    """Fail waiting jobs past their expiry: the jobs, and when the next one expires."""
    expired = tx.listed("expired_jobs", now=now, limit=limit)
    for _, queue, failures in expired:
        tx.move(queue, counted_as(State.PENDING, failures), "failed")
    jobs = running.fail_expired(tx, [seq for seq, _, _ in expired], now)
    row = tx.one("next_expiry")
    return jobs, row[0] if row else None


def prune(tx: Transaction, before: int, fired_before: int, limit: int) -> int:
    """Forget the jobs that finished longest ago, as far as one step goes; how many."""
    most = min(limit, _PRUNED_JOBS)
    oldest = tx.listed("oldest_finished", before=before, fired_before=fired_before, limit=most)
    held = accumulate((size for *_, size in oldest), initial=0)
    # At least one, however much it holds.
    pruned = [job for job, earlier in zip(oldest, held, strict=False) if earlier < _PRUNED_BYTES]
    tx.over("prune_jobs", [(seq,) for seq, *_ in pruned])
    for _, queue, state, _ in pruned:
        tx.move(queue, counted_as(State(state), 0), None)
    return len(pruned)


def _reread(tx: Transaction, job: Job) -> Job:
    return rows.job(find(tx.all, ById(job.id))[0])
