"""The verbs of the SQLite store on many jobs at once: revive them, cancel them.

Owns one step of a sweep, which is one transaction: its caller keeps it small, because every push
waits for it.

Invariant: a job is changed only if its state and its key allow it at that moment, as if it were
changed alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lq.daemon.store import rows
from lq.daemon.store.rows import Row
from lq.daemon.store.transaction import Transaction, counted_as
from lq.finding import Step, Touched
from lq.model import FINISHED, State

_ANEW = "it is not finished any more"
_KEY_WAITS = "its key waits already"
_CALLED = "its call that was cancelled has not ended"
_GONE = "it has finished meanwhile"
_RUNS = "it runs already"


def revive(tx: Transaction, seqs: Sequence[int], due: Sequence[int], now: int) -> Step:
    """Make finished jobs wait again: the first that can for the first of these times, and so on."""
    times = iter(due)
    skipped: Counter[str] = Counter()
    keys: set[tuple[int, str]] = set()
    touched, changes = [], []
    for row in _rows(tx, seqs):
        seq, _, queue, name, state, failures, key, waits, called, *_ = row
        if State(state) not in FINISHED:
            skipped[_ANEW] += 1
        elif waits or (queue, key) in keys:
            skipped[_KEY_WAITS] += 1
        elif called:
            skipped[_CALLED] += 1
        else:
            due_at = next(times)
            if key is not None:
                keys.add((queue, key))
            tx.queue(name, now)  # it may have been deleted since
            tx.move(queue, counted_as(State(state), failures), "pending")
            changes.append((seq, due_at))
            touched.append(_touched(row, due_at))
    tx.over("revive_jobs", changes)
    return Step(touched=tuple(touched), skipped=skipped)


def cancel(tx: Transaction, seqs: Sequence[int], now: int, *, running: bool) -> Step:
    """Cancel unprocessed jobs; those that run only with `running`."""
    skipped: Counter[str] = Counter()
    touched, changes = [], []
    for row in _rows(tx, seqs):
        seq, _, queue, _, state, failures, *_ = row
        if State(state) in FINISHED:
            skipped[_GONE] += 1
        elif state == State.RUNNING.value and not running:
            skipped[_RUNS] += 1
        else:
            tx.move(queue, counted_as(State(state), failures), "cancelled")
            changes.append((seq, now))
            touched.append(_touched(row))
    tx.over("cancel_jobs", changes)
    return Step(touched=tuple(touched), skipped=skipped)


def _touched(row: Row, due_at: int | None = None) -> Touched:
    return Touched(row[1], row[3], row[6], rows.labels(row[9]), row[10], due_at)


def _rows(tx: Transaction, seqs: Sequence[int]) -> list[Row]:
    """The jobs that are there still, in the order asked for."""
    found: dict[Any, Row] = {row[0]: row for row in tx.all("sweepable", seqs=json.dumps(seqs))}
    return [found[seq] for seq in seqs if seq in found]
