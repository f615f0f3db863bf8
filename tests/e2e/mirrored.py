"""Every kind of body by every method, from a daemon to handlers that answer with their payload."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from lq.signature import sign

from .process import Daemon, wait_until

PATHS = ("/lq/mirror", "/lq/b%C3%BCro")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
BODIES = (
    (b'{"name": "\xc3\x85da"}', "application/json"),
    ("Grüße".encode(), "text/plain; charset=utf-8"),
    (bytes(range(256)), "application/octet-stream"),
    (b"", None),
)


def all_come_back(lq: Daemon, port: int) -> None:
    """Hold each answer against what was sent."""
    sent = {}
    for path in PATHS:
        for method in METHODS:
            for body, kind in BODIES:
                target = f"http://127.0.0.1:{port}{path}"
                item = lq.client.push(
                    "mirror", body, content_type=kind, method=method, target=target
                )
                sent[item["id"]] = body
    ended = wait_until(lambda: _history(lq, len(sent)))
    assert {(item["state"], item["attempts"]) for item in ended} == {("COMPLETED", 1)}
    for job_id, body in sent.items():
        (attempt,) = lq.client.attempts(job_id)
        assert _same(_answered(attempt), body)


def signed_call(lq: Daemon, body: bytes, callback: str) -> dict[str, str]:
    """The headers of a call that is to be completed by callback."""
    return {
        "content-type": "application/json",
        "x-lq-signature": sign(lq.secret(), body, time.time_ns() // 1_000_000),
        "x-lq-callback": callback,
    }


def _history(lq: Daemon, number: int) -> list[dict[str, Any]]:
    """All that has ended, once it is so many."""
    ended: list[dict[str, Any]] = lq.client.history()["items"]
    return ended if len(ended) == number else []


def _answered(attempt: dict[str, Any]) -> bytes:
    body: str = attempt.get("responseBody", "")
    if attempt.get("responseBodyEncoding") == "base64":
        return base64.b64decode(body)
    return body.encode()


def _same(one: bytes, other: bytes) -> bool:
    """Whether two bodies are alike, but for how their JSON is written."""
    if one.startswith(b"{") and other.startswith(b"{"):
        return bool(json.loads(one) == json.loads(other))
    return one == other
