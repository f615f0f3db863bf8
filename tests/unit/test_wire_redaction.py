"""Redaction without a socket: which words there are, and that nothing of an answer gets by."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lq import wire
from lq.model import Attempt, Job, RetryPolicy, State

JOB = Job(
    seq=1,
    id="job_1",
    queue="q",
    state=State.FAILED,
    created_at=0,
    not_before=0,
    due_at=0,
    target="https://example.com/",
    method="POST",
    retry=RetryPolicy(0),
    timeout_ms=1,
    payload=b"canary",
)


def hide(*words: str) -> wire.Hide:
    return lambda queue: words if queue == "q" else ()


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("body", "body"),
        ("response", "response"),
        ("header:X-Customer", "header:x-customer"),
        ("header:a.b_c~d", "header:a.b_c~d"),
    ],
)
def test_words(word: str, means: str) -> None:
    assert wire.check_redaction(word) == means


@pytest.mark.parametrize(
    "word",
    ["", "Body", "payload", "header", "header:", "header: x", "header:a b", "header:ä", "x-a"],
)
def test_what_is_no_word(word: str) -> None:
    with pytest.raises(ValueError, match='expected "body", "response" or "header:NAME"'):
        wire.check_redaction(word)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("status 500: canary", "status 500: [redacted]"),
        ("status 500: a\nb: status 501: canary", "status 500: [redacted]"),
        ("status 404", "status 404"),
        ("redirect 302 -> https://canary/ (redirects are never followed)",
         "redirect 302 -> [redacted]"),
        ("expired before the next retry; last attempt: status 503: canary",
         "expired before the next retry; last attempt: status 503: [redacted]"),
        ("timeout: no complete answer within 5s", "timeout: no complete answer within 5s"),
        ("bad_status 999", "bad_status 999"),
    ],
)  # fmt: skip
def test_an_error_keeps_what_is_lqs_own(error: str, shown: str) -> None:
    job = replace(JOB, error=error)
    for hides in (hide("response"), hide("body", "response")):
        assert json.loads(wire.encode_item(job, hides))["error"] == shown
    for hides in (hide(), hide("body")):
        assert json.loads(wire.encode_item(job, hides))["error"] == error


@given(st.integers(100, 599), st.text(min_size=1))
def test_nothing_of_an_answer_gets_by(status: int, said: str) -> None:
    attempt = Attempt(
        n=1, started_at=0, status=status, error=f"status {status}: {said}",
        headers={"Location": said}, body=said.encode("utf-8", "replace"),
    )  # fmt: skip
    shown = json.loads(wire.encode_attempts([attempt], ["response"]))["attempts"][0]
    assert shown["error"] == f"status {status}: [redacted]"
    assert shown["responseBody"] == "[redacted]"
    assert shown["responseHeaders"] == {"Location": "[redacted]"}


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json", "image/png"])
@pytest.mark.parametrize("payload", [b"canary", b'{"a": "canary"}', b"\xffcanary"])
def test_no_payload_gets_by(content_type: str | None, payload: bytes) -> None:
    job = replace(JOB, payload=payload, content_type=content_type)
    shown = json.loads(wire.encode_full_item(job, hide("body")))
    assert (shown["payload"], shown["redacted"]) == ("[redacted]", ["body"])
    assert "payloadEncoding" not in shown


def test_an_empty_payload_stays_empty() -> None:
    shown = json.loads(wire.encode_full_item(replace(JOB, payload=b""), hide("body")))
    assert "payload" not in shown
