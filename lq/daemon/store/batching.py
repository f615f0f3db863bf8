"""The verb push_batch of the SQLite store: many jobs of one queue in few statements.

Owns: that its entries act as pushes one after the other. What a single push does is `pushing`.
"""

from __future__ import annotations

import msgspec

from lq.batch import Batched, NewBatch, Result, refuse_whole, refused
from lq.daemon.store import answers
from lq.daemon.store.pushing import Batch, push_keyed
from lq.daemon.store.transaction import Transaction
from lq.errors import IdempotencyMismatch, KeyExists, ValidationError
from lq.model import NewJob, PushOutcome

Answer = Batched | IdempotencyMismatch | ValidationError


def push_batch(tx: Transaction, batch: NewBatch) -> Answer:
    """Push the entries of a batch in order, unless the same request has been answered already."""
    asked = batch.idempotency
    if asked is not None:
        try:
            earlier = answers.known(tx.all, asked, Batched)
        except IdempotencyMismatch as error:
            return error
        if earlier is not None:
            return earlier
    with tx.savepoint() as take_back:
        done = Batched(tuple(_push_all(tx, batch)))
        if batch.atomic and any(result.refusal for result in done.results):
            take_back()
            return refuse_whole(done.results)
        if asked is not None:
            answers.keep(tx, asked, done)
    return done


def _push_all(tx: Transaction, batch: NewBatch) -> list[Result]:
    """Insert those whose key is free in few statements, and push each of the others by itself."""
    waiting = _waiting_keys(tx, batch)
    results: list[Result] = []
    inserts, queue, number = Batch(tx), 0, 0
    for new, line in batch.entries:
        if not isinstance(new, NewJob):
            results.append(refused(new, line))
            continue
        if new.key is not None and new.key in waiting:
            inserts.insert()  # the one that waits may be of this batch
            inserts = Batch(tx)
            results.append(_push_waiting(tx, new, new.key, line))
            continue
        if new.key is not None:
            waiting.add(new.key)
        queue = queue or tx.queue(new.queue, new.created_at)
        inserts.add_waiting(new, queue)
        number += 1
        results.append(Result(line, new.id, PushOutcome.CREATED))
    inserts.insert()
    if number:
        tx.move(queue, None, "pending", number)
    return results


def _push_waiting(tx: Transaction, new: NewJob, key: str, line: int | None) -> Result:
    pushed = push_keyed(tx, new, key)
    if isinstance(pushed, KeyExists):
        return refused(pushed, line)
    return Result(line, pushed.job.id, pushed.outcome)


def _waiting_keys(tx: Transaction, batch: NewBatch) -> set[str]:
    """The keys of these jobs under which one waits already."""
    jobs = [new for new, _ in batch.entries if isinstance(new, NewJob)]
    keys = {new.key for new in jobs if new.key is not None}
    if not keys:
        return set()
    queue = tx.queue(jobs[0].queue, jobs[0].created_at)
    text = msgspec.json.encode(sorted(keys)).decode()
    return {row[0] for row in tx.all("waiting_keys", queue=queue, keys=text)}
