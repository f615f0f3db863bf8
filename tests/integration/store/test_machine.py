"""Random verbs, late answers among them, against a model in plain Python.

The model is the promise: `lq.model.MOVES` and the sentences of the Store protocol. After each
step the store must hold exactly the jobs the model holds, each in one state, and count them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct
from msgspec.structs import replace

from lq.daemon.store import ClaimRequest, ResolvedEdit, Store
from lq.errors import Conflict, KeyExists
from lq.model import (
    FINISHED,
    MOVES,
    Accepted,
    ById,
    ByKey,
    Edit,
    IfExists,
    Job,
    NewJob,
    OutcomeKind,
    Pushed,
    PushOutcome,
    Run,
    State,
)
from tests.clock import START
from tests.support import jobs
from tests.support.jobs import all_of, assert_counts, new_job

from .conftest import Opener

T = TypeVar("T")

ENDS = {
    end.__name__: end for end in (jobs.succeed, jobs.fail, jobs.bury, jobs.release, jobs.interrupt)
}
QUEUES = st.sampled_from(["q", "r"])
KEYS = st.sampled_from([None, "a", "b"])
TIMES = st.sampled_from([{}, {"delay_ms": 5}, {"delay_ms": 0}, {"on_at": -3}, {"on_at": 8}])
PICK = st.integers(0, 10**6)


class Known(Struct):
    """A job as the model knows it. Shape: `runs` maps each run to its outcome, None while open."""

    new: NewJob
    place: int
    state: State
    not_before: int
    due_at: int
    expires_at: int | None
    expires_ms: int | None = None
    failures: int = 0
    interruptions: int = 0
    run_id: int | None = None
    finished_at: int | None = None
    payload: bytes = b""

    def may(self, verb: str) -> bool:
        return self.state in MOVES[verb].leaves

    def move(self, verb: str, now: int) -> None:
        assert self.may(verb), (verb, self.state)
        self.state = MOVES[verb].to
        self.finished_at = now if self.state in FINISHED else None
        self.failures += verb == "cancel" and self.run_id is not None  # its call was made
        self.run_id = None


class Verbs(RuleBasedStateMachine):
    """The store beside its model. Time never goes back; it stands still unless a rule moves it."""

    opener: Opener

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.now = START
        self.known: dict[str, Known] = {}
        self.runs: list[Run] = []
        self.history: dict[str, dict[int, OutcomeKind | None]] = {}
        self.accepted: dict[int, Accepted] = {}
        self.pushes = 0
        self.reopen()

    def reopen(self) -> None:
        self.opened = AsyncExitStack()
        store = type(self).opener(Path(self.folder.name) / "data")
        self.store: Store = self.do(self.opened.enter_async_context(store))

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.do(self.opened.aclose())
            self.loop.close()
            self.folder.cleanup()

    def do(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.loop.run(awaited())

    # -- what the model knows ----------------------------------------------------------------

    def of(self, queue: str, state: State, key: str | None) -> list[str]:
        """The jobs of a queue with this key in this state, in due order."""
        found = [
            (job.due_at, job.place, job_id)
            for job_id, job in self.known.items()
            if (job.new.queue, job.state) == (queue, state) and key in {None, job.new.key}
        ]
        return [job_id for _, _, job_id in sorted(found)]

    def startable(self, queue: str) -> list[str]:
        """What of a queue a claim would find, were it due."""
        return [
            job_id
            for job_id in self.of(queue, State.PENDING, None)
            if not self.is_called(self.known[job_id])
        ]

    def expired(self, job: Known) -> bool:
        return job.expires_at is not None and job.expires_at <= self.now

    def is_called(self, job: Known) -> bool:
        """Whether the key of a job is called, even in vain."""
        name = (job.new.queue, job.new.key)
        return job.new.key is not None and any(
            None in self.history[other_id].values()
            for other_id, other in self.known.items()
            if (other.new.queue, other.new.key) == name
        )

    def start(self, job_id: str, run: Run) -> None:
        job = self.known[job_id]
        assert run.job.id == job_id
        assert all(run.id > earlier.id for earlier in self.runs)
        job.move("claim", self.now)
        job.run_id = run.id
        self.runs.append(run)
        self.history[job_id][run.id] = None

    def waiting(self, job: Known) -> str | None:
        """The job that waits under the key of another."""
        found = job.new.key and self.of(job.new.queue, State.PENDING, job.new.key)
        return found[0] if found else None

    # -- the verbs ---------------------------------------------------------------------------

    @rule(ms=st.integers(1, 12))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(
        queue=QUEUES,
        key=KEYS,
        time=TIMES,
        claim=st.booleans(),
        if_exists=st.sampled_from(IfExists),
        expires_ms=st.sampled_from([None, None, 0, 6]),
        expires_relative=st.booleans(),
    )
    def push(
        self,
        *,
        queue: str,
        key: str | None,
        time: dict[str, int],
        claim: bool,
        if_exists: IfExists,
        expires_ms: int | None,
        expires_relative: bool,
    ) -> None:
        if "on_at" in time:
            time = {"on_at": self.now + time["on_at"]}
        self.push_one(
            new_job(
                queue=queue, key=key, claim=claim, if_exists=if_exists, created_at=self.now,
                payload=b"%d" % self.pushes, **time,
                expires_at=None if expires_ms is None else self.now + expires_ms,
                expires_relative=expires_relative and expires_ms is not None,
            )
        )  # fmt: skip

    @rule(pick=PICK)
    @precondition(lambda self: self.known)
    def push_the_same_again(self, pick: int) -> None:
        """As an application does at each start: word for word what it pushed before."""
        known = self.picked(pick)
        before, expires_ms = known.new, known.expires_ms
        time = {"delay": {"delay_ms": 5}, "on": {"on_at": before.not_before}, "now": {}}
        self.push_one(
            new_job(
                queue=before.queue, key=before.key, claim=True, created_at=self.now,
                payload=before.payload, **time[before.asked],
                expires_at=before.expires_at if expires_ms is None else self.now + expires_ms,
                expires_relative=expires_ms is not None,
            )
        )  # fmt: skip

    async def stored(self, new: NewJob) -> Pushed:
        return await self.store.push(new)

    def push_one(self, new: NewJob) -> None:
        self.pushes += 1
        fresh = Known(
            new=new, place=self.pushes, state=State.PENDING, not_before=new.not_before,
            due_at=new.due_at, expires_at=new.expires_at, payload=new.payload,
            expires_ms=expires_ms(new),
        )  # fmt: skip
        waiting_id = self.waiting(fresh)
        if waiting_id and self.expired(self.known[waiting_id]):
            self.known[waiting_id].move("bury", self.now)
            waiting_id = None
        if waiting_id is None:
            pushed = self.do(self.stored(new))
            assert pushed.outcome is PushOutcome.CREATED
            starts = new.claim and fresh.due_at <= self.now
            starts = starts and not self.expired(fresh) and not self.is_called(fresh)
            self.known[new.id] = fresh
            self.history[new.id] = {}
            assert (pushed.run is not None) == starts
            if pushed.run:
                self.start(new.id, pushed.run)
            return
        waiting = self.known[waiting_id]
        if new.if_exists is IfExists.REJECT:
            try:
                self.do(self.stored(new))
            except KeyExists:
                return
            raise AssertionError("a push under a waiting key was not rejected")
        pushed = self.do(self.stored(new))
        assert (pushed.job.id, pushed.run) == (waiting_id, None)
        if new.if_exists is IfExists.KEEP or self.same(waiting, new):
            assert pushed.outcome is PushOutcome.KEPT
            return
        assert pushed.outcome is PushOutcome.REPLACED
        assert pushed.job.created_at == waiting.new.created_at
        fresh.new = replace(new, id=waiting_id, created_at=waiting.new.created_at)
        fresh.place = waiting.place
        self.known[waiting_id] = fresh

    def same(self, waiting: Known, new: NewJob) -> bool:
        """Whether a push says nothing new: never for a delay, which always moves the time."""
        passed = waiting.failures == 0 and waiting.not_before <= self.now
        same_time = {
            "now": passed,
            "delay": False,
            "on": waiting.not_before == new.not_before or (passed and new.not_before <= self.now),
        }[new.asked]
        same_expiry = waiting.expires_at == new.expires_at
        if new.expires_relative:
            same_expiry = waiting.expires_ms == expires_ms(new) and not self.expired(waiting)
        return same_time and same_expiry and waiting.payload == new.payload

    @rule(queue=QUEUES, limit=st.integers(0, 3))
    def claim(self, queue: str, limit: int) -> None:
        due = [job_id for job_id in self.startable(queue) if self.known[job_id].due_at <= self.now]
        head = due[:limit]
        [claimed] = self.do(self.store.claim(lambda: ([ClaimRequest(queue, limit)], self.now)))
        for job_id in [job_id for job_id in head if self.expired(self.known[job_id])]:
            self.known[job_id].move("bury", self.now)
            head.remove(job_id)
        assert [run.job.id for run in claimed.runs] == head
        for job_id, run in zip(head, claimed.runs, strict=True):
            self.start(job_id, run)
        left = [self.known[job_id].due_at for job_id in self.startable(queue)]
        assert claimed.next_due_at == min(left, default=None)

    @rule(pick=PICK, end=st.sampled_from(sorted(ENDS)))
    @precondition(lambda self: self.runs)
    def settle(self, pick: int, end: str) -> None:
        """End a run, the newest ones by preference; most of the older have ended before."""
        run = self.runs[-1 - min(pick % 8, len(self.runs) - 1)]
        settlement = ENDS[end](run, self.now)
        settled = self.do(self.store.settle(settlement))
        job_id, job = run.job.id, self.known.get(run.job.id)
        if job_id in self.history and run.id in self.history[job_id]:
            if settlement.outcome is None and self.history[job_id][run.id] is None:
                del self.history[job_id][run.id]
            elif self.history[job_id][run.id] is None and settlement.outcome:
                self.history[job_id][run.id] = settlement.outcome.kind
        assert settled.applied == (job is not None and job.run_id == run.id)
        if job is None or not settled.applied:
            return
        verb = settlement.verb
        if MOVES[verb].to is State.PENDING and self.waiting(job):
            verb = "bury"
        assert (settled.verb, settled.state) == (verb, MOVES[verb].to)
        job.move(verb, self.now)
        job.failures = settlement.failures
        job.interruptions = settlement.interruptions if verb == settlement.verb else 0
        if job.state is State.PENDING and settlement.due_at is not None:
            job.due_at = settlement.due_at

    @rule(pick=PICK, ms=st.integers(0, 9), again=st.booleans())
    @precondition(lambda self: self.runs)
    def accept(self, pick: int, ms: int, *, again: bool) -> None:
        """A handler takes a run on, or calls for more time, in time or late."""
        run = self.runs[-1 - min(pick % 8, len(self.runs) - 1)]
        deadline_at = self.now + ms
        is_open = self.history.get(run.job.id, {}).get(run.id, "gone") is None
        if again:
            done = self.do(self.store.extend(run, deadline_at))
            is_open = is_open and self.known[run.job.id].run_id == run.id
            before = self.accepted.get(run.id)
            found = Accepted(run, deadline_at, None if before is None else before.status)
        else:
            found = Accepted(run, deadline_at, 202)
            done = self.do(self.store.accept(found))
        assert done == is_open
        if is_open:
            self.accepted[run.id] = found

    @rule(pick=PICK)
    @precondition(lambda self: self.known)
    def cancel(self, pick: int) -> None:
        job = self.picked(pick)
        self.changed("cancel", job, self.store.cancel(ById(job.new.id), self.now))

    @rule(queue=QUEUES, key=st.sampled_from(["a", "b"]))
    def cancel_by_key(self, queue: str, key: str) -> None:
        found = self.of(queue, State.PENDING, key) + self.of(queue, State.RUNNING, key)
        cancelled = self.do(self.store.cancel(ByKey(queue, key), self.now))
        assert (cancelled and cancelled.id) == (found[0] if found else None)
        for job_id in found:
            self.known[job_id].move("cancel", self.now)

    @rule(pick=PICK, ahead_ms=st.integers(0, 9))
    @precondition(lambda self: self.known)
    def edit(self, pick: int, ahead_ms: int) -> None:
        job = self.picked(pick)
        self.pushes += 1
        edit = Edit(payload=b"%d" % self.pushes)
        at = self.now + ahead_ms
        resolved = ResolvedEdit(edit=edit, now=self.now, not_before=at, due_at=at)
        if self.changed("edit", job, self.store.edit(ById(job.new.id), resolved)):
            job.payload = b"%d" % self.pushes
            job.not_before = job.due_at = at

    @rule(pick=PICK)
    @precondition(lambda self: self.known)
    def revive(self, pick: int) -> None:
        job = self.picked(pick)
        still_called = None in self.history[job.new.id].values()
        blocked = job.may("revive") and (self.waiting(job) is not None or still_called)
        reviving = self.store.revive(ById(job.new.id), self.now)
        if self.changed("revive", job, reviving, blocked=blocked):
            job.not_before = job.due_at = self.now
            job.expires_at = job.expires_ms = None
            job.failures = job.interruptions = 0

    def picked(self, pick: int) -> Known:
        return list(self.known.values())[pick % len(self.known)]

    def changed(
        self, verb: str, job: Known, change: Awaitable[Job | None], *, blocked: bool = False
    ) -> bool:
        """Make a change; the store must refuse it exactly if MOVES does (or it is blocked)."""
        try:
            answer = self.do(change)
        except Conflict:
            assert blocked or not job.may(verb)
            return False
        assert not blocked
        assert answer is not None
        job.move(verb, self.now)
        return True

    @rule(limit=st.integers(1, 3))
    def expire(self, limit: int) -> None:
        expiring = [job for job in self.known.values() if job.may("edit") and job.expires_at]
        over = sorted(job.expires_at or 0 for job in expiring if self.expired(job))
        failed, next_at = self.do(self.store.expire(self.now, limit))
        assert len(failed) == len(over[:limit])
        assert {job.state for job in failed} <= {State.FAILED}
        for job in expiring:
            found = self.do(self.store.get(ById(job.new.id)))
            assert found is not None
            if found.state is State.FAILED:
                assert self.expired(job)
                job.move("bury", self.now)
        left = [job.expires_at for job in expiring if job.may("edit") and job.expires_at]
        assert next_at == min(left, default=None)

    @rule(age_ms=st.integers(0, 20), limit=st.integers(1, 4))
    def prune(self, age_ms: int, limit: int) -> None:
        old = sorted(
            (job.finished_at, job.place, job_id)
            for job_id, job in self.known.items()
            if job.finished_at is not None
            and job.finished_at < self.now - age_ms
            and None not in self.history[job_id].values()
        )
        assert self.do(self.store.prune(self.now - age_ms, self.now, limit)) == len(old[:limit])
        for _, _, job_id in old[:limit]:
            del self.known[job_id], self.history[job_id]

    @rule(queue=QUEUES, force=st.booleans())
    def delete_queue(self, queue: str, force: bool) -> None:
        waiting = self.of(queue, State.PENDING, None)
        holds = waiting + self.of(queue, State.RUNNING, None)
        shown = self.do(self.store.queue(queue)) is not None
        try:
            number = self.do(self.store.delete_queue(queue, self.now, force=force))
        except Conflict:
            assert holds
            assert not force
            return
        assert force or not holds
        assert number == (len(waiting) if shown else None)
        for job_id in waiting:
            self.known[job_id].move("cancel", self.now)

    @rule()
    def restart(self) -> None:
        """Close, open, and give back what ran: it is nobody's any more."""
        self.do(self.opened.aclose())
        self.reopen()
        orphans = self.do(self.store.orphans(START))
        waiting = self.still_accepted()
        owned = {run.id for run in orphans} | set(waiting)
        for runs in self.history.values():
            lost = [run for run, outcome in runs.items() if outcome is None and run not in owned]
            runs.update(dict.fromkeys(lost, OutcomeKind.INTERRUPTED))
        running = [
            job_id
            for q in ("q", "r")
            for job_id in self.of(q, State.RUNNING, None)
            if self.known[job_id].run_id not in waiting
        ]
        assert sorted(run.job.id for run in orphans) == sorted(running)
        for run in orphans:
            place = next(n for n, known in enumerate(self.runs) if known.id == run.id)
            self.runs.append(self.runs.pop(place))
            assert self.known[run.job.id].run_id == run.id
            self.settle(pick=0, end="interrupt")

    def still_accepted(self) -> dict[int, Accepted]:
        """The open runs that were accepted."""
        open_runs = {n for runs in self.history.values() for n, end in runs.items() if end is None}
        return {n: one for n, one in sorted(self.accepted.items()) if n in open_runs}

    # -- what must always hold ---------------------------------------------------------------

    @invariant()
    def each_job_is_in_one_state_and_it_is_the_right_one(self) -> None:
        unfinished = self.do(all_of(self.store.unfinished))
        finished = self.do(all_of(self.store.finished))
        assert all(job.state in FINISHED for job in finished)
        found = {job.id: _seen(job) for job in [*unfinished, *finished]}
        assert len(found) == len(unfinished) + len(finished)
        assert found == {job_id: _expected(job) for job_id, job in self.known.items()}

    @invariant()
    def what_is_accepted_is_found_again(self) -> None:
        found = self.do(self.store.accepted())
        expected = self.still_accepted().values()
        assert [(one.run.id, one.deadline_at, one.status) for one in found] == [
            (one.run.id, one.deadline_at, one.status) for one in expected
        ]

    @invariant()
    def counts_are_right(self) -> None:
        self.do(assert_counts(self.store))

    @invariant()
    def no_key_runs_or_waits_twice(self) -> None:
        jobs = self.do(all_of(self.store.unfinished))
        keyed = [(job.queue, job.key, job.state) for job in jobs if job.key]
        assert len(keyed) == len(set(keyed))

    @invariant()
    def every_ended_run_is_remembered(self) -> None:
        for job_id, runs in list(self.history.items())[-3:]:
            attempts = self.do(self.store.attempts(ById(job_id)))
            assert [one.outcome for one in attempts or []] == [runs[n] for n in sorted(runs)]
            found = self.do(self.store.get(ById(job_id)))
            assert found is not None
            assert found.payload == self.known[job_id].payload


def expires_ms(new: NewJob) -> int | None:
    """The length of an expiry that was given as one."""
    if new.expires_at is None or not new.expires_relative:
        return None
    return new.expires_at - new.created_at


def _seen(job: Job) -> tuple[Any, ...]:
    return (
        job.state, job.not_before, job.due_at, job.expires_at, job.failures, job.interruptions,
        job.run_id, job.finished_at,
    )  # fmt: skip


def _expected(job: Known) -> tuple[Any, ...]:
    return (
        job.state, job.not_before, job.due_at, job.expires_at, job.failures, job.interruptions,
        job.run_id, job.finished_at,
    )  # fmt: skip


def test_random_verbs_agree_with_the_model(opener: Opener) -> None:
    class Machine(Verbs):
        pass

    Machine.opener = staticmethod(opener)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
