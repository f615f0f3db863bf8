"""The verbs of the SQLite store on queues and tokens."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from msgspec import UNSET

from lq.daemon.store import reading, rows
from lq.daemon.store.transaction import Transaction, counted_as
from lq.errors import Conflict
from lq.model import Queue, QueueEdit, State, Token
from lq.rate import format_rate

# How many jobs one transaction may cancel, because every push waits for it.
_STEP = 500


def set_queue(tx: Transaction, name: str, edit: QueueEdit, now: int) -> Queue:
    """Change a queue; what the edit leaves UNSET stays."""
    tx.queue(name, now)
    tx.book_counts()
    present = reading.queues(tx.all, name)[0]
    settings = present.settings

    def kept(value: Any, old: Any) -> Any:
        return old if value is UNSET else value

    paused = kept(edit.paused, present.paused)
    headers = kept(edit.headers, settings.headers)
    retry = kept(edit.retry, settings.retry)
    rate = kept(edit.rate, settings.rate)
    tx.change(
        "set_queue",
        name=name,
        target=kept(edit.target, settings.target),
        method=kept(edit.method, settings.method),
        headers=None if headers is None else json.dumps(dict(headers), ensure_ascii=False),
        concurrency=kept(edit.concurrency, settings.concurrency),
        retry=None if retry is None else rows.retry_text(retry),
        timeout_ms=kept(edit.timeout_ms, settings.timeout_ms),
        rate=None if rate is None else format_rate(rate),
        burst=kept(edit.burst, settings.burst),
        fifo=kept(edit.fifo, settings.fifo),
        paused=paused,
        paused_until=kept(edit.paused_until, present.paused_until) if paused else None,
        pause_reason=kept(edit.pause_reason, present.pause_reason) if paused else None,
    )
    return reading.queues(tx.all, name)[0]


def let_go_on(tx: Transaction, name: str) -> None:
    """Put held jobs where they would wait in a queue that is not fifo."""
    queue = tx.known_queue(name)
    if queue is not None:
        tx.change("unhold", queue=queue, limit=_STEP)


class Deletion(NamedTuple):
    """A step of deleting a queue: how many jobs it cancelled, and whether it was the last."""

    cancelled: int
    done: bool


def delete_queue(
    tx: Transaction, name: str, now: int, *, force: bool
) -> Deletion | Conflict | None:
    """Cancel what waits in a queue, a step of it; hide the queue once nothing does."""
    tx.book_counts()
    found = reading.queues(tx.all, name)
    queue = tx.known_queue(name)
    if not found or queue is None:
        return None
    counts = found[0].counts
    unprocessed = counts.pending + counts.retry + counts.running
    if unprocessed and not force:
        return Conflict(
            f"queue {name!r} holds {unprocessed} unprocessed items",
            hint="delete it with force to cancel those that wait",
        )
    waiting = tx.listed("first_waiting", queue=queue, limit=_STEP)
    tx.over("cancel_with_queue", [(seq, now) for seq, _ in waiting])
    for _, failures in waiting:
        tx.move(queue, counted_as(State.PENDING, failures), "cancelled")
    if len(waiting) == _STEP:
        return Deletion(_STEP, done=False)
    tx.change("delete_queue", queue=queue, now=now)
    tx.forget_queue(name)
    return Deletion(len(waiting), done=True)


def add_token(tx: Transaction, token: Token) -> Conflict | None:
    """Remember a token; None when it was."""
    try:
        tx.change(
            "add_token",
            name=token.name,
            digest=token.digest,
            scopes=",".join(sorted(token.scopes)),
            queues=json.dumps(token.queues),
            created_at=token.created_at,
            expires_at=token.expires_at,
        )
    except sqlite3.IntegrityError:
        return Conflict(
            f"a token named {token.name!r} exists already",
            hint="revoke it first, or choose another name",
        )
    return None


def revoke_token(tx: Transaction, name: str, now: int) -> Token | None:
    row = tx.one("revoke_token", name=name, now=now)
    return rows.token(row) if row else None


def touch_token(tx: Transaction, digest: bytes, now: int) -> None:
    tx.change("touch_token", digest=digest, now=now)
