"""`make demo` keeps its word: it ends well only if all of it happened, and tidies up."""

from __future__ import annotations

import copy
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import pytest

from demo.story import DELAY_MS, PARTS, REPLACED_MS, WAITS_MS, Job
from demo.verdict import judge
from lq.when import format_instant
from tests.support.spoken import EAR

from .process import environment, wait_until

ROOT = Path(__file__).parents[2]
MOST_S = 20.0
PROMISES = 7


class Demo:
    """A run of the demo, its output read as it comes."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._logs: list[TextIO] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=environment(folder, TMPDIR=str(folder), **environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"it never said {text!r}: {self.output}")

    def pid_of(self, who: str) -> int:
        found = re.search(r"pid (\d+)", self.read_until(f"ready {who} "))
        if who == "daemon":  # whose stderr goes with the folder; what is open stays
            self._logs += [path.open(encoding="utf-8") for path in self.folder.rglob("lq.log")]
        assert found
        return int(found[1])

    def end(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        return self.process.wait(MOST_S)

    def close(self) -> None:
        """Leave nothing running, whatever a test did."""
        with self.process:
            self.process.kill()
        EAR.hear(self.output)
        for log in self._logs:
            with log:
                said = log.read()
            assert "is ready" in said
            EAR.hear(said)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def left_behind(self) -> list[Path]:
        return list(self.folder.iterdir())


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with closing(Demo(tmp_path)) as running:
        yield running


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_shows_what_happens_in_plain_lines_and_leaves_nothing_behind(tmp_path: Path) -> None:
    misleading = {"LQ_API_URL": "http://127.0.0.1:9", "LQ_CONFIG": "none", "FORCE_COLOR": "1"}
    with closing(Demo(tmp_path, **misleading)) as demo:
        pids = [demo.pid_of("daemon"), demo.pid_of("handler")]
        assert demo.end() == 0, demo.output
    assert demo.output.count("✔ ") >= PROMISES
    assert "500 the bank is asleep" in demo.output
    assert "✘" not in demo.output
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", demo.output) is None
    assert demo.left_behind() == []
    assert all(is_gone(pid) for pid in pids)


def test_on_a_terminal_it_is_a_live_table(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb", buffering=0)) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=environment(tmp_path, TMPDIR=str(tmp_path), TERM="xterm-256color", COLUMNS="110"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(screen.fileno()):
            shown += chunk
        assert process.wait(MOST_S) == 0, shown
    text = shown.decode()
    assert "waits to retry" in text
    assert "the handler said" in text
    assert "\x1b[" in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""  # Linux says so when the other side is closed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(demo: Demo, number: signal.Signals) -> None:
    pids = [demo.pid_of("daemon"), demo.pid_of("handler")]
    demo.read_until("call")
    demo.process.send_signal(number)
    assert demo.end() == 130, demo.output
    assert "interrupted" in demo.output
    assert "Traceback" not in demo.output
    assert demo.left_behind() == []
    assert all(is_gone(pid) for pid in pids)


@pytest.mark.parametrize("who", ["daemon", "handler"])
def test_it_fails_with_a_reason_when_one_of_them_dies(demo: Demo, who: str) -> None:
    pid = demo.pid_of(who)
    demo.read_until("call")
    os.kill(pid, signal.SIGKILL)
    assert demo.end() == 1, demo.output
    assert f"the {who} has ended by signal 9" in demo.output
    assert "Traceback" not in demo.output
    assert demo.left_behind() == []
    wait_until(lambda: is_gone(pid))


def test_it_fails_with_the_daemons_reason_when_that_cannot_start(tmp_path: Path) -> None:
    limit = 'ulimit -f 40; exec "$@"'  # blocks of 512 bytes: no room for a database
    done = subprocess.run(
        ["sh", "-c", limit, "sh", sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment(tmp_path, TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert done.returncode == 1
    assert "the daemon has ended with exit code 74" in done.stdout
    assert "Traceback" not in done.stdout
    assert list(tmp_path.iterdir()) == []


Story = tuple[list[Job], list[dict[str, Any]]]
START = 1_800_000_000_000
ANSWERS = {
    "welcome": [(200, "sent")],
    "reminder": [(200, "reminded")],
    "report": [(200, "written")],
    "payment": [(500, "asleep"), (500, "asleep"), (200, "paid")],
}
DUE = {
    "welcome": [0],
    "reminder": [DELAY_MS],
    "report": [REPLACED_MS],
    "payment": [0, WAITS_MS[0] + 10, sum(WAITS_MS) + 20],
}


def good_story() -> Story:
    """A story as it goes when all goes well: attempts take 10 ms and start on time."""
    jobs: list[Job] = []
    told: list[dict[str, Any]] = []
    for part in PARTS:
        job = Job(part)
        name, item = part.name, f"job_{part.name}"
        job.pushed = [{"id": item, "outcome": "created"}, {"id": item, "outcome": "replaced"}]
        del job.pushed[len(part.pushes) :]
        told.append({"proved": part.path})
        for n, (status, said) in enumerate(ANSWERS[name], start=1):
            at = START + DUE[name][n - 1]
            attempt = {"n": n, "started": format_instant(at), "ms": 10}
            job.attempts.append(attempt | {"status": status, "responseBody": said})
            call = {"called": part.path, "at": at + 1, "id": item, "once": f'"{item}"'}
            payload = dict(part.pushes[-1].payload)
            told.append(call | {"attempt": n, "payload": payload, "status": status, "said": said})
        job.item = {
            "id": item,
            "state": "COMPLETED",
            "finished": format_instant(START),
            "attempts": len(job.attempts),
            "notBefore": format_instant(START + DUE[name][0]),
        }
        jobs.append(job)
    return jobs, told


def call_of(told: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in told if one.get("called") == f"/{name}")


def part_of(jobs: list[Job], name: str) -> Job:
    return next(job for job in jobs if job.part.name == name)


def lose_a_call(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    told.remove(call_of(told, "welcome"))


def call_twice(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    told.append(copy.deepcopy(call_of(told, "reminder")))


def deliver_what_was_replaced(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    call_of(told, "report")["payload"] = {"version": 1}


def make_two_of_one_key(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    part_of(jobs, "report").pushed[0]["id"] = "job_other"


def create_again(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    part_of(jobs, "report").pushed[1]["outcome"] = "created"


def call_early(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    call_of(told, "reminder")["at"] = START + DELAY_MS - 1


def start_early(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    at = format_instant(START + DELAY_MS - 1)
    part_of(jobs, "reminder").attempts[0]["started"] = at


def start_late(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    part_of(jobs, "welcome").attempts[0]["started"] = format_instant(START + 5_000)


def retry_too_soon(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    part_of(jobs, "payment").attempts[1]["started"] = format_instant(START + 100)


def give_up_early(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    payment = part_of(jobs, "payment")
    payment.item |= {"state": "FAILED", "error": "status 500"}


def never_finish(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    part_of(jobs, "payment").item |= {"state": "RETRY"}


def push_nothing(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    job = part_of(jobs, "welcome")
    job.item, job.attempts, job.pushed = {}, [], []


def call_a_stranger(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    call_of(told, "welcome")["id"] = "job_stranger"


def change_the_key_between_attempts(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    call_of(told, "payment")["once"] = '"another"'


def sign_wrongly(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    told.append({"refused": "/welcome", "reason": "made with another secret"})


def ask_for_no_proof(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    told.remove({"proved": "/report"})


def remember_another_answer(jobs: list[Job], told: list[dict[str, Any]]) -> None:
    part_of(jobs, "welcome").attempts[0]["responseBody"] = "something else"


def test_a_story_that_went_well_is_judged_so() -> None:
    checks = judge(*good_story(), stopped=0)
    assert len(checks) == PROMISES
    assert [check.fault for check in checks] == [None] * PROMISES


@pytest.mark.parametrize(
    "spoil",
    [
        lose_a_call,
        call_twice,
        deliver_what_was_replaced,
        make_two_of_one_key,
        create_again,
        call_early,
        start_early,
        start_late,
        retry_too_soon,
        give_up_early,
        never_finish,
        push_nothing,
        call_a_stranger,
        change_the_key_between_attempts,
        sign_wrongly,
        ask_for_no_proof,
        remember_another_answer,
    ],
)
def test_whatever_did_not_happen_is_found(
    spoil: Callable[[list[Job], list[dict[str, Any]]], None],
) -> None:
    jobs, told = good_story()
    spoil(jobs, told)
    faults = [check.fault for check in judge(jobs, told, stopped=0) if check.fault is not None]
    assert faults
    assert all(faults)


def test_a_daemon_that_did_not_stop_in_order_is_found() -> None:
    assert judge(*good_story(), stopped=-9)[-1].fault == "its exit code was -9"
