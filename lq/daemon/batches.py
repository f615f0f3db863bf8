"""Batches: many pushes of one queue, stored together.

Owns the resolution of each entry, and what a batch tells lanes, scheduler and listeners once it
is committed. Its jobs wait for a claim, also those that are due. Never speaks HTTP or SQL.

Invariant: a bad entry costs only itself, unless the batch is atomic; what was answered is
committed, and whoever must act on it has been told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from lq.batch import Batched, Entry, NewBatch, Result, refuse_whole, refused
from lq.clock import Clock
from lq.daemon.events import Events
from lq.daemon.lanes import Lanes
from lq.daemon.resolve import Resolver
from lq.daemon.scheduler import Scheduler
from lq.daemon.store import Store
from lq.errors import RequestError
from lq.model import Idempotency, NewJob, Push

_TURN: Final = 500
"""Entries that are resolved before others get their turn: a few milliseconds."""

Writing = Callable[[Awaitable[Batched]], Awaitable[Batched]]


class Batches:
    """The verbs on batches."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        resolver: Resolver,
        lanes: Lanes,
        scheduler: Scheduler,
        events: Events,
        gate: Callable[[], None],
        writing: Writing,
    ) -> None:
        """Shape: `gate` raises when nothing may be changed any more; `writing` awaits a write."""
        self._store = store
        self._clock = clock
        self._resolver = resolver
        self._lanes = lanes
        self._scheduler = scheduler
        self._events = events
        self._gate = gate
        self._writing = writing

    async def push(
        self, entries: Iterable[Entry], *, atomic: bool = False, asked: Idempotency | None = None
    ) -> Batched:
        """Store the jobs of one queue, in one transaction: a result for each entry.

        Shape: does nothing when the request is marked and was carried out before. Raises:
        ValidationError when it is atomic and an entry is refused, IdempotencyMismatch,
        StorageFull, Unavailable; then nothing was stored.
        """
        self._gate()
        now = self._clock.now()
        resolved = []
        for entry in entries:
            resolved.append((self._resolved(entry.push, now), entry.line))
            if len(resolved) % _TURN == 0:
                await asyncio.sleep(0)
        if atomic and any(isinstance(new, RequestError) for new, _ in resolved):
            raise refuse_whole(
                refused(new, line) if isinstance(new, RequestError) else Result(line)
                for new, line in resolved
            )
        batch = NewBatch(tuple(resolved), atomic, asked)
        future = self._store.push_batch(batch)
        future.add_done_callback(partial(self._pushed, batch))
        # Shielded: if the caller goes away, what was stored must still be told of.
        return await self._writing(asyncio.shield(future))

    async def pushed_before(self, asked: Idempotency) -> Batched | None:
        """What the same request has pushed before. Raises: IdempotencyMismatch."""
        return await self._store.batched_before(asked)

    def _resolved(self, push: Push | RequestError, now: int) -> NewJob | RequestError:
        if isinstance(push, RequestError):
            return push
        try:
            return self._resolver.push(push, now)
        except RequestError as error:
            return error

    def _pushed(self, batch: NewBatch, future: asyncio.Future[Batched]) -> None:
        if future.cancelled() or future.exception() or future.result().repeats:
            return
        stored = [
            (new, result)
            for (new, _), result in zip(batch.entries, future.result().results, strict=True)
            if isinstance(new, NewJob) and result.id is not None
        ]
        if not stored:
            return
        now = self._clock.now()
        for new, result in stored:
            if result.id is not None and result.outcome is not None:
                self._events.pushed(new, result.id, now, result.outcome)
        # What was kept is due when it was: to be told earlier costs a look and no more.
        first_due_at = min(new.due_at for new, _ in stored)
        self._lanes.expect(stored[0][0].queue, first_due_at, now)
        expiries = [new.expires_at for new, _ in stored if new.expires_at is not None]
        if expiries:
            self._scheduler.expect_expiry(min(expiries))
