"""What people see of schedules: lines, details, and tables of schedules, runs and changes."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lq import firing, render
from lq import render_schedules as shown
from lq.model import Misfire, Push, ScheduleSpec
from lq.when import format_instant, parse_rfc3339

NOW = parse_rfc3339("2027-03-26T12:00:00Z")
HOUR, DAY = 3_600_000, 86_400_000
NEXT = parse_rfc3339("2027-03-27T01:30:00Z")
HOSTILE = "\x1b[31m\u202e\r\n"
CLEANED = r"\x1b[31m\u202e\r\n"


def schedule(**members: Any) -> dict[str, Any]:
    return {
        "id": "sch_1",
        "key": "nightly",
        "created": format_instant(NOW - DAY),
        "paused": False,
        "schedule": "30 2 * * *",
        "explanation": "at 02:30 every day",
        "timezone": "Europe/Berlin",
        "nextRun": format_instant(NEXT),
        "queue": "ops",
        "target": {"url": "https://example.com/hook", "method": "POST"},
        "type": "HTTP",
        "misfire": "once",
        "overlap": "allow",
        "fired": 0,
        "origin": "api",
    } | members


def without(name: str, **members: Any) -> dict[str, Any]:
    made = schedule(**members)
    del made[name]
    return made


def row(entry: dict[str, Any]) -> dict[str, str]:
    table = shown.schedules_table([entry], NOW)
    return dict(zip(table.headings, table.rows[0], strict=True))


def on_a_terminal(table: render.Table, width: int, **how: Any) -> str:
    terminal = StringIO()
    Console(file=terminal, width=width, **how).print(render.table_rich(table, width))
    return terminal.getvalue()


# Lines


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (
            {"outcome": "created"},
            "Created sch_1 in ops (key nightly): at 02:30 every day, Europe/Berlin",
        ),
        (
            {"outcome": "kept"},
            "Unchanged: sch_1 in ops (key nightly): at 02:30 every day, Europe/Berlin",
        ),
        ({}, "Changed sch_1 in ops (key nightly): at 02:30 every day, Europe/Berlin"),
        (
            {"schedule": "E=90s", "explanation": "every 90 seconds", "queue": HOSTILE},
            f"Changed sch_1 in {CLEANED} (key nightly): every 90 seconds",
        ),
    ],
)
def test_what_became_of_a_schedule_is_told_in_a_line(members: dict[str, Any], line: str) -> None:
    assert shown.saved_line(schedule(**members)) == line


def test_a_rule_that_is_refused_by_now_stands_for_itself() -> None:
    assert shown.in_words(without("explanation")) == "30 2 * * *, Europe/Berlin"
    assert row(without("explanation"))["RULE"] == "30 2 * * *, Europe/Berlin"


def test_the_next_times_are_lines_in_the_zone_of_the_schedule() -> None:
    assert shown.next_lines([NEXT, NEXT + DAY], "Europe/Berlin", NOW) == [
        "next  Sat 2027-03-27 02:30 CET, in 13h30m",
        "      Sun 2027-03-28 03:30 CEST, in 1d14h",
    ]
    assert shown.next_lines([], "UTC", NOW) == ["next  never"]


@pytest.mark.parametrize(
    ("at", "zone", "wall"),
    [
        ("2027-03-27T01:30:00Z", "Europe/Berlin", "2027-03-27 02:30 CET"),
        ("2027-03-27T01:30:07.5Z", "Asia/Kathmandu", "2027-03-27 07:15:07 +0545"),
        ("1970-01-01T00:00:00Z", "UTC", "1970-01-01 00:00 UTC"),
        ("9999-12-31T23:59:59.999Z", "Pacific/Kiritimati", "9999-01-01 13:59:59 +14"),
        ("2027-03-27T01:30:00Z", "Mars/Olympus", "2027-03-27 01:30 UTC"),
    ],
)
def test_a_time_is_shown_as_the_clocks_of_its_zone_show_it(at: str, zone: str, wall: str) -> None:
    assert shown.wall(parse_rfc3339(at), zone) == wall


def test_a_resumed_schedule_says_when_it_goes_on() -> None:
    assert shown.resumed_line(schedule(), NOW) == (
        "Resumed sch_1 in ops (key nightly), next run: 2027-03-27 02:30 CET, in 13h30m"
    )
    ended = shown.resumed_line(without("nextRun"), NOW)
    assert ended == "Resumed sch_1 in ops (key nightly), but it has ended and does not run any more"


# The listing


def test_a_schedule_is_listed_with_its_next_run_and_its_rule() -> None:
    assert row(schedule()) == {
        "SCHEDULE": "nightly",
        "LAST RUN": "never",
        "NEXT RUN": "2027-03-27 02:30 CET",
        "DUE": "in 13h30m",
        "RULE": "at 02:30 every day, Europe/Berlin",
    }
    assert row(without("key"))["SCHEDULE"] == "sch_1"


@pytest.mark.parametrize(
    ("entry", "next_run", "due"),
    [
        (without("nextRun", paused=True), "paused", ""),
        (without("nextRun"), "ended", ""),
        (schedule(nextRun=format_instant(NOW - HOUR), overdue=True), "overdue, 1h", ""),
        (schedule(nextRun=format_instant(NOW - 5_000)), "2027-03-26 12:59 CET", "now"),
    ],
)
def test_what_does_not_just_wait_says_so(entry: dict[str, Any], next_run: str, due: str) -> None:
    listed = row(entry)
    assert (listed["NEXT RUN"], listed["DUE"]) == (next_run, due)


@pytest.mark.parametrize(
    ("last", "outcome", "told"),
    [
        ({"state": "COMPLETED"}, "ok, 2h ago", ""),
        ({"state": "FAILED", "error": HOSTILE}, "failed, 2h ago", f"; failed: {CLEANED}"),
        ({"state": "RUNNING"}, "running", ""),
        ({"state": "PENDING"}, "waiting", ""),
        ({"state": "RETRY", "error": "status 500"}, "retrying", "; retrying: status 500"),
        ({"state": "CANCELLED", "error": "cancelled"}, "cancelled, 2h ago", ""),
        (
            {"state": "CANCELLED", "error": "overlap: item job_0 of this schedule is unfinished"},
            "skipped, 2h ago",
            "; skipped: overlap: item job_0 of this schedule is unfinished",
        ),
        ({}, "2h ago", ""),
    ],
)
def test_the_last_run_is_listed_with_what_became_of_it(
    last: dict[str, Any], outcome: str, told: str
) -> None:
    ended = {"finished": format_instant(NOW - 2 * HOUR)} if "ago" in outcome else {}
    entry = schedule(lastItem={"id": "job_1"} | last | ended, lastRun=format_instant(NOW - DAY))
    assert row(entry)["LAST RUN"] == outcome
    assert row(entry)["RULE"] == f"at 02:30 every day, Europe/Berlin{told}"


def test_a_last_run_whose_item_is_forgotten_is_still_listed() -> None:
    assert row(schedule(lastRun=format_instant(NOW - DAY)))["LAST RUN"] == "1d ago"
    kept = schedule(lastRun=format_instant(NOW - DAY), lastItem={"id": "job_1"})
    assert row(kept)["LAST RUN"] == "1d ago"


def test_why_lq_paused_a_schedule_is_listed() -> None:
    entry = without("nextRun", paused=True, reason=f"no zone {HOSTILE}")
    assert row(entry)["RULE"].endswith(f"; paused: no zone {CLEANED}")


def test_a_listing_of_keys_fits_eighty_columns_with_and_without_a_terminal() -> None:
    failed = {"id": "job_1", "state": "FAILED", "finished": format_instant(NOW - 3 * DAY)}
    entries = [
        schedule(key="a-rather-long-key", lastItem=failed),
        without("nextRun", paused=True, lastItem=failed),
    ]
    table = shown.schedules_table(entries, NOW)
    lines = [
        "SCHEDULE           LAST RUN        NEXT RUN              DUE",
        "a-rather-long-key  failed, 3d ago  2027-03-27 02:30 CET  in 13h30m",
        "  at 02:30 every day, Europe/Berlin",
        "nightly            failed, 3d ago  paused",
        "  at 02:30 every day, Europe/Berlin",
    ]
    assert render.table_text(table).splitlines() == lines
    assert [line.rstrip() for line in on_a_terminal(table, 80).splitlines()] == lines


@pytest.mark.parametrize(
    "name", [{"key": "k" * 60}, {"key": "größe-日本" * 8}, {"key": None, "id": f"sch_{'0' * 32}"}]
)
@pytest.mark.parametrize("width", [50, 60, 80])
def test_long_names_give_way_to_the_next_run(name: dict[str, Any], width: int) -> None:
    cancelled = {"id": "j", "state": "CANCELLED", "finished": format_instant(NOW - 19 * HOUR)}
    entry = schedule(lastItem=cancelled) | name
    table = shown.schedules_table([entry], NOW)
    heading, line, _ = [text.rstrip() for text in on_a_terminal(table, width).splitlines()]
    assert heading.endswith("  NEXT RUN              DUE")
    assert line.endswith("  2027-03-27 02:30 CET  in 13h30m")
    assert ("LAST RUN" in heading) == (width >= 80)
    assert cell_len(line) == width  # the name has all that is left
    assert line.startswith(shown.short_name(entry)[:5])
    assert "…" in line
    whole = render.table_text(table)
    assert shown.short_name(entry) in whole
    assert "cancelled, 19h ago" in whole


def test_a_wide_terminal_has_it_all_on_one_line() -> None:
    table = shown.schedules_table([schedule()], NOW)
    heading, line = on_a_terminal(table, 160).splitlines()
    assert heading.split() == ["SCHEDULE", "LAST", "RUN", "NEXT", "RUN", "DUE", "RULE"]
    assert line.endswith("in 13h30m  at 02:30 every day, Europe/Berlin")


def test_the_id_of_a_schedule_without_a_key_leaves_room_for_its_last_run() -> None:
    last = {"id": "job_1", "state": "FAILED", "finished": format_instant(NOW - 3 * DAY)}
    entry = without("key", id=f"sch_{'0' * 32}", lastItem=last)
    seen = on_a_terminal(shown.schedules_table([entry], NOW), 80)
    assert "failed, 3d ago  2027-03-27 02:30 CET" in seen


@pytest.mark.parametrize(
    ("entry", "coloured"),
    [
        (schedule(lastItem={"id": "j", "state": "FAILED"}, lastRun=format_instant(NOW)), "31mfail"),
        (schedule(overdue=True, nextRun=format_instant(NOW - HOUR)), "31moverdue"),
        (without("nextRun", paused=True), "33mpaused"),
        (schedule(lastItem={"id": "j", "state": "COMPLETED"}), "32mok"),
    ],
)
def test_what_matters_has_its_colour(entry: dict[str, Any], coloured: str) -> None:
    table = shown.schedules_table([entry], NOW)
    text = on_a_terminal(table, 160, force_terminal=True, color_system="standard")
    assert f"\x1b[{coloured}" in text


# Details


def details(entry: dict[str, Any]) -> dict[str, str]:
    return dict(shown.schedule_details(entry, NOW))


def test_details_tell_all_there_is() -> None:
    told = details(
        schedule(
            times=5,
            fired=2,
            jitter="5m",
            until=format_instant(NOW + DAY),
            start="9999-12-31T23:59:59.999Z",
            validate="none",
            lastRun=format_instant(NOW - DAY),
            lastItem={"id": "job_1", "state": "FAILED", "error": HOSTILE},
            headers={"x-a": "b"},
            payload={"a": 1},
            payloadType="application/json",
            origin="file",
        )
    )
    assert told["next run"] == "2027-03-27 02:30:00 CET (in 13 hours 30 minutes)"
    assert told["last run"] == "2027-03-25 13:00:00 CET (1 day ago)"
    assert told["last item"] == f"job_1 failed: {CLEANED}"
    assert told["fired"] == "2 of 5"
    assert told["start"].startswith("9999-01-01 00:59:59 CET (in ")
    assert told["validate"] == "none"
    assert told["until"].startswith("2027-03-27 13:00:00 CET")
    assert told["target"] == "POST https://example.com/hook"
    assert told["payload"] == '{"a": 1}  [application/json]'
    assert told["made by"] == "lq.toml"


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (schedule(), "active"),
        (without("nextRun"), "ended"),
        (without("nextRun", paused=True), "paused"),
        (without("nextRun", paused=True, reason="no such zone"), "paused: no such zone"),
        (schedule(nextRun=format_instant(NOW - HOUR), overdue=True), "overdue, 1h"),
    ],
)
def test_details_tell_the_state(entry: dict[str, Any], state: str) -> None:
    assert details(entry)["state"] == state


def test_details_leave_out_what_is_not_there() -> None:
    told = details(without("target"))
    assert {"target", "jitter", "until", "last run", "last item", "labels"}.isdisjoint(told)
    assert (told["fired"], told["payload"]) == ("0", "empty")


# Runs and changes


def test_times_are_told_in_their_zone_and_in_utc() -> None:
    runs = [shown.Run(NEXT, "Europe/Berlin"), shown.Run(NEXT + DAY, "Europe/Berlin", note="a note")]
    assert render.table_text(shown.times_table(runs, NOW)).splitlines() == [
        "RUN                        UTC                   DUE",
        "Sat 2027-03-27 02:30 CET   2027-03-27T01:30:00Z  in 13h30m",
        "Sun 2027-03-28 03:30 CEST  2027-03-28T01:30:00Z  in 1d14h",
        "  a note",
    ]
    assert shown.times_table([shown.Run(NEXT, "UTC")], NOW).headings == ("RUN", "DUE", "NOTE")


def foretold(downs: list[tuple[int, int]], **members: Any) -> list[str]:
    spec = ScheduleSpec(
        rule="30 2 * * *", push=Push(queue="q", payload=b""), zone="Europe/Berlin", **members
    )
    runs = firing.simulate(
        spec, schedule_id="sch_1", anchor_at=0, seen_at=NOW, until=NOW + 3 * DAY, downs=downs
    )
    table = shown.runs_table([shown.foretold("n", spec.zone, run) for run in runs])
    assert {name for _, name, _ in table.rows} == {"n"}
    return [f"{run[4:16]}: {note}" for run, _, note in table.rows]


def test_a_foretold_run_says_what_the_clocks_do_to_it() -> None:
    skipped = "02:30 is skipped by the clocks on this day; runs at 03:00"
    assert foretold([]) == ["2027-03-27 0: ", f"2027-03-28 0: {skipped}", "2027-03-29 0: "]


def test_a_foretold_run_says_what_it_makes_up_for() -> None:
    down = [(NOW, NOW + 2 * DAY)]
    once, _ = foretold(down)
    assert once.startswith("2027-03-28 1: catch-up for 2 runs, the last Sun 2027-03-28 03:00 CEST;")
    first, second, _ = foretold(down, misfire=Misfire.ALL)
    assert first == "2027-03-28 1: catch-up for Sat 2027-03-27 02:30 CET"
    assert second.startswith("2027-03-28 1: catch-up for Sun 2027-03-28 03:00 CEST; 02:30 is")
    assert foretold(down, misfire=Misfire.SKIP)[0] == (
        "2027-03-28 1: misfire: 2 times were missed, and this schedule skips those"
    )


def test_a_foretold_run_says_its_jitter() -> None:
    first = foretold([], jitter_ms=HOUR)[0]
    assert first.startswith("2027-03-27 0: jitter ")


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"change": "unchanged", "nextBefore": NEXT, "nextAfter": NEXT}, "{0}"),
        ({"change": "created", "nextAfter": NEXT}, "{0}"),
        ({"change": "created"}, ""),
        ({"change": "removed", "nextBefore": NEXT}, "{0} -> none"),
        ({"change": "updated", "nextBefore": NEXT, "nextAfter": NEXT + HOUR}, "{0} -> {1}"),
        ({"change": "updated", "nextAfter": NEXT}, "none -> {0}"),
    ],
)
def test_a_change_tells_how_the_next_run_moves(change: dict[str, Any], moved: str) -> None:
    encoded = {n: format_instant(v) if isinstance(v, int) else v for n, v in change.items()}
    table = shown.changes_table([{"key": "k"} | encoded])
    here = [shown.moment_here(format_instant(at)) for at in (NEXT, NEXT + HOUR)]
    assert table.rows[0] == ("k", change["change"], moved.format(*here), "")


def test_changes_are_summed_up() -> None:
    kinds = ["unchanged", "created", "conflict", "unchanged", "conflict"]
    changes = [{"key": "k", "change": kind} for kind in kinds]
    assert [*shown.summary(changes)] == ["1 created", "2 unchanged", "2 conflicts"]
