"""What lq asks of a store: a page of verbs, a sentence each.

Owns: jobs, runs, queues and tokens, durably. Every verb that writes returns only after its
commit; verbs of one moment may share one. Nothing outside this package knows SQL, and the
tests in `tests/integration/store` hold for any implementation.

Invariant: a settle, cancel or claim guards on state and run id in the statement itself, so
that two verbs that race leave the job in exactly one state.

Raises (every verb): StorageFull and Unavailable when it cannot write just now (nothing was
changed); StoreFailed or DataError when the store cannot be trusted any more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from io import BufferedReader
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import UNSET, Struct, UnsetType

from lq.activity import Tally
from lq.alerts import Line, Notice, Standing, Watch
from lq.attention import Troubled
from lq.backups import Hold
from lq.batch import Batched, NewBatch
from lq.finding import Failure, FailureFilter, Step
from lq.model import (
    Accepted,
    Attempt,
    Edit,
    Idempotency,
    Job,
    JobFilter,
    MadeSchedule,
    NewJob,
    Page,
    Process,
    Pushed,
    Queue,
    QueueEdit,
    Ref,
    Run,
    Schedule,
    ScheduleFilter,
    ScheduleRef,
    Settled,
    Settlement,
    Token,
)


class Examined(Struct, frozen=True):
    """A database as it is. Shape: `fault` is the first thing wrong with it. Units: bytes."""

    size: int
    wal_size: int
    fault: str | None


class Pace(Struct, frozen=True):
    """A rate as the store keeps it: when it has recovered, and what each start adds to that."""

    full_at: float
    interval_ms: float

    def after(self, starts: int, now: int) -> int:
        """When it will have recovered from so many more. Units: Unix milliseconds."""
        return math.ceil(max(self.full_at, now) + starts * self.interval_ms)


class ClaimRequest(Struct, frozen=True):
    """Ask for up to `limit` due jobs of one queue; with `pace` it has a rate."""

    queue: str
    limit: int
    pace: Pace | None = None


class Claimed(Struct, frozen=True):
    """What a claim gave for one queue, in due order.

    Shape: `next_due_at` is the due time of the first job left waiting (it may be past, when
    the limit cut the answer short), None when none waits. Jobs that had expired count towards
    the limit, and are failed instead of started; so there may be fewer runs than due jobs.
    """

    queue: str
    runs: tuple[Run, ...]
    next_due_at: int | None
    expired: tuple[Job, ...] = ()


class Place(Struct, frozen=True):
    """Where a waiting job stands in its queue.

    Shape: `ahead` is how many due jobs start before it, counted up to `MOST_AHEAD`; `head` the id
    of the first that waits, be it this one, which may go on at `head_at`; `called` the id of a job
    with its key whose call goes on.
    """

    ahead: int
    head: str
    head_at: int
    called: str | None = None


MOST_AHEAD: Final = 10_000

# What to claim, and the instant that counts as now.
Wanted = Callable[[], tuple[Sequence[ClaimRequest], int]]


class ResolvedEdit(Struct, frozen=True, kw_only=True):
    """An Edit whose relative times the engine has turned into instants.

    Shape: `not_before` and `due_at` are None where the time stays. A job that was put off
    because its endpoint is not to be called is due again when target or headers change.
    """

    edit: Edit
    now: int
    not_before: int | None = None
    due_at: int | None = None
    expires_at: int | UnsetType | None = UNSET


class Fire(Struct, frozen=True, kw_only=True):
    """One schedule goes on from `seen_before`: what it makes now, and when it is next.

    Shape: `jobs` are in order of their nominal times. `reason` pauses the schedule.
    """

    id: str
    seen_before: int
    seen_at: int
    next_at: int | None
    jobs: tuple[NewJob, ...] = ()
    reason: str | None = None


class AlertBook(Struct, frozen=True):
    """All that is remembered of alerts.

    Shape: `standings` by rule and subject, those that stand well left out; `lines` by rule, subject
    and kind; `sent_at` is when each rule's last message was made.
    """

    standings: Mapping[tuple[str, str], Standing]
    lines: Mapping[tuple[str, str, str], Line]
    sent_at: Mapping[str, int]


class Judged(Struct, frozen=True, kw_only=True):
    """What notices have led to.

    Shape: all notices up to `last_notice` have been judged. `messages` are the jobs made of all
    that a rule had to tell, which is forgotten. `tests` are messages that tell nothing.
    """

    last_notice: int | None = None
    standings: Mapping[tuple[str, str], Standing] = MappingProxyType({})
    lines: Mapping[tuple[str, str, str], Line] = MappingProxyType({})
    messages: Mapping[str, NewJob] = MappingProxyType({})
    tests: Sequence[NewJob] = ()


class Minute(Struct, frozen=True):
    """What happened in the minute from `at` on; without `queue` it is the sum over all."""

    at: int
    queue: str | None
    tally: Tally


class Snapshot(Struct, frozen=True):
    """A copy of all of a store of one moment, looked over. Whoever has it closes its file."""

    file: BufferedReader
    size: int
    sha256: str
    rows: Mapping[str, int]


class Store(Protocol):
    """Where jobs live. All instants are Unix ms; `now` is always the caller's."""

    async def run(self) -> None:
        """Work until closed. Raises: StoreFailed, DataError when the store cannot be trusted."""

    async def close(self) -> None:
        """Finish what is being written, checkpoint, and let go of the data folder."""

    def push(self, job: NewJob) -> asyncio.Future[Pushed]:
        """Insert a job, or apply `if_exists` to the one that waits; may claim it at once.

        One with an `idempotency` that was pushed before does nothing: the answer is that of then.
        A future, because its caller must learn of a claim even if its own caller has gone.
        Raises: KeyExists, IdempotencyMismatch.
        """

    async def pushed_before(self, asked: Idempotency) -> Pushed | None:
        """What the same request has pushed before. Raises: IdempotencyMismatch."""

    def push_batch(self, batch: NewBatch) -> asyncio.Future[Batched]:
        """Push many jobs of one queue in one transaction, one after the other; none is claimed.

        Shape: a result for each entry. With an `idempotency` that was carried out before nothing is
        done: the results are those of then. A future, as of a push. Raises: IdempotencyMismatch;
        ValidationError when it is atomic and one of its entries is refused.
        """

    async def batched_before(self, asked: Idempotency) -> Batched | None:
        """What the same request has pushed before. Raises: IdempotencyMismatch."""

    async def claim(self, wanted: Wanted) -> list[Claimed]:
        """Open a run for the first due jobs of each queue, skipping keys that are called.

        A key is called until its run has ended, even if the job was cancelled in between.

        Shape: `wanted` is asked once, as late as possible, so that what became free in the
        meantime is part of it; the answer has one Claimed for each of its requests.
        """

    async def settle(self, settlement: Settlement) -> Settled:
        """End a run; its job moves only if it still belongs to the run."""

    async def orphans(self, now: int) -> list[Run]:
        """The runs of jobs found RUNNING, in due order: at boot nobody owns them.

        Runs still open although their job went on without them are ended as interrupted. Those
        that were accepted are neither: their handlers may call back still.
        """

    async def put_process(self, run_id: int, process: Process) -> bool:
        """Write down which process a run is, before that does anything.

        False when the job does not belong to the run any more; then it must do nothing.
        """

    async def processes(self) -> list[tuple[str, Process]]:
        """The processes of runs that have not ended, each with the id of its job, at boot."""

    async def accept(self, accepted: Accepted) -> bool:
        """Remember that the handler of a run will call back, and by when.

        From then on it is no orphan. False when the run has ended; its job need not be wanted
        any more.
        """

    async def extend(self, run: Run, deadline_at: int) -> bool:
        """Give a handler more time to call back, which accepts the run if that was not known.

        False when the job does not belong to the run any more; then nothing is changed.
        """

    async def accepted(self) -> list[Accepted]:
        """The open runs that were accepted, in the order they were claimed.

        Among them those of cancelled jobs: their handlers may be at work still.
        """

    async def callback_key(self) -> bytes:
        """32 random bytes, the same for as long as the store lives: what tokens are made with."""

    def observe(self, committed: Callable[[int, float], None]) -> None:
        """Tell `committed` of each commit: how many writes it held, and its seconds."""

    async def sizes(self) -> tuple[int, int]:
        """How large the database and its log are. Units: bytes."""

    async def schedule_counts(self, overdue_before: int) -> tuple[int, int]:
        """How many schedules there are, and how many should have fired before an instant."""

    async def examine(self, *, deep: bool) -> Examined:
        """Look the whole database over, beside what goes on; with `deep` its indexes as well."""

    async def place(self, job: Job, now: int) -> Place:
        """Where a waiting job stands in its queue."""

    async def get(self, ref: Ref) -> Job | None:
        """The job with its payload; by key only among the unprocessed."""

    async def cancel(self, ref: Ref, now: int) -> Job | None:
        """Move an unprocessed job to CANCELLED (by key: the waiting and the running one).

        Raises: Conflict when the job is finished.
        """

    async def edit(self, ref: Ref, edit: ResolvedEdit) -> Job | None:
        """Change a waiting job in place. Raises: Conflict when it is not waiting."""

    async def revive(self, ref: Ref, now: int, edit: ResolvedEdit | None = None) -> Job | None:
        """Make a finished job wait again with a fresh budget, changed if there is an edit.

        Raises: Conflict when it is unfinished, its key waits already, or a call of it that was
        cancelled has not ended.
        """

    async def expire(self, now: int, limit: int) -> tuple[tuple[Job, ...], int | None]:
        """Fail up to `limit` waiting jobs past their expiry: the jobs, and the next expiry."""

    async def prune(self, finished_before: int, fired_before: int, limit: int) -> int:
        """Forget up to `limit` jobs finished before an instant, with their runs; how many.

        A job made for a nominal time stays until that is before `fired_before`: what has fired
        must be known still when the clock goes back.

        In steps small enough that pushes do not wait; fewer than `limit` means that none is left.
        """

    async def attempts(self, ref: Ref) -> list[Attempt] | None:
        """The remembered attempts of a job, oldest first; None when there is no such job."""

    async def unfinished(self, wanted: JobFilter) -> Page[Job]:
        """Unprocessed jobs: running ones first, then by queue in due order; no payloads."""

    async def finished(self, wanted: JobFilter) -> Page[Job]:
        """Finished jobs, newest first, without payloads."""

    async def failures(self, wanted: FailureFilter) -> Page[Failure]:
        """Kinds of failures, the last seen first."""

    async def pick(
        self, wanted: JobFilter, *, finished: bool
    ) -> tuple[tuple[int, ...], str | None]:
        """The seqs of a page of `finished` or `unfinished`, and the cursor of the next."""

    async def revive_many(self, seqs: Sequence[int], due: Sequence[int], now: int) -> Step:
        """Make finished jobs wait again, those that can, each for the next of these times.

        In one transaction: of some hundreds at most, so that pushes do not wait.
        """

    async def cancel_many(self, seqs: Sequence[int], now: int, *, running: bool) -> Step:
        """Move unprocessed jobs to CANCELLED, in one transaction; running ones if they may be."""

    async def queues(self) -> list[Queue]:
        """All queues, by name."""

    async def queue(self, name: str) -> Queue | None:
        """One queue."""

    async def set_queue(self, name: str, edit: QueueEdit, now: int) -> Queue:
        """Change a queue's settings or pause; it comes into being if need be."""

    async def held_queues(self) -> list[str]:
        """The queues whose heads are held, fifo or not."""

    async def let_go_on(self, name: str) -> None:
        """Let the head of a queue that is fifo no longer wait without those behind it."""

    async def delete_queue(self, name: str, now: int, *, force: bool) -> int | None:
        """Forget a queue's settings and hide it until its next push; its history stays.

        How many waiting jobs were cancelled (only with `force`; running ones finish).
        In steps small enough that pushes do not wait: what is pushed before the last of them
        is cancelled and counted, too, and what is pushed after it brings the queue back.
        None when there is no such queue. Raises: Conflict when it holds unprocessed jobs.
        """

    async def put_schedule(self, schedule: Schedule) -> None:
        """Insert a schedule, or put it in the place of the one with its id; `last` stays.

        Raises: KeyExists.
        """

    async def make_schedule(
        self, asked: Idempotency, made: MadeSchedule, put: Schedule | None
    ) -> MadeSchedule:
        """Put a schedule, if there is one to put, and keep what is answered, in one transaction.

        Shape: what a request was answered before, and then nothing is put. Raises: KeyExists,
        IdempotencyMismatch.
        """

    async def made_before(self, asked: Idempotency) -> MadeSchedule | None:
        """What the same request has made before. Raises: IdempotencyMismatch."""

    async def forget_answers(self, now: int, limit: int) -> int:
        """Forget up to `limit` answers that have been kept for repetitions for a day; how many.

        Shape: a step that pushes need not wait for, while `limit` is at most some hundreds.
        """

    async def put_schedules(self, schedules: Sequence[Schedule], gone: Sequence[str]) -> None:
        """Put many, and forget those of these ids, all or nothing. Raises: KeyExists."""

    async def schedule(self, ref: ScheduleRef) -> Schedule | None:
        """One schedule with its payload."""

    async def schedules(self, wanted: ScheduleFilter) -> Page[Schedule]:
        """Schedules without payloads, by key, those without a key last."""

    async def delete_schedule(self, schedule_id: str) -> bool:
        """Forget a schedule; the jobs it made stay. Whether there was one."""

    async def due_schedules(self, now: int, limit: int) -> list[Schedule]:
        """The first schedules whose next time has come, with payloads, the longest due first.

        Shape: fewer than `limit` also where the payloads are more than memory should hold.
        """

    async def running_first(self, patterns: Sequence[str], limit: int) -> list[Run]:
        """The runs that began first, in queues that one of these shell patterns means.

        Shape: no patterns mean all queues. Jobs have no payload.
        """

    async def schedules_next(self, patterns: Sequence[str], limit: int) -> list[Schedule]:
        """The schedules that fire next, of such queues, without payloads."""

    async def add_activity(self, minutes: Sequence[Minute], now: int) -> None:
        """Add what happened in minutes to what is known of them, and of their quarters of an hour.

        Slots that are too old are forgotten, in steps small enough that pushes do not wait.
        """

    async def activity(
        self,
        slot_ms: int,
        first_at: int,
        end_at: int,
        *,
        queue: str | None,
        patterns: Sequence[str],
    ) -> list[tuple[int, Tally]]:
        """What happened in the slots of a length that begin in a range of time.

        Shape: with the beginning of each; those in which nothing happened may be left out. Of one
        queue, or together of those that one of the patterns means, or of all.
        """

    async def troubled(self, patterns: Sequence[str], limit: int) -> list[Troubled]:
        """Schedules that lq itself has paused, or whose last jobs have failed, of such queues.

        Shape: of the first 5,000 schedules; what was cancelled or skipped is no verdict.
        """

    async def held_jobs(
        self, queue: str, target: str, reasons: Sequence[str], now: int
    ) -> list[tuple[int, str]]:
        """Jobs of a queue that wait because their target was not to be called, and why.

        Shape: seqs, of those whose reason begins like one of these, among the first 10,000 that
        wait for their time.
        """

    async def free_jobs(self, jobs: Sequence[tuple[int, str]], now: int) -> None:
        """Make such jobs due, those that are held still; in one transaction, so of few at a time.

        None is made due before the time that it was pushed for, nor loses its place.
        """

    async def next_schedule(self) -> int | None:
        """When the first schedule is due."""

    async def fire(self, fires: Sequence[Fire], mark: int) -> list[Job]:
        """Make the jobs of schedules and move their next times, all in one transaction.

        A schedule that is not at `seen_before` any more is left alone. A job whose schedule has
        one for that nominal time already is not made again; one of a schedule with overlap
        `skip` that has an unfinished job is stored as skipped. A schedule that has reached its
        `times` has no next time. Of one that is paused only runs by hand (all jobs are without a
        nominal time) make jobs; they leave its times as they are.

        Shape: the jobs made, without those skipped. `mark` is the instant this counts as done
        at; it becomes the clock mark unless that is higher.
        """

    async def seen_after(self, at: int, limit: int) -> list[Schedule]:
        """Schedules, not paused, whose `seen_at` is after an instant: the clock went back.

        Shape: without payloads, the least ahead first.
        """

    async def latest_seen(self) -> int | None:
        """The latest `seen_at` of schedules that are not paused; None without any."""

    async def clock_mark(self) -> int | None:
        """The latest instant at which the daemon is known to have lived."""

    async def set_clock_mark(self, at: int) -> None:
        """Take an instant as the mark, also a lower one."""

    async def add_token(self, token: Token) -> None:
        """Remember a token. Raises: Conflict when the name is taken by a live one."""

    async def tokens(self) -> list[Token]:
        """All tokens, by name, revoked ones too."""

    async def revoke_token(self, name: str, now: int) -> Token | None:
        """Mark a token as revoked."""

    async def touch_token(self, digest: bytes, now: int) -> None:
        """Remember that a token was used (coarsely; losing one is harmless)."""

    def watch(self, watch: Watch, noticed: Callable[[], None]) -> None:
        """Keep a notice of each ending that `watch` wants, in the transaction of the ending.

        Shape: `noticed` is called on the event loop whenever there may be new ones.
        """

    async def notices(self, limit: int) -> list[tuple[int, Notice]]:
        """The oldest notices that were not judged, with their numbers."""

    async def alert_book(self) -> AlertBook:
        """All that is remembered of alerts."""

    async def judged(self, done: Judged) -> list[Job]:
        """Store what notices have led to, and forget them, in one transaction: the jobs made."""

    async def late(self, queue: str, before: int, limit: int, now: int) -> list[Notice]:
        """Notices of up to `limit` jobs that were due before an instant and have not begun."""

    async def running_since(self, before: int, limit: int, now: int) -> list[Notice]:
        """Notices of up to `limit` runs that began before an instant and go on, oldest first."""

    async def snapshot(
        self, at: int, tell: Callable[[int, int], None], cut: Callable[[], bool]
    ) -> Snapshot:
        """A copy of this moment, made in steps beside all else, and checked.

        Shape: `tell` is told how many pages of how many there are, and `cut` says that nobody
        wants it any more; both are called on another thread. The file has no name, so nothing is
        left of it however this ends. Raises: Unavailable when it was cut.
        """

    async def hold(self) -> Hold | None:
        """Since when nothing may start, if a restore has asked for that."""

    async def end_hold(self) -> None:
        """Forget the hold."""
