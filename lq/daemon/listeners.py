"""Calls that go to a developer's machine: copies of them, or the calls themselves.

Owns who listens, in the order in which they came, and what waits to be fetched by each. Wraps the
way out: `deliver` is that of whatever calls targets. Decides nothing about jobs, keeps nothing on
disk, and reaches nobody: listeners ask.

Invariant: a copy never changes what becomes of a job, and holds nothing up. A call that was taken
over ends with its listener's answer, at its time-out, or is given back when the listener goes; its
target is not called beside it. What waits for one listener is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace
from multidict import CIMultiDict

from lq.clock import Clock
from lq.daemon.targets.http import MAX_BODY, answered, printable
from lq.daemon.targets.kinds import Target
from lq.errors import Conflict, NotFound, Unavailable
from lq.listening import Answered, Wanted
from lq.model import Job, Outcome, OutcomeKind, Principal, Run
from lq.patterns import meant
from lq.when import format_duration

log = logging.getLogger(__name__)

MOST_LISTENERS: Final = 32
MOST_COPIES: Final = 100
MOST_COPIED_BYTES: Final = 16 << 20
SILENCE_S: Final = 15.0
"""How long a listener may be without a question under way before it counts as gone."""
_LOOK_EVERY_MS: Final = 1000
_REASON_LENGTH: Final = 300
ANSWERED_BY: Final = "x-lq-answered-by"
Sign = Callable[[Run, int, str], dict[str, str]]


class Handed(asyncio.Event):
    """One call for one listener. Shape: set once it has been answered, or never will be."""

    def __init__(self, number: int, run: Run, *, copy: bool) -> None:
        super().__init__()
        self.number = number
        self.run = run
        self.copy = copy
        self.answer: Answered | None = None

    @property
    def size(self) -> int:
        return len(self.run.job.payload or b"")

    @property
    def path(self) -> str:
        """The path of the target, with its query."""
        parts = urlsplit(self.run.job.target)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class Listener:
    """One connection from outside, as a name, a wish, and what waits for it."""

    def __init__(
        self, listener_id: str, name: str, wanted: Wanted, owner: Principal, now: int
    ) -> None:
        self.id = listener_id
        self.name = name
        self.wanted = wanted
        self.owner = owner
        self.since = now
        self.lost = 0
        self.asking = 0
        self.asked_at = 0.0
        self.is_gone = False
        self.news = asyncio.Event()
        self.waiting: deque[Handed] = deque()
        self.open: dict[int, Handed] = {}
        self._last = 0

    def is_for(self, job: Job) -> bool:
        """Whether it wants the calls of a job, and its token reaches the queue."""
        return self.reaches(job.queue) and self.wanted.covers(job)

    def reaches(self, queue: str) -> bool:
        """Whether its token reaches a queue."""
        return meant(queue, self.owner.queues)

    def copy(self, run: Run) -> bool:
        """Put a copy beside what waits; false when there is too much already."""
        copies = [handed.size for handed in self.waiting if handed.copy]
        size = len(run.job.payload or b"")
        if len(copies) >= MOST_COPIES or sum(copies) + size > MOST_COPIED_BYTES:
            self.lost += 1
            return False
        self._put(run, copy=True)
        return True

    def hand(self, run: Run) -> Handed:
        """Hand a call over that it is to answer."""
        handed = self._put(run, copy=False)
        self.open[handed.number] = handed
        return handed

    def withdraw(self, handed: Handed) -> None:
        """Forget a call whose answer nobody waits for any more."""
        self.open.pop(handed.number, None)
        if handed in self.waiting:
            self.waiting.remove(handed)

    def seen(self, number: int) -> None:
        """Forget what has arrived: all up to this number."""
        while self.waiting and self.waiting[0].number <= number:
            self.waiting.popleft()

    def end(self) -> None:
        """Let nobody wait for it any longer."""
        self.is_gone = True
        self.news.set()
        for handed in self.open.values():
            handed.set()

    def _put(self, run: Run, *, copy: bool) -> Handed:
        self._last += 1
        handed = Handed(self._last, run, copy=copy)
        self.waiting.append(handed)
        self.news.set()
        return handed


class Listeners:
    """Everybody who listens, and the way out for everything else."""

    def __init__(self, way: Target, sign: Sign, clock: Clock) -> None:
        """Shape: `sign` makes the headers of a run's call."""
        self._way = way
        self._sign = sign
        self._clock = clock
        self._known: dict[str, Listener] = {}
        self._never = asyncio.Event()
        self._stopping = False

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._known.values())

    async def run(self) -> None:
        """Let go of listeners that ask for nothing any more, until cancelled."""
        while True:
            await self._clock.wait(self._never, _LOOK_EVERY_MS)
            now = self._clock.monotonic()
            for listener in list(self):
                if not listener.asking and now - listener.asked_at > SILENCE_S:
                    self.leave(listener, "has not asked for calls any more")

    def end(self) -> None:
        """Let all go: the daemon stops."""
        self._stopping = True
        for listener in list(self):
            self.leave(listener, "was let go: lq stops")

    def listen(self, wanted: Wanted, owner: Principal) -> Listener:
        """Take a listener on. Raises: Unavailable when there are too many, or lq stops."""
        self._refuse_when_stopping()
        if len(self._known) >= MOST_LISTENERS:
            raise Unavailable(
                f"{MOST_LISTENERS} listen already", hint="`lq listen --list` says who"
            )
        names = {listener.name for listener in self}
        name, number = wanted.name, 1
        while name in names:
            number += 1
            name = f"{wanted.name}-{number}"
        listener = Listener(f"lis_{os.urandom(16).hex()}", name, wanted, owner, self._clock.now())
        listener.asked_at = self._clock.monotonic()
        self._known[listener.id] = listener
        if wanted.take_over:
            log.warning("listener %s takes over calls of %s until it leaves", name, _scope(wanted))
        return listener

    def ahead_of(self, listener: Listener) -> Sequence[Listener]:
        """Who takes over before this one does, where both want a call."""
        if not listener.wanted.take_over:
            return ()
        others = list(self)
        before = others[: others.index(listener)] if listener in others else others
        return [one for one in before if one.wanted.take_over]

    def find(self, listener_id: str, owner: Principal) -> Listener:
        """The listener of this id, for whoever made it. Raises: NotFound."""
        listener = self._known.get(listener_id)
        if listener is None or (listener.owner.name, listener.owner.digest) != (
            owner.name,
            owner.digest,
        ):
            raise NotFound("there is no such listener", hint="listen again")
        return listener

    def leave(self, listener: Listener, why: str = "has left") -> None:
        """Let a listener go: what it has not answered is given back."""
        if self._known.pop(listener.id, None) is None:
            return
        level = logging.WARNING if listener.wanted.take_over else logging.INFO
        log.log(level, "listener %s %s", listener.name, why)
        listener.end()

    async def next(
        self, listener: Listener, seen: int, wait_ms: int, *, hold: bool
    ) -> Handed | None:
        """The next call after the last one seen, once there is one; None when none has come.

        Shape: with `hold` there is none, whatever waits. Raises: NotFound when the listener is
        let go meanwhile.
        """
        listener.seen(seen)
        listener.asking += 1
        try:
            if (hold or not listener.waiting) and not listener.is_gone:
                listener.news.clear()
                await self._clock.wait(listener.news, wait_ms)
        except asyncio.CancelledError:
            self.leave(listener, "has closed its connection")
            raise
        finally:
            listener.asking -= 1
            listener.asked_at = self._clock.monotonic()
        if listener.is_gone:
            self._refuse_when_stopping()
            raise NotFound("this listener was let go", hint="listen again")
        return listener.waiting[0] if listener.waiting and not hold else None

    def headers(self, handed: Handed) -> dict[str, str]:
        """The headers of a call, signed at this moment.

        Shape: a copy has none with which its handler could call back: that is the attempt's own.
        """
        headers = self._sign(handed.run, self._clock.now(), os.urandom(8).hex())
        if handed.copy:
            headers.pop("x-lq-callback", None)
            headers["x-lq-copy"] = "true"
        return headers

    def answer(self, listener: Listener, answer: Answered) -> None:
        """Take the answer to a call. Raises: Conflict when nobody waits for it."""
        handed = listener.open.pop(answer.number, None)
        if handed is None or handed.is_set():
            raise Conflict(
                "nobody waits for this answer: it is that of a copy, or its attempt has ended"
            )
        handed.answer = answer
        handed.set()

    def send(self, job: Job, only: Listener | None) -> list[Listener]:
        """Send a copy of a job's call to everybody who wants its calls, or to one alone.

        Raises: Conflict when nobody gets it.
        """
        if not _is_http(job):
            raise Conflict("only calls over HTTP can be sent to who listens")
        run = Run(0, job, self._clock.now())
        wanted = [one for one in self if one.is_for(job)] if only is None else [only]
        sent = [one for one in wanted if one.reaches(job.queue) and one.copy(run)]
        if not sent:
            raise Conflict(
                "nobody listens for this, or whoever does has too much waiting",
                hint="start `lq listen --forward-to URL` first, or name a --forward-to here",
            )
        return sent

    def holder(self, job: Job) -> Listener | None:
        """Who answers the calls of a job in place of its target: of several the first that came."""
        if not self._known or not _is_http(job):
            return None
        taking = (one for one in self if one.wanted.take_over and one.is_for(job))
        return next(taking, None)

    def divert(self, job: Job) -> bool:
        """Whether the target of a job is not called now."""
        return self.holder(job) is not None

    async def deliver(self, run: Run) -> Outcome:
        """Carry a run out, here or with whoever has taken it over."""
        if self._known and _is_http(run.job):
            holder = self.holder(run.job)
            for listener in self:
                if not listener.wanted.take_over and listener.is_for(run.job):
                    listener.copy(run)
            if holder is not None:
                return await self._handed_over(holder, run)
        return await self._way.deliver(run)

    async def _handed_over(self, holder: Listener, run: Run) -> Outcome:
        handed = holder.hand(run)
        try:
            async with asyncio.timeout(run.job.timeout_ms / 1000):
                await handed.wait()
        except TimeoutError:
            within = format_duration(run.job.timeout_ms)
            error = f"timeout: listener {holder.name} has not answered within {within}"
            return Outcome(kind=OutcomeKind.FAILED, error=error, headers={ANSWERED_BY: holder.name})
        finally:
            holder.withdraw(handed)
        if handed.answer is None:
            reason = f"interrupted: listener {holder.name} went away before it answered"
            return Outcome(kind=OutcomeKind.INTERRUPTED, error=reason, begun=True)
        return self._outcome(run, holder.name, handed.answer)

    def _outcome(self, run: Run, name: str, answer: Answered) -> Outcome:
        by = {ANSWERED_BY: name}
        if answer.status is None:
            said = printable(answer.error or "no answer")[:_REASON_LENGTH]
            error = f"{said} (answered by listener {name})"
            return Outcome(kind=OutcomeKind.FAILED, error=error, headers=by)
        outcome = answered(
            run,
            answer.status,
            CIMultiDict(answer.headers),
            answer.body[:MAX_BODY],
            truncated=answer.truncated or len(answer.body) > MAX_BODY,
            now=self._clock.now(),
        )
        return replace(outcome, headers={**outcome.headers, **by})

    def _refuse_when_stopping(self) -> None:
        if self._stopping:
            raise Unavailable("lq is stopping")


def _is_http(job: Job) -> bool:
    return job.target.startswith(("http:", "https:"))


def _scope(wanted: Wanted) -> str:
    queues = f"the queues {', '.join(wanted.queues)}" if wanted.queues else "all queues"
    return queues + (f" to {', '.join(wanted.targets)}" if wanted.targets else "")
