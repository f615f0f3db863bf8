"""The nouns -> JSON, as bytes ready to send. Absent members are left out, never null."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct

from lq.backoff import format_retry
from lq.errors import RequestError, ValidationError
from lq.model import Attempt, Job, Page, Pushed, Queue, Reload, State, Token
from lq.when import format_duration, format_instant
from lq.wire.parts import (
    Target,
    instant,
    payload_members,
    readable,
    redacted,
    state_of,
    to_json,
    type_of,
)


class _Item(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """An item as pushes, listings and changes answer it."""

    id: str
    key: str | None = None
    queue: str
    created: str
    target: Target
    type: str
    state: str
    not_before: str
    attempts: int
    max_attempts: int
    next_attempt: str | None = None
    expires: str | None = None
    last_status: int | None = None
    finished: str | None = None
    error: str | None = None
    labels: tuple[str, ...] = ()
    schedule: str | None = None
    fire_time: str | None = None
    missed: int = 0
    outcome: str | None = None


class _FullItem(_Item, kw_only=True, omit_defaults=True, rename="camel"):
    """An item as a GET answers it. Shape: no `payload` means an empty one."""

    retry: str
    timeout: str
    headers: Mapping[str, str] = {}
    payload: Raw | str | None = None
    payload_type: str | None = None
    payload_encoding: str | None = None


class _Attempt(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    n: int
    started: str
    ms: int | None = None
    outcome: str | None = None
    status: int | None = None
    error: str | None = None
    response_headers: Mapping[str, str] = {}
    response_body: str | None = None
    response_body_encoding: str | None = None
    truncated: bool = False


class _Queue(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A queue; `retry` counts items, so the setting of that name is `retryPolicy` here."""

    name: str
    created: str
    paused: bool
    paused_until: str | None = None
    pending: int
    running: int
    retry: int
    failed: int
    completed: int
    cancelled: int
    oldest_due: str | None = None
    target: str | None = None
    method: str | None = None
    headers: Mapping[str, str] | None = None
    concurrency: int | None = None
    retry_policy: str | None = None
    timeout: str | None = None


class _Token(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    name: str
    scopes: list[str]
    queues: tuple[str, ...] = ()
    created: str
    expires: str | None = None
    revoked: str | None = None
    last_used: str | None = None
    token: str | None = None


class _Change(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What a reload does to one schedule."""

    key: str
    change: str
    next_before: str | None = None
    next_after: str | None = None
    note: str | None = None


class _Page(Struct, omit_defaults=True):
    items: list[_Item]
    cursor: str | None = None


def encode_pushed(pushed: Pushed) -> bytes:
    """An Item with the `outcome` of its push."""
    return to_json(_Item(outcome=pushed.outcome.value, **_item_members(pushed.job)))


def encode_item(job: Job) -> bytes:
    """An Item."""
    return to_json(_Item(**_item_members(job)))


def encode_full_item(job: Job) -> bytes:
    """An Item with its payload and how it is called; credentials are not shown."""
    return to_json(
        _FullItem(
            retry=format_retry(job.retry),
            timeout=format_duration(job.timeout_ms),
            headers=redacted(job.headers),
            **payload_members(job.payload, job.content_type),
            **_item_members(job),
        )
    )


def encode_items(page: Page[Job]) -> bytes:
    """One page of a listing: `{"items": […], "cursor": "…"}`, no cursor on the last one."""
    items = [_Item(**_item_members(job)) for job in page.items]
    return to_json(_Page(items=items, cursor=page.cursor))


def encode_attempts(attempts: Sequence[Attempt]) -> bytes:
    """`{"attempts": […]}`, oldest first."""
    return to_json({"attempts": [_attempt(attempt) for attempt in attempts]})


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
    return to_json({"cancelled": count})


def encode_secret(secret: str, webhook_secret: str) -> bytes:
    """The signing secret in both its forms."""
    return to_json({"secret": secret, "webhookSecret": webhook_secret})


def encode_health(reasons: Sequence[str]) -> bytes:
    """`{"status": "ok"}`, or what is wrong."""
    if reasons:
        return to_json({"status": "unavailable", "reasons": list(reasons)})
    return to_json({"status": "ok"})


def encode_info(version: str, now: int, pid: int | None, data_dir: str | None) -> bytes:
    """Which daemon this is; what is None is not for this caller's eyes."""
    members = {
        "version": version,
        "now": format_instant(now),
        "pid": pid,
        "dataDir": data_dir,
    }
    return to_json({name: value for name, value in members.items() if value is not None})


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
    return to_json({"schedules": schedules, "restart": reload.restart})


def encode_error(error: RequestError, request_id: str) -> bytes:
    """The one error object, which is a problem detail (RFC 9457), too.

    Shape: the SDK reads `type`, `message` and, for VALIDATION_ERROR only, `issues`, whose
    `path` it declares as an array.
    """
    members: dict[str, object] = {"type": error.type, "message": error.message}
    if isinstance(error, ValidationError):
        members["issues"] = [
            {"validation": i.code, "code": i.code, "path": [i.path], "message": i.message}
            for i in error.issues
        ]
    if error.hint is not None:
        members["hint"] = error.hint
    members |= {
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "instance": request_id,
    }
    return to_json(members)


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
    )


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
        headers=redacted(settings.headers) if settings.headers else None,
        concurrency=settings.concurrency,
        retry_policy=None if settings.retry is None else format_retry(settings.retry),
        timeout=None if settings.timeout_ms is None else format_duration(settings.timeout_ms),
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
