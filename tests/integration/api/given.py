"""What tests of the API start from: tokens and schedules."""

from __future__ import annotations

import json

from .raw import Answer, Peer

TARGET = "x-lq-target: https://example.com/hook"
NIGHTLY = ("x-lq-schedule: 30 2 * * *", "x-lq-queue: ops", TARGET)
"""Headers of a schedule that does not fire while a test runs."""


async def token(api: Peer, *scopes: str, queues: tuple[str, ...] = ()) -> Peer:
    """Somebody with a new token."""
    name = "-".join((*scopes, *(q.strip("*") for q in queues), "token"))
    body = json.dumps({"name": name, "scopes": scopes, "queues": queues}).encode()
    created = await api.ask("POST tokens", body=body)
    assert created.status == 201
    return api.having(created.json["token"])


async def make(api: Peer, *headers: str | bytes, body: bytes = b"") -> Answer:
    """A schedule, made or updated."""
    answer = await api.ask("POST schedules", *NIGHTLY, *headers, body=body)
    assert answer.status in {200, 201}, answer.body
    return answer


def without_id(answer: Answer) -> tuple[int, object, object]:
    """All of a refusal but what numbers it."""
    return answer.status, answer.headers.get("www-authenticate"), {**answer.json, "instance": ""}
