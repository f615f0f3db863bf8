"""Completion by callback: complete, fail and heartbeat, and the deadline by which one must come.

Owns what the bearer of a token may do to its run, and the timers of those that were accepted.
Never speaks HTTP or SQL. What becomes of a job is decided as for an answer, by the dispatcher.

Invariant: a callback that was answered is committed; one that was not has changed nothing, and
may be tried again. Of all that would end a run, callbacks, deadline and answer, the first does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from lq.clock import Clock
from lq.daemon.dispatcher import Dispatcher
from lq.daemon.store import Store
from lq.daemon.targets.http import MAX_BODY, printable, retry_after
from lq.daemon.waiting import Waiting
from lq.errors import Conflict, NotFound
from lq.model import FINISHED, ById, Outcome, OutcomeKind, State
from lq.when import format_duration
from lq.wire import CallbackAnswer

_REASON_BYTES: Final = 1000
_REASON_LENGTH: Final = 200


_LOOK_EVERY_MS = 1000


class Taken(Struct, frozen=True):
    """What a callback did: where its job is now. Shape: `deadline_at` after a heartbeat."""

    job_id: str
    state: State
    deadline_at: int | None = None


class Callbacks:
    """The verbs of handlers. `run` keeps their deadlines."""

    def __init__(
        self,
        *,
        store: Store,
        waiting: Waiting,
        dispatcher: Dispatcher,
        clock: Clock,
        frozen: Callable[[], bool],
    ) -> None:
        """Shape: `frozen` says whether a restore holds everything back."""
        self._store = store
        self._frozen = frozen
        self._waiting = waiting
        self._dispatcher = dispatcher
        self._clock = clock

    async def start(self) -> None:
        """Take up what was accepted before; called once, before anything is claimed."""
        for accepted in await self._store.accepted():
            self._waiting.restore(accepted)

    async def run(self) -> None:
        """End the attempts whose handlers do not call back in time, until cancelled."""
        while True:
            thawed = await self._thaw()
            for overdue in self._waiting.overdue():
                if thawed:  # nobody could have called back in time
                    reason = "interrupted: lq was frozen when its callback was due"
                    self._dispatcher.give_back(overdue.run, reason)
                    continue
                within = format_duration(overdue.run.job.timeout_ms)
                outcome = Outcome(
                    kind=OutcomeKind.FAILED,
                    status=overdue.status,
                    error=f"timeout: no callback within {within}",
                )
                self._dispatcher.give_up(overdue.run, outcome)
            await self._waiting.until_next()

    async def _thaw(self) -> bool:
        """Wait for as long as a restore holds everything back; whether one did."""
        if not self._frozen():
            return False
        while self._frozen():
            await self._clock.wait(asyncio.Event(), _LOOK_EVERY_MS)
        return True

    def check(self, token: str) -> None:
        """Refuse what is no token of lq, before anything else is looked at. Raises: NotFound."""
        self._named(token)

    async def complete(self, token: str, answer: CallbackAnswer) -> Taken:
        """The handler has done its work: the body is its result.

        Raises: NotFound, Conflict when the attempt has ended, StorageFull, Unavailable.
        """
        return await self._end(token, OutcomeKind.SUCCEEDED, answer)

    async def fail(self, token: str, answer: CallbackAnswer) -> Taken:
        """The handler has failed: the body says why. Raises: as `complete`."""
        kind = OutcomeKind.FAILED if answer.again else OutcomeKind.REJECTED
        return await self._end(token, kind, answer)

    async def heartbeat(self, token: str) -> Taken:
        """The handler is at work still: its time-out begins anew. Raises: as `complete`."""
        job_id, run_id = self._named(token)
        found = self._waiting.find(run_id)
        if found is None:
            raise await self._has_ended(job_id)
        run, _ = found
        # First, so that no deadline comes while this is being stored.
        extended = self._waiting.extend(run)
        if extended is None:
            raise await self._has_ended(job_id)
        deadline_at, before = extended
        if not await self._store.extend(run, deadline_at):
            self._waiting.shorten(run, before)
            raise await self._has_ended(job_id)
        self._waiting.confirm(run)
        return Taken(job_id, State.RUNNING, deadline_at)

    async def _end(self, token: str, kind: OutcomeKind, answer: CallbackAnswer) -> Taken:
        job_id, run_id = self._named(token)
        found = self._waiting.find(run_id)
        if found is None:
            raise await self._has_ended(job_id)
        run, status = found
        settled = await self._dispatcher.end(run, self._outcome(kind, status, answer))
        if not settled.applied:
            raise await self._has_ended(job_id)
        return Taken(job_id, settled.state)

    def _outcome(self, kind: OutcomeKind, status: int | None, answer: CallbackAnswer) -> Outcome:
        failed = kind is not OutcomeKind.SUCCEEDED
        content_type = answer.content_type
        return Outcome(
            kind=kind,
            status=status,
            error=_reason(answer.body) if failed else None,
            headers={} if content_type is None else {"Content-Type": content_type},
            body=answer.body[:MAX_BODY],
            truncated=len(answer.body) > MAX_BODY,
            retry_after_ms=retry_after(answer.retry_after, self._clock.now()) if failed else None,
        )

    def _named(self, token: str) -> tuple[str, int]:
        named = self._waiting.named_by(token)
        if named is None:
            # The words of any path at which there is nothing.
            raise NotFound("there is nothing at this path", hint="the API is at /api/v1")
        return named

    async def _has_ended(self, job_id: str) -> Conflict:
        """Why a callback comes too late, so that its handler knows whether to stop."""
        job = await self._store.get(ById(job_id))
        if job is None:
            return Conflict("this attempt has ended, and its item is forgotten")
        if job.state is State.CANCELLED:
            return Conflict(
                f"item {job.id} was cancelled", hint="stop working on it: nobody waits for it"
            )
        if job.state in FINISHED:
            return Conflict(f"this attempt has ended: item {job.id} is {job.state}")
        return Conflict(
            f"this attempt has ended; item {job.id} was given to another, or will be",
            hint="stop working on it: what this attempt brings does not count any more",
        )


def _reason(body: bytes) -> str:
    """One line that says why a handler gave up, beginning with a stable word."""
    said = printable(body[:_REASON_BYTES].decode("utf-8", "replace"))[:_REASON_LENGTH]
    return f"callback failed: {said}" if said else "callback failed: the handler gave no reason"
