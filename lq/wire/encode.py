"""The nouns -> JSON, as bytes ready to send. Absent members are left out, never null."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import Raw, Struct

from lq.backoff import format_retry
from lq.batch import Result
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
    State,
)
from lq.rate import format_rate
from lq.when import format_duration, format_instant
from lq.wire.encode_batch import BatchResult, Issue, batch_results
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
    """A queue; `retry` counts items, so the setting of that name is `retryPolicy` here.

    Shape: `set_by` says of settings that lq.toml or a variable fixes where that is; `defaults` are
    those that nobody made for this queue.
    """

    name: str
    created: InstantText
    paused: bool
    paused_until: InstantText | None = None
    pause_reason: str | None = None
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
    rate: str | None = None
    burst: int | None = None
    fifo: bool | None = None
    retry_policy: str | None = None
    timeout: str | None = None
    redact: tuple[str, ...] | None = None
    set_by: Mapping[str, str] | None = None
    defaults: tuple[str, ...] = ()


class _Items(Struct, omit_defaults=True):
    items: list[_Item]
    cursor: str | None = None


class _Drain(Struct):
    """How far a drain is. Shape: `items` are the first of those that run."""

    draining: bool
    running: int
    items: list[_Item]


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


class _Error(Struct, kw_only=True, omit_defaults=True):
    """Why a request was refused. Shape: a batch that was cut short has `results` until then."""

    type: str
    message: str
    issues: Sequence[Issue] = ()
    hint: str | None = None
    title: str
    status: int
    detail: str
    instance: str
    results: Sequence[BatchResult] = ()


ANSWERS: Final[Mapping[str, Any]] = {
    "Item": _Item,
    "FullItem": _FullItem,
    "Items": _Items,
    "Attempts": _Attempts,
    "Log": _Log,
    "Callback": _Callback,
    "Drain": _Drain,
    "Queue": _Queue,
    "Queues": list[_Queue],
    "Cancelled": _Cancelled,
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


def encode_full_item(job: Job, hide: Hide, *, as_base64: bool = False) -> bytes:
    """An Item with its payload and how it is called; credentials are not shown.

    Shape: `as_base64` is for who needs the bytes: JSON loses the space around it.
    """
    job = redact_job(job, hide)
    return to_json(
        _FullItem(
            retry=format_retry(job.retry),
            timeout=format_duration(job.timeout_ms),
            headers=redacted(job.headers),
            redacted=tuple(hide(job.queue)),
            **payload_members(job.payload, job.content_type, as_base64=as_base64),
            **_item_members(job),
        )
    )


def encode_items(page: Page[Job], hide: Hide) -> bytes:
    """One page of a listing: `{"items": […], "cursor": "…"}`, no cursor on the last one."""
    items = [_Item(**_item_members(redact_job(job, hide))) for job in page.items]
    return to_json(_Items(items=items, cursor=page.cursor))


def encode_drain(jobs: Sequence[Job], hide: Hide, *, draining: bool, running: int) -> bytes:
    """How far a drain is."""
    items = [_Item(**_item_members(redact_job(job, hide))) for job in jobs]
    return to_json(_Drain(draining, running, items))


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


def encode_cancelled(count: int) -> bytes:
    """What the DELETE of a queue did."""
    return to_json(_Cancelled(count))


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


def encode_error(error: RequestError, request_id: str, results: Sequence[Result] = ()) -> bytes:
    """The one error object, which is a problem detail (RFC 9457), too.

    Shape: the SDK reads `type`, `message` and, for VALIDATION_ERROR only, `issues`. `results` are
    those of a batch that the error has cut short.
    """
    issues = error.issues if isinstance(error, ValidationError) else ()
    return to_json(
        _Error(
            type=error.type,
            message=error.message,
            issues=tuple(Issue(i.code, i.code, (i.path,), i.message) for i in issues),
            hint=error.hint,
            title=error.title,
            status=error.status,
            detail=error.message,
            instance=request_id,
            results=tuple(batch_results(results)),
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
        "next_attempt": format_instant(job.next_at) if waits else None,
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
        pause_reason=queue.pause_reason,
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
        rate=None if settings.rate is None else format_rate(settings.rate),
        burst=settings.burst,
        fifo=settings.fifo or None,
        retry_policy=None if settings.retry is None else format_retry(settings.retry),
        timeout=None if settings.timeout_ms is None else format_duration(settings.timeout_ms),
        redact=settings.redact or None,
        set_by=queue.set_by or None,
        defaults=queue.defaults,
    )
