"""The verbs of lq on queues: their settings and pauses, effective at once.

Owns which of a queue's settings are in force, and tells lanes and scheduler of them. Never speaks
HTTP or SQL, and never touches a job but to cancel what waits in a queue that is deleted.

Invariant: lq.toml wins over what was set by API, and what it sets cannot be set by API.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from lq.clock import Clock
from lq.daemon.events import Events
from lq.daemon.lanes import Lanes
from lq.daemon.resolve import Resolver
from lq.daemon.scheduler import Scheduler, Timer
from lq.daemon.store import Store
from lq.errors import NotFound, StorageFull, Unavailable
from lq.event import Event
from lq.model import Queue, QueueEdit, QueueSettings

T = TypeVar("T")

log = logging.getLogger(__name__)


class Writing(Protocol):
    """Awaits a write, and remembers whether the store could take it."""

    def __call__(self, write: Awaitable[T]) -> Awaitable[T]: ...


class Queues:
    """What can be asked of queues, and done to them."""

    def __init__(
        self,
        *,
        configured: Mapping[str, QueueSettings],
        store: Store,
        clock: Clock,
        events: Events,
        lanes: Lanes,
        scheduler: Scheduler,
        resolver: Resolver,
        gate: Callable[[], None],
        writing: Writing,
    ) -> None:
        """Shape: `configured` are those of lq.toml; `gate` raises when nothing may change."""
        self._configured = configured
        self._store = store
        self._clock = clock
        self._events = events
        self._lanes = lanes
        self._scheduler = scheduler
        self._resolver = resolver
        self._gate = gate
        self._writing = writing
        # What is read of a queue must be what is in force, until that has been changed.
        self._changing = asyncio.Lock()

    async def start(self) -> list[Queue]:
        """Let what is stored and configured take effect: the queues as stored."""
        stored = await self._store.queues()
        for queue in stored:
            self._apply(queue)
        # Those first: what they have used up of a rate is not to be had again.
        for name in self._configured.keys() - {queue.name for queue in stored}:
            self._apply(_untouched(name))
        for name in await self._store.held_queues():
            if not self._resolver.flow(name).fifo:  # it was, when lq last ran
                await self._let_go_on(name)
        return stored

    async def follow(
        self, configured: Mapping[str, QueueSettings], origin: Mapping[str, str]
    ) -> None:
        """Let what lq.toml says now take effect."""
        async with self._changing:
            before, self._configured = self._configured, configured
            self._resolver.follow(configured, origin)
            stored = {queue.name: queue for queue in await self._store.queues()}
            for name in {**before, **configured}:
                await self._reapply(stored.get(name) or _untouched(name))

    async def all(self) -> list[Queue]:
        """All queues by name, with their effective settings."""
        stored = await self._store.queues()
        names = {queue.name for queue in stored}
        configured = [_untouched(name) for name in self._configured if name not in names]
        shown = [self._resolver.shown(queue) for queue in (*stored, *configured)]
        return sorted(shown, key=lambda queue: queue.name)

    async def get(self, name: str) -> Queue:
        """One queue. Raises: NotFound."""
        stored = await self._store.queue(name)
        if stored is None and name in self._configured:
            stored = _untouched(name)
        if stored is None:
            raise NotFound(
                f"there is no queue {name!r}",
                hint="queues come into being with their first push, pause or change of settings",
            )
        return self._resolver.shown(stored)

    async def edit(self, name: str, edit: QueueEdit) -> Queue:
        """Change a queue's settings or pause, effective at once.

        Raises: Conflict when the configuration sets what would change; ValidationError.
        """
        async with self._changing:
            return await self._edit(name, edit)

    async def _edit(self, name: str, edit: QueueEdit) -> Queue:
        self._gate()
        self._resolver.refuse_fixed(name, edit)
        self._resolver.refuse_order_of_many(name, edit)
        if isinstance(edit.target, str):
            edit = replace(edit, target=self._resolver.target(edit.target))
        if edit.paused_until is not UNSET and edit.paused_until is not None:
            edit = replace(edit, paused=True)
        elif edit.paused is True and edit.paused_until is UNSET:
            edit = replace(edit, paused_until=None)
        now = self._clock.now()
        queue = await self._writing(self._store.set_queue(name, edit, now))
        await self._reapply(queue)
        if edit.paused is not UNSET:
            verb = "pause" if queue.paused else "resume"
            self._events.publish(Event(verb=verb, queue=name, at=now))
        return self._resolver.shown(queue)

    async def pause_is_over(self, name: str) -> None:
        """End a pause whose time has come."""
        async with self._changing:
            queue = await self._store.queue(name)
            if queue is None or queue.paused_until is None:
                return
            if queue.paused_until <= self._clock.now():
                await self._edit(name, QueueEdit(paused=False))
            else:  # the clock was set back, or the pause was made longer
                self._scheduler.at(Timer.RESUME, queue.paused_until, name)

    async def delete(self, name: str, *, force: bool) -> int:
        """Forget a queue's settings; how many waiting jobs were cancelled.

        Raises: NotFound, Conflict (it holds unprocessed jobs and `force` is False).
        """
        self._gate()
        now = self._clock.now()
        async with self._changing:
            cancelled = await self._writing(self._store.delete_queue(name, now, force=force))
            if cancelled is None:
                raise NotFound(f"there is no queue {name!r}")
            self._apply(_untouched(name))
        self._events.publish(Event(verb="delete", queue=name, at=now))
        return cancelled

    def _apply(self, queue: Queue) -> None:
        """Let a queue's stored settings and pause take effect."""
        self._resolver.learn(queue)
        self._lanes.configure(
            queue.name,
            self._resolver.flow(queue.name),
            paused=queue.paused,
            now=self._clock.now(),
            paced_until=queue.paced_until,
        )
        if queue.paused and queue.paused_until is not None:
            self._scheduler.at(Timer.RESUME, queue.paused_until, queue.name)
        else:
            self._scheduler.cancel(Timer.RESUME, queue.name)

    async def _reapply(self, queue: Queue) -> None:
        """Let what has changed of a queue take effect; without its order nobody waits for it."""
        was_fifo = self._lanes.lane(queue.name).fifo
        self._apply(queue)
        if was_fifo and not self._resolver.flow(queue.name).fifo:
            await self._let_go_on(queue.name)

    async def _let_go_on(self, name: str) -> None:
        """Have nobody wait any more for the head of a queue that is not fifo now."""
        try:
            await self._writing(self._store.let_go_on(name))
        except (StorageFull, Unavailable) as error:
            log.warning("queue %r waits for its head still: %s", name, error.message)
        self._lanes.expect(name, self._clock.now(), self._clock.now())


def _untouched(name: str) -> Queue:
    """A queue of which nothing is stored."""
    return Queue(name=name, created_at=0, settings=QueueSettings())
