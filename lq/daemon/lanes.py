"""Which queue may start how many jobs now: concurrency, pause, a cap over all, fair turns.

Owns one Lane per queue and the slots in use. Pure: no clock, no asyncio; whoever changes
something passes `now`, and learns through `wake` and `set_timer` what follows from it.

Invariant: `running` of a lane never exceeds its concurrency by a claim, the sum of those that
have a slot never the cap; and a lane is in `_ripe` exactly when it could start a job it believes
to be due. No more than MOST_ASIDE slots are lent while their jobs wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lq.daemon.store import Claimed, ClaimRequest

# Jobs without a slot that wait to be called. Each has a connection, so their number must end.
MOST_ASIDE: Final = 128


class Lane:
    """One queue's turn. `due_at` is when its next waiting job is due, as far as is known."""

    __slots__ = ("concurrency", "due_at", "name", "nudges", "paused", "running")

    def __init__(self, name: str, concurrency: int) -> None:
        self.name = name
        self.concurrency = concurrency
        self.paused = False
        self.running = 0
        self.due_at: int | None = None
        # Counts news of waiting jobs, so that a claim's answer, which may be older than the
        # news, never makes the lane forget it.
        self.nudges = 0


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

    def lane(self, name: str) -> Lane:
        """The lane of a queue, made at its first mention."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._concurrency)
        return lane

    def configure(self, name: str, *, concurrency: int | None, paused: bool, now: int) -> None:
        """Change a lane while it runs; running jobs are left alone."""
        lane = self.lane(name)
        lane.concurrency = concurrency or self._concurrency
        lane.paused = paused
        self._judge(lane, now)

    def expect(self, name: str, due_at: int, now: int) -> None:
        """A job of this queue waits for `due_at` (or its successor may start now)."""
        lane = self.lane(name)
        lane.nudges += 1
        if lane.due_at is None or due_at < lane.due_at:
            lane.due_at = due_at
        self._judge(lane, now)

    def timer(self, name: str, now: int) -> None:
        """The timer of a lane has gone off."""
        self._judge(self.lane(name), now)

    def reserve(self, name: str, now: int) -> bool:
        """Take a slot for a job that is just being pushed, if nothing waits before it."""
        lane = self.lane(name)
        free = self.running < self._cap and lane.running < lane.concurrency and not lane.paused
        waits = lane.due_at is not None and lane.due_at <= now
        if not free or waits or self._ripe:
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
        shares: dict[str, int] = {}
        takers = list(self._ripe.values())
        while takers and (free := self._cap - self.running) > 0:
            share = max(1, free // len(takers))
            for lane in takers[:free]:
                slots = min(share, lane.concurrency - lane.running)
                shares[lane.name] = shares.get(lane.name, 0) + slots
                self._take(lane, slots)
            takers = [lane for lane in takers if lane.running < lane.concurrency]
        for name in shares:
            del self._ripe[name]
        return [
            (ClaimRequest(name, share), self._lanes[name].nudges) for name, share in shares.items()
        ]

    def claimed(self, answer: Claimed, limit: int, nudges: int, now: int) -> None:
        """Take in what a claim of `limit` jobs gave; what was not used is free again."""
        lane = self.lane(answer.queue)
        self._take(lane, len(answer.runs) - limit)
        if lane.nudges == nudges:
            lane.due_at = answer.next_due_at
        elif answer.next_due_at is not None:
            lane.due_at = min(answer.next_due_at, lane.due_at or answer.next_due_at)
        self._judge(lane, now)

    def unclaimed(self, name: str, limit: int, now: int) -> None:
        """Take back the slots of a claim that failed."""
        lane = self.lane(name)
        self._take(lane, -limit)
        self._judge(lane, now)

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
        if due and not lane.paused and lane.running < lane.concurrency:
            if lane.name not in self._ripe:
                self._ripe[lane.name] = lane
                self._wake()
            return
        self._ripe.pop(lane.name, None)
        if lane.due_at is not None and lane.due_at > now:
            self._set_timer(lane.name, lane.due_at)
