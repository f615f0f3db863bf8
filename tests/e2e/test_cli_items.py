"""`lq items` and `lq history`: looking at items and moving them, by id and by key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lq.client import ApiError, ByKey, Client

from .endpoint import Answer, Endpoint
from .process import Daemon, Ended, environment, run_lq, wait_until
from .shell import typed

YEAR = datetime.now(UTC).year + 2
BY_KEY = ("--queue", "a/b", "--key", "k?ü")


def pushed(lq: Daemon, endpoint: Endpoint, **options: Any) -> str:
    """The id of an item that waits for an hour."""
    waiting: Any = {"target": endpoint.url(), "delay_ms": 3_600_000}
    return str(lq.client.push("a/b", b"x", **waiting | options)["id"])


def finished(lq: Daemon, endpoint: Endpoint, **options: Any) -> str:
    """The id of an item that has finished."""
    job = pushed(lq, endpoint, **{"delay_ms": 0} | options)
    wait_until(lambda: lq.client.item(job)["state"] in {"COMPLETED", "FAILED"})
    return job


def read(done: Ended) -> Any:
    assert (done.code, done.stderr) == (0, "")
    return json.loads(done.stdout)


# Listings


def test_items_are_listed_for_scripts_in_three_ways(lq: Daemon, endpoint: Endpoint) -> None:
    jobs = [pushed(lq, endpoint, labels=[label]) for label in ("red", "blue")]
    assert lq.cli("items", "ls", "-q").stdout.split() == jobs
    assert [item["id"] for item in read(lq.cli("items", "ls", "--json"))] == jobs
    text = lq.cli("items", "ls").stdout.splitlines()
    assert text[0].split() == ["ID", "STATE", "QUEUE", "KEY", "DUE", "TRIES", "ERROR"]
    assert text[1].split() == [jobs[0], "PENDING", "a/b", "in", "1h", "0/6"]


def test_items_are_narrowed(lq: Daemon, endpoint: Endpoint) -> None:
    red = pushed(lq, endpoint, labels=["red"])
    other = lq.client.push("other", b"", target=endpoint.url(), delay_ms=1_000_000)["id"]
    assert lq.cli("items", "ls", "-q", "--label", "red").stdout.split() == [red]
    assert lq.cli("items", "ls", "-q", "--queue", "other").stdout.split() == [other]
    assert lq.cli("items", "ls", "-q", "--state", "retry").stdout == ""
    wrong = lq.cli("items", "ls", "--state", "ASLEEP")
    assert (wrong.code, "PENDING" in wrong.stderr) == (2, True)


def test_more_than_a_page_is_listed_only_when_asked_for(lq: Daemon, endpoint: Endpoint) -> None:
    jobs = [pushed(lq, endpoint) for _ in range(103)]
    some = lq.cli("items", "ls", "-q")
    assert some.stdout.split() == jobs[:100]
    assert "--all" in some.stderr
    few = lq.cli("items", "ls", "-q", "--limit", "2")
    assert (few.stdout.split(), few.stderr) == (jobs[:2], "")
    everything = lq.cli("items", "ls", "-q", "--all")
    assert (everything.stdout.split(), everything.stderr) == (jobs, "")


def test_an_empty_listing_is_empty(lq: Daemon) -> None:
    assert lq.cli("items", "ls", "-q").stdout == ""
    assert read(lq.cli("history", "--json")) == []
    assert typed(lq, "items", "ls").text == "There is nothing to list.\n"


def test_history_is_listed_newest_first_and_narrowed(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/bad", lambda _: Answer(410, b"\x1b[2Jno"))
    good = finished(lq, endpoint, key="k", labels=["red"])
    bad = finished(lq, endpoint, target=endpoint.url("/bad"))
    assert lq.cli("history", "-q").stdout.split() == [bad, good]
    for narrowed in (
        ("--key", "k"),
        ("--state", "COMPLETED"),
        ("--label", "red"),
        ("--queue", "a/b", "--state", "completed"),
    ):
        assert lq.cli("history", "-q", *narrowed).stdout.split() == [good]
    assert lq.cli("history", "-q", "--until", "1h").stdout == ""
    assert lq.cli("history", "-q", "--since", "1h", "--limit", "1").stdout.split() == [bad]
    shown = lq.cli("history").stdout
    assert "status 410" in shown
    assert "\x1b" not in shown


# One item


def test_an_item_is_shown_by_id_and_by_key(lq: Daemon, endpoint: Endpoint) -> None:
    job = pushed(lq, endpoint, key="k?ü", headers={"x-a": "b"}, content_type="text/plain")
    by_id = lq.cli("items", "show", job).stdout
    assert by_id == lq.cli("items", "show", *BY_KEY).stdout
    shown = dict(line.split(maxsplit=1) for line in by_id.splitlines())
    assert shown["id"] == job
    assert shown["key"] == "k?ü"
    assert shown["state"] == "PENDING"
    assert shown["target"] == f"POST {endpoint.url()}"
    assert shown["headers"] == "x-a: b"
    assert shown["payload"] == "x  [text/plain]"


def test_a_finished_item_is_shown_by_key_with_its_attempts(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/", lambda _: Answer(410, "größe\x1b[31m\u202e".encode()))
    job = finished(lq, endpoint, key="k?ü")
    shown = lq.cli("items", "show", *BY_KEY).stdout
    assert f"id           {job}" in shown
    assert "TRY  STARTED" in shown
    assert "größe" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    both = read(lq.cli("items", "show", job, "--json"))
    assert both["id"] == job
    assert [attempt["status"] for attempt in both["attemptLog"]] == [410]
    assert "\x1b" not in lq.cli("items", "show", job, "--json").stdout


def test_an_item_is_rescheduled(lq: Daemon, endpoint: Endpoint) -> None:
    job = pushed(lq, endpoint, key="k?ü")
    assert (
        lq.cli("items", "reschedule", job, "--on", f"{YEAR}-01-01 00:00 UTC").stdout == f"{job}\n"
    )
    assert lq.client.item(job)["notBefore"] == f"{YEAR}-01-01T00:00:00.000Z"
    seen = typed(lq, "items", "reschedule", *BY_KEY, "--delay", "2h", width=200)
    assert seen.text.startswith(f"{job} in a/b (key k?ü) is due ")
    assert seen.text.endswith("(in 2 hours)\n")


@pytest.mark.parametrize("when", [(), ("--delay", "1h", "--on", "tomorrow 09:00")])
def test_a_new_time_is_one_time(tmp_path: Path, when: tuple[str, ...]) -> None:
    arguments = ("items", "reschedule", "job_1", *when)
    done = run_lq(*arguments, cwd=tmp_path, environ=environment(tmp_path))
    assert (done.code, "--delay or --on" in done.stderr) == (2, True)


def test_an_item_runs_now(lq: Daemon, endpoint: Endpoint) -> None:
    job = pushed(lq, endpoint, key="k?ü")
    assert lq.cli("items", "run", *BY_KEY).stdout == f"{job}\n"
    assert endpoint.next().id == job


def test_a_finished_item_is_tried_again(lq: Daemon, endpoint: Endpoint) -> None:
    job = finished(lq, endpoint, key="k?ü")
    assert endpoint.next().id == job
    assert lq.cli("items", "retry", *BY_KEY).stdout == f"{job}\n"
    assert endpoint.next().id == job


def test_an_item_is_cancelled(lq: Daemon, endpoint: Endpoint) -> None:
    job = pushed(lq, endpoint, key="k?ü")
    seen = typed(lq, "items", "cancel", *BY_KEY)
    assert (seen.code, seen.text) == (0, f"Cancelled {job} in a/b (key k?ü)\n")
    assert lq.client.item(job)["state"] == "CANCELLED"


def test_many_items_are_cancelled_and_a_refusal_stops_none(lq: Daemon, endpoint: Endpoint) -> None:
    first, second = pushed(lq, endpoint), pushed(lq, endpoint)
    done = lq.cli("items", "cancel", first, "job_none", second)
    assert (done.code, done.stdout.split()) == (3, [first, second])
    assert "job_none" in done.stderr
    again = lq.cli("items", "cancel", first, "job_none")
    assert (again.code, again.stdout) == (5, "")


def test_what_is_not_there_is_not_found(lq: Daemon) -> None:
    for verb in ("show", "cancel", "run", "retry"):
        for ref in (("job_none",), ("--queue", "q", "--key", "none")):
            done = lq.cli("items", verb, *ref)
            assert (done.code, done.stdout) == (3, "")
            assert "none" in done.stderr


@pytest.mark.parametrize(
    "ref", [(), ("--queue", "q"), ("--key", "k"), ("job_1", "--queue", "q", "--key", "k")]
)
def test_an_item_has_one_name(tmp_path: Path, ref: tuple[str, ...]) -> None:
    done = run_lq("items", "show", *ref, cwd=tmp_path, environ=environment(tmp_path))
    assert done.code == 2
    assert done.stderr.startswith("lq: name the item either by its id or by --queue and --key")


def test_a_key_that_is_gone_is_not_found_by_who_may_only_push(lq: Daemon) -> None:
    token = lq.client.create_token("shop", ["push"])["token"]
    with pytest.raises(ApiError) as missing:
        Client(lq.url, token, retries=0).find(ByKey("q", "gone"))
    assert missing.value.status == 404


def test_a_terminal_shows_a_table_that_fits(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/", lambda _: Answer(410, b"[red]" + b"long " * 100))
    job = finished(lq, endpoint)
    seen = typed(lq, "history", width=100)
    heading, row, result = seen.lines
    assert heading.split()[0] == "ID"
    assert row.startswith(job)
    assert result.startswith("  status 410: [red]long")
    assert (len(result), result[-1]) == (100, "…")
    assert "\x1b[31mFAILED" in seen.text
    assert "\x1b[31m" not in typed(lq, "history", NO_COLOR="1").text
    assert "\x1b" not in typed(lq, "history", TERM="dumb").text
