"""The nouns -> JSON, as bytes ready to send. Absent members are left out, never null."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import Raw, Struct

from lq.alerts import Kind, Standing, Status
from lq.backoff import format_retry
from lq.errors import RequestError, ValidationError
from lq.model import (
    Attempt,
    Completion,
    Job,
    LogPart,
    OutcomeKind,
    Page,
    Pushed,
    PushOutcome,
    Queue,
    Reload,
    Scope,
    Secret,
    State,
    Token,
)
from lq.scriptlets import TIMEOUT_MS, Scriptlet, refusal
from lq.signature import webhook_secret
from lq.when import format_duration, format_instant
from lq.wire.parts import (
    InstantText,
    StateWord,
    Target,
    TypeWord,
    instant,
    one_of,
    payload_members,
    readable,
    redacted,
    state_of,
    to_json,
    type_of,
)
from lq.wire.redaction import Hide, redact_attempt, redact_job, redact_log


class _Item(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """An item as pushes, listings and changes answer it."""

    id: str
    key: str | None = None
    queue: str
    created: InstantText
    target: Target
    type: TypeWord
    state: StateWord
    not_before: InstantText
    attempts: int
    max_attempts: int
    next_attempt: InstantText | None = None
    expires: InstantText | None = None
    last_status: int | None = None
    finished: InstantText | None = None
    error: str | None = None
    labels: tuple[str, ...] = ()
    schedule: str | None = None
    fire_time: InstantText | None = None
    missed: int = 0
    completion: Annotated[str, one_of(Completion.CALLBACK)] | None = None
    outcome: Annotated[str, one_of(*PushOutcome)] | None = None


class _FullItem(_Item, kw_only=True, omit_defaults=True, rename="camel"):
    """An item as a GET answers it. Shape: no `payload` means an empty one."""

    retry: str
    timeout: str
    headers: Mapping[str, str] = {}
    payload: Raw | str | None = None
    payload_type: str | None = None
    payload_encoding: str | None = None
    redacted: tuple[str, ...] = ()


class _Attempt(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    n: int
    started: InstantText
    ms: int | None = None
    outcome: Annotated[str, one_of(*OutcomeKind)] | None = None
    status: int | None = None
    error: str | None = None
    response_headers: Mapping[str, str] = {}
    response_body: str | None = None
    response_body_encoding: str | None = None
    truncated: bool = False
    log: str | None = None
    log_encoding: str | None = None


class _Queue(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A queue; `retry` counts items, so the setting of that name is `retryPolicy` here."""

    name: str
    created: InstantText
    paused: bool
    paused_until: InstantText | None = None
    pending: int
    running: int
    retry: int
    failed: int
    completed: int
    cancelled: int
    oldest_due: InstantText | None = None
    target: str | None = None
    method: str | None = None
    headers: Mapping[str, str] | None = None
    concurrency: int | None = None
    retry_policy: str | None = None
    timeout: str | None = None
    redact: tuple[str, ...] | None = None


class _Token(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    name: str
    scopes: list[Annotated[str, one_of(*Scope)]]
    queues: tuple[str, ...] = ()
    created: InstantText
    expires: InstantText | None = None
    revoked: InstantText | None = None
    last_used: InstantText | None = None
    token: str | None = None


class _OldSecret(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A secret that was rotated; `until` is when it retires."""

    secret: str
    webhook_secret: str
    until: InstantText


class _Secrets(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """The newest secret, which signs, and those that are still valid beside it."""

    secret: str
    webhook_secret: str
    older: list[_OldSecret] = []


class _Change(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What a reload does to one schedule."""

    key: str
    change: Annotated[str, one_of("created", "updated", "removed", "unchanged", "conflict")]
    next_before: InstantText | None = None
    next_after: InstantText | None = None
    note: str | None = None


class _Scriptlet(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A scriptlet of lq.toml. Shape: of its environment the names alone; `fault` is why it cannot
    be run as its files are now.
    """

    name: str
    command: tuple[str, ...]
    where: str
    user: str | None = None
    cwd: str | None = None
    timeout: str
    kill_after: str
    max_output: int
    push: Annotated[str, one_of("admin", "push")]
    nice: int | None = None
    memory: int | None = None
    cpu_seconds: int | None = None
    processes: int | None = None
    file_size: int | None = None
    env: list[str] = []
    fault: str | None = None


class _Wrong(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """How something stands that an alert has told of."""

    subject: str
    failures: int = 0
    since: InstantText | None = None
    late: bool = False
    too_long: tuple[str, ...] = ()


class _Alert(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A rule of lq.toml. Shape: of a URL the host alone: its path often is a credential."""

    name: str
    target: str
    on: list[Annotated[str, one_of(*Kind)]]
    queues: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    scriptlets: tuple[str, ...] = ()
    streak: int
    wrong: list[_Wrong] = []
    waiting: int = 0
    last_sent: InstantText | None = None


class _Items(Struct, omit_defaults=True):
    items: list[_Item]
    cursor: str | None = None


class _Callback(Struct, omit_defaults=True):
    """What a callback did to its item. Shape: `deadline` is there after a heartbeat."""

    id: str
    state: StateWord
    deadline: InstantText | None = None


class _Attempts(Struct):
    attempts: list[_Attempt]


class _Log(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of what a scriptlet has written. Shape: `offset` is where the next part begins."""

    attempt: int
    offset: int
    running: bool
    log: str | None = None
    log_encoding: str | None = None


class _Cancelled(Struct):
    cancelled: int


class _Health(Struct, omit_defaults=True):
    status: Annotated[str, one_of("ok", "unavailable")]
    reasons: Sequence[str] = ()


class _Info(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    version: str
    now: InstantText
    pid: int | None = None
    data_dir: str | None = None


class _Reload(Struct):
    schedules: list[_Change]
    restart: Sequence[str]


class _Issue(Struct):
    """One thing wrong with one field. Shape: the SDK wants both words, and the path as an array."""

    validation: str
    code: str
    path: tuple[str]
    message: str


class _Error(Struct, kw_only=True, omit_defaults=True):
    type: str
    message: str
    issues: Sequence[_Issue] = ()
    hint: str | None = None
    title: str
    status: int
    detail: str
    instance: str


ANSWERS: Final[Mapping[str, Any]] = {
    "Item": _Item,
    "FullItem": _FullItem,
    "Items": _Items,
    "Alerts": list[_Alert],
    "Scriptlets": list[_Scriptlet],
    "Attempts": _Attempts,
    "Log": _Log,
    "Callback": _Callback,
    "Queue": _Queue,
    "Queues": list[_Queue],
    "Cancelled": _Cancelled,
    "Token": _Token,
    "Tokens": list[_Token],
    "Secrets": _Secrets,
    "Health": _Health,
    "Info": _Info,
    "Reload": _Reload,
    "Error": _Error,
}
"""What answers look like, by the name that the description of the API gives them."""


def encode_pushed(pushed: Pushed, hide: Hide) -> bytes:
    """An Item with the `outcome` of its push."""
    job = redact_job(pushed.job, hide)
    return to_json(_Item(outcome=pushed.outcome.value, **_item_members(job)))


def encode_item(job: Job, hide: Hide) -> bytes:
    """An Item."""
    return to_json(_Item(**_item_members(redact_job(job, hide))))


def encode_full_item(job: Job, hide: Hide) -> bytes:
    """An Item with its payload and how it is called; credentials are not shown."""
    job = redact_job(job, hide)
    return to_json(
        _FullItem(
            retry=format_retry(job.retry),
            timeout=format_duration(job.timeout_ms),
            headers=redacted(job.headers),
            redacted=tuple(hide(job.queue)),
            **payload_members(job.payload, job.content_type),
            **_item_members(job),
        )
    )


def encode_items(page: Page[Job], hide: Hide) -> bytes:
    """One page of a listing: `{"items": […], "cursor": "…"}`, no cursor on the last one."""
    items = [_Item(**_item_members(redact_job(job, hide))) for job in page.items]
    return to_json(_Items(items=items, cursor=page.cursor))


def encode_attempts(attempts: Sequence[Attempt], words: Sequence[str]) -> bytes:
    """`{"attempts": […]}`, oldest first. Shape: `words` is the `redact` of their queue."""
    return to_json(_Attempts([_attempt(redact_attempt(attempt, words)) for attempt in attempts]))


def encode_callback(
    job_id: str, state: State, *, failed: bool = False, deadline_at: int | None = None
) -> bytes:
    """What a callback did. Shape: `failed` tells a retry from an item that never ran."""
    return to_json(_Callback(job_id, state_of(state, int(failed)), instant(deadline_at)))


def encode_queue(queue: Queue) -> bytes:
    """A queue: its counts, its pause, its settings."""
    return to_json(_queue(queue))


def encode_queues(queues: Sequence[Queue]) -> bytes:
    """A plain array of queues."""
    return to_json([_queue(queue) for queue in queues])


def encode_token(token: Token, text: str | None = None) -> bytes:
    """A token; `text` is the token itself, shown once, when it is made."""
    return to_json(_token(token, text))


def encode_tokens(tokens: Sequence[Token]) -> bytes:
    """A plain array of tokens."""
    return to_json([_token(token) for token in tokens])


def encode_cancelled(count: int) -> bytes:
    """What the DELETE of a queue did."""
    return to_json(_Cancelled(count))


def encode_secrets(secrets: Sequence[Secret]) -> bytes:
    """The signing secrets in both their forms: the newest, then those that still are valid."""
    newest, *older = secrets
    return to_json(
        _Secrets(
            secret=newest.text,
            webhook_secret=webhook_secret(newest.text),
            older=[
                _OldSecret(
                    secret=secret.text,
                    webhook_secret=webhook_secret(secret.text),
                    until=format_instant(secret.until or 0),
                )
                for secret in older
            ],
        )
    )


def encode_log(part: LogPart, words: Sequence[str]) -> bytes:
    """A part of a log. Shape: while more may come, a character is never cut in two."""
    part = redact_log(part, words)
    whole = len(part.data) - _unfinished(part.data) if part.running else len(part.data)
    offset = part.offset - (len(part.data) - whole)
    members = _log_members(part.data[:whole])
    return to_json(_Log(attempt=part.attempt, offset=offset, running=part.running, **members))


def _unfinished(data: bytes) -> int:
    """How many bytes at the end are the beginning of a UTF-8 character."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < needed else 0
        if byte < 0x80:
            return 0
    return 0


def encode_scriptlets(scriptlets: Sequence[Scriptlet]) -> bytes:
    """A plain array of scriptlets, by name."""
    return to_json([_scriptlet(one) for one in scriptlets])


def encode_alerts(statuses: Sequence[Status]) -> bytes:
    """A plain array of alerts."""
    return to_json([_alert(status) for status in statuses])


def encode_health(reasons: Sequence[str]) -> bytes:
    """`{"status": "ok"}`, or what is wrong."""
    return to_json(_Health("unavailable" if reasons else "ok", reasons))


def encode_info(version: str, now: int, pid: int | None, data_dir: str | None) -> bytes:
    """Which daemon this is; what is None is not for this caller's eyes."""
    return to_json(_Info(version=version, now=format_instant(now), pid=pid, data_dir=data_dir))


def encode_reload(reload: Reload) -> bytes:
    """What a reload of the configuration did, or would do."""
    schedules = [
        _Change(
            key=change.key,
            change=change.change,
            next_before=instant(change.next_before),
            next_after=instant(change.next_after),
            note=change.note,
        )
        for change in reload.schedules
    ]
    return to_json(_Reload(schedules, reload.restart))


def encode_error(error: RequestError, request_id: str) -> bytes:
    """The one error object, which is a problem detail (RFC 9457), too.

    Shape: the SDK reads `type`, `message` and, for VALIDATION_ERROR only, `issues`.
    """
    issues = error.issues if isinstance(error, ValidationError) else ()
    return to_json(
        _Error(
            type=error.type,
            message=error.message,
            issues=tuple(_Issue(i.code, i.code, (i.path,), i.message) for i in issues),
            hint=error.hint,
            title=error.title,
            status=error.status,
            detail=error.message,
            instance=request_id,
        )
    )


def _item_members(job: Job) -> dict[str, Any]:
    waits = job.state is State.PENDING
    firing = job.firing
    counted = job.state is State.RUNNING or job.state is State.COMPLETED
    return {
        "id": job.id,
        "key": job.key,
        "queue": job.queue,
        "created": format_instant(job.created_at),
        "target": Target(job.target, job.method),
        "type": type_of(job.target),
        "state": state_of(job.state, job.failures),
        "not_before": format_instant(job.not_before),
        "attempts": job.failures + counted,
        "max_attempts": job.max_attempts,
        "next_attempt": format_instant(job.due_at) if waits else None,
        "expires": instant(job.expires_at),
        "last_status": job.last_status,
        "finished": instant(job.finished_at),
        "error": job.error,
        "labels": job.labels,
        "schedule": firing and firing.schedule,
        "fire_time": firing and instant(job.created_at if firing.at is None else firing.at),
        "missed": firing.missed if firing else 0,
        "completion": None if job.completion is Completion.RESPONSE else job.completion,
    }


def _attempt(attempt: Attempt) -> _Attempt:
    body = readable(attempt.body) if attempt.body else None
    binary = bool(attempt.body) and body is None
    return _Attempt(
        n=attempt.n,
        started=format_instant(attempt.started_at),
        ms=None if attempt.ended_at is None else attempt.ended_at - attempt.started_at,
        outcome=attempt.outcome,
        status=attempt.status,
        error=attempt.error,
        response_headers=redacted(attempt.headers),
        response_body=base64.b64encode(attempt.body).decode() if binary else body,
        response_body_encoding="base64" if binary else None,
        truncated=attempt.truncated,
        **_log_members(attempt.log),
    )


def _log_members(log: bytes) -> dict[str, str | None]:
    """A log as text, or as base64 where it is none."""
    if not log:
        return {}
    try:
        return {"log": log.decode()}
    except UnicodeDecodeError:
        return {"log": base64.b64encode(log).decode(), "log_encoding": "base64"}


def _queue(queue: Queue) -> _Queue:
    settings, counts = queue.settings, queue.counts
    return _Queue(
        name=queue.name,
        created=format_instant(queue.created_at),
        paused=queue.paused,
        paused_until=instant(queue.paused_until),
        pending=counts.pending,
        running=counts.running,
        retry=counts.retry,
        failed=counts.failed,
        completed=counts.completed,
        cancelled=counts.cancelled,
        oldest_due=instant(queue.next_due_at),
        target=settings.target,
        method=settings.method,
        headers=redacted(settings.headers, settings.redact or ()) if settings.headers else None,
        concurrency=settings.concurrency,
        retry_policy=None if settings.retry is None else format_retry(settings.retry),
        timeout=None if settings.timeout_ms is None else format_duration(settings.timeout_ms),
        redact=settings.redact or None,
    )


def _scriptlet(one: Scriptlet) -> _Scriptlet:
    return _Scriptlet(
        name=one.name,
        command=one.command,
        where=one.where,
        user=one.user,
        cwd=one.cwd,
        timeout=format_duration(one.timeout_ms or TIMEOUT_MS),
        kill_after=format_duration(one.kill_after_ms),
        max_output=one.max_output,
        push=one.push,
        nice=one.limits.nice,
        memory=one.limits.memory,
        cpu_seconds=one.limits.cpu_s,
        processes=one.limits.processes,
        file_size=one.limits.file_size,
        env=sorted(one.env),
        fault=None if (reason := refusal(one)) is None else reason.removeprefix("exec: "),
    )


def _alert(status: Status) -> _Alert:
    rule = status.rule
    scheme, slashes, rest = rule.target.partition("//")
    return _Alert(
        name=rule.name,
        target=f"{scheme}//{rest.partition('/')[0].partition('?')[0]}/…" if slashes else scheme,
        on=sorted(rule.on),
        queues=rule.queues,
        schedules=rule.schedules,
        scriptlets=rule.scriptlets,
        streak=rule.streak,
        wrong=[_wrong(subject, standing) for subject, standing in status.wrong],
        waiting=status.waiting,
        last_sent=instant(status.sent_at),
    )


def _wrong(subject: str, standing: Standing) -> _Wrong:
    return _Wrong(
        subject=subject,
        failures=standing.failures,
        since=instant(standing.since),
        late=standing.late,
        too_long=standing.long_jobs,
    )


def _token(token: Token, text: str | None = None) -> _Token:
    return _Token(
        name=token.name,
        scopes=sorted(token.scopes),
        queues=token.queues,
        created=format_instant(token.created_at),
        expires=instant(token.expires_at),
        revoked=instant(token.revoked_at),
        last_used=instant(token.used_at),
        token=text,
    )
