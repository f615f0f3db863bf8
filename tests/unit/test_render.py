"""What people see: cleaned text, lines, details and tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lq import render
from lq.when import format_instant

NOW = 1_800_000_000_000
HOSTILE = "\x1b[31m\u202ered\r\n\x9b2J\x00"
CLEANED = r"\x1b[31m\u202ered\r\n\x9b2J\x00"


def item(**members: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "queue": "mail",
        "created": format_instant(NOW - 60_000),
        "target": {"url": "https://example.com/hook", "method": "POST"},
        "type": "HTTP",
        "state": "PENDING",
        "notBefore": format_instant(NOW + 300_000),
        "nextAttempt": format_instant(NOW + 300_000),
        "attempts": 0,
        "maxAttempts": 6,
    } | members


def finished(**members: Any) -> dict[str, Any]:
    done = {"state": "COMPLETED", "attempts": 1, "finished": format_instant(NOW - 90_000)}
    return item() | done | members


def queue(**members: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("pending", "retry", "running", "completed", "failed", "cancelled"), 0)
    return {"name": "mail", "created": format_instant(NOW), "paused": False} | counts | members


def column(table: render.Table, heading: str) -> list[str]:
    i = table.headings.index(heading)
    return [row[i] for row in table.rows]


# Text


def test_what_a_terminal_may_obey_becomes_visible() -> None:
    assert render.clean(HOSTILE) == CLEANED


def test_readable_text_stays_as_it_is() -> None:
    text = "größe 日本 👍 a\\b [red] 'x'"
    assert render.clean(text) == text


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    cleaned = render.clean(text)
    assert {unicodedata.category(character) for character in cleaned}.isdisjoint(
        {"Cc", "Cs", "Zl", "Zp"}
    )
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", cleaned)


# Lines


@pytest.mark.parametrize(
    ("outcome", "key", "beginning"),
    [
        ("created", None, "Pushed job_1 in mail, due "),
        ("created", "a\x1bb", r"Pushed job_1 in mail (key a\x1bb), due "),
        ("replaced", "k", "Replaced job_1 in mail (key k), due "),
        ("kept", "k", "Kept job_1 in mail (key k) as it was, due "),
    ],
)
def test_a_push_is_told_in_a_line(outcome: str, key: str | None, beginning: str) -> None:
    members = {"outcome": outcome} | ({"key": key} if key else {})
    line = render.pushed_line(item(**members), NOW)
    assert line.startswith(beginning)
    assert line.endswith("(in 5 minutes)")


def test_what_is_due_is_due_now() -> None:
    past = format_instant(NOW - 1)
    assert render.due(item(nextAttempt=past), NOW) == "due now"
    running = item(notBefore=past, state="RUNNING")
    del running["nextAttempt"]
    assert render.due(running, NOW) == "due now"


@pytest.mark.parametrize(
    ("attempt", "line"),
    [
        (
            {"n": 1, "outcome": "failed", "status": 500, "error": "status 500: \x1bno", "ms": 1200},
            r"Attempt 1 failed after 1s200ms: status 500: \x1bno",
        ),
        (
            {"n": 3, "outcome": "succeeded", "status": 204, "ms": 3},
            "Attempt 3 succeeded after 3ms: status 204",
        ),
    ],
)
def test_an_attempt_is_told_in_a_line(attempt: dict[str, Any], line: str) -> None:
    assert render.attempt_line(attempt) == line


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (finished(), "job_1 is COMPLETED after 1 attempt"),
        (
            finished(state="FAILED", attempts=6, error="timeout\n"),
            r"job_1 is FAILED after 6 attempts: timeout\n",
        ),
    ],
)
def test_a_state_is_told_in_a_line(shown: dict[str, Any], line: str) -> None:
    assert render.state_line(shown) == line


def test_older_secrets_are_named_by_their_end_and_shown_if_asked_for() -> None:
    old = {"secret": "lqs_old", "webhookSecret": "whsec_old", "until": format_instant(NOW + 60_000)}
    secrets = {"secret": "lqs_new", "webhookSecret": "whsec_new", "older": [old]}
    end = "is valid until 2027-01-15 08:01:00 UTC (in 1 minute)"
    assert render.secret_lines(secrets, None, NOW) == [f"An older one {end}"]
    assert render.secret_lines(secrets, "secret", NOW) == [f"lqs_old {end}"]
    assert render.secret_lines(secrets, "webhookSecret", NOW) == [f"whsec_old {end}"]
    assert render.secret_lines({"secret": "lqs_new"}, "secret", NOW) == []


# Details


def test_details_leave_out_what_is_not_there() -> None:
    labels = [label for label, _ in render.item_details(item(), NOW)]
    assert {"key", "error", "finished", "labels", "headers"}.isdisjoint(labels)
    assert {"id", "queue", "state", "target", "next try", "payload"} <= {*labels}


def test_the_item_of_a_schedule_tells_of_it() -> None:
    fired = item(schedule="sch_1", fireTime=format_instant(NOW - 300_000), missed=3)
    details = dict(render.item_details(fired, NOW))
    assert details["schedule"] == "sch_1"
    assert details["fire time"].endswith("(5 minutes ago)")
    assert details["catch-up"] == "for 3 missed times"
    assert dict(render.item_details(item(missed=1), NOW))["catch-up"] == "for 1 missed time"


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({}, "empty"),
        ({"payload": {"a": "ü"}, "payloadType": "application/json"}, "{'a': 'ü'}"),
        ({"payload": "x\x1b", "payloadType": "text/plain"}, r"x\x1b  [text/plain]"),
        ({"payload": "AA==", "payloadEncoding": "base64"}, "AA==  [base64]"),
        ({"payload": "x" * 300}, "x" * 200 + "… (300 characters)"),
        ({"payload": None, "payloadType": "application/json"}, "null  [application/json]"),
    ],
)
def test_a_payload_is_shown_as_what_it_is(members: dict[str, Any], shown: str) -> None:
    details = dict(render.item_details(item(**members), NOW))
    assert details["payload"] == shown.replace("{'a': 'ü'}", '{"a": "ü"}  [application/json]')


def test_details_are_aligned() -> None:
    text = render.details_text([("a", "1"), ("long", "2")])
    assert text == "a     1\nlong  2"


def test_a_queue_tells_its_pause_and_settings() -> None:
    shown = queue(
        paused=True,
        pausedUntil=format_instant(NOW + 7_200_000),
        retryPolicy="10s,1m",
        headers={"x-a": "b\x1b"},
        pending=2,
    )
    details = dict(render.queue_details(shown, NOW))
    assert details["state"] == "paused, 2h left"
    assert details["items"].startswith("2 pending, 0 retry")
    assert details["retry"] == "10s,1m"
    assert details["headers"] == r"x-a: b\x1b"


# Tables


def test_each_listing_has_its_rows() -> None:
    items = render.items_table([item(key="k", error="status 500"), item(id="job_2")], NOW)
    assert column(items, "ID") == ["job_1", "job_2"]
    assert column(items, "KEY") == ["k", ""]
    assert column(items, "DUE") == ["in 5m", "in 5m"]
    assert column(items, "TRIES") == ["0/6", "0/6"]
    assert column(items, "ERROR") == ["status 500", ""]
    rows = [finished(lastStatus=200), finished(error="timeout"), finished(state="CANCELLED")]
    history = render.history_table(rows, NOW)
    assert column(history, "RESULT") == ["status 200", "timeout", ""]
    assert column(history, "FINISHED") == ["1m30s ago"] * 3
    queues = render.queues_table([queue(), queue(paused=True, failed=3)], NOW)
    assert column(queues, "STATE") == ["active", "paused"]
    assert column(queues, "FAILED") == ["0", "3"]


def test_attempts_show_what_came_of_them() -> None:
    started = format_instant(NOW - 1500)
    done = {"n": 1, "started": started, "ms": 20, "outcome": "succeeded", "status": 200}
    table = render.attempts_table(
        [
            done | {"responseBody": "o\x1bk"},
            {"n": 2, "started": started},
        ],
        NOW,
    )
    assert column(table, "ANSWER") == [r"o\x1bk", ""]
    assert column(table, "TOOK") == ["20ms", ""]
    assert column(table, "OUTCOME") == ["succeeded", "RUNNING"]


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({}, "live"),
        ({"expires": format_instant(NOW + 1)}, "live"),
        ({"expires": format_instant(NOW)}, "expired"),
        ({"expires": format_instant(NOW), "revoked": format_instant(NOW)}, "revoked"),
    ],
)
def test_a_token_is_live_until_it_expires_or_is_revoked(
    members: dict[str, Any], state: str
) -> None:
    token = {"name": "ci", "scopes": ["push"], "created": format_instant(NOW)} | members
    table = render.tokens_table([token], NOW)
    assert column(table, "STATE") == [state]
    assert column(table, "QUEUES") == ["all"]
    assert column(table, "LAST USED") == ["never"]


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "now"),
        (999, "now"),
        (1_000, "in 1s"),
        (-59_999, "1m ago"),
        (599_000, "in 9m59s"),
        (3_599_000, "in 1h"),
        (-86_399_000, "1d ago"),
        (9 * 86_400_000 + 3_600_000, "in 9d1h"),
        (90 * 86_400_000 - 1, "in 90d"),
    ],
)
def test_columns_tell_times_in_two_units(ms: int, shown: str) -> None:
    table = render.items_table([item(nextAttempt=format_instant(NOW + ms))], NOW)
    assert column(table, "DUE") == [shown]


def test_a_table_as_text_is_aligned_and_whole() -> None:
    table = render.Table(("A", "LONGER", "C"), [("1", "", "x" * 300), ("22", "b", "")])
    assert render.table_text(table) == f"A   LONGER  C\n1           {'x' * 300}\n22  b"


def test_a_folded_table_has_its_last_column_below_each_row() -> None:
    table = render.Table(("A", "B", "C"), [("1", "", "x" * 300), ("22", "b", "")], folded=True)
    assert render.table_text(table) == f"A   B\n1\n  {'x' * 300}\n22  b"
    assert render.table_text(render.Table(("A", "B"), [], folded=True)) == "A"


def on_a_terminal(table: render.Table, width: int) -> Sequence[str]:
    terminal = StringIO()
    Console(file=terminal, width=width).print(render.table_rich(table, width))
    return [line.rstrip() for line in terminal.getvalue().splitlines()]


def test_a_terminal_gets_no_empty_columns_and_the_last_one_cut_or_below() -> None:
    rows = [("job_1", "", "[red]" + "e" * 100), ("job_22", "", "")]
    table = render.Table(("ID", "KEY", "ERROR"), rows)
    assert on_a_terminal(table, 40) == [
        "ID      ERROR",
        f"job_1   [red]{'e' * 26}…",
        "job_22",
    ]
    assert on_a_terminal(table, 30) == ["ID", "job_1", f"  [red]{'e' * 22}…", "job_22"]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (100, f"日本  RUNNING  {'q' * 30}  1/6    gone"),
        (60, f"日本  RUNNING  {'q' * 30}  1/6    gone"),
        (59, f"日本  RUNNING  {'q' * 30}  1/6"),
        (51, f"日本  RUNNING  {'q' * 28}…  1/6"),
        (34, "日本  RUNNING  qqqqqqqqqqq…  1/6"),
        (33, "日本  RUNNING  1/6"),
        (19, "日本  RUNNING"),
        (12, "日本"),
    ],
)
def test_a_narrow_terminal_gets_the_columns_that_fit(width: int, row: str) -> None:
    cells = ("日本", "RUNNING", "q" * 30, "1/6", "gone")
    table = render.Table(("ID", "STATE", "QUEUE", "TRIES", "RESULT"), [cells])
    _, first, *below = on_a_terminal(table, width)
    assert first == row
    assert below == ([] if row.endswith("gone") else ["  gone"])


def test_what_holds_an_item_is_whole_on_a_terminal_of_eighty_columns() -> None:
    held = "endpoint not validated: HEAD answered 501, not 2xx"
    job = item(id="job_01a20034fdfb938ca66936a1e5d88e4b", key="k" * 40, error=held)
    lines = on_a_terminal(render.items_table([job], NOW), 80)
    assert lines[0].split() == ["ID", "STATE", "QUEUE", "KEY", "DUE", "TRIES"]
    assert f"  {'k' * 11}…  in 5m  0/6" in lines[1]
    assert lines[2] == f"  {held}"


def test_a_state_has_its_colour() -> None:
    terminal = StringIO()
    table = render.history_table([finished(state="FAILED")], NOW)
    console = Console(file=terminal, width=200, force_terminal=True, color_system="standard")
    console.print(render.table_rich(table, 200))
    assert "\x1b[31mFAILED" in terminal.getvalue()
