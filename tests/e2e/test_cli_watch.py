"""`lq tail` and `lq top`: what is seen of a daemon while it works, stops and comes back."""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lq.client import Client

from .conftest import Start
from .endpoint import FAILED, Answer, Endpoint
from .process import PATIENCE_S, Daemon, wait_until
from .shell import Terminal, piped, typed


class Lines:
    """The lines of a stream, as they come."""

    def __init__(self, stream: Any) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._stream = stream
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def next(self, patience_s: float = PATIENCE_S) -> str:
        return self._lines.get(timeout=patience_s)

    def rest(self) -> list[str]:
        """What came until the end, once that is there."""
        self._reader.join(PATIENCE_S)
        return list(self._lines.queue)

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line.decode().rstrip("\n"))


class Tail:
    """A `lq tail` whose streams are pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.out = Lines(process.stdout)
        self.err = Lines(process.stderr)


@contextmanager
def tailing(daemon: Daemon, *arguments: str, **environ: str) -> Iterator[Tail]:
    with piped(daemon, "tail", *arguments, **environ) as process:
        tail = Tail(process)
        try:
            yield tail
        finally:
            process.kill()
            tail.out.rest(), tail.err.rest()


def heard(daemon: Daemon, tail: Tail, queue_name: str = "ready") -> None:
    """Return once what happens is heard: a pause of a queue that has no other purpose."""

    def told() -> bool:
        daemon.client.pause(queue_name)
        try:
            return queue_name in tail.out.next(0.2)
        except queue.Empty:
            return False

    wait_until(told)


def settled(tail: Tail, queue_name: str = "ready") -> str:
    """The next line about something else than that queue."""
    while queue_name in (line := tail.out.next()):
        pass
    return line


def push(daemon: Daemon, endpoint: Endpoint, name: str = "mail", **options: Any) -> str:
    target = endpoint.url(options.pop("path", "/"))
    return str(daemon.client.push(name, b"x", target=target, **options)["id"])


# lq tail


def test_a_line_for_each_event(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/no", lambda _: Answer(500, b"no room"))
    with tailing(lq) as tail:
        heard(lq, tail)
        item = push(lq, endpoint, key="user-7", path="/no", retry="0")
        lines = [settled(tail) for _ in range(3)]
    when = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    place = f"  {item}  mail \\(user-7\\)"
    assert re.fullmatch(f"{when} push   {place}", lines[0])
    assert re.fullmatch(f"{when} claim  {place}  attempt 1", lines[1])
    assert re.fullmatch(f"{when} bury   {place}  attempt 1, status 500: no room", lines[2])


def test_documents_for_programs(lq: Daemon, endpoint: Endpoint) -> None:
    with tailing(lq, "--json", "--queue", "mail", "--verb", "push,succeed", "-n", "2") as tail:
        first: list[str] = []

        def told() -> bool:
            push(lq, endpoint)
            try:
                first.append(tail.out.next(0.2))
            except queue.Empty:
                return False
            return True

        wait_until(told)
        second = tail.out.next()
        assert tail.process.wait(PATIENCE_S) == 0
    for line in (*first, second):
        event = json.loads(line)
        assert event["verb"] in {"push", "succeed"}
        assert {"at", "id", "queue", "state", "eventId"} <= event.keys()


def test_it_outlives_the_daemon(lq: Daemon, endpoint: Endpoint) -> None:
    with tailing(lq, "--json") as tail:
        heard(lq, tail)
        lq.stop()
        assert "waiting for it to come back" in tail.err.next()
        lq.start()
        assert tail.err.next() == "lq: connected again"
        while (event := json.loads(tail.out.next()))["verb"] != "missed":
            assert event["queue"] == "ready"
        assert event["reason"] == "restart"
        item = push(lq, endpoint)
        assert [json.loads(tail.out.next())["id"] for _ in range(3)] == [item] * 3


def test_it_outlives_a_power_cut(lq: Daemon, endpoint: Endpoint) -> None:
    with tailing(lq) as tail:
        heard(lq, tail)
        lq.kill()
        assert "waiting" in tail.err.next()
        lq.start()
        assert "missed" in settled(tail)
        item = push(lq, endpoint)
        assert item in tail.out.next()


def test_it_does_not_hold_up_a_stop(lq: Daemon) -> None:
    with tailing(lq) as tail:
        heard(lq, tail)
        ended = lq.stop()
        assert ended.code == 0
        assert ended.seconds < 10
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_ends_it_quietly(lq: Daemon, number: signal.Signals, code: int) -> None:
    with tailing(lq) as tail:
        heard(lq, tail)
        tail.process.send_signal(number)
        assert tail.process.wait(PATIENCE_S) == code
        assert tail.err.rest() == []


def test_a_reader_that_has_gone_ends_it(lq: Daemon, endpoint: Endpoint) -> None:
    with piped(lq, "tail") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        def ended() -> bool:
            push(lq, endpoint)
            return process.poll() is not None

        wait_until(ended)
        assert process.returncode == 141
        assert process.stderr.read() == b""


def test_what_handlers_say_is_harmless(lq: Daemon, endpoint: Endpoint) -> None:
    evil = "\x1b]0;pwned\x07\x1b[2J\r\u202e\u2066 ha\x9b31m\x00\n2026-01-01 push fake"
    endpoint.on("/evil", lambda _: Answer(500, evil.encode()))
    with tailing(lq, "--verb", "bury,pause") as tail:
        heard(lq, tail)
        push(lq, endpoint, key="k\u202ek", path="/evil", retry="0")
        line = settled(tail)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)
    assert "ha" in line
    assert "\\u202e" in line


def test_a_token_that_is_revoked_ends_it(lq: Daemon) -> None:
    token = lq.client.create_token("t", ["read"])["token"]
    with tailing(lq, LQ_API_URL=lq.url, LQ_TOKEN=token) as tail:
        heard(lq, tail)
        lq.client.revoke_token("t")
        assert tail.process.wait(PATIENCE_S) == 4
        said = [tail.err.next(), tail.err.next()]
    assert "waiting for it to come back" in said[0]
    assert "token" in said[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--state", "DONE"), 2, "state: expected"),
        (("--verb", "x"), 2, "verb: expected"),
        (("--queue", "items"), 2, "queue"),
        (("-n", "0"), 2, "-n"),
        (("--schedule", "nobody"), 3, "schedule"),
        (("--url", "http://127.0.0.1:1"), 6, "cannot reach"),
    ],
)
def test_what_cannot_be_followed(
    lq: Daemon, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = lq.cli("tail", *arguments)
    assert (ended.code, ended.stdout) == (code, "")
    assert said in ended.stderr


def test_a_person_sees_colours(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/no", lambda _: FAILED)
    with Terminal(lq, "tail") as terminal:
        terminal.see("Ctrl-C ends it")
        item = push(lq, endpoint, path="/no", retry="0")
        shown = terminal.see("attempt 1, status 500")
        assert item in shown
        assert "\x1b[31mbury" in shown
        terminal.interrupt()
        assert terminal.wait() == 130


# lq top


def test_a_frame_for_programs(lq: Daemon, endpoint: Endpoint) -> None:
    empty = lq.cli("top")
    assert (empty.code, empty.stderr) == (0, "")
    assert empty.stdout.startswith("QUEUE  STATE")
    gate = endpoint.hold("/slow")
    push(lq, endpoint, path="/slow", key="user-7")
    push(lq, endpoint, "later", delay="1h")
    lq.client.pause("halted")
    lq.client.create_schedule("@daily", "ops", target=endpoint.url(), key="nightly")
    wait_until(lambda: lq.client.overview()["running"])
    frame = lq.cli("top", "--once").stdout
    assert re.search(r"^mail +active +0 +0 +1 +\d+\.\d", frame, re.MULTILINE)
    assert re.search(r"^later +active +1 +0 +0 ", frame, re.MULTILINE)
    assert re.search(r"^halted +paused", frame, re.MULTILINE)
    assert re.search(r"^job_\w+ .* mail +user-7 +1 +http", frame, re.MULTILINE)
    assert re.search(r"nightly +ops$", frame, re.MULTILINE)
    shown = json.loads(lq.cli("top", "--json").stdout)
    assert {one["name"] for one in shown["queues"]} == {"mail", "later", "halted"}
    assert shown["running"][0]["key"] == "user-7"
    gate.set()


@pytest.mark.parametrize("width", [80, 120])
def test_a_frame_for_people(lq: Daemon, endpoint: Endpoint, width: int) -> None:
    name = "очередь/日本語のキュー名はとても長いです🎉" * 3
    push(lq, endpoint, name, delay="1h")
    seen = typed(lq, "top", "--once", width=width)
    assert seen.code == 0
    assert "очередь" in seen.plain
    assert "running 0" in seen.plain


def test_it_is_live_until_q(lq: Daemon, endpoint: Endpoint) -> None:
    with Terminal(lq, "top", "--every", "200ms") as terminal:
        terminal.see("No queue yet")
        push(lq, endpoint, "brand-new", delay="1h")
        terminal.see("brand-new")
        terminal.press("\x1b[A")  # an arrow is no reason to leave
        terminal.see("brand-new")
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.see("\x1b[?1049l")  # what was on the screen before is there again
        assert terminal.settings == terminal.before


def test_ctrl_c_leaves_the_terminal_as_it_was(lq: Daemon) -> None:
    with Terminal(lq, "top") as terminal:
        terminal.see("No queue yet")
        terminal.interrupt()
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.see("\x1b[?1049l")
        assert terminal.settings == terminal.before


def test_it_outlives_the_daemon_too(lq: Daemon, endpoint: Endpoint) -> None:
    push(lq, endpoint, "mail", delay="1h")
    with Terminal(lq, "top", "--every", "200ms") as terminal:
        terminal.see("mail")
        lq.stop()
        terminal.see("out of date: ")
        lq.start()
        push(lq, endpoint, "after", delay="1h")
        terminal.see("after")
        terminal.press("q")
        assert terminal.wait() == 0


def test_no_daemon_no_top(start: Start) -> None:
    ended = start(start=False).cli("top")
    assert (ended.code, ended.stdout) == (6, "")
    assert "no lq daemon is running" in ended.stderr


def test_too_often(lq: Daemon) -> None:
    assert lq.cli("top", "--every", "1ms").code == 2


def test_a_limited_token_sees_its_queues(lq: Daemon, endpoint: Endpoint) -> None:
    for name in ("mail-a", "secret"):
        push(lq, endpoint, name, delay="1h")
        lq.client.create_schedule("@daily", name, target=endpoint.url(), key=f"of-{name}")
    token = lq.client.create_token("t", ["read"], queues=["mail-*"])["token"]
    shown = Client(lq.url, token).overview()
    assert [one["name"] for one in shown["queues"]] == ["mail-a"]
    assert [one["key"] for one in shown["schedules"]] == ["of-mail-a"]
    assert "secret" not in str(shown)
