"""`lq push --from-jsonl`: each line once, whatever ends the command or the daemon on the way."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Start
from .process import LQ, Daemon, Ended, wait_until
from .shell import piped, typed

TO = ("--target", "https://example.com/hook", "--delay", "1d")
PUSH = ("push", "--queue", "q", *TO, "--from-jsonl")


def write(folder: Path, number: int, name: str = "jobs.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f'{{"payload": {n}}}\n' for n in range(number)))
    return path


def stored(lq: Daemon) -> list[int]:
    """The payloads of all items, read from the database itself."""
    with contextlib.closing(sqlite3.connect(lq.database)) as connection:
        return sorted(int(body) for (body,) in connection.execute("SELECT body FROM payloads"))


def launch(lq: Daemon, *arguments: str) -> subprocess.Popen[bytes]:
    """A command that is not waited for."""
    return subprocess.Popen(
        [LQ, *arguments], cwd=lq.folder, env=lq.environ, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def until_it_stores(lq: Daemon, process: subprocess.Popen[bytes]) -> None:
    """Wait until it has pushed something more, or has ended."""
    before = len(stored(lq))
    wait_until(lambda: len(stored(lq)) > before or process.poll() is not None)


def left_behind(lq: Daemon) -> set[str]:
    return {path.name for path in lq.folder.iterdir() if path.name.startswith("jobs")}


def test_each_line_is_an_item(lq: Daemon) -> None:
    write(lq.folder, 2500)
    done = lq.cli(*PUSH, "jobs.jsonl")
    assert done == (0, "2,500 lines: 2,500 created\n", "", done.seconds)
    assert stored(lq) == [*range(2500)]
    assert left_behind(lq) == {"jobs.jsonl"}


def test_the_same_file_again_is_pushed_again(lq: Daemon) -> None:
    write(lq.folder, 3)
    assert [lq.cli(*PUSH, "jobs.jsonl").code for _ in range(2)] == [0, 0]
    assert stored(lq) == [0, 0, 1, 1, 2, 2]


def test_failures_go_to_a_file(lq: Daemon) -> None:
    lines = ['{"payload": 1.50, "delay": "x"}', "", '{"payload": 1}', "{broken", '{"n": NaN}']
    (lq.folder / "jobs.jsonl").write_text("\n".join(lines))
    done = lq.cli(*PUSH, "jobs.jsonl")
    said = "5 lines: 1 created, 3 failed; see jobs.jsonl.failures.jsonl\n"
    assert (done.code, done.stdout) == (1, said)
    written = (lq.folder / "jobs.jsonl.failures.jsonl").read_text().splitlines()
    assert '"entry": {"payload": 1.50, "delay": "x"}' in written[0]
    failures = [json.loads(line) for line in written]
    assert [failure["line"] for failure in failures] == [1, 4, 5]
    assert failures[0]["error"]["issues"][0]["path"] == ["delay"]
    assert failures[1]["entry"] == "{broken"
    elsewhere = lq.cli(*PUSH, "jobs.jsonl", "--failures", "other", "--json")
    counts = {"lines": 5, "created": 1, "replaced": 0, "kept": 0, "failed": 3, "failures": "other"}
    assert (elsewhere.code, json.loads(elsewhere.stdout)) == (1, counts)
    assert len((lq.folder / "other").read_text().splitlines()) == 3


def test_lines_come_from_stdin(lq: Daemon) -> None:
    with piped(lq, *PUSH, "-") as process:
        said, _ = process.communicate(b'{"payload": 1}\n\n{"payload": 2}')
    assert (process.returncode, said) == (0, b"3 lines: 2 created\n")
    assert stored(lq) == [1, 2]


def test_an_empty_file(lq: Daemon) -> None:
    write(lq.folder, 0)
    assert lq.cli(*PUSH, "jobs.jsonl").stdout == "0 lines: nothing to push\n"


def test_large_lines_are_pushed_in_parts_that_fit(start: Start) -> None:
    lq = start('max_payload = "4KiB"\nmax_batch = "16KiB"\n')
    lines = [json.dumps({"payload": n, "traceparent": "x" * 3000}) for n in range(20)]
    lines.insert(7, json.dumps({"payload": "x" * 20_000}))
    (lq.folder / "jobs.jsonl").write_text("\n".join(lines))
    done = lq.cli(*PUSH, "jobs.jsonl")
    assert (done.code, done.stdout.split(";")[0]) == (1, "21 lines: 20 created, 1 failed")
    assert stored(lq) == [*range(20)]
    failure = json.loads((lq.folder / "jobs.jsonl.failures.jsonl").read_text())
    assert (failure["line"], failure["error"]["status"]) == (8, 413)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_push_that_was_ended_goes_on(lq: Daemon, number: signal.Signals) -> None:
    write(lq.folder, 30_000)
    for _ in range(3):
        process = launch(lq, *PUSH, "jobs.jsonl")
        until_it_stores(lq, process)
        process.send_signal(number)
        process.wait()
    done = lq.cli(*PUSH, "jobs.jsonl")
    assert done.code == 0, done.stderr
    assert stored(lq) == [*range(30_000)]
    assert left_behind(lq) == {"jobs.jsonl"}


def test_a_daemon_that_was_killed_is_gone_on_with(lq: Daemon) -> None:
    write(lq.folder, 30_000)
    ended: list[Ended] = []
    for _ in range(3):
        process = launch(lq, *PUSH, "jobs.jsonl")
        until_it_stores(lq, process)
        ended.append(lq.kill())
        process.wait()
        lq.start()
    done = lq.cli(*PUSH, "jobs.jsonl")
    assert done.code == 0, done.stderr
    assert stored(lq) == [*range(30_000)]


def test_without_a_daemon_it_says_how_far_it_came(lq: Daemon) -> None:
    write(lq.folder, 2500)
    lq.stop()
    done = lq.cli(*PUSH, "jobs.jsonl")
    assert done.code == 6
    assert "0 lines are pushed; the same command again goes on after them." in done.stderr
    lq.start()
    assert lq.cli(*PUSH, "jobs.jsonl").code == 0
    assert stored(lq) == [*range(2500)]


def state_of(lq: Daemon, **members: Any) -> Path:
    """What a push left behind that was cut off, with some of it changed."""
    path = lq.folder / "jobs.jsonl.lq-state"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))
    return path


def test_what_a_push_was_of_is_held_against_what_is_there(lq: Daemon) -> None:
    jobs = write(lq.folder, 1500)
    lq.stop()
    assert lq.cli(*PUSH, "jobs.jsonl").code == 6
    state = lq.folder / "jobs.jsonl.lq-state"
    account = state.read_text()
    lq.start()
    other = ("push", "--queue", "other", *TO, "--from-jsonl", "jobs.jsonl")
    for arguments, said in (
        (other, "is of a push to q"),
        ((*PUSH, "jobs.jsonl", "--retry", "1"), "with other options"),
        ((*PUSH, "jobs.jsonl", "--failures", "f"), "with other options"),
    ):
        refused = lq.cli(*arguments)
        assert refused.code == 1
        assert said in refused.stderr
    for members, said in (
        ({"at": 0}, "more than a day old"),
        ({"offset": 10, "digest": "0" * 64}, "is of another jobs.jsonl"),
        ({"offset": 10**9}, "is of another jobs.jsonl"),
    ):
        state_of(lq, **members)
        refused = lq.cli(*PUSH, "jobs.jsonl")
        assert refused.code == 1
        assert said in refused.stderr
        state.write_text(account)
    for garbage in ("", "[]", '{"run": 1}'):
        state.write_text(garbage)
        assert "cannot be read" in lq.cli(*PUSH, "jobs.jsonl").stderr
    assert stored(lq) == []
    state.write_text(account)
    with jobs.open("a") as more:
        more.write('{"payload": 1500}\n')
    assert lq.cli(*PUSH, "jobs.jsonl").code == 0
    assert stored(lq) == [*range(1501)]


def test_failures_are_told_of_once(lq: Daemon) -> None:
    lines = ["{}" if n % 3 else '{"bad": 1}' for n in range(3000)]
    (lq.folder / "jobs.jsonl").write_text("\n".join(lines))
    process = launch(lq, *PUSH, "jobs.jsonl")
    state = lq.folder / "jobs.jsonl.lq-state"
    wait_until(lambda: (state.exists() and state.stat().st_size) or process.poll() is not None)
    process.kill()
    process.wait()
    assert lq.cli(*PUSH, "jobs.jsonl").code == 1
    failures = (lq.folder / "jobs.jsonl.failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in failures] == [*range(1, 3001, 3)]


def test_the_file_of_failures_is_not_the_file_itself(lq: Daemon) -> None:
    jobs = write(lq.folder, 2)
    (lq.folder / "link").symlink_to(jobs)
    for name in ("jobs.jsonl", "link"):
        refused = lq.cli(*PUSH, "jobs.jsonl", "--failures", name)
        assert (refused.code, "is the file that is pushed" in refused.stderr) == (2, True)
    jobs.write_text('{"bad": 1}\n{"payload": 1}\n')
    done = lq.cli(*PUSH, "jobs.jsonl", "--failures", "/dev/null")
    assert (done.code, Path("/dev/null").is_char_device()) == (1, True)
    assert stored(lq) == [1]


def test_an_instant_stays_what_it_was_at_the_start(lq: Daemon) -> None:
    write(lq.folder, 1200)
    lq.stop()
    relative = (*PUSH, "jobs.jsonl", "--expires", "2d")
    assert lq.cli(*relative).code == 6
    options = json.loads((lq.folder / "jobs.jsonl.lq-state").read_text())["options"]
    lq.start()
    assert lq.cli(*relative).code == 0
    [item] = json.loads(lq.cli("items", "ls", "--limit", "1", "--json").stdout)
    assert item["expires"] == options["expires"]


def test_two_at_once_are_refused(lq: Daemon) -> None:
    write(lq.folder, 10)
    with (lq.folder / "jobs.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = lq.cli(*PUSH, "jobs.jsonl")
    assert refused.code == 1
    assert "another lq push is at work" in refused.stderr
    assert stored(lq) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--key", "a"), "each line has its own"),
        (("--data", "a"), "each line has its own"),
        (("--content-type", "a/b"), "each line has its own"),
        (("--idempotency-key", "a"), "each line has its own"),
        (("--wait",), "is for a single item"),
    ],
)
def test_options_of_a_single_item(lq: Daemon, more: tuple[str, ...], said: str) -> None:
    write(lq.folder, 1)
    refused = lq.cli(*PUSH, "jobs.jsonl", *more)
    assert refused.code == 2
    assert said in refused.stderr


def test_a_file_that_is_not_there(lq: Daemon) -> None:
    refused = lq.cli(*PUSH, "nothing.jsonl")
    assert (refused.code, "cannot read nothing.jsonl" in refused.stderr) == (2, True)
    assert lq.cli("push", "--queue", "q", "--failures", "f").code == 2


def test_failures_that_cannot_be_written(lq: Daemon) -> None:
    (lq.folder / "jobs.jsonl").write_text('{"payload": 1}\n{"bad": 1}\n')
    refused = lq.cli(*PUSH, "jobs.jsonl", "--failures", "nowhere/f")
    assert (refused.code, "cannot write nowhere/f" in refused.stderr) == (1, True)
    (lq.folder / "nowhere").mkdir()
    done = lq.cli(*PUSH, "jobs.jsonl", "--failures", "nowhere/f")
    assert (done.code, done.stdout) == (1, "2 lines: 1 created, 1 failed; see nowhere/f\n")
    assert stored(lq) == [1]


def test_a_person_sees_how_far_it_is(lq: Daemon) -> None:
    write(lq.folder, 5000)
    shown = typed(lq, *PUSH, "jobs.jsonl")
    assert shown.code == 0
    assert "lines" in shown.plain
    assert "5,000 lines: 5,000 created" in shown.plain


def test_a_file_that_was_named_for_failures_is_not_written_over(lq: Daemon, tmp_path: Path) -> None:
    lines, kept = tmp_path / "jobs.jsonl", tmp_path / "important.txt"
    lines.write_text(
        json.dumps({"target": "https://example.com/", "delay": "1h", "payload": 1}) + "\n"
    )
    kept.write_text("important")
    push = ("push", "--queue", "q", "--from-jsonl", str(lines), "--failures", str(kept))
    refused = lq.cli(*push)
    assert refused.code != 0
    assert "is there already" in refused.stderr
    assert kept.read_text() == "important"
    kept.write_text("")
    assert lq.cli(*push).code == 0
