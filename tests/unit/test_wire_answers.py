"""The wire, without a socket: how items, queues, attempts, tokens and errors look as JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from lq import wire
from lq.errors import KeyExists, Unavailable, ValidationError
from lq.model import (
    Attempt,
    Counts,
    Job,
    OutcomeKind,
    Page,
    Pushed,
    PushOutcome,
    Queue,
    QueueSettings,
    RetryPolicy,
    Scope,
    State,
    Token,
)

NOW = 1_794_990_400_123  # 2026-11-18T08:26:40.123Z

JOB = Job(
    seq=7,
    id="01J8Z0",
    queue="mail/out",
    state=State.PENDING,
    created_at=NOW,
    not_before=NOW + 1000,
    due_at=NOW + 2000,
    target="https://example.com/hook",
    method="POST",
    retry=RetryPolicy(5),
    timeout_ms=90_000,
)


def show_all(queue: str) -> tuple[str, ...]:
    """What a queue hides that was not told to."""
    return ()


def document(raw: bytes) -> Any:
    """JSON read by somebody else's parser."""
    return json.loads(raw)


def test_an_item_as_a_push_answers_it() -> None:
    job = replace(JOB, key="k", labels=("a", "b"))
    assert document(wire.encode_pushed(Pushed(job, PushOutcome.CREATED), show_all)) == {
        "id": "01J8Z0",
        "key": "k",
        "queue": "mail/out",
        "created": "2026-11-18T08:26:40.123Z",
        "target": {"url": "https://example.com/hook", "method": "POST"},
        "type": "HTTP",
        "state": "PENDING",
        "notBefore": "2026-11-18T08:26:41.123Z",
        "attempts": 0,
        "maxAttempts": 6,
        "nextAttempt": "2026-11-18T08:26:42.123Z",
        "labels": ["a", "b"],
        "outcome": "created",
    }


@pytest.mark.parametrize(
    ("job", "members"),
    [
        (
            replace(JOB, failures=2, last_status=500, error="status 500"),
            {"state": "RETRY", "attempts": 2, "lastStatus": 500, "error": "status 500"},
        ),
        (replace(JOB, state=State.RUNNING, failures=1, run_id=9), {"attempts": 2}),
        (
            replace(JOB, state=State.COMPLETED, finished_at=NOW, last_status=200),
            {"attempts": 1, "finished": "2026-11-18T08:26:40.123Z"},
        ),
        (replace(JOB, state=State.FAILED, failures=6, finished_at=NOW), {"attempts": 6}),
        (replace(JOB, target="scriptlet:backup"), {"type": "SCRIPTLET"}),
        (replace(JOB, expires_at=NOW), {"expires": "2026-11-18T08:26:40.123Z"}),
    ],
)
def test_an_item_shows_where_it_is(job: Job, members: dict[str, object]) -> None:
    shown = document(wire.encode_item(job, show_all))
    assert {**shown, **members} == shown
    assert None not in shown.values()
    assert ("nextAttempt" in shown) == (job.state is State.PENDING)


@pytest.mark.parametrize(
    ("content_type", "payload", "members"),
    [
        ("application/json", b'{"a": 1.50}', {"payload": {"a": 1.5}}),
        ("application/problem+json; charset=utf-8", b"[]", {"payload": []}),
        ("APPLICATION/JSON", b'"text"', {"payload": "text"}),
        ("application/json", b"", {}),
        ("application/json", b"{", {"payload": "ew==", "payloadEncoding": "base64"}),
        ("application/json", b'"\xff"', {"payload": "Iv8i", "payloadEncoding": "base64"}),
        ("application/json", b"NaN", {"payload": "TmFO", "payloadEncoding": "base64"}),
        ("text/plain", "größe\n".encode(), {"payload": "größe\n"}),
        (None, b"plain", {"payload": "plain"}),
        ("application/octet-stream", b"\0\1", {"payload": "AAE=", "payloadEncoding": "base64"}),
        ("text/plain", b"\xff", {"payload": "/w==", "payloadEncoding": "base64"}),
    ],
)
def test_a_payload_is_shown_as_what_it_is(
    content_type: str | None, payload: bytes, members: dict[str, object]
) -> None:
    shown = document(
        wire.encode_full_item(replace(JOB, content_type=content_type, payload=payload), show_all)
    )
    found = {name: shown[name] for name in ("payload", "payloadEncoding") if name in shown}
    assert found == members
    assert shown.get("payloadType") == content_type


@given(st.binary(), st.sampled_from([None, "application/json", "text/plain", "image/png"]))
@example(b"[" * 100_000, "application/json")
@example(b"1e999", "application/json")
def test_a_payload_can_be_had_back_byte_for_byte(payload: bytes, content_type: str | None) -> None:
    raw = wire.encode_full_item(replace(JOB, content_type=content_type, payload=payload), show_all)
    shown = document(raw)
    if "payload" not in shown:
        assert payload == b""
    elif shown.get("payloadEncoding") == "base64":
        assert base64.b64decode(shown["payload"]) == payload
    elif content_type == "application/json":
        assert b'"payload":' + payload in raw
    else:
        assert shown["payload"].encode() == payload


def test_a_full_item_hides_credentials() -> None:
    headers = {"Authorization": "Bearer t", "x-vercel-protection-bypass": "s", "x-team": "mail"}
    shown = document(wire.encode_full_item(replace(JOB, headers=headers), show_all))
    assert shown["headers"] == {
        "Authorization": "[redacted]",
        "x-vercel-protection-bypass": "[redacted]",
        "x-team": "mail",
    }
    assert (shown["retry"], shown["timeout"]) == ("5", "1m30s")


def test_a_page_and_the_last_page() -> None:
    assert document(wire.encode_items(Page((JOB,), "c"), show_all))["cursor"] == "c"
    assert document(wire.encode_items(Page(()), show_all)) == {"items": []}


def test_attempts() -> None:
    attempts = [
        Attempt(
            n=1,
            started_at=NOW,
            ended_at=NOW + 25,
            outcome=OutcomeKind.FAILED,
            status=500,
            error="status 500",
            headers={"content-type": "text/html", "Set-Cookie": "sid=1"},
            body=b"\x1b[31m<script>",
            truncated=True,
        ),
        Attempt(n=2, started_at=NOW + 1000, body=b"half"),
    ]
    assert document(wire.encode_attempts(attempts, ())) == {
        "attempts": [
            {
                "n": 1,
                "started": "2026-11-18T08:26:40.123Z",
                "ms": 25,
                "outcome": "failed",
                "status": 500,
                "error": "status 500",
                "responseHeaders": {"content-type": "text/html", "Set-Cookie": "[redacted]"},
                "responseBody": base64.b64encode(b"\x1b[31m<script>").decode(),
                "responseBodyEncoding": "base64",
                "truncated": True,
            },
            {"n": 2, "started": "2026-11-18T08:26:41.123Z", "responseBody": "half"},
        ]
    }


def test_a_queue_with_and_without_settings() -> None:
    bare = Queue(name="q", created_at=NOW, settings=QueueSettings())
    counts = {"pending": 0, "running": 0, "retry": 0, "failed": 0, "completed": 0, "cancelled": 0}
    shown = {"name": "q", "created": "2026-11-18T08:26:40.123Z", "paused": False, **counts}
    assert document(wire.encode_queue(bare)) == shown
    settings = QueueSettings(
        target="https://example.com", headers={"x-api-key": "s"}, concurrency=2,
        retry=RetryPolicy(2, (1000, 60_000)), timeout_ms=1500,
    )  # fmt: skip
    full = Queue(
        name="q", created_at=NOW, settings=settings, paused=True, paused_until=NOW,
        counts=Counts(retry=3), next_due_at=NOW,
    )  # fmt: skip
    assert document(wire.encode_queues([full])) == [
        {
            **shown,
            "paused": True,
            "pausedUntil": "2026-11-18T08:26:40.123Z",
            "retry": 3,
            "oldestDue": "2026-11-18T08:26:40.123Z",
            "target": "https://example.com",
            "headers": {"x-api-key": "[redacted]"},
            "concurrency": 2,
            "retryPolicy": "1s,1m",
            "timeout": "1s500ms",
        }
    ]


def test_a_token_is_shown_once() -> None:
    token = Token(name="ci", digest=b"\xab" * 32, scopes=frozenset(Scope), created_at=NOW)
    shown = {
        "name": "ci",
        "scopes": ["admin", "push", "read"],
        "created": "2026-11-18T08:26:40.123Z",
    }
    assert document(wire.encode_tokens([token])) == [shown]
    assert document(wire.encode_token(token, "lq_x")) == {**shown, "token": "lq_x"}


def test_an_error_is_the_sdks_and_a_problem_detail() -> None:
    error = ValidationError.of("x-lq-key", "must not be empty", "invalid")
    assert document(wire.encode_error(error, "abc-1")) == {
        "type": "VALIDATION_ERROR",
        "message": "x-lq-key: must not be empty",
        "issues": [
            {
                "validation": "invalid",
                "code": "invalid",
                "path": ["x-lq-key"],
                "message": "must not be empty",
            }
        ],
        "title": "The request is not valid",
        "status": 400,
        "detail": "x-lq-key: must not be empty",
        "instance": "abc-1",
    }


def test_only_a_validation_error_has_issues() -> None:
    shown = document(wire.encode_error(KeyExists("the key waits", hint="wait, too"), "r"))
    assert "issues" not in shown
    assert (shown["type"], shown["status"], shown["hint"]) == ("KEY_EXISTS", 409, "wait, too")
    assert "hint" not in document(wire.encode_error(Unavailable("later"), "r"))


def test_health_and_info() -> None:
    assert document(wire.encode_health(())) == {"status": "ok"}
    assert document(wire.encode_health(["the disk is full"])) == {
        "status": "unavailable",
        "reasons": ["the disk is full"],
    }
    assert document(wire.encode_info("1.0", NOW, None, None)) == {
        "version": "1.0",
        "now": "2026-11-18T08:26:40.123Z",
    }
