"""Crons that an app declares: stored when there is an lq to store them, the same at each start.

Invariant: one that was stored already, and has not changed, keeps its next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from lq.errors import ValidationError
from lq.sdk import records
from lq.sdk.beside import in_thread, running_loop
from lq.sdk.embedded import EmbeddedClient
from lq.sdk.intervals import Interval, milliseconds
from lq.sdk.queue import Queue
from lq.sdk.records import Record
from lq.sdk.schedules import register
from lq.when import MAX_MS, format_duration

if TYPE_CHECKING:
    from lq.client import AsyncClient

Lq: TypeAlias = "AsyncClient | EmbeddedClient"
"""Who carries out the verbs: a daemon, or an lq in this process."""


class Cron:
    """A cron that was declared: `await` it for its record, once it is stored."""

    def __init__(
        self,
        lq: Callable[[], Awaitable[Lq]],
        rule: str,
        queue: Queue[Any],
        sent: bytes,
        told: dict[str, Any],
    ) -> None:
        self.key: str = told["key"]
        self._lq = lq
        self._rule = rule
        self._queue = queue
        self._sent = sent
        self._told = told
        self._storing: asyncio.Task[Record] | None = None
        self._registering: asyncio.Task[None] | None = None

    def is_like(self, other: Cron) -> bool:
        """Whether another declaration of its key says the same."""
        return (self._rule, self._sent, self._told) == (other._rule, other._sent, other._told)

    def __await__(self) -> Generator[Any, None, Record]:
        return self.stored().__await__()

    async def stored(self) -> Record:
        """Store it, or bring the one of its key to this. Raises: ApiError, Unreachable."""
        storing, self._storing = self._storing, None
        return await (storing or self._store())

    async def _store(self) -> Record:
        lq = await self._lq()
        made = await lq.create_schedule(self._rule, self._queue.name, self._sent, **self._told)
        return records.of_schedule(made)

    def store_soon(self) -> None:
        """Begin to store it in the loop that runs here; who awaits it learns of a failure."""
        self._storing = asyncio.get_running_loop().create_task(self._store())

    def register_soon(self) -> None:
        """Have the daemon store it, now or when it can be reached: no app waits for that."""
        if running_loop() is None:
            self._register()
        else:
            self._registering = asyncio.create_task(in_thread(self._register))

    def _register(self) -> None:
        register(self.key, self._rule, self._queue, self._sent, self._told)


def interval_rule(every: Interval) -> str:
    """The rule of an interval in the words of `ms`. Raises: ValidationError."""
    every_ms = milliseconds("every", every)
    if not 0 < every_ms <= MAX_MS:
        raise ValidationError.of("every", f"is more than nothing, at most 10 years, not {every!r}")
    return f"E={format_duration(every_ms)}"
