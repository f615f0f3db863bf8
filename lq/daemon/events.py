"""Publish and subscribe: one event per transition of a job, for whoever looks on.

Owns the subscribers, and what the event of a move says; never blocks the publisher: a subscriber
that falls behind loses the oldest events, and is told so by `missed`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from lq.event import Event
from lq.model import Job, NewJob, PushOutcome, Settlement, State

__all__ = ["Event", "Events", "Sink", "Subscription", "moved", "settled"]


def moved(verb: str, job: Job, at: int, outcome: PushOutcome | None = None) -> Event:
    """A job is now as it says, by this verb."""
    return Event(
        verb=verb,
        queue=job.queue,
        at=at,
        job_id=job.id,
        state=job.state,
        failures=job.failures,
        key=job.key,
        labels=job.labels,
        schedule=None if job.firing is None else job.firing.schedule,
        attempt=job.attempt if verb == "claim" else None,
        due_at=job.due_at if job.state is State.PENDING else None,
        error=None if job.state is State.RUNNING else job.error,
        outcome=outcome,
    )


def _pushed(new: NewJob, job_id: str, at: int, outcome: PushOutcome) -> Event:
    """A job that was pushed among many, as it was asked for."""
    return Event(
        verb="push",
        queue=new.queue,
        at=at,
        job_id=job_id,
        state=State.PENDING,
        key=new.key,
        labels=new.labels,
        due_at=new.due_at,
        outcome=outcome,
    )


def settled(verb: str, state: State, end: Settlement) -> Event:
    """A run has ended, and its job is in this state."""
    job, outcome = end.run.job, end.outcome
    return Event(
        verb=verb,
        queue=job.queue,
        at=end.ended_at,
        job_id=job.id,
        state=state,
        failures=end.failures,
        key=job.key,
        labels=job.labels,
        schedule=None if job.firing is None else job.firing.schedule,
        attempt=None if outcome is None else job.attempt,
        due_at=end.due_at if state is State.PENDING else None,
        status=None if outcome is None else outcome.status,
        error=end.error,
    )


class Sink(Protocol):
    """Whoever is given each event as it happens. It must not take time."""

    def put(self, event: Event) -> None: ...


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
    """Where transitions are published. What is told costs a count while nobody listens."""

    def __init__(self, *counting: Callable[[str, str], None]) -> None:
        """Shape: each of `counting` is told of a queue and a verb, listeners or not."""
        self._sinks: set[Sink] = set()
        self._counting = counting

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._sinks)

    def publish(self, event: Event) -> None:
        """Tell of what is no move of a job."""
        for sink in self._sinks:
            sink.put(event)

    def _count(self, queue: str, verb: str) -> None:
        for count in self._counting:
            count(queue, verb)

    def moved(self, verb: str, job: Job, at: int, outcome: PushOutcome | None = None) -> None:
        """Count a move, and tell of it; a push that `outcome` says kept the job is none."""
        if outcome is not PushOutcome.REPLACED:
            self._count(job.queue, verb)
        if self._sinks:
            self.publish(moved(verb, job, at, outcome))

    def swept(self, event: Event) -> None:
        """Count a job that a sweep over many has moved, and tell of it."""
        self._count(event.queue, event.verb)
        self.publish(event)

    def pushed(self, new: NewJob, job_id: str, at: int, outcome: PushOutcome) -> None:
        """Count a push of many, and tell of it; one that was kept is none."""
        if outcome is PushOutcome.KEPT:
            return
        if outcome is PushOutcome.CREATED:
            self._count(new.queue, "push")
        if self._sinks:
            self.publish(_pushed(new, job_id, at, outcome))

    def settled(self, verb: str, state: State, end: Settlement) -> None:
        """Count the end of a run, and tell of it."""
        self._count(end.run.job.queue, verb)
        if self._sinks:
            self.publish(settled(verb, state, end))

    def subscribe(self, most: int = 10_000) -> Subscription:
        return Subscription(self, most)

    def add(self, sink: Sink) -> None:
        self._sinks.add(sink)

    def discard(self, sink: Sink) -> None:
        self._sinks.discard(sink)
