"""The verbs of the SQLite store around a run: claim, accept, settle, orphans.

Invariant: a run that ended is always remembered; its job moves only while it belongs to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import msgspec

from lq.daemon.store import Claimed, ClaimRequest, alerts, rows
from lq.daemon.store.reading import Fetch
from lq.daemon.store.transaction import Transaction, counted_as
from lq.model import MOVES, Accepted, Job, Process, Run, Settled, Settlement, State


def claim(tx: Transaction, requests: Sequence[ClaimRequest], now: int) -> list[Claimed]:
    """Open runs for the first due jobs of each queue, and say when the next one is due.

    Those of them that have expired are buried instead: a claim never looks for what is behind
    them, so it stays short however many they are.
    """
    if not tx.recovered:
        close_lost_runs(tx, now)
    found: list[tuple[str, int | None, tuple[Run, ...], tuple[Job, ...]]] = []
    for request in requests:
        queue = tx.known_queue(request.queue)
        runs: tuple[Run, ...] = ()
        expired: tuple[Job, ...] = ()
        if queue is not None:
            due = tx.listed(
                "due_jobs", queue=queue, now=now, limit=request.limit, inline=rows.INLINE_BYTES
            )
            due = [*takewhile(lambda row: not _held(row, now), due)]
            expired = _bury_expired(tx, queue, due, now)
            runs = tuple(
                Run(run_id := tx.new_run(), _claimed(tx, row, run_id), now)
                for row in due
                if not _expired(row, now)
            )
            for run in runs:
                tx.move(queue, counted_as(State.PENDING, run.job.failures), "running")
            if runs and request.pace is not None:
                tx.change("pace_queue", queue=queue, until=request.pace.after(len(runs), now))
        found.append((request.queue, queue, runs, expired))
    started = [run for _, _, runs, _ in found for run in runs]
    tx.over("start_jobs", [(run.job.seq, run.id) for run in started])
    tx.over("insert_runs", [(run.id, run.job.seq, run.job.attempt, now) for run in started])
    return [
        Claimed(name, runs, _next_due(tx, queue), expired) for name, queue, runs, expired in found
    ]


def _expired(row: list[Any], now: int) -> bool:
    expires_at = row[21]
    return expires_at is not None and expires_at <= now


def _held(row: list[Any], now: int) -> bool:
    """Whether a job waits at the head of a fifo queue, and what is behind it with it."""
    held_until = row[29]
    return held_until is not None and held_until > now and not _expired(row, now)


def _bury_expired(tx: Transaction, queue: int, due: list[list[Any]], now: int) -> tuple[Job, ...]:
    expired = [row for row in due if _expired(row, now)]
    for row in expired:
        tx.move(queue, counted_as(State.PENDING, row[16]), "failed")
    return fail_expired(tx, [row[0] for row in expired], now)


def fail_expired(tx: Transaction, expired: Sequence[int], now: int) -> tuple[Job, ...]:
    """Fail waiting jobs, given by `seq`, as expired: the jobs as they are then."""
    if not expired:
        return ()
    tx.over("expire_jobs", [(seq, now) for seq in expired])
    jobs = tuple(rows.job(row) for row in tx.over("jobs_by_seq", [(seq,) for seq in expired]))
    if tx.watch:
        alerts.note_expired(tx, jobs, now)
    return jobs


def _claimed(tx: Transaction, row: list[Any], run_id: int) -> Job:
    """The job that a waiting row is, once it is claimed for a run."""
    row[3], row[18], row[29] = State.RUNNING.value, run_id, None
    if row[-1] is not None:
        row[-1] = bytes.fromhex(row[-1])
    elif payload := tx.one("payload", seq=row[0]):
        row[-1] = payload[0]
    return rows.job(row)


def _next_due(tx: Transaction, queue: int | None) -> int | None:
    row = None if queue is None else tx.one("next_due", queue=queue)
    return None if row is None else int(row[0])


def close_lost_runs(tx: Transaction, now: int) -> None:
    """End the runs of cancelled jobs that the last daemon did not see the end of."""
    lost = tx.all("lost_runs", first_run=tx.first_run)
    for _, run in lost:
        tx.change("close_lost_run", run=run, now=now)
    tx.over("let_go", lost)
    tx.recovered = True


def orphans(fetch: Fetch) -> list[Run]:
    """The runs of all jobs that are RUNNING."""
    return [
        Run(job.run_id, job, row[-1])
        for row in fetch("orphans")
        if (job := rows.job(row)).run_id is not None
    ]


def put_process(tx: Transaction, run: int, process: Process) -> bool:
    """Write down which process a run is; whether its job is wanted still."""
    return tx.change("put_process", run=run, **msgspec.structs.asdict(process)) > 0


def processes(fetch: Fetch) -> list[tuple[str, Process]]:
    """The processes of runs that nobody has seen the end of."""
    return [(job, Process(*members)) for job, *members in fetch("open_processes")]


def accept(tx: Transaction, accepted: Accepted) -> bool:
    """Note that a handler will call back, whether its job is wanted still or not."""
    run = accepted.run
    changed = tx.change(
        "accept_run",
        run=run.id,
        started_at=run.started_at,
        deadline_at=accepted.deadline_at,
        status=accepted.status,
    )
    return changed > 0


def extend(tx: Transaction, run: Run, deadline_at: int) -> bool:
    """Give the handler of a job that is wanted still until then."""
    changed = tx.change(
        "extend_run", run=run.id, started_at=run.started_at, deadline_at=deadline_at
    )
    return changed > 0


def accepted(fetch: Fetch) -> list[Accepted]:
    """The open runs whose handlers will call back."""
    return [rows.accepted(row) for row in fetch("accepted_runs")]


def settle(tx: Transaction, settlements: Sequence[Settlement]) -> list[Settled]:
    """End many runs, with one statement for each kind of end; of two ends of a run the first."""
    first = {s.run.id: s for s in reversed(settlements)}
    decided = {run: _unless_superseded(tx, settlement) for run, settlement in first.items()}
    owned = _owned(tx, settlements)
    ends = list(decided.values())
    returned = [s for s in ends if MOVES[s.verb].to is State.PENDING]
    tx.over("finish_jobs", [_finish(s) for s in ends if MOVES[s.verb].to is not State.PENDING])
    tx.over("return_jobs", [_return(s) for s in returned])
    tx.over("end_runs", [_end(s) for s in ends if s.outcome is not None])
    tx.over("forget_runs", [(s.run.id,) for s in ends if s.outcome is None])
    tx.over("let_go", [(s.run.job.seq, s.run.id) for s in ends if s.run.id not in owned])
    answers = []
    applied_ends = []
    for settlement in settlements:
        end = decided[settlement.run.id]
        state = MOVES[end.verb].to
        applied = settlement is first[settlement.run.id] and settlement.run.id in owned
        if applied:
            queue = tx.known_queue(settlement.run.job.queue)
            assert queue is not None
            tx.move(queue, "running", counted_as(state, end.failures))
            applied_ends.append((end, state))
        answers.append(Settled(applied, end.verb, state))
    if tx.watch:
        alerts.note_ends(tx, applied_ends)
    return answers


def _owned(tx: Transaction, settlements: Sequence[Settlement]) -> set[int]:
    """The runs among these that their jobs still belong to.

    Asked beforehand and answered in one row: RETURNING would give a row for each, and each
    row is a crossing between SQLite's thread and a busy interpreter.
    """
    rows_asked = [(s.run.job.seq, s.run.id) for s in settlements]
    return {
        run for (text,) in tx.over("owned_runs", rows_asked) for run in msgspec.json.decode(text)
    }


def _unless_superseded(tx: Transaction, settlement: Settlement) -> Settlement:
    """Bury a job that would wait again although a newer one with its key already waits."""
    job = settlement.run.job
    if job.key is None or MOVES[settlement.verb].to is not State.PENDING:
        return settlement
    queue = tx.known_queue(job.queue)
    successor = tx.one("waiting_successor", queue=queue, key=job.key)
    if successor is None:
        return settlement
    reason = f"superseded by {successor[0]}"
    if settlement.error:
        reason += f"; last attempt: {settlement.error}"
    return Settlement(
        run=settlement.run,
        verb="bury",
        ended_at=settlement.ended_at,
        failures=settlement.failures,
        outcome=settlement.outcome,
        error=reason,
    )


def _finish(settlement: Settlement) -> tuple[Any, ...]:
    run, outcome = settlement.run, settlement.outcome
    return (
        run.job.seq,
        run.id,
        MOVES[settlement.verb].to.value,
        settlement.ended_at,
        settlement.failures,
        outcome.status if outcome else run.job.last_status,
        settlement.error,
    )


def _return(settlement: Settlement) -> tuple[Any, ...]:
    run, outcome = settlement.run, settlement.outcome
    return (
        run.job.seq,
        run.id,
        settlement.due_at,
        settlement.held_until,
        settlement.failures,
        settlement.interruptions,
        outcome.status if outcome else None,
        settlement.error,
    )


def _end(settlement: Settlement) -> tuple[Any, ...]:
    outcome = settlement.outcome
    assert outcome is not None
    return (
        settlement.run.id,
        settlement.run.started_at,
        settlement.ended_at,
        outcome.kind.value,
        outcome.status,
        outcome.error,
        rows.headers_text(outcome.headers),
        outcome.body or None,
        outcome.truncated,
        outcome.log or None,
    )
