"""Which queue may start how many jobs now: concurrency, rate, pause, a cap over all, fair turns.

Owns one Lane per queue and the slots in use. Pure: no clock, no asyncio; whoever changes
something passes `now`, and learns through `wake` and `set_timer` what follows from it.

Invariant: `running` of a lane never exceeds its concurrency by a claim, the sum of those that
have a slot never the cap; no more start than a lane's rate lets; and a lane is in `_ripe` exactly
when it could start a job it believes to be due. No more than MOST_ASIDE slots are lent while
their jobs wait.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from msgspec import Struct

from lq.daemon.store import Claimed, ClaimRequest, Pace
from lq.model import Rate
from lq.rate import Bucket

# Jobs without a slot that wait to be called. Each has a connection, so their number must end.
MOST_ASIDE: Final = 128
# After so many jobs in a row whose targets may not be called now, a lane looks for others in small
# handfuls: claiming and giving back a long backlog would be all that lq does.
_HANDFUL: Final = 16
_LOOKS_EVERY_MS: Final = 100
# How much the newest call counts in the mean of a lane's calls.
_WEIGHT: Final = 0.2


class Gate(Enum):
    """What keeps a lane from starting a job that is due."""

    PAUSE = "pause"
    CONCURRENCY = "concurrency"
    RATE = "rate"
    TARGETS = "targets"  # those of its last jobs may not be called now


class Flow(Struct, frozen=True, kw_only=True):
    """What is set for a lane. Shape: without `concurrency` it has as much as the daemon gives."""

    concurrency: int | None = None
    rate: Rate | None = None
    burst: int | None = None
    fifo: bool = False


class Lane:
    """One queue's turn. `due_at` is when its next waiting job is due, as far as is known."""

    __slots__ = (
        *("bucket", "concurrency", "due_at", "fifo", "held", "looks_at", "mean_ms", "name"),
        *("nudges", "paused", "running"),
    )

    def __init__(self, name: str, concurrency: int) -> None:
        self.name = name
        self.concurrency = concurrency
        self.fifo = False
        self.bucket: Bucket | None = None
        self.paused = False
        self.running = 0
        self.due_at: int | None = None
        # How many of its jobs in a row were given back because of their targets.
        self.held = 0
        self.looks_at = 0
        self.mean_ms: float | None = None
        # Counts news of waiting jobs, so that a claim's answer, which may be older than the
        # news, never makes the lane forget it.
        self.nudges = 0

    def gate(self, now: int) -> Gate | None:
        """What is closed for its next due job; None when that could start."""
        if self.paused:
            return Gate.PAUSE
        if self.running >= self.concurrency:
            return Gate.CONCURRENCY
        if self.bucket is not None and self.bucket.tokens(now) < 1:
            return Gate.RATE
        # Further off it can only be if the clock was set back.
        if now < self.looks_at <= now + _LOOKS_EVERY_MS and self.held >= _HANDFUL:
            return Gate.TARGETS
        return None

    def opens_at(self, gate: Gate | None, now: int) -> int | None:
        """When a gate opens by itself; None when something else must happen first."""
        if gate is Gate.RATE and self.bucket is not None:
            return self.bucket.next_at(now)
        return self.looks_at if gate is Gate.TARGETS else None

    @property
    def pace(self) -> Pace | None:
        """Its rate as the store keeps it."""
        bucket = self.bucket
        return None if bucket is None else Pace(bucket.full_at, bucket.interval_ms)

    def room(self, now: int) -> int:
        """How many jobs it may start."""
        free = self.concurrency - self.running
        if self.bucket is not None:
            free = min(free, self.bucket.tokens(now))
        return min(free, _HANDFUL) if self.held >= _HANDFUL else free

    def follow(self, flow: Flow, default: int, now: int, paced_until: int | None) -> None:
        """Take over what is set; what was used up of a rate stays so."""
        self.fifo = flow.fifo
        self.concurrency = 1 if flow.fifo else flow.concurrency or default
        bucket = self.bucket
        if flow.rate is None:
            self.bucket = None
        elif bucket is None:
            self.bucket = Bucket(flow.rate, flow.burst, paced_until or 0)
        else:
            self.bucket = Bucket(flow.rate, flow.burst, bucket.full_at)
        self.looks_at = min(self.looks_at, now)


class Lanes:
    """All lanes. `wake` is called when a claim became possible, `set_timer` for a later one."""

    def __init__(
        self,
        cap: int,
        concurrency: int,
        wake: Callable[[], None],
        set_timer: Callable[[str, int], None],
    ) -> None:
        self._cap = cap
        self._concurrency = concurrency
        self._wake = wake
        self._set_timer = set_timer
        self._lanes: dict[str, Lane] = {}
        # Insertion-ordered: the lane served longest ago is first.
        self._ripe: dict[str, Lane] = {}
        self.running = 0
        self._aside = 0
        # While it drains; what is ripe stays so.
        self.closed = False
        # While a restore holds all back; as closed, but for a restart.
        self.frozen = False

    def lane(self, name: str) -> Lane:
        """The lane of a queue, made at its first mention."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._concurrency)
        return lane

    def close(self) -> None:
        """Start nothing more; what runs is left alone."""
        self.closed = True

    def open(self, now: int) -> None:
        """Go on after `close`."""
        self.closed = False
        self._look(now)

    def thaw(self, now: int) -> None:
        """Go on after a freeze."""
        self.frozen = False
        self._look(now)

    def _look(self, now: int) -> None:
        for lane in self._lanes.values():
            self._judge(lane, now)
        if self._ripe:
            self._wake()

    def configure(
        self, name: str, flow: Flow, *, paused: bool, now: int, paced_until: int | None = None
    ) -> None:
        """Change a lane while it runs; running jobs are left alone.

        Shape: `paced_until` is when the rate had recovered, of a lane that is new.
        """
        lane = self.lane(name)
        lane.follow(flow, self._concurrency, now, paced_until)
        lane.paused = paused
        self._judge(lane, now)

    def expect(self, name: str, due_at: int, now: int) -> None:
        """A job of this queue waits for `due_at` (or its successor may start now).

        Shape: where there is an order, any news may be of its head: it is looked at now.
        """
        lane = self.lane(name)
        if lane.fifo:
            due_at = min(due_at, now)
        lane.nudges += 1
        if lane.due_at is None or due_at < lane.due_at:
            lane.due_at = due_at
        self._judge(lane, now)

    def clock_was_set(self, now: int) -> None:
        """Look at all lanes anew: their timers were set by the clock that was wrong."""
        for lane in self._lanes.values():
            self._judge(lane, now)

    def timer(self, name: str, now: int) -> None:
        """The timer of a lane has gone off."""
        self._judge(self.lane(name), now)

    def reserve(self, name: str, now: int) -> bool:
        """Take a slot for a job that is just being pushed, if nothing waits before it.

        Shape: where there is a rate or an order to keep, jobs start by a claim alone.
        """
        lane = self.lane(name)
        free = self.running < self._cap and lane.gate(now) is None and not self._shut
        waits = lane.due_at is not None and (lane.due_at <= now or lane.fifo)
        if not free or waits or self._ripe or lane.bucket is not None:
            return False
        self._take(lane, 1)
        return True

    def release(self, name: str, now: int) -> None:
        """Give a slot back: its call has ended."""
        lane = self.lane(name)
        self._take(lane, -1)
        self._judge(lane, now)

    def step_aside(self) -> bool:
        """Let the other queues use a slot while its job waits for something before its call.

        Shape: False when too many have done so, and the job waits in its slot.
        """
        if self._aside >= MOST_ASIDE:
            return False
        self._aside += 1
        self._share(-1)
        return True

    def step_back(self) -> bool:
        """Take the slot again; False when that is one too many, and the job must be given back."""
        self._aside -= 1
        self._share(1)
        return self.running <= self._cap

    def detach(self) -> None:
        """Let a job of some queue run on without its slot: it takes long, and calls nobody."""
        self._share(-1)

    def park(self, name: str, now: int) -> None:
        """Count a job of this queue that runs without a slot: its handler will call back."""
        lane = self.lane(name)
        lane.running += 1
        self._judge(lane, now)

    def unpark(self, name: str, now: int) -> None:
        """A job of this queue that ran without a slot has ended."""
        lane = self.lane(name)
        lane.running -= 1
        self._judge(lane, now)

    def requests(self, now: int) -> list[tuple[ClaimRequest, int]]:
        """Share the free slots among the lanes that can use them, and take them.

        Shape: each request with the lane's `nudges` at this moment, both to be handed to
        `claimed` or `unclaimed`. Equal shares, so that a busy queue cannot starve
        another; who was served goes to the end of the line.
        """
        if self._shut:
            return []
        shares: dict[str, int] = {}
        paces: dict[str, Pace | None] = {}
        for lane in list(self._ripe.values()):
            self._judge(lane, now)  # a clock that was set back has closed its rate again
        takers = list(self._ripe.values())
        while takers and (free := self._cap - self.running) > 0:
            share = max(1, free // len(takers))
            for lane in takers[:free]:
                slots = min(share, lane.room(now))
                if lane.name not in shares:
                    paces[lane.name] = lane.pace
                shares[lane.name] = shares.get(lane.name, 0) + slots
                self._take(lane, slots)
                self._spend(lane, slots, now)
            takers = [lane for lane in takers if lane.room(now) > 0 and lane.held < _HANDFUL]
        for name in shares:
            del self._ripe[name]
        return [
            (ClaimRequest(name, share, paces[name]), self._lanes[name].nudges)
            for name, share in shares.items()
        ]

    @property
    def _shut(self) -> bool:
        return self.closed or self.frozen

    def claimed(self, answer: Claimed, limit: int, nudges: int, now: int) -> None:
        """Take in what a claim of `limit` jobs gave; what was not used is free again."""
        lane = self.lane(answer.queue)
        self._take(lane, len(answer.runs) - limit)
        self._spend(lane, len(answer.runs) - limit, now)
        if lane.held >= _HANDFUL:
            lane.looks_at = now + _LOOKS_EVERY_MS
        if lane.nudges == nudges:
            lane.due_at = answer.next_due_at
        elif answer.next_due_at is not None:
            lane.due_at = min(answer.next_due_at, lane.due_at or answer.next_due_at)
        self._judge(lane, now)

    def unclaimed(self, name: str, limit: int, now: int) -> None:
        """Take back the slots of a claim that failed."""
        lane = self.lane(name)
        self._take(lane, -limit)
        self._spend(lane, -limit, now)
        self._judge(lane, now)

    def called(self, name: str) -> None:
        """A job of this queue may be called: there is no need to look for such."""
        lane = self.lane(name)
        lane.held = lane.looks_at = 0

    def uncalled(self, name: str, now: int, *, held: bool) -> None:
        """A claimed job of this queue was not called; what it used up of the rate is free again.

        Shape: `held` when that was for its target.
        """
        lane = self.lane(name)
        lane.held += held
        self._spend(lane, -1, now)
        self._judge(lane, now)

    def took(self, name: str, ms: float) -> None:
        """A call of this queue took so long."""
        lane = self.lane(name)
        mean = lane.mean_ms
        lane.mean_ms = ms if mean is None else mean + _WEIGHT * (ms - mean)

    @property
    def full(self) -> bool:
        """Whether all slots over all queues are in use."""
        return self.running >= self._cap

    @staticmethod
    def _spend(lane: Lane, starts: int, now: int) -> None:
        """Use up a lane's rate, or with a negative number give some of it back."""
        if lane.bucket is not None and starts:
            lane.bucket.take(starts, now)

    def _take(self, lane: Lane, slots: int) -> None:
        """Take free slots of a lane, or with a negative number give some back."""
        lane.running += slots
        self._share(slots)

    def _share(self, slots: int) -> None:
        """Take free slots of all queues, or give some back to who waits for them."""
        was_full = self.running >= self._cap
        self.running += slots
        if was_full and self.running < self._cap and self._ripe:
            self._wake()

    def _judge(self, lane: Lane, now: int) -> None:
        """Put the lane where it belongs: ripe, waiting for its timer, or neither."""
        due = lane.due_at is not None and lane.due_at <= now
        gate = lane.gate(now)
        if due and gate is None:
            if lane.name not in self._ripe:
                self._ripe[lane.name] = lane
                self._wake()
            return
        self._ripe.pop(lane.name, None)
        if lane.due_at is not None and lane.due_at > now:
            self._set_timer(lane.name, lane.due_at)
        elif due and (opens_at := lane.opens_at(gate, now)) is not None:
            self._set_timer(lane.name, max(opens_at, now + 1))
