"""Claim, validate, sign, deliver, settle: what happens to a job once it is due.

Owns the runs in flight. A run goes through named steps; its end is decided by `decide`,
a pure function of the run and its Outcome. Knows no SQL and no HTTP field.

Invariant: a claimed run ends in a settle, or is accepted by its handler and ended later by
`callbacks`, whatever that handler, the disk or a stop does to it; only the death of the process
leaves one open, and the next boot finds it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from lq.backoff import Curve, delay_ms
from lq.clock import Clock
from lq.daemon.activity import Activities
from lq.daemon.breaker import Breakers
from lq.daemon.endpoints import Hold
from lq.daemon.events import Events
from lq.daemon.lanes import Lanes
from lq.daemon.metrics import Metrics
from lq.daemon.store import ClaimRequest, Store
from lq.daemon.waiting import UNREACHABLE, Waiting
from lq.endpoint import Endpoint, Named
from lq.errors import StorageFull, Unavailable
from lq.model import (
    Accepted,
    Job,
    Outcome,
    OutcomeKind,
    QueueSettings,
    Run,
    Settled,
    Settlement,
    State,
)
from lq.scriptlets import name_of
from lq.when import format_duration

log = logging.getLogger(__name__)

ASKED_TO_WAIT = "the target answered "
"""How the reason begins for which a target that has sent Retry-After holds its jobs."""

_STORE_RETRY_MS = 500
_SHORTAGE_MS = 1000
_UNREACHABLE_MS = 30_000
_COMPLAIN_EVERY_S = 60.0
# From the third interruption in a row on, the job is suspected of killing the daemon.
_TOLERATED_INTERRUPTIONS = 2


class Target(Protocol):
    """The seam to whatever a job is delivered to."""

    async def deliver(self, run: Run) -> Outcome: ...


class Admission(Protocol):
    """The seam to whoever knows what may be called now; `Endpoints` is the one over HTTP."""

    def admit(self, job: Job) -> Hold | asyncio.Task[None] | None: ...

    def look(self, job: Job) -> Hold | None: ...

    async def examine(
        self, target: str, headers: Mapping[str, str], queue: str
    ) -> tuple[bool, str | None]: ...

    async def check(self, target: str, headers: Mapping[str, str], queue: str) -> None: ...

    def variants(self, target: str, queue: str | None) -> list[tuple[Mapping[str, str], str]]: ...

    def entries(self, named: Iterable[Named]) -> list[Endpoint]: ...

    def held(self, spared: Callable[[str], bool]) -> list[Endpoint]: ...

    def counts(self) -> Mapping[str, int]: ...

    def follow(self, queues: Mapping[str, QueueSettings]) -> None: ...

    def slow_down(self, target: str, wait_ms: int, reason: str) -> None: ...

    def forget(self, job: Job) -> None: ...

    def secret_for(self, job: Job) -> str: ...

    async def misunderstood(self, job: Job, secret: str, outcome: Outcome) -> bool: ...


def decide(
    run: Run, outcome: Outcome, now: int, curve: Curve, chance: Callable[[], float]
) -> Settlement:
    """What becomes of a job after an attempt. Pure, but for `chance` in [0, 1) to spread waits."""
    job = run.job
    if outcome.kind is OutcomeKind.SUCCEEDED:
        return Settlement(
            run=run, verb="succeed", ended_at=now, failures=job.failures, outcome=outcome
        )
    failures = job.failures + 1
    wait_ms = None
    if outcome.kind is not OutcomeKind.REJECTED:
        wait_ms = delay_ms(failures, job.retry, curve, chance())
    error = outcome.error
    if wait_ms is not None:
        due_at = now + max(wait_ms, outcome.retry_after_ms or 0)
        if job.expires_at is None or due_at < job.expires_at:
            return Settlement(
                run=run, verb="fail", ended_at=now, failures=failures, outcome=outcome,
                due_at=due_at, error=error,
            )  # fmt: skip
        error = f"expired before the next retry; last attempt: {error}"
    return Settlement(
        run=run, verb="bury", ended_at=now, failures=failures, outcome=outcome, error=error
    )


def decide_orphan(run: Run, now: int, curve: Curve, chance: Callable[[], float]) -> Settlement:
    """What becomes of a job that was running when the daemon died."""
    interruptions = run.job.interruptions + 1
    error = f"interrupted {interruptions} times in a row: the daemon died while it ran"
    if interruptions > _TOLERATED_INTERRUPTIONS:
        outcome = Outcome(kind=OutcomeKind.INTERRUPTED, error=error)
        counted = decide(run, outcome, now, curve, chance)
        return Settlement(
            run=run, verb=counted.verb, ended_at=now, failures=counted.failures,
            interruptions=interruptions, outcome=outcome, due_at=counted.due_at, error=error,
        )  # fmt: skip
    return _give_back(run, now, run.job.due_at, interruptions, "interrupted: the daemon died")


def _give_back(run: Run, now: int, due_at: int, interruptions: int, reason: str) -> Settlement:
    outcome = Outcome(kind=OutcomeKind.INTERRUPTED, error=reason)
    return Settlement(
        run=run, verb="release", ended_at=now, failures=run.job.failures,
        interruptions=interruptions, outcome=outcome, due_at=due_at, error=reason,
    )  # fmt: skip


def decide_misunderstood(
    run: Run, outcome: Outcome, now: int, curve: Curve, chance: Callable[[], float]
) -> Settlement:
    """What becomes of a job whose endpoint knows another secret than it was called with.

    It goes again at once and uncounted, as often as a job whose daemon died would.
    """
    job = run.job
    interruptions = job.interruptions + 1
    if interruptions > _TOLERATED_INTERRUPTIONS:
        return decide(run, outcome, now, curve, chance)
    reason = "interrupted: the endpoint does not know the secret it was called with"
    outcome = replace(outcome, kind=OutcomeKind.INTERRUPTED, error=reason)
    return Settlement(
        run=run, verb="release", ended_at=now, failures=job.failures,
        interruptions=interruptions, outcome=outcome, due_at=job.due_at, error=reason,
    )  # fmt: skip


class Dispatcher:
    """Runs claimed jobs, many at once. `run` claims until `drain`."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        endpoints: Admission,
        waiting: Waiting,
        breakers: Breakers,
        metrics: Metrics,
        activities: Activities,
        target: Target,
        events: Events,
        clock: Clock,
        curve: Curve,
        deadline_ms: int,
        chance: Callable[[], float],
        expect_expiry: Callable[[int], None],
        wake: asyncio.Event,
        diverted: Callable[[Job], bool] = lambda _: False,
    ) -> None:
        """Shape: of a job that is `diverted` somebody else than its target is called."""
        self._store = store
        self._lanes = lanes
        self._endpoints = endpoints
        self._waiting = waiting
        self._breakers = breakers
        self._metrics = metrics
        self._activities = activities
        self._target = target
        self._events = events
        self._clock = clock
        self._curve = curve
        self._deadline_ms = deadline_ms
        self._chance = chance
        self._expect_expiry = expect_expiry
        self._diverted = diverted
        self._wake = wake  # set when a claim may have become possible
        self._stopping = asyncio.Event()
        self._cut = asyncio.Event()
        self._claiming_ended = asyncio.Event()
        self._claiming_ended.set()
        self._runs: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[Settled]] = set()
        # Those of them that wait for a HEAD: a stop need not wait for that.
        self._uncalled: set[asyncio.Task[None]] = set()
        # Ends that the store could not record yet.
        self._stuck = 0
        self._complained_at: float | None = None
        # Why the store let nothing be started the last time, None when it did.
        self.refusal: str | None = None

    @property
    def stuck(self) -> int:
        """How many attempts have ended and could not be recorded yet."""
        return self._stuck

    @property
    def draining(self) -> bool:
        """Whether nothing more is claimed."""
        return self._stopping.is_set()

    def diverted(self, job: Job) -> bool:
        """Whether a listener is called in the place of a job's target."""
        return self._diverted(job)

    async def recover(self) -> None:
        """Begin to give back what the last daemon left running. Called once, before `run`.

        Does not wait for it: a full disk must not keep the daemon from answering reads.
        """
        now = self._clock.now()
        orphans = await self._store.orphans(now)
        for run in orphans:
            self._watch(self._settle(decide_orphan(run, now, self._curve, self._chance)))
        if orphans:
            log.warning("giving back %d jobs that were running when lq last ended", len(orphans))

    async def run(self) -> None:
        """Claim whenever something is due and has a free slot, until `drain`.

        The next claim is under way before the last one has been answered, so that slots that
        become free during a commit are part of the one that follows it.
        """
        self._claiming_ended.clear()
        try:
            async with asyncio.TaskGroup() as claims:
                while not self._stopping.is_set():
                    await self._wake.wait()
                    self._wake.clear()
                    while self._stuck and not self._stopping.is_set():
                        # What cannot be recorded must not be started.
                        await self._clock.wait(self._stopping, _STORE_RETRY_MS)
                    asked = asyncio.Event()
                    claims.create_task(self._claim(asked))
                    await asked.wait()
        finally:
            self._claiming_ended.set()

    def cut(self) -> None:
        """Let a drain that goes on wait no longer."""
        self._cut.set()

    @property
    def in_flight(self) -> int:
        """How many runs have not been settled yet."""
        return len(self._runs)

    async def drain(self, timeout_ms: int) -> None:
        """Stop claiming; let runs end for `timeout_ms` or until `cut`; give the rest back."""
        self._stopping.set()
        self._wake.set()
        await self._claiming_ended.wait()
        for task in self._uncalled:
            task.cancel()
        left = asyncio.ensure_future(self._all_ended())
        cutting = asyncio.ensure_future(self._cut.wait())
        await asyncio.wait(
            {left, cutting}, timeout=timeout_ms / 1000, return_when=asyncio.FIRST_COMPLETED
        )
        self._cut.set()
        for task in self._runs:
            task.cancel()
        await left

    async def _all_ended(self) -> None:
        while self._runs:
            await asyncio.wait(self._runs)

    async def _claim(self, asked: asyncio.Event) -> None:
        """Claim for the slots that are free when the store gets to it, which sets `asked`."""
        wanted: list[tuple[ClaimRequest, int]] = []

        def want() -> tuple[list[ClaimRequest], int]:
            asked.set()
            now = self._clock.now()
            if not self._stopping.is_set():
                wanted.extend(self._lanes.requests(now))
            return [request for request, _ in wanted], now

        try:
            answers = await self._store.claim(want)
        except (StorageFull, Unavailable) as error:
            self.refusal = error.message
            self._complain(f"cannot start jobs: {error.message}")
            await self._clock.wait(self._stopping, _STORE_RETRY_MS)
            for request, _ in wanted:
                self._lanes.unclaimed(request.queue, request.limit, self._clock.now())
            asked.set()
            return
        self.refusal = None
        now = self._clock.now()
        for answer, (request, nudges) in zip(answers, wanted, strict=True):
            for job in answer.expired:
                self._events.moved("expire", job, now)
            self._lanes.claimed(answer, request.limit, nudges, now)
            for run in answer.runs:
                self.start(run)

    def _complain(self, text: str) -> None:
        """Log what goes on being impossible, once a minute."""
        now = self._clock.monotonic()
        if self._complained_at is None or now - self._complained_at >= _COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning(text)

    def start(self, run: Run) -> None:
        """Begin a claimed run whose slot is already taken."""
        if not self._lanes.lane(run.job.queue).fifo:  # the head's due time is its place
            late_ms = run.started_at - run.job.due_at
            self._metrics.started(run.job.queue, late_ms)
            self._activities.started(run.job.queue, late_ms)
        self._events.moved("claim", run.job, run.started_at)
        self._watch(self._work(run))

    def _watch(self, work: Coroutine[None, None, None]) -> None:
        """Carry something to its end that a drain waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._runs.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._runs.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Only a store that failed for good ends up here; its writer takes the daemon down.
            log.error("a run could not be settled: %s", error)

    async def _work(self, run: Run) -> None:
        called = detached = False
        held = False
        end: Settlement | Accepted | None
        try:
            end, held = await self._refusal(run)
            if end is None:
                called = True
                self._lanes.called(run.job.queue)
                if name_of(run.job.target) is not None:
                    # It may take hours: its queue's slot it keeps, that of all queues it does not.
                    self._lanes.detach()
                    detached = True
                end = await self._call(run)
        except asyncio.CancelledError:
            now, job = self._clock.now(), run.job
            if called and (accepted := self._waiting.take_on(run, None)):
                end = accepted
            elif called:
                reason = "interrupted: lq was stopped"
                end = _give_back(run, now, job.due_at, job.interruptions, reason)
            else:
                end = _untouched(run, now, job.due_at, job.error)
        except Exception as error:
            log.exception(
                "internal error while calling for job %s", run.job.id, extra={"job": run.job.id}
            )
            text = f"internal error of lq: {type(error).__name__}"
            failed = Outcome(kind=OutcomeKind.FAILED, error=text)
            end = decide(run, failed, self._clock.now(), self._curve, self._chance)
        queue = run.job.queue
        free = self._lanes.unpark if detached else self._lanes.release
        in_order = self._lanes.lane(queue).fifo
        if not called:
            self._lanes.uncalled(queue, self._clock.now(), held=held)
        if not in_order:
            free(queue, self._clock.now())
        try:
            if isinstance(end, Accepted):
                await self._record(end.run, partial(self._store.accept, end))
            else:
                await self._settle(end)
        finally:
            if in_order:  # nothing may overtake a job that goes back to its place
                free(queue, self._clock.now())

    async def _refusal(self, run: Run) -> tuple[Settlement | None, bool]:
        """What becomes of a run that may not call now; whether that is because of its target."""
        job = run.job
        if not self._waiting.may_call(job):
            now = self._clock.now()
            return _untouched(run, now, now + _UNREACHABLE_MS, UNREACHABLE), True
        verdict = self._admit(job)
        while isinstance(verdict, asyncio.Task):
            # A HEAD may hang: that must hold up no more than this queue.
            aside = self._lanes.step_aside()
            task = asyncio.current_task()
            assert task is not None
            self._uncalled.add(task)
            try:
                await asyncio.shield(verdict)
            finally:
                self._uncalled.discard(task)
                fits = not aside or self._lanes.step_back()
            verdict = self._admit(job)
            if verdict is None and not fits:
                return _untouched(run, self._clock.now(), job.due_at, job.error), False
        now = self._clock.now()
        if self._stopping.is_set() or self._stuck:
            return _untouched(run, now, job.due_at, job.error), False
        if verdict is None:
            return self._spared(run, now), True
        if verdict.invalid_since is not None:
            waits_since = max(job.created_at, job.not_before, verdict.invalid_since)
            if now - waits_since >= self._deadline_ms:
                buried = Settlement(
                    run=run, verb="bury", ended_at=now, failures=job.failures,
                    error=f"gave up after {format_duration(self._deadline_ms)}: {verdict.reason}",
                )  # fmt: skip
                return buried, True
        return _untouched(run, now, verdict.until, verdict.reason), True

    def _admit(self, job: Job) -> Hold | asyncio.Task[None] | None:
        """What its endpoint holds against a call, if that is who is called."""
        return None if self._diverted(job) else self._endpoints.admit(job)

    def _spared(self, run: Run, now: int) -> Settlement | None:
        """What becomes of a run whose target has failed too often; None when it may call."""
        if self._diverted(run.job):
            return None
        tick = self._clock.monotonic() * 1000
        spared = self._breakers.admit(run.job.target, run.id, tick)
        if spared is None:
            return None
        return _untouched(run, now, now + math.ceil(spared.until - tick), spared.reason)

    async def _call(self, run: Run) -> Settlement | Accepted:
        # What it waited for its slot or endpoint is no part of the attempt.
        run = Run(run.id, run.job, self._clock.now())
        secret = self._endpoints.secret_for(run.job)
        self._waiting.open(run)
        began = self._clock.monotonic()
        diverted = self._diverted(run.job)  # nothing can change it until the call has begun
        try:
            outcome = await self._target.deliver(run)
        except BaseException:
            self._breakers.abandon(run.job.target, run.id)
            raise
        ended = self._clock.monotonic()
        self._lanes.took(run.job.queue, (ended - began) * 1000)
        self._metrics.attempted(run.job.queue, outcome, ended - began)
        if log.isEnabledFor(logging.DEBUG):
            _say(run, outcome, ended - began)
        if diverted:
            self._breakers.abandon(run.job.target, run.id)
        elif fault := self._breakers.note(run.job.target, run.id, outcome, ended * 1000):
            log.warning("holding jobs back: %s", fault)
        if accepted := self._waiting.take_on(run, outcome):
            return accepted
        now = self._clock.now()
        if outcome.kind is OutcomeKind.INTERRUPTED:
            if outcome.begun:
                reason, job = outcome.error or "interrupted", run.job
                return _give_back(run, now, job.due_at, job.interruptions, reason)
            # Nothing was sent, for want of something of lq's own.
            return _untouched(run, now, now + _SHORTAGE_MS, outcome.error)
        if diverted:  # it says nothing of the target
            return decide(run, outcome, now, self._curve, self._chance)
        if outcome.retry_after_ms and outcome.status in {429, 503}:
            reason = f"{ASKED_TO_WAIT}{outcome.status} and asked to wait"
            self._endpoints.slow_down(run.job.target, outcome.retry_after_ms, reason)
        if await self._endpoints.misunderstood(run.job, secret, outcome):
            return decide_misunderstood(run, outcome, now, self._curve, self._chance)
        return decide(run, outcome, now, self._curve, self._chance)

    async def end(self, run: Run, outcome: Outcome) -> Settled:
        """End a run whose handler has called back.

        Raises: StorageFull, Unavailable; then nothing was changed.
        """
        end = decide(run, outcome, self._clock.now(), self._curve, self._chance)
        ending = asyncio.get_running_loop().create_task(self._finish(end))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        # To its end, even if whoever called back has gone.
        return await asyncio.shield(ending)

    def give_back(self, run: Run, reason: str) -> None:
        """Begin to give a run back, uncounted."""
        job, now = run.job, self._clock.now()
        end = _give_back(run, now, job.due_at, job.interruptions, reason)
        self._watch(self._settle(end))

    def give_up(self, run: Run, outcome: Outcome) -> None:
        """Begin to end a run whose handler has not called back."""
        end = decide(run, outcome, self._clock.now(), self._curve, self._chance)
        self._watch(self._settle(end))

    async def _settle(self, end: Settlement) -> None:
        await self._record(end.run, partial(self._finish, end))

    async def _record(self, run: Run, write: Callable[[], Awaitable[object]]) -> None:
        """Record what became of a run; a store that cannot write is asked again, until `cut`."""
        stuck = False
        while True:
            try:
                await write()
                break
            except (StorageFull, Unavailable) as error:
                if self._cut.is_set():
                    # The next daemon finds it running, and runs it again.
                    log.warning("could not record job %s: %s", run.job.id, error.message)
                    return
                if not stuck:
                    log.warning("cannot record job %s yet: %s", run.job.id, error.message)
                    stuck = True
                    self._stuck += 1
                await self._clock.wait(self._cut, _STORE_RETRY_MS)
        self._stuck -= stuck

    async def _finish(self, end: Settlement) -> Settled:
        """Settle a run, and tell whoever must act on it. Raises: as the store's verbs."""
        run = end.run
        if self._lanes.lane(run.job.queue).fifo:
            end = _in_place(end)
        settled = await self._store.settle(end)
        self._waiting.forget(run)
        now = self._clock.now()
        if settled.applied and settled.state is State.PENDING and end.next_at is not None:
            self._lanes.expect(run.job.queue, end.next_at, now)
            if run.job.expires_at is not None:
                self._expect_expiry(run.job.expires_at)
        if run.job.key is not None:
            # Its successor may start now.
            self._lanes.expect(run.job.queue, now, now)
        if settled.applied:
            self._events.settled(settled.verb, settled.state, end)
        return settled


def _say(run: Run, outcome: Outcome, seconds: float) -> None:
    """Log an attempt; nothing of what the handler said, which is for the eyes of its queue."""
    job, ms = run.job, round(seconds * 1000)
    what = outcome.kind.value if outcome.status is None else f"status {outcome.status}"
    log.debug(
        "attempt %d of %s in %s: %s after %d ms", job.attempt, job.id, job.queue, what, ms,
        extra={
            "job": job.id, "queue": job.queue, "attempt": job.attempt, "ms": ms,
            "status": outcome.status,
        },
    )  # fmt: skip


def _in_place(end: Settlement) -> Settlement:
    """The end of a run in a fifo queue: a job that waits again keeps its place at the head."""
    place = end.run.job.due_at
    if end.due_at is None or end.due_at <= place:
        return end
    return replace(end, due_at=place, held_until=end.due_at)


def _untouched(run: Run, now: int, due_at: int, reason: str | None) -> Settlement:
    """Give a job back whose target was never called: its run is forgotten."""
    return Settlement(
        run=run, verb="release", ended_at=now, failures=run.job.failures,
        interruptions=run.job.interruptions, due_at=due_at, error=reason,
    )  # fmt: skip
