"""Publish and subscribe: one event per transition of a job, for whoever looks on.

Owns the subscribers; never blocks the publisher: a subscriber that falls behind loses the
oldest events, and is told so by `missed`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from msgspec import Struct

from lq.model import State


class Event(Struct, frozen=True, kw_only=True):
    """A job moved. `verb` is the verb of `lq.model.MOVES`, or `push`."""

    verb: str
    job_id: str
    queue: str
    state: State
    at: int
    error: str | None = None


class Subscription:
    """A bounded queue of events, read with `async for` inside `with events.subscribe()`."""

    def __init__(self, events: Events, most: int) -> None:
        self._events = events
        self._held: deque[Event] = deque(maxlen=most)
        self._arrived = asyncio.Event()
        self.missed = 0

    def put(self, event: Event) -> None:
        if len(self._held) == self._held.maxlen:
            self.missed += 1
        self._held.append(event)
        self._arrived.set()

    def __enter__(self) -> Subscription:
        self._events.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.discard(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._held:
            self._arrived.clear()
            await self._arrived.wait()
        return self._held.popleft()


class Events:
    """Where transitions are published. Costs nothing while nobody listens."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens: lets a hot path skip building an event."""
        return bool(self._subscriptions)

    def publish(self, event: Event) -> None:
        for subscription in self._subscriptions:
            subscription.put(event)

    def subscribe(self, most: int = 10_000) -> Subscription:
        return Subscription(self, most)

    def add(self, subscription: Subscription) -> None:
        self._subscriptions.add(subscription)

    def discard(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
