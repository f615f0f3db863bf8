"""What is worth telling: rules, notices, and how a subject stands after each of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.alerts import (
    WELL,
    Happened,
    Kind,
    Line,
    Notice,
    Preset,
    Rule,
    Standing,
    Watch,
    judge,
    message,
    trial,
)
from lq.daemon.targets.alert import form_of
from tests.clock import START

MINUTE = 60_000


def rule(**members: Any) -> Rule:
    return Rule(
        **{"name": "ops", "target": "https://example.com/", "on": frozenset(Kind), **members}
    )


def notice(happened: Happened, **members: Any) -> Notice:
    plain: dict[str, Any] = {
        "at": START + MINUTE,
        "job": "job_1",
        "queue": "mail",
        "target": "https://example.com/hook",
        "not_before": START,
        "started_at": START,
        "attempts": 1,
    }
    return Notice(happened=happened, **plain | members)


def told(rule: Rule, *notices: Notice) -> list[tuple[str, str]]:
    """The kinds and words of what is told, notice by notice."""
    standing, lines = WELL, []
    for one in notices:
        standing, new = judge(rule, "queue mail", standing, one)
        lines += new
    return [(line.kind.value, line.text) for line in lines]


FAILED = notice(Happened.FAILED, error="status 500: no")
COMPLETED = notice(Happened.COMPLETED)


def test_a_failure_and_its_end_are_told() -> None:
    assert told(rule(), FAILED, COMPLETED, COMPLETED) == [
        ("failed", "queue mail failed: status 500: no"),
        ("recovered", "queue mail works again after a failure"),
    ]


def test_a_streak_is_told_from_its_threshold_on() -> None:
    last = notice(Happened.FAILED, error="timeout", attempts=6)
    assert told(rule(streak=3), FAILED, FAILED) == []
    assert told(rule(streak=3), FAILED, FAILED, COMPLETED, FAILED, FAILED, COMPLETED) == []
    assert told(rule(streak=3), FAILED, FAILED, FAILED, last, COMPLETED) == [
        ("failed", "queue mail failed 3 times in a row: status 500: no"),
        ("failed", "queue mail failed 4 times in a row: timeout (after 6 attempts)"),
        ("recovered", "queue mail works again after 4 failures in a row"),
    ]


def test_only_what_was_asked_for_is_told() -> None:
    assert told(rule(on=frozenset({Kind.RECOVERED})), FAILED, COMPLETED) == [
        ("recovered", "queue mail works again after a failure")
    ]


def test_missed_times_are_told() -> None:
    caught_up = notice(Happened.MISSED, missed=3)
    skipped = notice(Happened.MISSED, missed=1, error="misfire: 1 time was missed")
    assert told(rule(), caught_up, skipped) == [
        ("missed", "queue mail missed 3 times; one item makes up for all of them"),
        (
            "missed",
            "queue mail missed a time, which nothing makes up for (misfire: 1 time was missed)",
        ),
    ]


def test_lateness_is_told_once_until_something_is_on_time() -> None:
    waits = notice(
        Happened.WAITS, at=START + 7 * MINUTE, started_at=None, error="endpoint not validated"
    )
    began = notice(Happened.COMPLETED, at=START + 9 * MINUTE, started_at=START + 8 * MINUTE)
    again = notice(Happened.FAILED, started_at=START + 8 * MINUTE, error="x")
    late = rule(late_ms=5 * MINUTE)
    words = "queue mail is late: an item due 7m ago has not begun (endpoint not validated)"
    assert told(late, waits, waits, began) == [("late", words)]
    assert told(late, began, again, COMPLETED)[0] == (
        "late", "queue mail is late: an item began 8m after its time",
    )  # fmt: skip
    assert told(late, waits, COMPLETED, waits) == [
        ("late", words),
        ("recovered", "queue mail is on time again"),
        ("late", words),
    ]
    assert told(rule(), waits, began) == []


def test_the_retry_of_a_job_is_not_late() -> None:
    retried = notice(Happened.COMPLETED, started_at=START + 60 * MINUTE, attempts=3)
    assert told(rule(late_ms=MINUTE), retried) == []


def test_each_run_that_takes_too_long_is_told_once() -> None:
    longer = rule(longer_ms=2 * MINUTE)
    one = notice(Happened.RUNS, at=START + 2 * MINUTE)
    other = notice(Happened.RUNS, at=START + 3 * MINUTE, job="job_2")
    end = notice(Happened.COMPLETED, at=START + 5 * MINUTE)
    unseen = notice(Happened.COMPLETED, at=START + 5 * MINUTE, job="job_3")
    assert told(longer, one, other, one, other, end, unseen) == [
        ("too_long", "queue mail takes too long: an item has been running for 2m"),
        ("too_long", "queue mail takes too long: an item has been running for 3m"),
        ("too_long", "queue mail took too long: 5m"),
    ]
    quick = notice(Happened.RUNS, at=START + 2 * MINUTE - 1)
    assert told(longer, quick) == []


def test_success_that_comes_too_soon_is_told() -> None:
    short = notice(Happened.COMPLETED, at=START + 200)
    assert told(rule(shorter_ms=10_000), short, COMPLETED) == [
        ("too_short", "queue mail was done after 200ms, which is too short")
    ]


@given(st.lists(st.sampled_from(list(Happened))), st.integers(1, 4))
def test_whatever_happens_ends_well(happened: list[Happened], streak: int) -> None:
    watched = rule(streak=streak, late_ms=1, longer_ms=1)
    standing = WELL
    for number, one in enumerate(happened):
        late = notice(one, job=f"job_{number}", started_at=None if one is Happened.WAITS else START)
        standing, _ = judge(watched, "queue mail", standing, late)
    on_time = notice(Happened.COMPLETED, at=START, started_at=START)
    for number in range(len(happened)):
        done = notice(Happened.COMPLETED, job=f"job_{number}", at=START)
        standing, _ = judge(watched, "queue mail", standing, done)
    standing, _ = judge(watched, "queue mail", standing, on_time)
    assert standing == WELL


@pytest.mark.parametrize(
    ("members", "subject"),
    [
        ({}, "schedule nightly"),
        ({"queues": ("ma*",)}, "queue mail"),
        ({"queues": ("other",)}, None),
        ({"schedules": ("night*",)}, "schedule nightly"),
        ({"schedules": ("daily",)}, None),
        ({"scriptlets": ("b?ckup",)}, "scriptlet backup"),
        ({"queues": ("mail",), "scriptlets": ("backup",)}, "scriptlet backup"),
    ],
)
def test_patterns_say_what_is_watched(members: dict[str, Any], subject: str | None) -> None:
    watched = rule(**members)
    one = notice(Happened.FAILED, target="scriptlet:backup", schedule="sch_1")
    assert watched.subject(one, "nightly") == subject
    # The store asks without knowing keys: it may keep too much, never too little.
    assert Watch([watched]).wants("mail", "scriptlet:backup", "sch_1") or subject is None


def test_nothing_is_told_of_messages_themselves() -> None:
    watch = Watch([rule()])
    assert watch.wants("alerts", "https://example.com/", None)
    assert not watch.wants("alerts", "alert:ops", None)
    assert not Watch([]).wants("mail", "https://example.com/", None)


def line(number: int, **members: Any) -> Line:
    plain: dict[str, Any] = {
        "kind": Kind.FAILED,
        "subject": f"queue q{number}",
        "text": f"queue q{number} failed: <b>no</b> & @everyone",
        "at": START + number,
        "job": f"job_{number}",
        "queue": f"q{number}",
    }
    return Line(**plain | members)


def test_a_message_shows_the_newest_and_counts_the_rest() -> None:
    lines = [line(number, times=2) for number in range(25)]
    said = json.loads(message(rule(), lines, "vps"))
    assert said["title"] == "lq on vps: queue q24 failed and 49 more"
    assert [event["queue"] for event in said["events"]] == [f"q{n}" for n in range(24, 4, -1)]
    assert said["more"] == 10
    shown = said["text"].splitlines()
    assert len(shown) == 21
    assert shown[0].endswith("(2 times, the last one here) [job_24]")
    assert shown[-1] == "and 10 more"


def test_each_receiver_gets_its_own_form() -> None:
    payload = message(rule(), [line(1)], "vps")
    assert form_of(Preset.JSON, payload).body == payload
    slack = json.loads(form_of(Preset.SLACK, payload).body)["text"]
    assert slack.startswith("*lq on vps: queue q1 failed*\n")
    assert "&lt;b&gt;no&lt;/b&gt; &amp; @everyone" in slack
    discord = json.loads(form_of(Preset.DISCORD, payload).body)
    assert discord["allowed_mentions"] == {"parse": []}
    ntfy = form_of(Preset.NTFY, payload)
    assert ntfy.body == b"queue q1 failed: <b>no</b> & @everyone [job_1]"
    assert ntfy.headers["Priority"] == "high"
    recovered = message(rule(), [line(1, kind=Kind.RECOVERED)], "büro")
    ntfy = form_of(Preset.NTFY, recovered)
    assert (ntfy.headers["Priority"], ntfy.headers["Tags"]) == ("default", "white_check_mark")
    assert ntfy.headers["Title"].isascii()
    assert form_of(Preset.NTFY, trial(rule(), "vps")).headers["Priority"] == "default"


def test_forms_keep_to_their_receivers_limits() -> None:
    long = [line(n, text="ä" * 1000) for n in range(20)]
    payload = message(rule(), long, "vps")
    assert len(json.loads(form_of(Preset.DISCORD, payload).body)["content"]) == 2000
    ntfy = form_of(Preset.NTFY, payload).body
    assert 3900 < len(ntfy) <= 4000
    assert ntfy.decode().endswith("ä…")


def test_a_standing_that_is_well_is_nothing_to_store() -> None:
    assert Standing() == WELL
