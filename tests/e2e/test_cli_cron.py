"""`lq cron`: a rule explained where there is no daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Start
from .process import Daemon, Ended, environment, run_lq
from .shell import typed

BERLIN = ("--tz", "Europe/Berlin", "--from", "2027-03-26 12:00")


def cron(folder: Path, *arguments: str) -> Ended:
    return run_lq("cron", *arguments, cwd=folder, environ=environment(folder, TZ="UTC"))


def explained(folder: Path, *arguments: str) -> Any:
    done = cron(folder, *arguments, "--json")
    assert (done.code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_rule_is_explained_with_its_runs_notes_and_warnings(tmp_path: Path) -> None:
    done = cron(tmp_path, "30 2 * * *", *BERLIN, "-n", "2")
    assert (done.code, done.stderr) == (0, "")
    sentence, empty, heading, first, second, note, *rest = done.stdout.splitlines()
    assert (sentence, empty) == ("at 02:30 every day, Europe/Berlin", "")
    assert heading.split() == ["RUN", "UTC", "DUE"]
    assert first.startswith("Sat 2027-03-27 02:30 CET   2027-03-27T01:30:00Z  ")
    assert second.startswith("Sun 2027-03-28 03:00 CEST  2027-03-28T01:00:00Z  ")
    assert note.startswith("  02:30 is skipped")
    assert rest[0] == ""
    assert all(line.startswith("warning: ") for line in rest[1:])
    assert "Europe/Berlin" in rest[1]


def test_json_is_what_the_api_answers(lq: Daemon) -> None:
    arguments = ("30 2 * * *", "Europe/Berlin", "2027-03-26T11:00:00Z", 3)
    assert explained(lq.folder, "30 2 * * *", *BERLIN, "-n", "3") == lq.client.cron(*arguments)
    assert explained(lq.folder, "every 90s", *BERLIN)["schedule"] == "E=1m30s"


def test_a_time_without_a_zone_is_in_that_of_the_rule(tmp_path: Path) -> None:
    answer = explained(tmp_path, "@daily", "--tz", "Asia/Tokyo", "--from", "2027-03-26 00:00")
    assert answer["times"][0] == "2027-03-27T00:00:00.000+09:00"
    answer = explained(tmp_path, "@daily", "--tz", "Asia/Tokyo", "--from", "2027-03-26T00:00:00Z")
    assert answer["times"][0] == "2027-03-27T00:00:00.000+09:00"


def test_without_a_zone_it_is_utc_wherever_it_runs(tmp_path: Path) -> None:
    done = run_lq(
        *("cron", "0 9 * * 1-5", "-n", "1"),
        cwd=tmp_path,
        environ=environment(tmp_path, TZ="Asia/Tokyo"),
    )
    sentence, _, heading, first = done.stdout.splitlines()
    assert sentence.endswith(", UTC")
    assert heading.split() == ["RUN", "DUE"]
    assert " 09:00 UTC  in " in first


@pytest.mark.parametrize(
    ("words", "words_of_it"),
    [
        (("every 90s",), "every "),
        (("every", "5", "minutes"), "every 5 minutes"),
        (("Every hour",), "every hour"),
        (("E=1d",), "every day"),
        (("@weekly",), "at 00:00"),
        (("  */15   *  *\t* *  ",), "every 15 minutes"),
    ],
)
def test_a_rule_is_typed_in_several_ways(
    tmp_path: Path, words: tuple[str, ...], words_of_it: str
) -> None:
    done = cron(tmp_path, *words)
    assert done.code == 0
    assert done.stdout.startswith(words_of_it)


@pytest.mark.parametrize(
    ("text", "caret"),
    [
        ("0 24 * * *", 2),
        ("  60 * * * *", 2),
        ("* * 5-2 * *", 4),
        ("0 0 \x1b[31m * *", 4),
        ("日本 * * * *", 0),
        ("E=5", 2),
        ("every monday", 6),
        ("every 0s", 6),
        ("@reboot", 0),
    ],
)
def test_a_bad_expression_is_pointed_at(tmp_path: Path, text: str, caret: int) -> None:
    done = cron(tmp_path, text)
    assert (done.code, done.stdout) == (2, "")
    message, shown, pointer, hint = done.stderr.splitlines()
    assert message.startswith("lq: ")
    assert shown == f"  {text}".replace("\x1b", r"\x1b")
    assert pointer == f"{' ' * (2 + caret)}^"
    assert hint.startswith("hint: ")
    assert "Traceback" not in done.stderr


def test_an_endless_expression_is_shown_where_it_is_wrong(tmp_path: Path) -> None:
    done = cron(tmp_path, f"{'0,' * 200}99 * * * *")
    _, shown, pointer, _ = done.stderr.splitlines()
    assert shown[pointer.index("^") :].startswith("99")
    assert len(shown) < 80


@pytest.mark.parametrize("text", ["", " ", "* * *", "0 0 30 2 *", "* " * 5000, "@every 5m"])
def test_what_is_no_expression_is_a_usage_error(tmp_path: Path, text: str) -> None:
    done = cron(tmp_path, text)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("lq: ")
    assert "Traceback" not in done.stderr


def test_an_expression_without_quotes_is_refused(tmp_path: Path) -> None:
    done = cron(tmp_path, "30", "2", "*", "*", "*")
    assert done.code == 2
    assert done.stderr.startswith("lq: put the expression in quotes")


@pytest.mark.parametrize(
    "options",
    [
        ("--tz", "Mars/Olympus"),
        ("--tz", "../etc/passwd"),
        ("--tz", ""),
        ("-n", "0"),
        ("-n", "1001"),
        ("--from", "whenever"),
        ("--from", "1969-12-31T23:59:59Z"),
        ("--from", "9999-01-01T00:00:00Z"),
    ],
)
def test_an_option_is_refused_by_name(tmp_path: Path, options: tuple[str, str]) -> None:
    done = cron(tmp_path, "@daily", *options)
    assert (done.code, done.stdout) == (2, "")
    assert options[0] in done.stderr


def test_a_terminal_of_eighty_columns_sees_the_notes(start: Start) -> None:
    seen = typed(start(start=False), "cron", "30 2 * * *", *BERLIN, "-n", "2", width=80)
    assert seen.code == 0
    assert "  02:30 is skipped by the clocks on this day; runs at 03:00" in seen.lines
