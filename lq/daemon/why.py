"""Why a job does not run now: which gates are closed to it, until when, and when it may start.

Owns the explanation, and no rule: each gate is asked of what decides about it (lanes, endpoints,
breakers, dispatcher), without changing anything there.

Invariant: a job that could be claimed and called at this moment has no closed gate.
"""

from __future__ import annotations

import math

from lq.clock import Clock
from lq.daemon.breaker import Breakers
from lq.daemon.dispatcher import Admission, Dispatcher
from lq.daemon.lanes import Gate, Lanes
from lq.daemon.store import MOST_AHEAD, Place, Store
from lq.model import FINISHED, Job, JobFilter, Queue, State
from lq.when import format_duration
from lq.why import Closed, Hold, Why

_MOST_NAMED = 16


class Explainer:
    """Asks those who decide."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        lanes: Lanes,
        endpoints: Admission,
        breakers: Breakers,
        dispatcher: Dispatcher,
    ) -> None:
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._endpoints = endpoints
        self._breakers = breakers
        self._dispatcher = dispatcher

    async def explain(self, job: Job, queue: Queue) -> Why:
        """Why a job is where it is."""
        now = self._clock.now()
        if job.state in FINISHED:
            return Why(job=job, summary=f"It is finished, as {job.state}.")
        if job.state is State.RUNNING:
            return _running(job)
        place = await self._store.place(job, now)
        gates = [*self._own_gates(job, queue, place, now), *await self._shared_gates(job, now)]
        starts_at = self._predicted(job, gates, place, now)
        if not gates:
            ahead = f"; {place.ahead} start before it" if place.ahead else ""
            summary = f"Nothing holds it: it is about to start{ahead}."
        else:
            summary = f"It waits: {gates[0].reason}."
        return Why(
            job=job, summary=summary, gates=tuple(gates), ahead=place.ahead, starts_at=starts_at
        )

    def _own_gates(self, job: Job, queue: Queue, place: Place, now: int) -> list[Closed]:
        """What holds this job, and not all of its queue."""
        gates = []
        spared = [self._breakers_hold(job, now), self._endpoint_holds(job)]
        if self._dispatcher.diverted(job):  # somebody else is called in its place
            spared = []
        held = [closed for closed in spared if closed is not None]
        if job.next_at > now:
            gates.append(_time_gate(job, held, now))
        if queue.paused:
            gates.append(_pause_gate(queue))
        if place.called is not None:
            reason = f"item {place.called} with its key is still running"
            gates.append(Closed(gate=Hold.KEY, reason=reason, by=(place.called,)))
        if self._lanes.lane(job.queue).fifo and place.head != job.id and place.ahead:
            reason = f"its queue is fifo, and item {place.head} is its head"
            until = place.head_at if place.head_at > now else None
            gates.append(Closed(gate=Hold.ORDER, reason=reason, until=until, by=(place.head,)))
        told = {gate.reason for gate in gates}
        return [*gates, *(closed for closed in held if closed.reason not in told)]

    async def _shared_gates(self, job: Job, now: int) -> list[Closed]:
        """What holds all of its queue, or all that lq does."""
        gates = []
        lane = self._lanes.lane(job.queue)
        gate = lane.gate(now)
        if lane.running >= lane.concurrency:
            by = await self._ids_running(job.queue)
            reason = f"{lane.running} of {lane.concurrency} items of its queue are running"
            gates.append(Closed(gate=Hold.CONCURRENCY, reason=reason, by=by))
        elif self._lanes.full:
            reason = f"all {self._lanes.running} slots over all queues are in use"
            gates.append(Closed(gate=Hold.SLOTS, reason=reason))
        if lane.bucket is not None and lane.bucket.tokens(now) < 1:
            reason = "its queue has used up its rate"
            gates.append(Closed(gate=Hold.RATE, reason=reason, until=lane.bucket.next_at(now)))
        if gate is Gate.TARGETS and job.next_at <= now:
            reason = "what was before it in its queue may not be called now"
            gates.append(Closed(gate=Hold.TARGET, reason=reason, until=lane.looks_at))
        if self._dispatcher.stuck:
            gates.append(Closed(gate=Hold.STORE, reason="results could not be stored yet"))
        elif refusal := self._dispatcher.refusal:
            gates.append(Closed(gate=Hold.STORE, reason=f"no job can be started: {refusal}"))
        if self._lanes.frozen:
            reason = "lq is frozen since a restore, and starts nothing until `lq release`"
            gates.append(Closed(gate=Hold.FROZEN, reason=reason))
        if self._lanes.closed:
            reason = "lq is draining, and starts nothing until it is told to go on"
            gates.append(Closed(gate=Hold.DRAIN, reason=reason))
        elif self._dispatcher.draining:
            gates.append(Closed(gate=Hold.DRAIN, reason="lq is stopping, and starts nothing"))
        return gates

    async def _ids_running(self, queue: str) -> tuple[str, ...]:
        wanted = JobFilter(queue=queue, state=State.RUNNING.value, limit=_MOST_NAMED)
        return tuple(job.id for job in (await self._store.unfinished(wanted)).items)

    def _breakers_hold(self, job: Job, now: int) -> Closed | None:
        tick = self._clock.monotonic() * 1000
        spared = self._breakers.look(job.target, tick)
        if spared is None:
            return None
        until = now + math.ceil(spared.until - tick)
        return Closed(gate=Hold.BREAKER, reason=spared.reason, until=until)

    def _endpoint_holds(self, job: Job) -> Closed | None:
        hold = self._endpoints.look(job)
        if hold is None:
            return None
        gate = Hold.TARGET if hold.invalid_since is None else Hold.VALIDATION
        return Closed(gate=gate, reason=hold.reason, until=hold.until)

    def _predicted(self, job: Job, gates: list[Closed], place: Place, now: int) -> int | None:
        """When it may start, as far as those ahead of it and the gates let that be known."""
        lane = self._lanes.lane(job.queue)
        unknown = {Hold.PAUSE, Hold.KEY, Hold.STORE, Hold.DRAIN, Hold.FROZEN}
        if any(gate.gate in unknown and gate.until is None for gate in gates):
            return None
        starts_at = max((gate.until for gate in gates if gate.until is not None), default=now)
        waits_for_others = {Hold.CONCURRENCY, Hold.ORDER} & {gate.gate for gate in gates}
        if place.ahead >= MOST_AHEAD:
            return None
        if place.ahead or waits_for_others:
            if lane.mean_ms is None:
                return None
            turns = (place.ahead + lane.running) // lane.concurrency
            starts_at = max(starts_at, now + math.ceil(turns * lane.mean_ms))
        if lane.bucket is not None:
            starts_at = max(starts_at, lane.bucket.next_at(now, place.ahead))
        return starts_at


def _running(job: Job) -> Why:
    what = f"attempt {job.attempt} of {job.max_attempts}"
    summary = f"It is running: {what}, for at most {format_duration(job.timeout_ms)}."
    return Why(job=job, summary=summary)


def _time_gate(job: Job, held: list[Closed], now: int) -> Closed:
    """What put a job off: its own time, or what held it when its turn came."""
    wait = format_duration(max(1000, (job.next_at - now) // 1000 * 1000))
    if job.failures:
        reason = f"its next attempt, number {job.attempt}, is in {wait}"
        gate = Hold.RETRY
    elif job.error is not None and job.next_at > job.not_before:
        reason = job.error
        gate = next((closed.gate for closed in held if closed.reason == reason), Hold.TARGET)
    else:
        reason, gate = f"its time is in {wait}", Hold.TIME
    return Closed(gate=gate, reason=reason, until=job.next_at)


def _pause_gate(queue: Queue) -> Closed:
    reason = "its queue is paused"
    if queue.pause_reason:
        reason += f" ({queue.pause_reason})"
    return Closed(gate=Hold.PAUSE, reason=reason, until=queue.paused_until)
