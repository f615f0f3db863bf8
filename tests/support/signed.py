"""Calls as lq makes them, signed, to hand to an endpoint without a daemon."""

from __future__ import annotations

import time
from typing import Any

from lq.sdk.http import Request
from lq.signature import sign, sign_webhook, webhook_key

SECRET = "lqs_" + "5e" * 32


def now() -> int:
    return time.time_ns() // 1_000_000


def call(
    body: bytes = b"",
    content_type: str | None = "application/json",
    *,
    secret: str = SECRET,
    at: int | None = None,
    method: str = "POST",
    path: str = "/lq/q",
    job_id: str = "job_1",
    **headers: Any,
) -> Request:
    """A signed call. Shape: `headers` are more of them, with `_` for `-`; None leaves one out."""
    at = now() if at is None else at
    everything = {
        "X-Lq-Signature": sign(secret, body, at),
        "X-Lq-Id": job_id,
        "Webhook-Id": job_id,
        "Webhook-Timestamp": str(at // 1000),
        "Webhook-Signature": sign_webhook(webhook_key(secret), job_id, at // 1000, body),
    }
    if content_type is not None:
        everything["Content-Type"] = content_type
    for name, value in headers.items():
        spelled = name.replace("_", "-").title()
        everything.pop(spelled, None)
        if value is not None:
            everything[spelled] = str(value)
    return Request(method, path, tuple(everything.items()), body)


def header(response: Any, name: str) -> str | None:
    """A header of a response."""
    found = [value for other, value in response.headers if other.lower() == name.lower()]
    assert len(found) < 2
    return found[0] if found else None
