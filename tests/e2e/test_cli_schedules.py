"""`lq schedules` and `lq apply`: making, changing, running and foretelling schedules."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .conftest import Start, basics
from .endpoint import FAILED, Endpoint
from .process import Daemon, Ended, environment, run_lq, wait_until
from .shell import typed

BERLIN = "Europe/Berlin"
NIGHTLY = ("add", "30 2 * * *", "--tz", BERLIN, "--queue", "ops", "--key", "nightly")
WEEKLY = """
[[schedules]]
key = "weekly"
schedule = "0 9 * * mon"
queue = "ops"
timezone = "Europe/Berlin"
target = "https://example.com/hook"
"""


def schedules(lq: Daemon, *arguments: str) -> Ended:
    return lq.cli("schedules", *arguments)


def answer(done: Ended) -> Any:
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def nightly(lq: Daemon, endpoint: Endpoint, *options: str) -> str:
    """The id of the schedule that most tests are about."""
    done = schedules(lq, *NIGHTLY, "--target", endpoint.url(), *options)
    assert done.code == 0, done.stderr
    return done.stdout.strip()


def alone(folder: Path, *arguments: str) -> Ended:
    return run_lq("schedules", *arguments, cwd=folder, environ=environment(folder, TZ="UTC"))


# Making


def test_a_schedule_is_made_with_all_that_it_can_say(lq: Daemon, endpoint: Endpoint) -> None:
    done = nightly(
        lq,
        endpoint,
        *("--data", '{"a":1}', "--header", "x-a: b", "--method", "put", "--retry", "10s,1m"),
        *("--timeout", "5s", "--expires", "1h", "--label", "red", "--label", "blue"),
        *("--times", "3", "--start", "2034-03-01 00:00", "--until", "2034-04-01 00:00"),
        *("--jitter", "5m", "--misfire", "all", "--overlap", "skip", "--no-validate"),
    )
    made = lq.client.schedule("nightly")
    assert made["id"] == done
    told = {
        "schedule": "30 2 * * *",
        "timezone": BERLIN,
        "queue": "ops",
        "target": {"url": endpoint.url(), "method": "PUT"},
        "payload": {"a": 1},
        "payloadType": "application/json",
        "headers": {"x-a": "b"},
        "retry": "10s,1m",
        "timeout": "5s",
        "expires": "1h",
        "labels": ["red", "blue"],
        "times": 3,
        "start": "2034-02-28T23:00:00.000Z",  # midnight in its own zone
        "until": "2034-03-31T22:00:00.000Z",
        "jitter": "5m",
        "misfire": "all",
        "overlap": "skip",
    }
    assert {name: made.get(name) for name in told} == told


def test_an_add_says_what_was_made_and_what_may_surprise(lq: Daemon, endpoint: Endpoint) -> None:
    target = ("--target", endpoint.url())
    until = ("--start", "2034-03-24 00:00", "--until", "2034-03-26 12:00")
    seen = typed(lq, "schedules", *NIGHTLY, *target, *until, width=200)
    said, first, second, third, *warnings = seen.lines
    made = lq.client.schedule("nightly")["id"]
    assert seen.code == 0
    assert said == f"Created {made} in ops (key nightly): at 02:30 every day, Europe/Berlin"
    assert first.startswith("next  Fri 2034-03-24 02:30 CET, in ")
    assert second.startswith("      Sat 2034-03-25 02:30 CET, in ")
    assert third.startswith("      Sun 2034-03-26 03:00 CEST, in ")
    assert warnings[0].startswith("warning: ")
    again = typed(lq, "schedules", *NIGHTLY, *target, *until, width=200)
    assert again.lines[0].startswith(f"Unchanged: {made} ")
    assert len(again.lines) == 4
    changed = typed(lq, "schedules", *NIGHTLY, *target, width=200)
    assert changed.lines[0].startswith(f"Changed {made} ")


def test_a_script_gets_the_id_and_the_warnings_apart(lq: Daemon, endpoint: Endpoint) -> None:
    done = schedules(lq, *NIGHTLY, "--target", endpoint.url())
    assert done.stdout == f"{lq.client.schedule('nightly')['id']}\n"
    assert done.stderr.startswith("warning: ")
    again = schedules(lq, *NIGHTLY, "--target", endpoint.url(), "--json")
    assert (answer(again)["outcome"], again.stderr) == ("kept", "")


def test_an_interval_is_typed_as_people_say_it(lq: Daemon, endpoint: Endpoint) -> None:
    every = ("--queue", "ops", "--target", endpoint.url(), "--json")
    assert answer(schedules(lq, "add", "every 90s", *every))["schedule"] == "E=1m30s"
    assert answer(schedules(lq, "add", "every", "2", "hours", *every))["schedule"] == "E=2h"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("@daily",), "'--queue'"),
        (("0 24 * * *", "--queue", "q"), "hour"),
        (("30", "2", "*", "*", "*", "--queue", "q"), "put the expression in quotes"),
        (("@daily", "--queue", "q", "--tz", "Mars/Olympus"), "--tz"),
        (("@daily", "--queue", "q", "--until", "whenever"), "--until"),
        (("@daily", "--queue", "q", "--jitter", "much"), "--jitter"),
        (("@daily", "--queue", "q", "--misfire", "twice"), "--misfire"),
        (("@daily", "--queue", "q", "--method", "SEND"), "--method"),
        (("@daily", "--queue", "q", "--until", "1960-01-01 00:00"), "--until"),
        (("@daily", "--queue", "q", "--data", "@none.json"), "none.json"),
        (("@daily", "--queue", "q", "--header", "x"), "--header"),
    ],
)
def test_what_cannot_be_made_is_refused_before_a_daemon_is_asked(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = alone(tmp_path, "add", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--times", "0"), "times: expected 1 to"),
        (("--until", "2020-01-01 00:00"), "until: "),
        (("--key", ""), "key: must not be empty"),
        (("--key", f"sch_{'0' * 32}"), "key: must not have the form of a schedule's id"),
        (("--label", ""), "label: expected words"),
        (("--jitter", ""), "jitter: expected a number with its unit"),
        (("--method", ""), 'method: expected "GET"'),
    ],
)
def test_what_the_daemon_refuses_is_told(
    lq: Daemon, endpoint: Endpoint, options: tuple[str, ...], said: str
) -> None:
    target = ("--queue", "q", "--target", endpoint.url())
    done = schedules(lq, "add", "@daily", *target, *options)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr


# Looking


def test_schedules_are_listed_for_scripts_in_three_ways(lq: Daemon, endpoint: Endpoint) -> None:
    assert (schedules(lq, "ls", "-q").stdout, answer(schedules(lq, "ls", "--json"))) == ("", [])
    made = nightly(lq, endpoint)
    assert schedules(lq, "ls", "-q").stdout.split() == [made]
    assert [one["id"] for one in answer(schedules(lq, "ls", "--json"))] == [made]
    heading, line, rule = schedules(lq, "ls").stdout.splitlines()
    assert heading.split() == ["SCHEDULE", "LAST", "RUN", "NEXT", "RUN", "DUE"]
    assert line.split()[:2] == ["nightly", "never"]
    assert " 02:30 CE" in line
    assert rule == "  at 02:30 every day, Europe/Berlin"
    assert schedules(lq, "ls", "-q", "--queue", "other").stdout == ""


def test_the_outcome_of_the_last_run_is_listed(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/", lambda _: FAILED)
    nightly(lq, endpoint, "--retry", "0")
    assert schedules(lq, "run", "nightly", "--wait").code == 1
    _, line, rule = typed(lq, "schedules", "ls", width=80).lines
    assert line.startswith("nightly   failed, ")
    assert "; failed: status 500" in rule


def test_a_schedule_is_shown_by_key_and_by_id(lq: Daemon, endpoint: Endpoint) -> None:
    made = nightly(lq, endpoint, "--data", "x", "--times", "3")
    by_key = schedules(lq, "show", "nightly").stdout
    shown = dict(line.split("  ", 1) for line in by_key.splitlines())
    assert shown["fired"].strip() == "0 of 3"
    assert f"id        {made}\n" in by_key
    assert "payload   x  [text/plain; charset=utf-8]" in by_key
    assert "in words  at 02:30 every day\n" in by_key
    assert answer(schedules(lq, "show", made, "--json"))["payload"] == "x"


def test_a_schedule_for_ever_is_shown_in_its_zone(lq: Daemon, endpoint: Endpoint) -> None:
    made = lq.client.create_schedule(
        "@daily",
        "q",
        target=endpoint.url(),
        tz="Asia/Tokyo",
        until="9999-12-31T23:59:59.999Z",
        validate=False,
    )
    assert made["until"] == "9998-12-31T23:59:59.999Z"
    shown = schedules(lq, "show", made["id"]).stdout
    assert "until     9999-01-01 08:59:59 JST (in " in shown
    assert "validate  none\n" in shown


def test_the_next_runs_are_shown_with_what_the_clocks_do(lq: Daemon, endpoint: Endpoint) -> None:
    nightly(lq, endpoint)
    after = ("--from", "2027-03-27 12:00", "-n", "2")
    heading, first, note, second = schedules(lq, "next", "nightly", *after).stdout.splitlines()
    assert heading.split() == ["RUN", "UTC", "DUE"]
    assert first.startswith("Sun 2027-03-28 03:00 CEST  2027-03-28T01:00:00Z  ")
    assert note.startswith("  02:30 is skipped")
    assert second.startswith("Mon 2027-03-29 02:30 CEST  2027-03-29T00:30:00Z  ")
    assert answer(schedules(lq, "next", "nightly", *after, "--json")) == {
        "times": ["2027-03-28T01:00:00.000Z", "2027-03-29T00:30:00.000Z"]
    }


# Changing


def test_an_edit_changes_what_it_names_alone(lq: Daemon, endpoint: Endpoint) -> None:
    made = nightly(lq, endpoint, "--data", "x", "--until", "2034-01-01 00:00")
    rule = ("--schedule", "every 5m", "--queue", "other", "--start", "2027-01-01 00:00")
    done = schedules(lq, "edit", "nightly", *rule, "--label", "red")
    assert (done.code, done.stdout) == (0, f"{made}\n")
    now = lq.client.schedule(made)
    assert (now["schedule"], now["queue"], now["payload"]) == ("E=5m", "other", "x")
    assert now["start"] == "2026-12-31T23:00:00.000Z"
    assert now["until"] == "2033-12-31T23:00:00.000Z"
    assert now["labels"] == ["red"]


def test_an_edit_takes_options_away(lq: Daemon, endpoint: Endpoint) -> None:
    given = {
        "--retry": "3",
        "--expires": "1h",
        "--label": "red",
        "--header": "x-a: b",
        "--start": "2027-01-01 00:00",
        "--until": "2034-01-01 00:00",
        "--times": "9",
        "--jitter": "5m",
        "--timeout": "5s",
        "--method": "put",
    }
    names = {"retry", "expires", "labels", "headers", "start", "until", "times", "jitter"}
    names.add("timeout")
    made = nightly(lq, endpoint, *(part for option in given.items() for part in option))
    assert names <= lq.client.schedule(made).keys()
    done = schedules(lq, "edit", made, *(part for option in given for part in (option, "")))
    assert done.code == 0, done.stderr
    assert lq.client.schedule(made).keys().isdisjoint(names)
    assert lq.client.schedule(made)["target"]["method"] == "POST"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say what to change"),
        (("--data", ""), "--data"),
        (("--data", "@/dev/null"), "cannot empty the payload; `lq schedules add`"),
        (("--data", "-"), "cannot empty the payload"),
        (("--content-type", "text/plain"), "--content-type: is that of the payload"),
        (("--schedule", "0 99 * * *"), "hour"),
        (("--schedule", ""), "the expression is empty"),
        (("--key", "other"), "--key"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = alone(tmp_path, "edit", "nightly", *options)
    assert (done.code, said in done.stderr) == (2, True)


def test_schedules_rest_and_go_on(lq: Daemon, endpoint: Endpoint) -> None:
    made = nightly(lq, endpoint)
    other = schedules(lq, *NIGHTLY[:-1], "other", "--target", endpoint.url()).stdout.strip()
    done = schedules(lq, "pause", "nightly", "none", other)
    assert (done.code, done.stdout.split()) == (3, [made, other])
    assert "'none'" in done.stderr
    assert schedules(lq, "ls").stdout.count("  paused") == 2
    seen = typed(lq, "schedules", "resume", "nightly", width=200)
    assert seen.text.startswith(f"Resumed {made} in ops (key nightly), next run: ")
    assert not lq.client.schedule(made)["paused"]


def test_schedules_are_removed_and_their_items_stay(lq: Daemon, endpoint: Endpoint) -> None:
    made = nightly(lq, endpoint)
    item = schedules(lq, "run", "nightly").stdout.strip()
    seen = typed(lq, "schedules", "rm", "nightly")
    assert seen.text == f"Removed {made} in ops (key nightly)\n"
    assert schedules(lq, "ls", "-q").stdout == ""
    wait_until(lambda: lq.client.item(item)["state"] == "COMPLETED")
    assert lq.cli("history", "-q", "--schedule", made).stdout.split() == [item]


def test_what_is_not_there_is_not_found(lq: Daemon) -> None:
    for verb in ("show", "rm", "pause", "resume", "run", "next", "simulate"):
        for ref in ("none", f"sch_{'0' * 32}", "a/b?c#d ü"):
            done = schedules(lq, verb, ref)
            assert (done.code, done.stdout) == (3, ""), verb
            assert done.stderr.endswith("hint: `lq schedules ls` shows which there are.\n")
    assert schedules(lq, "edit", "none", "--times", "1").code == 3
    assert lq.cli("history", "--schedule", "none").code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls",),
        ("show", "nightly"),
        ("add", "@daily", "--queue", "q"),
        ("simulate",),
        ("pause", "nightly"),
    ],
)
def test_without_a_daemon_the_way_to_one_is_told(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = alone(tmp_path, *arguments)
    assert (done.code, done.stdout) == (6, "")
    assert "`lq serve`" in done.stderr


# Running


def test_a_schedule_fires_by_itself(lq: Daemon, endpoint: Endpoint) -> None:
    target = ("--target", endpoint.url(), "--queue", "ops", "--data", "tick")
    made = schedules(lq, "add", "every 1s", "--times", "2", *target).stdout.strip()
    calls = [endpoint.next() for _ in range(2)]
    assert [call.body for call in calls] == [b"tick", b"tick"]
    wait_until(lambda: len(lq.client.history(schedule=made)["items"]) == 2)
    _, line, _ = schedules(lq, "ls").stdout.splitlines()
    assert line.startswith(f"{made}  ok, ")
    assert line.endswith("  ended")
    shown = lq.cli("items", "show", calls[0].id).stdout
    assert f"schedule     {made}\n" in shown
    assert "fire time    " in shown
    assert lq.cli("items", "ls", "-q", "--schedule", made).stdout == ""


def test_a_run_by_hand_is_told_and_waited_for(lq: Daemon, endpoint: Endpoint) -> None:
    nightly(lq, endpoint)
    schedules(lq, "pause", "nightly")
    seen = typed(lq, "schedules", "run", "nightly", "--wait")
    item = endpoint.next().id
    assert (seen.code, seen.lines[0]) == (0, f"Pushed {item} in ops, due now")
    assert seen.lines[-1] == f"{item} is COMPLETED after 1 attempt"
    final = answer(schedules(lq, "run", "nightly", "--wait", "--json"))
    assert (final["id"], final["state"]) == (endpoint.next().id, "COMPLETED")


def test_a_run_by_hand_keeps_to_the_overlap(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/")
    nightly(lq, endpoint, "--overlap", "skip")
    first = schedules(lq, "run", "nightly").stdout.strip()
    assert endpoint.next().id == first
    again = schedules(lq, "run", "nightly")
    assert (again.code, again.stdout) == (5, "")
    assert "overlap" in again.stderr
    waited = schedules(lq, "run", "nightly", "--wait-timeout", "1ms")
    assert waited.code == 5
    gate.set()


# Foretelling


def test_the_runs_to_come_are_foretold_in_order(lq: Daemon, endpoint: Endpoint) -> None:
    nightly(lq, endpoint)
    hourly = ("add", "@hourly", "--queue", "ops", "--key", "hourly", "--target", endpoint.url())
    assert schedules(lq, *hourly).code == 0
    start = ("--from", "2027-03-28T00:30:00Z", "--days", "1")
    done = schedules(lq, "simulate", *start, "--limit", "3")
    heading, *runs, note, last = done.stdout.splitlines()
    assert heading.split() == ["RUN", "SCHEDULE"]
    assert [run.split(maxsplit=1)[1] for run in runs] == [
        "2027-03-28 01:00 UTC   hourly",
        "2027-03-28 03:00 CEST  nightly",
    ]
    assert note.startswith("  02:30 is skipped by the clocks")
    assert last == "Sun 2027-03-28 02:00 UTC   hourly"
    assert done.stderr == "There are 23 more: --limit N shows them.\n"
    whole = answer(schedules(lq, "simulate", *start, "--json", "--limit", "1000"))
    assert len(whole) == 26
    assert whole == sorted(whole, key=lambda run: str(run["created"]))
    assert whole[1] == {
        "schedule": lq.client.schedule("nightly")["id"],
        "key": "nightly",
        "queue": "ops",
        "fireTime": "2027-03-28T01:00:00.000Z",
        "created": "2027-03-28T01:00:00.000Z",
        "notBefore": "2027-03-28T01:00:00.000Z",
        "note": "02:30 is skipped by the clocks on this day; runs at 03:00",
    }


def test_downtimes_are_foretold(lq: Daemon, endpoint: Endpoint) -> None:
    nightly(lq, endpoint)
    look = (
        *("simulate", "nightly", "--json", "--from", "2027-06-01T00:00:00Z", "--days", "4"),
        *("--down", "2027-06-02 12:00 Europe/Berlin/1d"),
        *("--down", "2027-06-01 00:00 Europe/Berlin/2027-06-02T12:00:00Z"),
    )
    runs = answer(schedules(lq, *look))
    assert [(run["created"], run["fireTime"][8:10], run.get("missed")) for run in runs] == [
        ("2027-06-03T10:00:00.000Z", "03", 3),
        ("2027-06-04T00:30:00.000Z", "04", None),
    ]
    assert schedules(lq, "edit", "nightly", "--misfire", "skip").code == 0
    assert answer(schedules(lq, *look))[0]["error"].startswith("misfire: 3 times were missed")


@pytest.mark.parametrize(
    "down", ["", "tomorrow 09:00", "/", "tomorrow 09:00/", "1h/1h", "tomorrow 09:00/today 09:00"]
)
def test_a_downtime_is_from_one_time_to_another(tmp_path: Path, down: str) -> None:
    done = alone(tmp_path, "simulate", "--down", down)
    assert (done.code, done.stdout) == (2, "")
    assert "--down" in done.stderr


@pytest.mark.parametrize("verb", ["simulate", "next"])
def test_nothing_is_told_of_before_1970(lq: Daemon, endpoint: Endpoint, verb: str) -> None:
    nightly(lq, endpoint)
    done = schedules(lq, verb, "nightly", "--from", "1960-01-01 00:00")
    assert (done.code, done.stdout) == (2, "")
    assert "--from: expected an instant from 1970 on" in done.stderr


def test_a_paused_schedule_is_foretold_when_it_is_named(lq: Daemon, endpoint: Endpoint) -> None:
    nightly(lq, endpoint)
    schedules(lq, "pause", "nightly")
    every = schedules(lq, "simulate", "--json")
    assert (answer(every), every.stderr) == ([], "Left out, because paused: nightly.\n")
    named = schedules(lq, "simulate", "nightly", "--limit", "1", "--json")
    assert len(answer(named)) == 1
    assert named.stderr.startswith("It is paused")


def test_what_is_foretold_is_what_is_planned(lq: Daemon, endpoint: Endpoint) -> None:
    target = ("--queue", "ops", "--target", endpoint.url())
    schedules(lq, "add", "every 7h", "--key", "odd", "--times", "30", *target)
    foretold = answer(schedules(lq, "simulate", "odd", "--json"))
    planned = answer(schedules(lq, "next", "odd", "-n", "30", "--json"))["times"]
    assert [run["fireTime"] for run in foretold] == planned
    assert len(planned) == 30


def test_a_flood_of_runs_is_counted_up_to_a_bound(lq: Daemon, endpoint: Endpoint) -> None:
    target = ("--queue", "ops", "--target", endpoint.url())
    schedules(lq, "add", "* * * * * *", "--key", "odd", "--start", "2034-01-01 00:00", *target)
    done = schedules(lq, "simulate", "--days", "3650", "--limit", "1")
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == "There are over 10000 more: --limit N shows them.\n"


def test_a_file_is_foretold_without_a_daemon(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(WEEKLY)
    look = ("simulate", "--file", "other.toml", "--from", "2027-01-01 00:00", "--days", "8")
    done = alone(tmp_path, *look)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["Mon 2027-01-04 09:00 CET  weekly"]
    assert alone(tmp_path, *look, "weekly").stdout == done.stdout
    missing = alone(tmp_path, *look, "none")
    assert (missing.code, "none" in missing.stderr) == (2, True)
    (tmp_path / "other.toml").write_text(WEEKLY.replace("mon", "moon"))
    wrong = alone(tmp_path, *look)
    assert (wrong.code, "other.toml:4" in wrong.stderr) == (78, True)


# The file


def rewrite(lq: Daemon, endpoint: Endpoint, schedules: str) -> None:
    (lq.folder / "lq.toml").write_text(f"{basics(endpoint)}\n{schedules}")


def test_a_changed_file_is_applied(start: Start, endpoint: Endpoint) -> None:
    lq = start()
    rewrite(lq, endpoint, WEEKLY)
    dry = lq.cli("apply", "--dry-run")
    assert dry.code == 0
    heading, line = dry.stdout.splitlines()
    assert heading.split() == ["SCHEDULE", "CHANGE", "NEXT", "RUN"]
    assert line.split()[:2] == ["weekly", "created"]
    assert dry.stderr == "1 created. Nothing has been changed: this is a dry run.\n"
    assert schedules(lq, "ls", "-q").stdout == ""
    (made,) = answer(lq.cli("apply", "--json"))["schedules"]
    assert made["nextAfter"] == lq.client.schedule("weekly")["nextRun"]
    assert "made by   lq.toml\n" in schedules(lq, "show", "weekly").stdout
    rewrite(lq, endpoint, WEEKLY.replace("0 9", "30 9"))
    assert " -> " in lq.cli("apply").stdout
    rewrite(lq, endpoint, "")
    seen = typed(lq, "apply", width=80)
    assert " -> none" in seen.lines[1]
    assert seen.lines[-1] == "1 removed."
    assert lq.cli("apply").stderr == "There are no [[schedules]].\n"


def test_what_the_file_sets_is_changed_there(start: Start) -> None:
    lq = start(WEEKLY)
    for change in (("edit", "weekly", "--times", "3"), ("rm", "weekly")):
        done = schedules(lq, *change)
        assert (done.code, done.stdout) == (5, "")
        assert "lq.toml:" in done.stderr
        assert "`lq apply`" in done.stderr
    assert schedules(lq, "pause", "weekly").code == 0


def test_a_key_of_somebody_else_is_a_conflict(lq: Daemon, endpoint: Endpoint) -> None:
    target = ("--queue", "ops", "--target", endpoint.url())
    schedules(lq, "add", "@daily", "--key", "weekly", *target)
    rewrite(lq, endpoint, WEEKLY)
    done = lq.cli("apply")
    assert done.code == 5
    _, line, why = done.stdout.splitlines()
    assert line.split() == ["weekly", "conflict"]
    assert why.startswith("  ")
    assert done.stderr == "1 conflict.\n"


def test_a_broken_file_changes_nothing(lq: Daemon, endpoint: Endpoint) -> None:
    for mistake in (
        WEEKLY.replace("mon", "moon"),
        WEEKLY.replace("https://example.com", "https://127.0.0.1"),
        f"{WEEKLY}start = 2099-01-01T00:00:00Z",
    ):
        rewrite(lq, endpoint, mistake)
        for options in ((), ("--dry-run",)):
            done = lq.cli("apply", *options)
            assert (done.code, done.stdout) == (78, "")
            assert "lq.toml:" in done.stderr
            assert "hint: nothing was changed" in done.stderr
    assert schedules(lq, "ls", "-q").stdout == ""


def test_a_broken_file_is_told_with_what_helps(lq: Daemon, endpoint: Endpoint) -> None:
    rewrite(lq, endpoint, WEEKLY.replace("mon", "moon"))
    shows = "nothing was changed; lq.toml.example shows a schedule with every key"
    assert shows in lq.cli("apply").stderr


def test_a_setting_that_waits_for_a_restart_is_named(lq: Daemon, endpoint: Endpoint) -> None:
    rewrite(lq, endpoint, "[dispatch]\nconcurrency = 3\n")
    done = lq.cli("apply")
    assert (done.code, done.stdout) == (0, "")
    assert "restart" in done.stderr
    assert "concurrency" in done.stderr


# The doctor


def test_the_doctor_looks_after_schedules(lq: Daemon, endpoint: Endpoint) -> None:
    assert "schedules" not in lq.cli("doctor").stdout
    nightly(lq, endpoint)
    assert "ok       schedules: all of the 1 keep their times" in lq.cli("doctor").stdout


def test_the_doctor_finds_what_lq_has_paused(lq: Daemon, endpoint: Endpoint) -> None:
    nightly(lq, endpoint)
    lq.stop()
    with closing(sqlite3.connect(lq.database)) as connection, connection:
        connection.execute("UPDATE schedules SET zone = 'Mars/Olympus', next_at = 1")
    lq.start()
    wait_until(lambda: lq.client.schedule("nightly")["paused"])
    done = lq.cli("doctor")
    assert done.code == 1
    assert "wrong    schedules: nightly was paused by lq: " in done.stdout
    assert "cure: `lq schedules show nightly` tells more." in done.stdout
    assert "Mars/Olympus" in schedules(lq, "ls").stdout
    assert schedules(lq, "show", "nightly").code == 0
    assert schedules(lq, "simulate", "nightly", "--json").stdout == "[]\n"
