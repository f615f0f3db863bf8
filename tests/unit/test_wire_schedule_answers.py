"""The wire, without a socket: how schedules, their items and their times look as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from lq import wire
from lq.model import (
    FileOrigin,
    Firing,
    Job,
    LastJob,
    Origin,
    Page,
    Push,
    PushOutcome,
    Reload,
    RetryPolicy,
    Schedule,
    ScheduleChange,
    ScheduleSpec,
    SettingChange,
    State,
)

NOW = 1_794_990_400_123  # 2026-11-18T08:26:40.123Z
HOUR = 3_600_000


def document(raw: bytes) -> Any:
    """JSON read by somebody else's parser."""
    return json.loads(raw)


SCHEDULE = Schedule(
    id="sch_1",
    spec=ScheduleSpec(rule="30 2 * * *", push=Push(queue="ops", payload=b"")),
    created_at=NOW,
    anchor_at=NOW,
    seen_at=NOW,
)
PLAIN = {
    "id": "sch_1",
    "created": "2026-11-18T08:26:40.123Z",
    "paused": False,
    "schedule": "30 2 * * *",
    "explanation": "at 02:30 every day",
    "timezone": "UTC",
    "queue": "ops",
    "type": "HTTP",
    "misfire": "once",
    "overlap": "allow",
    "fired": 0,
    "origin": "api",
}


def show_all(queue: str) -> tuple[str, ...]:
    """What a queue hides that was not told to."""
    return ()


def test_a_schedule_says_no_more_than_there_is() -> None:
    assert document(wire.encode_schedule(SCHEDULE, NOW, show_all)) == PLAIN
    assert document(wire.encode_full_schedule(SCHEDULE, NOW, show_all)) == PLAIN
    assert document(wire.encode_schedules(Page((SCHEDULE,)), NOW, show_all)) == {"items": [PLAIN]}


def test_a_schedule_with_all_that_there_can_be() -> None:
    push = replace(
        SCHEDULE.spec.push,
        target="https://example.com/",
        headers={"Authorization": "s", "x-a": "b"},
        payload=b'{"a":1}',
        content_type="application/json",
        retry=RetryPolicy(3),
        timeout_ms=90_000,
        expires_ms=2 * HOUR,
        labels=("a",),
    )
    spec = replace(
        SCHEDULE.spec, key="nightly", push=push, times=9, jitter_ms=1500, start_at=NOW, until_at=NOW
    )
    full = replace(
        SCHEDULE,
        spec=spec,
        next_at=NOW + HOUR,
        last_at=NOW - HOUR,
        fired=4,
        last=LastJob(id="job_1", state=State.PENDING, failures=1, error="status 500"),
        origin=Origin.FILE,
    )
    listed = {
        **PLAIN,
        "key": "nightly",
        "nextRun": "2026-11-18T09:26:40.123Z",
        "lastRun": "2026-11-18T07:26:40.123Z",
        "target": {"url": "https://example.com/", "method": "POST"},
        "jitter": "1s500ms",
        "times": 9,
        "fired": 4,
        "start": "2026-11-18T08:26:40.123Z",
        "until": "2026-11-18T08:26:40.123Z",
        "origin": "file",
        "lastItem": {"id": "job_1", "state": "RETRY", "error": "status 500"},
    }
    created = wire.encode_schedule(full, NOW, show_all, PushOutcome.CREATED)
    assert document(created) == {**listed, "outcome": "created"}
    assert document(wire.encode_schedules(Page((full,), "c"), NOW, show_all)) == {
        "items": [listed],
        "cursor": "c",
    }
    assert document(wire.encode_full_schedule(full, NOW, show_all)) == {
        **listed,
        "retry": "3",
        "timeout": "1m30s",
        "expires": "2h",
        "labels": ["a"],
        "headers": {"Authorization": "[redacted]", "x-a": "b"},
        "payload": {"a": 1},
        "payloadType": "application/json",
    }


@pytest.mark.parametrize(
    ("late_ms", "overdue"), [(-HOUR, None), (0, None), (60_000, None), (60_001, True)]
)
def test_a_schedule_is_overdue_after_a_minute(late_ms: int, overdue: bool | None) -> None:
    shown = document(wire.encode_schedule(replace(SCHEDULE, next_at=NOW - late_ms), NOW, show_all))
    assert shown.get("overdue") is overdue


def test_a_schedule_that_lq_has_paused_says_why() -> None:
    stale = replace(SCHEDULE.spec, rule="30 25 * * *")  # as an older version might have stored
    shown = document(
        wire.encode_schedule(
            replace(SCHEDULE, spec=stale, paused=True, reason="x-lq-schedule: no such hour"),
            NOW,
            show_all,
        )
    )
    assert (shown["paused"], shown["reason"]) == (True, "x-lq-schedule: no such hour")
    assert "explanation" not in shown


def test_the_last_item_of_which_only_the_name_is_known() -> None:
    shown = document(
        wire.encode_schedule(replace(SCHEDULE, last=LastJob(id="job_1")), NOW, show_all)
    )
    assert shown["lastItem"] == {"id": "job_1"}


JOB = Job(
    seq=1,
    id="job_1",
    queue="q",
    state=State.PENDING,
    created_at=NOW,
    not_before=NOW,
    due_at=NOW,
    target="https://example.com/",
    method="POST",
    retry=RetryPolicy(5),
    timeout_ms=1000,
)


@pytest.mark.parametrize(
    ("firing", "members"),
    [
        (None, {}),
        (Firing("sch_1", NOW - HOUR), {"fireTime": "2026-11-18T07:26:40.123Z"}),
        (Firing("sch_1", None), {"fireTime": "2026-11-18T08:26:40.123Z"}),
        (Firing("sch_1", NOW - HOUR, 3), {"fireTime": "2026-11-18T07:26:40.123Z", "missed": 3}),
    ],
)
def test_an_item_tells_which_schedule_made_it(
    firing: Firing | None, members: dict[str, object]
) -> None:
    shown = document(wire.encode_item(replace(JOB, firing=firing), show_all))
    found = {name: shown[name] for name in ("schedule", "fireTime", "missed") if name in shown}
    assert found == ({"schedule": "sch_1", **members} if firing else {})


def test_times_are_utc_and_those_of_a_rule_are_local() -> None:
    assert document(wire.encode_times([NOW])) == {"times": ["2026-11-18T08:26:40.123Z"]}
    at = 1_774_746_000_000  # 2026-03-29T01:00:00Z, when the clocks of Berlin skip an hour
    shown = document(wire.encode_cron("30 2 * * *", "Europe/Berlin", [at - 84_600_000, at], NOW))
    assert shown["times"] == ["2026-03-28T02:30:00.000+01:00", "2026-03-29T03:00:00.000+02:00"]
    assert list(shown["notes"]) == ["2026-03-29T03:00:00.000+02:00"]
    assert "02:30" in shown["notes"]["2026-03-29T03:00:00.000+02:00"]
    assert (shown["schedule"], shown["timezone"]) == ("30 2 * * *", "Europe/Berlin")
    assert shown["explanation"] == "at 02:30 every day"


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("UTC", "1970-01-01T00:00:00.007+00:00"),
        ("America/St_Johns", "1969-12-31T20:30:00.007-03:30"),
        ("Asia/Kathmandu", "1970-01-01T05:30:00.007+05:30"),
        ("Africa/Monrovia", "1969-12-31T23:16:00.007-00:44"),  # -00:44:30, which it cannot say
    ],
)
def test_a_local_time_is_the_same_instant(zone: str, local: str) -> None:
    assert document(wire.encode_cron("@daily", zone, [7], NOW))["times"] == [local]


def test_a_rule_without_notes_or_warnings() -> None:
    assert document(wire.encode_cron("E=90s", "UTC", [], NOW)) == {
        "schedule": "E=90s",
        "timezone": "UTC",
        "explanation": "every 90 seconds",
        "warnings": [],
        "times": [],
    }


def test_a_reload() -> None:
    changes = (
        ScheduleChange(key="a", change="updated", next_before=NOW, next_after=NOW + HOUR),
        ScheduleChange(key="b", change="conflict", note="made over the API"),
    )
    settings = (
        SettingChange("queues.q.rate", "changed", "1/s", "2/s"),
        SettingChange("queues.q.headers", "added"),
    )
    assert document(wire.encode_reload(Reload(changes, ("listen",), settings))) == {
        "settings": [
            {"key": "queues.q.rate", "change": "changed", "before": "1/s", "after": "2/s"},
            {"key": "queues.q.headers", "change": "added"},
        ],
        "schedules": [
            {
                "key": "a",
                "change": "updated",
                "nextBefore": "2026-11-18T08:26:40.123Z",
                "nextAfter": "2026-11-18T09:26:40.123Z",
            },
            {"key": "b", "change": "conflict", "note": "made over the API"},
        ],
        "restart": ["listen"],
    }


def test_a_schedule_of_the_file_says_where() -> None:
    of_file = replace(SCHEDULE, origin=Origin.FILE)
    answer = wire.encode_full_schedule(of_file, NOW, show_all, FileOrigin("lq.toml:7"))
    assert document(answer)["file"] == {"where": "lq.toml:7"}
    answer = wire.encode_full_schedule(of_file, NOW, show_all, FileOrigin("lq.toml:7", False))
    assert document(answer)["file"] == {"where": "lq.toml:7", "paused": False}
