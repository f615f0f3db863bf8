"""The verb push of the SQLite store: insert, or apply `if_exists` to the one that waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lq.daemon.store import answers, rows
from lq.daemon.store.transaction import Transaction, counted_as
from lq.errors import IdempotencyMismatch, KeyExists
from lq.model import (
    Completion,
    Idempotency,
    IfExists,
    Job,
    NewJob,
    Pushed,
    PushOutcome,
    Run,
    State,
)

Result = Pushed | KeyExists | IdempotencyMismatch
_PENDING: Final = State.PENDING.value


def push(tx: Transaction, jobs: Sequence[NewJob]) -> list[Result]:
    """Push many jobs: those without a key in one statement, those with one each by itself."""
    batch = Batch(tx)
    results: list[Result] = []
    for job in jobs:
        if job.idempotency is not None:
            results.append(_push_once(tx, batch, job, job.idempotency))
        else:
            results.append(_push(tx, batch, job))
    batch.insert()
    return results


class Batch:
    """Jobs to insert with few statements, however many they are."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._jobs: list[tuple[Any, ...]] = []
        self._fired_jobs: list[tuple[Any, ...]] = []
        self._payloads: list[tuple[int, bytes]] = []
        self._runs: list[tuple[int, int, int, int]] = []

    def add(self, new: NewJob, queue: int, *, claim: bool) -> Pushed:
        """Take a job in; it is claimed if that was asked for, or cancelled if it is skipped."""
        run_id = self._tx.new_run() if claim and _may_start(new) else None
        seq = self._tx.new_job()
        job = _stored(new, seq, run_id)
        row = _row(new, seq, queue, job.state.value, run_id)
        if new.firing is None and new.skipped is None:
            self._jobs.append(row)
        else:
            self._fired_jobs.append((*row, *rows.firing(new.firing), job.finished_at, job.error))
        self._payloads.append((seq, new.payload))
        self._tx.move(queue, None, counted_as(job.state, 0))
        if run_id is None:
            return Pushed(job, PushOutcome.CREATED)
        self._runs.append((run_id, seq, 1, new.created_at))
        return Pushed(job, PushOutcome.CREATED, Run(run_id, job, new.created_at))

    def add_waiting(self, new: NewJob, queue: int) -> None:
        """Take in a job that waits, and of which no record is wanted; its count is not moved."""
        seq = self._tx.new_job()
        self._jobs.append(_row(new, seq, queue, _PENDING, None))
        self._payloads.append((seq, new.payload))

    def insert(self) -> None:
        """Store all of them."""
        self._tx.over("insert_jobs", self._jobs)
        self._tx.over("insert_fired_jobs", self._fired_jobs)
        self._tx.over("insert_payloads", self._payloads)
        self._tx.over("insert_runs", self._runs)


def _row(new: NewJob, seq: int, queue: int, state: str, run_id: int | None) -> tuple[Any, ...]:
    """The columns of insert_jobs."""
    return (
        seq, new.id, queue, new.key, state, new.created_at, new.not_before,
        new.due_at, new.expires_at, _expires_ms(new), new.target, new.method,
        rows.headers_text(new.headers), new.content_type, rows.retry_text(new.retry),
        new.timeout_ms, rows.labels_text(new.labels), new.validate, new.traceparent,
        new.tracestate, run_id, new.completion is Completion.CALLBACK,
    )  # fmt: skip


def _push_once(tx: Transaction, batch: Batch, new: NewJob, asked: Idempotency) -> Result:
    """Push a job, unless the same request has been answered already."""
    try:
        earlier = answers.known(tx.all, asked, Pushed)
    except IdempotencyMismatch as error:
        return error
    if earlier is not None:
        return earlier
    result = _push(tx, batch, new)
    if isinstance(result, Pushed):
        answers.keep(tx, asked, result)
    return result


def _push(tx: Transaction, batch: Batch, new: NewJob) -> Pushed | KeyExists:
    if new.key is not None:
        return push_keyed(tx, new, new.key)
    return batch.add(new, tx.queue(new.queue, new.created_at), claim=new.claim)


def _may_start(new: NewJob) -> bool:
    """Whether a job could be claimed at the moment of its push."""
    now = new.created_at
    alive = new.expires_at is None or new.expires_at > now
    return new.due_at <= now and alive and new.skipped is None


def push_keyed(tx: Transaction, new: NewJob, key: str) -> Pushed | KeyExists:
    """Push a job with a key: what waits under it decides, with `if_exists`, what that does."""
    queue = tx.queue(new.queue, new.created_at)
    row = tx.one("waiting_by_key", queue=queue, key=key)
    waiting = None if row is None else rows.job(row)
    if waiting and waiting.expires_at is not None and waiting.expires_at <= new.created_at:
        # It will never run; kept in its place, the new push would be lost with it.
        tx.over("expire_jobs", [(waiting.seq, new.created_at)])
        tx.move(queue, counted_as(State.PENDING, waiting.failures), "failed")
        waiting = None
    if row is None or waiting is None:
        # A successor waits for the end of the call under way, so that a key never runs twice.
        claim = new.claim and tx.one("key_called", queue=queue, key=key) is None
        batch = Batch(tx)
        pushed = batch.add(new, queue, claim=claim)
        batch.insert()
        return pushed
    if new.if_exists is IfExists.REJECT:
        return KeyExists(
            f"an item with key {key!r} is waiting in queue {new.queue!r}: {waiting.id}",
            hint="push with if-exists replace or keep, or cancel that item first",
        )
    if new.if_exists is IfExists.KEEP or _same(waiting, row[-1], new):
        return Pushed(waiting, PushOutcome.KEPT)
    return Pushed(_replace(tx, queue, waiting, new), PushOutcome.REPLACED)


def _same(waiting: Job, expires_ms: int | None, new: NewJob) -> bool:
    """Whether pushing `new` would change nothing about the job that waits.

    An instant is the same when it is equal, or both have passed. A delay always moves the
    time (that is a debounce); no time at all means now, which a job whose time has come, and
    which has not failed, has, even if its endpoint puts it off. `expires_ms` is the waiting
    job's expiry if that was given as a length: such a one is the same if the length is.
    """
    if new.asked == "delay":
        return False
    already_due = waiting.failures == 0 and waiting.not_before <= new.created_at
    at_the_same_time = already_due if new.asked == "now" else waiting.not_before == new.not_before
    if new.asked == "on" and not at_the_same_time:
        at_the_same_time = already_due and new.not_before <= new.created_at
    return (
        at_the_same_time
        and _same_expiry(waiting, expires_ms, new)
        and waiting.payload == new.payload
        and waiting.content_type == new.content_type
        and waiting.target == new.target
        and waiting.method == new.method
        and dict(waiting.headers) == dict(new.headers)
        and waiting.retry == new.retry
        and waiting.timeout_ms == new.timeout_ms
        and waiting.labels == new.labels
        and waiting.validate == new.validate
        and waiting.completion is new.completion
    )


def _same_expiry(waiting: Job, expires_ms: int | None, new: NewJob) -> bool:
    if not new.expires_relative or waiting.expires_at is None:
        return waiting.expires_at == new.expires_at
    return expires_ms == _expires_ms(new) and waiting.expires_at > new.created_at


def _expires_ms(new: NewJob) -> int | None:
    """How long after its push a job expires, if that is how its expiry was given."""
    if new.expires_at is None or not new.expires_relative:
        return None
    return new.expires_at - new.created_at


def _replace(tx: Transaction, queue: int, waiting: Job, new: NewJob) -> Job:
    tx.change(
        "replace_job",
        seq=waiting.seq,
        not_before=new.not_before,
        due_at=new.due_at,
        expires_at=new.expires_at,
        expires_ms=_expires_ms(new),
        target=new.target,
        method=new.method,
        headers=rows.headers_text(new.headers),
        content_type=new.content_type,
        retry=rows.retry_text(new.retry),
        timeout_ms=new.timeout_ms,
        labels=rows.labels_text(new.labels),
        validate=new.validate,
        callback=new.completion is Completion.CALLBACK,
        traceparent=new.traceparent,
        tracestate=new.tracestate,
    )
    if waiting.payload != new.payload:
        tx.change("replace_payload", seq=waiting.seq, body=new.payload)
    tx.move(queue, "retrying" if waiting.failures else "pending", "pending")
    return _stored(new, waiting.seq, replaces=waiting)


def _stored(
    new: NewJob, seq: int, run_id: int | None = None, *, replaces: Job | None = None
) -> Job:
    """The Job that `new` is once stored, without reading it back."""
    state = State.PENDING if run_id is None else State.RUNNING
    if new.skipped is not None:
        state = State.CANCELLED
    return Job(
        seq=seq,
        id=replaces.id if replaces else new.id,
        queue=new.queue,
        state=state,
        created_at=replaces.created_at if replaces else new.created_at,
        not_before=new.not_before,
        due_at=new.due_at,
        target=new.target,
        method=new.method,
        retry=new.retry,
        timeout_ms=new.timeout_ms,
        key=new.key,
        headers=new.headers,
        content_type=new.content_type,
        labels=new.labels,
        validate=new.validate,
        completion=new.completion,
        run_id=run_id,
        expires_at=new.expires_at,
        error=new.skipped,
        finished_at=None if new.skipped is None else new.created_at,
        traceparent=new.traceparent,
        tracestate=new.tracestate,
        firing=new.firing,
        payload=new.payload,
    )
