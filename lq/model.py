"""The nouns of lq as frozen records, and the state machine as data.

Owns: what a job, a run, an attempt, an outcome and a queue *are*. Never does anything
with them: storing is `daemon.store`, naming on the wire is `wire`, deciding is `engine`.

Units: `*_at` and `*_until` are Unix milliseconds UTC; `*_ms` are milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType

T = TypeVar("T")


class State(StrEnum):
    """Where a job is. RETRY on the wire is PENDING with failures > 0; "ready" is derived."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINISHED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
UNFINISHED = frozenset({State.PENDING, State.RUNNING})


class Move(Struct, frozen=True):
    """One arrow of the state machine: which states a verb leaves, and where it leads."""

    leaves: frozenset[State]
    to: State


MOVES: Mapping[str, Move] = MappingProxyType(
    {
        "claim": Move(frozenset({State.PENDING}), State.RUNNING),
        "succeed": Move(frozenset({State.RUNNING}), State.COMPLETED),
        "fail": Move(frozenset({State.RUNNING}), State.PENDING),
        "release": Move(frozenset({State.RUNNING}), State.PENDING),
        "bury": Move(UNFINISHED, State.FAILED),
        "cancel": Move(UNFINISHED, State.CANCELLED),
        "edit": Move(frozenset({State.PENDING}), State.PENDING),
        "revive": Move(FINISHED, State.PENDING),
    }
)


class IfExists(StrEnum):
    """What a push does when its key is already waiting."""

    REPLACE = "replace"
    KEEP = "keep"
    REJECT = "reject"


class Completion(StrEnum):
    """What completes a job: the response of its call, or what its handler calls back with."""

    RESPONSE = "response"
    CALLBACK = "callback"


class PushOutcome(StrEnum):
    CREATED = "created"
    REPLACED = "replaced"
    KEPT = "kept"


class RetryPolicy(Struct, frozen=True):
    """How often and when to try again: `retries` on the configured curve, or exactly `waits_ms`.

    Shape: with `waits_ms`, `retries == len(waits_ms)`.
    """

    retries: int
    waits_ms: tuple[int, ...] = ()


class Rate(Struct, frozen=True):
    """How many jobs may start in each stretch of time."""

    count: int
    per_ms: int


class Push(Struct, frozen=True, kw_only=True):
    """A push as its caller meant it; what is None falls back to the queue, then the configuration.

    At most one of `delay_ms` and `on_at` is set, likewise `expires_ms` and `expires_at`.
    """

    queue: str
    payload: bytes
    content_type: str | None = None
    target: str | None = None
    method: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    key: str | None = None
    if_exists: IfExists = IfExists.REPLACE
    delay_ms: int | None = None
    on_at: int | None = None
    retry: RetryPolicy | None = None
    timeout_ms: int | None = None
    expires_ms: int | None = None
    expires_at: int | None = None
    labels: tuple[str, ...] = ()
    validate: bool = True
    completion: Completion = Completion.RESPONSE
    traceparent: str | None = None
    tracestate: str | None = None


class Edit(Struct, frozen=True, kw_only=True):
    """A PATCH of a waiting job: UNSET leaves a member alone, None takes an optional one away."""

    payload: bytes | UnsetType = UNSET
    content_type: str | UnsetType | None = UNSET
    target: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    headers: Mapping[str, str] | UnsetType = UNSET
    delay_ms: int | UnsetType = UNSET
    on_at: int | UnsetType = UNSET
    retry: RetryPolicy | UnsetType = UNSET
    timeout_ms: int | UnsetType = UNSET
    expires_ms: int | UnsetType = UNSET
    expires_at: int | UnsetType | None = UNSET
    labels: tuple[str, ...] | UnsetType = UNSET


class Firing(Struct, frozen=True):
    """Which schedule made a job, and for which time.

    Shape: `schedule` is its id. `at` is the nominal time, None for a job somebody asked for by
    hand. `missed` marks a catch-up: how many times this one job stands for; else it is 0.
    """

    schedule: str
    at: int | None
    missed: int = 0


class Idempotency(Struct, frozen=True):
    """Marks a request that may be repeated: its answer is kept for its repetitions.

    Shape: SHA-256 digests: `key` of who asks and of the key that was given, `request` of all that
    decides what is done. `at` is when it was asked.
    """

    key: bytes
    request: bytes
    at: int


class NewJob(Struct, frozen=True, kw_only=True):
    """A push with every default resolved: what the store inserts, or puts in a waiting job's place.

    Shape: `not_before` is the instant asked for, `due_at` when it may first be claimed
    (never before the push). `asked` says how the time was given, because pushing an
    identical job again must change nothing for an instant and move the time for a delay.
    `claim` asks for the job to be inserted as already claimed, if it is due. `skipped` says why
    a schedule makes no job for a time; such a one goes to history as CANCELLED at once.
    """

    id: str
    queue: str
    created_at: int
    not_before: int
    due_at: int
    target: str
    method: str
    retry: RetryPolicy
    timeout_ms: int
    payload: bytes
    content_type: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    key: str | None = None
    if_exists: IfExists = IfExists.REPLACE
    asked: str = "now"  # "now", "delay" or "on"
    expires_at: int | None = None
    expires_relative: bool = False
    labels: tuple[str, ...] = ()
    validate: bool = True
    completion: Completion = Completion.RESPONSE
    traceparent: str | None = None
    tracestate: str | None = None
    claim: bool = False
    firing: Firing | None = None
    skipped: str | None = None
    idempotency: Idempotency | None = None


class Job(Struct, frozen=True, kw_only=True):
    """A stored job. `payload` is None where a listing left it out.

    Shape: `seq` orders jobs by push and never leaves the daemon; `id` is the public name.
    `run_id` is set exactly while the job is RUNNING. `held_until` is when the head of a fifo queue
    goes on: it keeps its place there, which is its `due_at`.
    """

    seq: int
    id: str
    queue: str
    state: State
    created_at: int
    not_before: int
    due_at: int
    target: str
    method: str
    retry: RetryPolicy
    timeout_ms: int
    key: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    content_type: str | None = None
    labels: tuple[str, ...] = ()
    validate: bool = True
    completion: Completion = Completion.RESPONSE
    failures: int = 0
    interruptions: int = 0
    run_id: int | None = None
    last_status: int | None = None
    error: str | None = None
    expires_at: int | None = None
    finished_at: int | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    firing: Firing | None = None
    held_until: int | None = None
    payload: bytes | None = None

    @property
    def attempt(self) -> int:
        """The number the next (or present) attempt carries, from 1."""
        return self.failures + 1

    @property
    def max_attempts(self) -> int:
        return self.retry.retries + 1

    @property
    def next_at(self) -> int:
        """When it may be attempted next."""
        return max(self.due_at, self.held_until or 0)


class Run(Struct, frozen=True):
    """One claimed job: the right, fenced by `id`, to call its target once and settle it.

    Shape: `started_at` is when it was claimed, and once it is being called, when that began.
    """

    id: int
    job: Job
    started_at: int


class Accepted(Struct, frozen=True):
    """A run whose handler has taken the job on, and will call back by `deadline_at`.

    Shape: the job has no payload. `status` is what the handler answered, None while it is only
    known to be at work.
    """

    run: Run
    deadline_at: int
    status: int | None = None


class OutcomeKind(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"  # a permanent answer: 410, or `x-lq-retry: no`
    INTERRUPTED = "interrupted"  # the daemon stopped or died; not the job's fault


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one attempt; a value, never an exception.

    Shape: `error` is one line for people, beginning with a stable word (`timeout`, `closed`,
    `dns_error`, `tls_error`, `protocol_error`, `incomplete_response`, `redirect`, `status`,
    `callback failed`; `exec`, `exit`, `killed` of a scriptlet).
    `body` holds at most the first 64 KiB of the answer; `truncated` says there was more. Of a
    scriptlet, `status` is the exit code, `body` what it wrote to stdout, the end of it, too, and
    `log` what it wrote to both streams, if it wrote to stderr. What was interrupted when it had
    `begun` stays in history as an attempt.
    """

    kind: OutcomeKind
    status: int | None = None
    error: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    truncated: bool = False
    log: bytes = b""
    retry_after_ms: int | None = None
    begun: bool = False


class HeadAnswer(Struct, frozen=True):
    """What a HEAD validation brought: status and signature headers, or why it brought none.

    Shape: `asked` is false when lq lacked something to ask with, which is no verdict.
    """

    status: int | None = None
    signatures: tuple[str, ...] = ()
    error: str | None = None
    asked: bool = True


class Settlement(Struct, frozen=True, kw_only=True):
    """The end of a run: what becomes of its job, and what to remember of the attempt.

    Shape: `verb` is `succeed`, `fail` (again at `due_at`), `bury`, or `release` (again at
    `due_at`, uncounted). `failures` and `interruptions` are the job's new values.
    Without `outcome` the run is forgotten: nothing was called. With `held_until` the job keeps its
    place in its queue, `due_at`, and goes on then.
    """

    run: Run
    verb: str
    ended_at: int
    failures: int
    interruptions: int = 0
    outcome: Outcome | None = None
    due_at: int | None = None
    held_until: int | None = None
    error: str | None = None

    @property
    def next_at(self) -> int | None:
        """When its job may be attempted again; None when it is finished."""
        return None if self.due_at is None else max(self.due_at, self.held_until or 0)


class Settled(Struct, frozen=True):
    """What a settle did. `applied` is False when the job no longer belonged to the run.

    Shape: `verb` is the one that took effect (a `fail` turns into `bury` when a successor
    with the same key waits: `superseded`), and `state` where it leads. Neither says anything
    about the job when `applied` is False: it is wherever something else has brought it.
    """

    applied: bool
    verb: str
    state: State


class Pushed(Struct, frozen=True):
    """What a push did, and the run if the job was claimed in the same commit.

    Shape: of one that only `repeats` an earlier push, the job is as it was then, without payload
    and headers.
    """

    job: Job
    outcome: PushOutcome
    run: Run | None = None
    repeats: bool = False


class Attempt(Struct, frozen=True, kw_only=True):
    """One remembered attempt. `outcome` is None while it runs."""

    n: int
    started_at: int
    ended_at: int | None = None
    outcome: OutcomeKind | None = None
    status: int | None = None
    error: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    truncated: bool = False
    log: bytes = b""


class Process(Struct, frozen=True):
    """A process as it can be told from any other: pids are given again, also after a boot.

    Shape: `started` is in clock ticks since the boot that `boot` names; 0 and "" where the system
    does not tell.
    """

    pid: int
    started: int
    boot: str


class LogPart(Struct, frozen=True):
    """A part of what a scriptlet has written.

    Shape: `offset` is where the next part begins; `running` is False when none will come.
    """

    attempt: int
    data: bytes
    offset: int
    running: bool


class ById(Struct, frozen=True):
    """Names a job by its public id."""

    id: str


class ByKey(Struct, frozen=True):
    """Names the unprocessed job with this key: the waiting one, else the running one."""

    queue: str
    key: str


Ref = ById | ByKey


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs a listing shows. Empty members do not restrict.

    Shape: `state` takes the wire's words, RETRY included. `queues` are shell patterns (a token's).
    `target` is a whole one, or ends with `*`; `error` is a part of the text, in any case. `from_at`
    and `to_at` are about when it finished, of an unfinished one about when it was pushed.
    `cursor` is what the last page gave. `unsaid` are queues whose errors are not for the eyes of
    whoever asks: no `error` finds anything there.
    """

    queue: str | None = None
    queues: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    state: str | None = None
    key: str | None = None
    label: str | None = None
    schedule: str | None = None
    target: str | None = None
    error: str | None = None
    fingerprint: str | None = None
    from_at: int | None = None
    to_at: int | None = None
    limit: int = 100
    cursor: str | None = None


class Page(Struct, Generic[T], frozen=True):
    """One page of a listing; `cursor` is None on the last one.

    Shape: one that is not the last may be short, or empty: what was looked through so far had no
    more.
    """

    items: tuple[T, ...]
    cursor: str | None = None


class QueueSettings(Struct, frozen=True, kw_only=True):
    """What can be set for one queue; None falls back to the configuration.

    Shape: `burst` is how many may start at once after a quiet time, in spite of `rate`. `fifo` has
    a job that fails wait at the head, and the queue wait with it; one runs at a time then.
    """

    target: str | None = None
    method: str | None = None
    headers: Mapping[str, str] | None = None
    concurrency: int | None = None
    rate: Rate | None = None
    burst: int | None = None
    fifo: bool | None = None
    retry: RetryPolicy | None = None
    timeout_ms: int | None = None
    validate: str | None = None  # "head" or "none"; only from lq.toml
    redact: tuple[str, ...] | None = None  # "body", "response", "header:NAME"; only from lq.toml


class QueueEdit(Struct, frozen=True, kw_only=True):
    """A change of a queue: UNSET leaves a member alone, None takes it away."""

    target: str | UnsetType | None = UNSET
    method: str | UnsetType | None = UNSET
    headers: Mapping[str, str] | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    rate: Rate | UnsetType | None = UNSET
    burst: int | UnsetType | None = UNSET
    fifo: bool | UnsetType | None = UNSET
    retry: RetryPolicy | UnsetType | None = UNSET
    timeout_ms: int | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    paused_until: int | UnsetType | None = UNSET
    pause_reason: str | UnsetType | None = UNSET


class Counts(Struct, frozen=True, kw_only=True):
    """How many jobs of a queue are in which state; `retry` is not part of `pending`."""

    pending: int = 0
    retry: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class Queue(Struct, frozen=True, kw_only=True):
    """A queue as stored: its own settings, its pause, its counts.

    Shape: `next_due_at` is the due time of its first waiting job, past or future. `paced_until` is
    when its rate has recovered from what was started last. `defaults` are those settings in force
    that nobody made for this queue. `set_by` says of settings where the configuration sets them.
    """

    name: str
    created_at: int
    settings: QueueSettings
    paused: bool = False
    paused_until: int | None = None
    pause_reason: str | None = None
    counts: Counts = Counts()
    next_due_at: int | None = None
    paced_until: int | None = None
    set_by: Mapping[str, str] = MappingProxyType({})
    defaults: tuple[str, ...] = ()


class Misfire(StrEnum):
    """What becomes of the times at which a schedule could not fire."""

    ONCE = "once"  # one job for all of them
    SKIP = "skip"  # none
    ALL = "all"  # one each, the newest 100


class Overlap(StrEnum):
    """Whether a schedule fires while a job it made is unfinished."""

    ALLOW = "allow"
    SKIP = "skip"


class ScheduleSpec(Struct, frozen=True, kw_only=True):
    """What a schedule is to do, as its maker said it: equal specs are the same schedule.

    Shape: `rule` is a cron expression, a nickname such as "@daily", or "E=" and a duration.
    `push` is what each job is made from; it has neither key nor time of its own.
    `start_at` and `until_at` are the first and the last instant at which it may fire.
    """

    rule: str
    push: Push
    zone: str = "UTC"
    key: str | None = None
    times: int | None = None
    start_at: int | None = None
    until_at: int | None = None
    jitter_ms: int = 0
    misfire: Misfire = Misfire.ONCE
    overlap: Overlap = Overlap.ALLOW


class ScheduleEdit(Struct, frozen=True, kw_only=True):
    """A PATCH of a schedule: the members of its spec, and of the spec's push, that change.

    Shape: keys are names of members, values what takes their place.
    """

    spec: Mapping[str, object] = MappingProxyType({})
    push: Mapping[str, object] = MappingProxyType({})


class LastJob(Struct, frozen=True, kw_only=True):
    """The last job a schedule made, and what became of it; only `id` once history forgot it."""

    id: str
    state: State | None = None
    failures: int = 0
    finished_at: int | None = None
    error: str | None = None
    queue: str | None = None  # the schedule may have another one by now


class Origin(StrEnum):
    """Who made a schedule, and so who may change it."""

    API = "api"
    FILE = "file"  # [[schedules]] of lq.toml


class FileOrigin(Struct, frozen=True):
    """Where lq.toml sets a schedule ("lq.toml:12"), and whether it pauses it there."""

    where: str
    paused: bool | None = None


class Schedule(Struct, frozen=True, kw_only=True):
    """A stored schedule. `spec.push.payload` is empty where a listing left it out.

    Shape: every nominal time up to `seen_at` has been dealt with; `next_at` is the first one
    after it, None when there is none or the schedule is paused. `anchor_at` is the phase of an
    interval. `fired` counts the jobs made for nominal times, `last_at` is the last of those
    times. `reason` says why lq itself has paused the schedule.
    """

    id: str
    spec: ScheduleSpec
    created_at: int
    anchor_at: int
    seen_at: int
    next_at: int | None = None
    fired: int = 0
    last_at: int | None = None
    last: LastJob | None = None
    paused: bool = False
    reason: str | None = None
    origin: Origin = Origin.API


class MadeSchedule(Struct, frozen=True):
    """What a POST of a schedule did, and when.

    Shape: one that was kept for repetitions has neither payload nor headers.
    """

    schedule: Schedule
    outcome: PushOutcome
    at: int


class ScheduleKey(Struct, frozen=True):
    """Names a schedule by its key, unique over all schedules."""

    key: str


ScheduleRef = ById | ScheduleKey


class ScheduleFilter(Struct, frozen=True, kw_only=True):
    """Which schedules a listing shows. Empty members do not restrict.

    Shape: `queues` are shell patterns (a token's). `cursor` is what the last page gave.
    """

    queue: str | None = None
    queues: tuple[str, ...] = ()
    origin: Origin | None = None
    limit: int = 100
    cursor: str | None = None


class ScheduleChange(Struct, frozen=True, kw_only=True):
    """What a (re)load of lq.toml does to one schedule.

    Shape: `change` is `created`, `updated`, `removed`, `unchanged` or `conflict`; `note` says why.
    """

    key: str
    change: str
    next_before: int | None = None
    next_after: int | None = None
    note: str | None = None


class SettingChange(Struct, frozen=True):
    """What a reload does to a setting. Shape: a value that is None was not there, or is hidden."""

    key: str
    change: str  # "added", "changed" or "removed"
    before: str | None = None
    after: str | None = None


class Reload(Struct, frozen=True):
    """What a (re)load of lq.toml does. `restart` are the settings that wait for a restart."""

    schedules: tuple[ScheduleChange, ...]
    restart: tuple[str, ...] = ()
    settings: tuple[SettingChange, ...] = ()


class Scope(StrEnum):
    PUSH = "push"
    READ = "read"
    ADMIN = "admin"


class Token(Struct, frozen=True, kw_only=True):
    """An API token as remembered: never the token itself, only its SHA-256.

    Shape: `queues` are shell patterns on queue names; empty means all.
    """

    name: str
    digest: bytes
    scopes: frozenset[Scope]
    created_at: int
    queues: tuple[str, ...] = ()
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None


class Secret(Struct, frozen=True):
    """A signing secret.

    Shape: `until` is when it retires; None for the newest one, which stays until it is rotated.
    """

    text: str
    until: int | None = None

    def __repr__(self) -> str:
        return f"Secret(until={self.until})"  # records are printed; secrets are not


class Principal(Struct, frozen=True):
    """Who is asking: a token, or the owner on the unix socket (`name` is then `socket`).

    Shape: `digest` is the token's, which nobody else has ever had, as names are given again.
    """

    name: str
    scopes: frozenset[Scope]
    queues: tuple[str, ...] = ()
    digest: bytes = b""
    expires_at: int | None = None
