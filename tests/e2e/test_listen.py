"""`lq listen` and `lq trigger`: real calls at an application on the developer's machine."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lq.client import Client
from lq.signature import verify

from .conftest import Start
from .endpoint import FAILED, Answer, Endpoint
from .process import PATIENCE_S, Daemon, wait_until
from .shell import piped, typed
from .test_cli_watch import Lines

FAR = "https://far-away.example/hooks/mail?shop=7"
"""A target that nothing here reaches: what is taken over never asks it."""


class Listener:
    """An `lq listen` whose streams are pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.out = Lines(process.stdout)
        self.err = Lines(process.stderr)

    def call(self) -> dict[str, Any]:
        """The next call that it shows."""
        shown: dict[str, Any] = json.loads(self.out.next())
        return shown

    def says(self, text: str) -> str:
        """The next line of its stderr that holds a text."""
        while text not in (line := self.err.next()):
            pass
        return line

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def listening(
    daemon: Daemon, local: Endpoint, *arguments: str, **environ: str
) -> Iterator[Listener]:
    """A listener that is known to the daemon."""
    base = local.url().rstrip("/")
    with piped(daemon, "listen", "--forward-to", base, "--json", *arguments, **environ) as process:
        listener = Listener(process)
        try:
            listener.says(" of calls of " if "--take-over" not in arguments else " over calls of ")
            yield listener
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            listener.out.rest(), listener.err.rest()


@pytest.fixture
def local(endpoint: Endpoint) -> Iterator[Endpoint]:
    """The application of a developer, which knows the secret of lq."""
    with Endpoint(endpoint.secret) as application:
        yield application


def state_of(lq: Daemon, item: str) -> str:
    return str(lq.client.item(item)["state"])


def test_copies_show_what_happens_and_change_nothing(
    lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    local.on("/hook?a=%20b", lambda _: FAILED)
    with listening(lq, local, "--queue", "mail-*", LQ_SECRET=endpoint.secret) as listener:
        payload = bytes(range(256)) * 4096  # a MiB of everything
        item = lq.client.push(
            "mail-eu", payload, target=endpoint.url("/hook?a=%20b"), key="k",
            headers={"Authorization": "Bearer own", "X-Team": "mail"},
        )  # fmt: skip
        real, copied, shown = endpoint.next(), local.next(), listener.call()
    assert real.body == copied.body == payload
    assert copied.path == real.path
    assert "x-lq-copy" not in real.headers
    assert copied.headers["x-lq-copy"] == "true"
    assert copied.headers["host"] == f"127.0.0.1:{local.port}"
    same = ("x-lq-id", "x-lq-key", "x-lq-attempt", "authorization", "x-team", "content-length")
    assert [copied.headers.get(name) for name in same] == [real.headers.get(name) for name in same]
    verify(copied.headers["x-lq-signature"], payload, [endpoint.secret], copied.at)
    assert (shown["status"], shown["signature"], shown["copy"]) == (500, "verified", True)
    assert endpoint.secret not in str(copied.headers) + str(shown)
    wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    assert len(lq.client.attempts(item["id"])) == 1


def test_other_queues_and_targets_are_not_copied(
    lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    with listening(lq, local, "--queue", "a", "--target", "*/yes") as listener:
        for queue, path in (("b", "/yes"), ("a", "/no"), ("a", "/yes")):
            lq.client.push(queue, target=endpoint.url(path), key=path)
            endpoint.next()
        shown = listener.call()
        assert (shown["queue"], shown["path"]) == ("a", "/yes")
    assert local.next().path == "/yes"
    assert local.none_left()


def test_taken_over_a_call_ends_as_the_application_answers(lq: Daemon, local: Endpoint) -> None:
    local.on("/hooks/mail?shop=7", lambda _: Answer(201, b"made", {"x-request-id": "r1"}))
    with listening(lq, local, "--take-over", "--name", "ada") as listener:
        item = lq.client.push("mail", b"{}", target=FAR)
        shown = listener.call()
        assert (shown["status"], shown["copy"], shown["signature"]) == (201, False, "unverified")
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    (attempt,) = lq.client.attempts(item["id"])
    assert (attempt["status"], attempt["responseBody"]) == (201, "made")
    assert attempt["responseHeaders"]["x-lq-answered-by"] == "ada"
    assert attempt["responseHeaders"]["x-request-id"] == "r1"
    assert "listener ada takes over calls of all queues" in lq.stderr
    verify(local.next().headers["x-lq-signature"], b"{}", [local.secret], shown["at"])


def test_a_failure_of_the_application_is_retried(lq: Daemon, local: Endpoint) -> None:
    answers = iter([Answer(503, b"not yet", {"Retry-After": "0"}), Answer(200)])
    local.on("/hooks/mail?shop=7", lambda _: next(answers))
    with listening(lq, local, "--take-over", "--name", "ada") as listener:
        item = lq.client.push("mail", target=FAR, retry="1ms")
        assert [listener.call()["attempt"], listener.call()["attempt"]] == [1, 2]
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    first, second = lq.client.attempts(item["id"])
    assert (first["outcome"], first["error"]) == ("failed", "status 503: not yet")
    assert second["outcome"] == "succeeded"


def test_an_application_that_is_not_there_is_a_failed_attempt(lq: Daemon, local: Endpoint) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with listening(
        lq, local, "--take-over", "--name", "ada", "--forward-to", f"http://127.0.0.1:{port}"
    ) as listener:
        item = lq.client.push("mail", target=FAR, retry=0)
        assert listener.call()["error"].startswith("connect_error: ")
        wait_until(lambda: state_of(lq, item["id"]) == "FAILED")
    error = lq.client.item(item["id"])["error"]
    assert error.startswith("connect_error: ")
    assert error.endswith("(answered by listener ada)")


def test_a_time_out_holds_for_the_application(lq: Daemon, local: Endpoint) -> None:
    local.hold("/hooks/mail?shop=7")
    with listening(lq, local, "--take-over", "--name", "ada"):
        item = lq.client.push("mail", target=FAR, retry=0, timeout="200ms")
        wait_until(lambda: state_of(lq, item["id"]) == "FAILED")
    assert lq.client.item(item["id"])["error"].startswith("timeout: ")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_when_a_listener_goes_its_call_is_given_back_uncounted(
    number: signal.Signals, lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    local.hold("/hook")
    with listening(lq, local, "--take-over", "--name", "ada") as listener:
        item = lq.client.push("mail", b"x", target=endpoint.url("/hook"), retry=0)
        assert local.next().attempt == 1
        assert endpoint.none_left()
        assert listener.end(number) == (-number if number is signal.SIGKILL else 0)
        assert endpoint.next().attempt == 1
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    first, second = lq.client.attempts(item["id"])
    assert (first["outcome"], second["outcome"]) == ("interrupted", "succeeded")
    assert "listener ada went away" in first["error"]


def test_a_listener_that_says_nothing_any_more_is_let_go(
    lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    with listening(lq, local, "--take-over", "--name", "ada") as listener:
        listener.process.send_signal(signal.SIGSTOP)  # its connections stay, as half-open ones do
        item = lq.client.push("mail", target=endpoint.url("/hook"), retry=0)
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
        assert lq.client.listeners() == []
        listener.process.send_signal(signal.SIGCONT)
        listener.says("listening again")
        assert [one["name"] for one in wait_until(lq.client.listeners)] == ["ada"]


def test_of_two_the_first_has_the_calls_and_the_second_follows(
    lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    local.hold("/hooks/mail?shop=7")
    with (
        Endpoint(endpoint.secret) as other,
        listening(lq, local, "--take-over", "--name", "ada") as first,
        listening(lq, other, "--take-over", "--name", "ada") as second,
    ):
        assert second.says("took over before").startswith("warning: ada took")
        assert [one.get("ahead") for one in lq.client.listeners()] == [None, ["ada"]]
        item = lq.client.push("mail", target=FAR, retry=0)
        local.next()
        assert other.none_left()
        first.end(signal.SIGKILL)
        assert other.next().id == item["id"]
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
        *_, last = lq.client.attempts(item["id"])
        assert last["responseHeaders"]["x-lq-answered-by"] == "ada-2"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_that_is_started_anew_is_found_again(
    number: signal.Signals, start: Start, endpoint: Endpoint, local: Endpoint
) -> None:
    lq = start()
    with listening(lq, local, "--take-over", "--name", "ada") as listener:
        lq.stop(number)
        listener.says("waiting for it to come back")
        lq.start()
        listener.says("takes over calls")
        item = lq.client.push("mail", target=FAR)
        assert local.next().id == item["id"]
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")


def test_a_call_under_way_when_the_daemon_dies_comes_again(start: Start, local: Endpoint) -> None:
    local.hold_first("/hooks/mail?shop=7")
    lq = start()
    with listening(lq, local, "--take-over", "--name", "ada") as listener:
        item = lq.client.push("mail", target=FAR, retry=0)
        assert local.next().attempt == 1
        lq.kill()
        lq.start()
        listener.says("takes over calls")
        wait_until(
            lambda: lq.client.run(item["id"]) if state_of(lq, item["id"]) == "PENDING" else True
        )
        assert local.next().attempt == 1
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    outcomes = [one["outcome"] for one in lq.client.attempts(item["id"])]
    assert outcomes == ["interrupted", "succeeded"]


def test_large_payloads_and_binary_answers(start: Start, local: Endpoint) -> None:
    lq = start("max_payload = 4194304")
    payload, body = bytes(range(256)) * 12_288, bytes(range(256))
    local.on("/hooks/mail?shop=7", lambda _: Answer(200, body))
    with listening(lq, local, "--take-over"):
        item = lq.client.push("mail", payload, target=FAR)
        assert local.next().body == payload
        wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    (attempt,) = lq.client.attempts(item["id"])
    assert base64.b64decode(attempt["responseBody"]) == body


def test_on_a_terminal_a_call_is_a_line_that_nobody_can_forge(lq: Daemon, local: Endpoint) -> None:
    made = lq.client.push("q\u202e", target=FAR, key="k", delay="5m")
    seen = typed(
        lq, "trigger", made["id"], "--forward-to", local.url(), width=200, LQ_SECRET="x" * 40
    )
    assert seen.code == 0
    assert "q\\u202e (k)  1/6  POST /hooks/mail?shop=7  200" in seen.plain
    assert "SIGNATURE INVALID" in seen.plain


def test_a_stop_lets_a_call_that_was_taken_over_end(
    lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    gate = local.hold("/hooks/mail?shop=7")
    with listening(lq, local, "--take-over"):
        item = lq.client.push("mail", target=FAR, retry=0)
        local.next()
        lq.send(signal.SIGTERM)
        lq.wait_for("1 calls are still running")
        gate.set()
        assert lq.wait().code == 0
    lq.start()
    assert state_of(lq, item["id"]) == "COMPLETED"


def test_tokens(lq: Daemon, endpoint: Endpoint, local: Endpoint) -> None:
    for scope in ("push", "read"):
        token = lq.client.create_token(scope, [scope])["token"]
        refused = lq.cli("listen", "--forward-to", local.url(), "--url", lq.url, "--token", token)
        assert refused.code == 4
        assert "lacks the scope admin" in refused.stderr
    limited = lq.client.create_token("dev", ["admin"], queues=["dev-*"])["token"]
    with listening(lq, local, LQ_API_URL=lq.url, LQ_TOKEN=limited) as listener:
        for queue in ("prod", "dev-1"):
            lq.client.push(queue, target=endpoint.url(f"/{queue}"))
            endpoint.next()
        assert listener.call()["queue"] == "dev-1"
        (shown,) = lq.client.listeners()
        assert "id" not in shown
        lq.client.revoke_token("dev")
        lq.client.push("dev-1", target=endpoint.url("/dev-1"))
        assert listener.process.wait(PATIENCE_S) == 4
    assert local.next().path == "/dev-1"
    assert local.none_left()


def test_a_listener_belongs_to_who_made_it(lq: Daemon) -> None:
    mine = lq.client.listen("mine")["id"]
    other = Client(lq.url, lq.client.create_token("other", ["admin"])["token"], retries=0)
    for ask in (other.next_call, other.unlisten):
        with pytest.raises(Exception, match="no such listener"):
            ask(mine)


def test_a_slow_listener_loses_copies_and_hears_how_many(lq: Daemon, endpoint: Endpoint) -> None:
    listener = lq.client.listen("slow")["id"]
    for number in range(103):
        lq.client.push("q", target=endpoint.url("/"), key=str(number))
        endpoint.next()
    first = lq.client.next_call(listener)
    assert first["lost"] == 3
    assert first["call"]["number"] == 1
    assert lq.client.next_call(listener)["call"]["number"] == 1  # until it is said to have arrived
    assert lq.client.next_call(listener, after=1)["call"]["number"] == 2
    assert "call" not in lq.client.next_call(listener, 100, 0)


def test_an_answer_counts_once_and_one_to_a_copy_never(lq: Daemon, endpoint: Endpoint) -> None:
    copying = lq.client.listen("copying")["id"]
    taking = lq.client.listen("taking", take_over=True)["id"]
    lq.client.push("q", target=FAR, retry=0)
    good = {"x-lq-call": "1", "x-lq-status": "200"}
    with pytest.raises(Exception, match="nobody waits"):
        lq.client.answer_call(copying, good, b"")
    lq.client.next_call(taking)
    lq.client.answer_call(taking, good, b"")
    with pytest.raises(Exception, match="nobody waits"):
        lq.client.answer_call(taking, good, b"")
    for wrong in (
        {},
        {"x-lq-call": "1"},
        {**good, "x-lq-status": "99"},
        {**good, "x-lq-headers": "[]"},
    ):
        with pytest.raises(Exception, match="x-lq-"):
            lq.client.answer_call(taking, wrong, b"")


def test_a_copy_cannot_call_back(start: Start, endpoint: Endpoint, local: Endpoint) -> None:
    lq = start('public_url = "http://127.0.0.1:1"')
    with listening(lq, local):
        lq.client.push("q", target=endpoint.url("/"), completion="callback")
        assert "x-lq-callback" in endpoint.next().headers
        assert "x-lq-callback" not in local.next().headers


def test_hostile_answers_are_bounded(lq: Daemon, local: Endpoint) -> None:
    local.on("/hooks/mail?shop=7", lambda _: Answer(302, b"x" * 200_000, {"Location": "/else"}))
    with listening(lq, local, "--take-over"):
        item = lq.client.push("mail", target=FAR, retry=0)
        wait_until(lambda: state_of(lq, item["id"]) == "FAILED")
    (attempt,) = lq.client.attempts(item["id"])
    assert attempt["truncated"]
    assert len(attempt["responseBody"]) == 65_536
    assert "redirect 302 -> /else" in attempt["error"]
    local.next()
    assert local.none_left()


def test_trigger_sends_a_job_again_and_leaves_it_as_it_is(
    lq: Daemon, endpoint: Endpoint, local: Endpoint
) -> None:
    item = lq.client.push("mail", b"\x00payload", target=endpoint.url("/hook"), key="k")
    endpoint.next()
    wait_until(lambda: state_of(lq, item["id"]) == "COMPLETED")
    before = lq.client.item(item["id"])
    nobody = lq.cli("trigger", item["id"])
    assert (nobody.code, "nobody listens" in nobody.stderr) == (5, True)
    with listening(lq, local, "--queue", "mail", "--name", "ada") as listener:
        sent = lq.cli("trigger", item["id"])
        assert (sent.code, sent.stdout) == (0, "ada\n")
        assert listener.call()["item"] == item["id"]
        again = local.next()
    assert again.body == b"\x00payload"
    verify(again.headers["x-lq-signature"], again.body, [endpoint.secret], again.at)
    once = lq.cli("trigger", item["id"], "--forward-to", local.url(), "--path", "/other", "--json")
    assert (once.code, json.loads(once.stdout)["path"]) == (0, "/other")
    assert local.next().path == "/other"
    local.on("/other", lambda _: FAILED)
    assert lq.cli("trigger", item["id"], "--forward-to", local.url(), "--path", "/other").code == 1
    assert lq.client.item(item["id"]) == before
    assert lq.client.listeners() == []
    assert endpoint.none_left()


def test_trigger_sends_a_sample_without_any_job(lq: Daemon, local: Endpoint) -> None:
    with listening(lq, local, "--take-over", "--queue", "mail") as listener:
        assert (
            lq.cli("trigger", "--queue", "mail", "--data", '{"to": "ada"}', "--target", FAR).code
            == 0
        )
        call = local.next()
        assert (call.path, call.body) == ("/hooks/mail?shop=7", b'{"to": "ada"}')
        assert call.headers["content-type"] == "application/json"
        assert listener.call()["copy"]
    assert lq.client.items()["items"] == lq.client.history()["items"] == []
    for wrong in ((), ("job_1", "--queue", "q"), ("job_1", "--data", "x")):
        assert lq.cli("trigger", *wrong).code == 2


@pytest.mark.parametrize(
    "url", ["ftp://x", "localhost:3000", "http://", "http://u@h", "http://h/?q", "http://h:0"]
)
def test_only_urls_that_can_be_called(url: str, lq: Daemon) -> None:
    refused = lq.cli("listen", "--forward-to", url)
    assert (refused.code, "--forward-to" in refused.stderr) == (2, True)


def test_the_list_of_listeners(lq: Daemon, local: Endpoint) -> None:
    with listening(lq, local, "--take-over", "--queue", "mail", "--name", "ada"):
        shown = lq.cli("listen", "--list")
    assert shown.stdout.split("\n")[1].split()[:4] == ["ada", "takes", "over", "mail"]
    assert os.environ.get("LQ_SECRET") is None
