"""The answers that the SQLite store keeps for repetitions of a request, for a day.

Owns what of an answer is kept: the record it is made from, as it was, so that a repetition hides
what is to be hidden by then. Payload and headers, which no such answer shows, are left out.

Invariant: an answer is kept in the transaction that does what it tells of, or not at all.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from lq.batch import Batched
from lq.daemon.store.reading import Fetch
from lq.daemon.store.rows import NO_HEADERS
from lq.daemon.store.transaction import Transaction
from lq.errors import IdempotencyMismatch
from lq.model import Idempotency, MadeSchedule, Pushed
from lq.when import DAY_MS

Kept = Pushed | MadeSchedule | Batched
Answer = TypeVar("Answer", Pushed, MadeSchedule, Batched)

_KEPT_MS: Final = DAY_MS


def known(fetch: Fetch, asked: Idempotency, kind: type[Answer]) -> Answer | None:
    """What this request was answered before. Raises: IdempotencyMismatch when another one was."""
    found = fetch("kept_answer", key=asked.key, after=asked.at - _KEPT_MS)
    if not found:
        return None
    request, text = found[0]
    if request != asked.request:
        raise IdempotencyMismatch(
            "another request came with this Idempotency-Key; nothing was done",
            hint="make a key for each request; path, x-lq headers, content type and body of a"
            " repetition are the same",
        )
    return msgspec.json.decode(text, type=kind)


def keep(tx: Transaction, asked: Idempotency, answer: Kept) -> None:
    """Keep the answer for repetitions of the request."""
    text = msgspec.json.encode(_bare(answer), enc_hook=dict).decode()  # headers are a view
    tx.change("keep_answer", key=asked.key, request=asked.request, at=asked.at, answer=text)


def forget(tx: Transaction, now: int, limit: int) -> int:
    """Forget answers that are too old to count; how many."""
    old = tx.all("old_answers", before=now - _KEPT_MS, limit=limit)
    # Nothing is written where there is nothing to forget: the disk may take no writes just now.
    tx.over("forget_answers", old)
    return len(old)


def _bare(answer: Kept) -> Kept:
    if isinstance(answer, Pushed):
        job = replace(answer.job, payload=None, headers=NO_HEADERS)
        return Pushed(job, answer.outcome, repeats=True)
    if isinstance(answer, Batched):
        return replace(answer, repeats=True)
    spec = answer.schedule.spec
    push = replace(spec.push, payload=b"", headers=NO_HEADERS)
    schedule = replace(answer.schedule, spec=replace(spec, push=push))
    return replace(answer, schedule=schedule)
