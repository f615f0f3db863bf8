"""Calls as lq makes them, to handlers in a test: signed, or signed wrongly on purpose.

Owns: what such a call looks like, and reading what a handler answered. Needs no daemon.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from lq.sdk.codec import NOTHING
from lq.sdk.http import Request, Response
from lq.sdk.orchestrator import Orchestrator
from lq.sdk.queue import Queue
from lq.signature import sign, sign_webhook, webhook_key
from lq.when import format_instant

SECRET: Final = f"lqs_{'7e57' * 16}"
"""A secret for tests: set LQ_SECRET to it, where queues are not given one."""

Wrong = Literal["secret", "body", "stale", "future", "missing", "malformed"]
_ANOTHER: Final = f"lqs_{'0bad' * 16}"
_TOO_FAR_MS: Final = 180_000


class SignedRequest(NamedTuple):
    """A call to hand to a framework's own test client."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Result(NamedTuple):
    """What a handler answered.

    Shape: `value` is what it returned, if it did; `error` why it failed, if it did. `retry_after`
    is in seconds, and `is_final` whether no retry follows.
    """

    status: int
    value: Any = None
    error: str | None = None
    retry_after: int | None = None
    is_final: bool = False


def signed_request(
    endpoint: Queue[Any] | Orchestrator,
    payload: Any = NOTHING,
    *,
    name: str | None = None,
    body: bytes | None = None,
    content_type: str | None = None,
    job_id: str = "job_00000000000000000000000000000001",
    key: str | None = None,
    attempt: int = 1,
    max_attempts: int = 6,
    schedule: str | None = None,
    fire_time: datetime | None = None,
    missed: int = 0,
    headers: Mapping[str, str] | None = None,
    secret: str | None = None,
    wrong: Wrong | None = None,
) -> SignedRequest:
    """A call of lq's for a queue, or for a handler of an orchestrator by its `name`.

    Shape: `body` is sent in the place of a payload, unchecked. `wrong` is what is wrong with the
    signature. Raises: PayloadError when the payload does not fit, SettingMissing without a secret.
    """
    queue = endpoint.queue(name or "") if isinstance(endpoint, Orchestrator) else endpoint
    if body is None:
        body, told = queue.request(payload, {"target": endpoint.path}, key)
        content_type = content_type or told.get("content_type")
    said = {
        "x-lq-id": job_id,
        "x-lq-queue": quote(queue.name, safe=""),
        "x-lq-attempt": str(attempt),
        "x-lq-max-attempts": str(max_attempts),
        "Idempotency-Key": f'"{job_id}"',
        **_signatures(secret or queue.secrets[0], job_id, body, wrong),
    }
    if key is not None:
        said["x-lq-key"] = quote(key, safe="")
    if content_type is not None:
        said["Content-Type"] = content_type
    if schedule is not None:
        at = datetime.now(UTC) if fire_time is None else fire_time
        said["x-lq-schedule"] = schedule
        said["x-lq-fire-time"] = format_instant(round(at.timestamp() * 1000))
    if missed:
        said["x-lq-missed"] = str(missed)
    sent = body + b" " if wrong == "body" else body
    return SignedRequest("POST", endpoint.path, said | dict(headers or {}), sent)


def _signatures(secret: str, job_id: str, body: bytes, wrong: Wrong | None) -> dict[str, str]:
    at = time.time_ns() // 1_000_000
    at += {"stale": -_TOO_FAR_MS, "future": _TOO_FAR_MS}.get(wrong or "", 0)
    secret = _ANOTHER if wrong == "secret" else secret
    webhook = sign_webhook(webhook_key(secret), job_id, at // 1000, body)
    signed = {
        "x-lq-signature": sign(secret, body, at),
        "webhook-id": job_id,
        "webhook-timestamp": str(at // 1000),
        "webhook-signature": webhook,
    }
    if wrong == "missing":
        del signed["x-lq-signature"]
    elif wrong == "malformed":
        signed["x-lq-signature"] = f"v=1,t={at}"
    return signed


def call(endpoint: Queue[Any] | Orchestrator, payload: Any = NOTHING, **options: Any) -> Result:
    """Call a handler as lq would, and wait for it. Shape: options as of `signed_request`."""
    return _result(endpoint.respond_sync(_request(endpoint, payload, options)))


async def call_async(
    endpoint: Queue[Any] | Orchestrator, payload: Any = NOTHING, **options: Any
) -> Result:
    """`call` in this event loop."""
    return _result(await endpoint.respond(_request(endpoint, payload, options)))


def _request(
    endpoint: Queue[Any] | Orchestrator, payload: Any, options: Mapping[str, Any]
) -> Request:
    made = signed_request(endpoint, payload, **options)
    return Request(made.method, made.path, tuple(made.headers.items()), made.body)


def _result(response: Response) -> Result:
    said = {name.lower(): text for name, text in response.headers}
    if 200 <= response.status < 300:
        return Result(response.status, _value(response.body, said.get("content-type", "")))
    wait_s = said.get("retry-after", "")
    return Result(
        response.status,
        error=response.body.decode("utf-8", "replace"),
        retry_after=int(wait_s) if wait_s.isdecimal() else None,
        is_final=response.status == 410 or said.get("x-lq-retry") == "no",
    )


def _value(body: bytes, content_type: str) -> Any:
    if content_type.startswith("application/json"):
        return json.loads(body)
    if content_type.startswith("text/"):
        return body.decode("utf-8", "replace")
    return body or None
