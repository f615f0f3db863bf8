"""What a push may say, in Python's own types; a slip is refused before anything leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from lq import PayloadError, Queue
from lq.errors import ValidationError
from lq.sdk.options import PushOptions, ScheduleOptions, written


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("delay", "5m", "5m"),
        ("delay", "1 hour 30 minutes", "1h30m"),
        ("delay", timedelta(minutes=5), "5m"),
        ("delay", timedelta(0), "0s"),
        ("timeout", timedelta(milliseconds=1500), "1s500ms"),
        ("on", datetime(2026, 12, 1, 9, tzinfo=UTC), "2026-12-01T09:00:00+00:00"),
        (
            "on",
            datetime(2026, 12, 1, 9, tzinfo=timezone(timedelta(hours=1))),
            "2026-12-01T09:00:00+01:00",
        ),
        ("on", "2026-12-01T09:00:00+01:00", "2026-12-01T08:00:00.000Z"),
        ("on", "2026-12-01 09:00 Europe/Berlin", "2026-12-01T08:00:00.000Z"),
        ("expires", timedelta(days=1), "1d"),
        ("expires", "3600s", "1h"),
        ("expires", "2026-12-01T09:00:00Z", "2026-12-01T09:00:00.000Z"),
        ("expires", datetime(2026, 12, 1, tzinfo=UTC), "2026-12-01T00:00:00+00:00"),
        ("retry", 0, "0"),
        ("retry", "10s,1m", "10s,1m"),
        ("retry", ["10s", timedelta(minutes=1)], "10s,1m"),
        ("key", "user-1", "user-1"),
        ("labels", ["a", "b"], ["a", "b"]),
        ("headers", {"x-team": "mail"}, {"x-team": "mail"}),
        ("validate", False, False),
        ("idempotency_key", "once", "once"),
    ],
)
def test_an_option_is_told(option: str, value: Any, told: Any) -> None:
    assert written({option: value}, PushOptions) == {option: told}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("delay", 5, 'delay: expected a duration such as "5m", or a timedelta, got 5'),
        ("delay", "5", "delay: expected a number with its unit"),
        ("delay", timedelta(seconds=-1), "delay: expected a duration from now on"),
        ("delay", "11 years", "delay: the units are"),
        ("timeout", True, "timeout: expected a duration"),
        ("on", datetime(2026, 12, 1), "on: a datetime needs a time zone"),
        ("on", "noon", "on: expected an instant"),
        ("on", "2026-12-01 09:00", "on: the time names no zone"),
        ("expires", "soon", "expires: expected a number with its unit"),
        ("retry", ["soon"], "retry: expected a number with its unit"),
    ],
)
def test_a_slip_names_the_option(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        written({option: value}, PushOptions)
    assert str(caught.value).startswith(message)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="'dealy' is no option here; known are delay, expires"):
        written({"dealy": "5m"}, PushOptions)
    with pytest.raises(TypeError, match="'delay' is no option here"):
        written({"delay": "5m"}, ScheduleOptions)
    with pytest.raises(TypeError, match="'key' is no option here"):
        Queue("q", key="k")  # type: ignore[call-arg]


def test_what_is_not_said_has_the_queue_s_default() -> None:
    queue = Queue[int](
        "q", target="https://a.example.com/", completion="callback",
        retry=3, timeout="30s", headers={"x-a": "b"}, labels=["l"],
    )  # fmt: skip
    body, told = queue.request(1, {"retry": "0"}, None)
    assert body == b"1"
    assert told == {
        "content_type": "application/json", "target": "https://a.example.com/",
        "completion": "callback", "retry": "0", "timeout": "30s", "headers": {"x-a": "b"},
        "labels": ["l"],
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [{}, {"item_id": "job_1", "key": "k"}])
async def test_an_item_is_named_once(arguments: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="either by its id or by key="):
        await Queue("q").cancel(**arguments)
    with pytest.raises(TypeError, match="either by its id or by key="):
        Queue("q").get_sync(**arguments)


@pytest.mark.parametrize("payload", ["1", None, 1.5])
async def test_a_wrong_payload_does_not_leave(payload: Any) -> None:
    # Nobody listens there: to try would be Unreachable.
    queue = Queue[int]("q", target="https://a.example.com/", url="http://127.0.0.1:1")
    with pytest.raises(PayloadError, match="payload: expected int"):
        queue.push_sync(payload)
    with pytest.raises(PayloadError, match="payload: expected int"):
        await queue.push(payload)
