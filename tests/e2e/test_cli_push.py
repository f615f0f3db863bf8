"""`lq push` as people and scripts use it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from .conftest import Start
from .endpoint import FAILED, OK, Answer, Endpoint
from .process import Daemon, Ended, environment, run_lq
from .shell import piped, typed

YEAR = datetime.now(UTC).year + 2


def test_a_script_gets_the_bare_id_and_the_handler_the_payload(
    lq: Daemon, endpoint: Endpoint
) -> None:
    done = lq.cli("push", "--queue", "mail", "--target", endpoint.url("/a"), "--data", '{"a":1}')
    call = endpoint.next()
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == f"{call.id}\n"
    assert (call.path, call.body) == ("/a", b'{"a":1}')


def test_a_payload_is_recognised(lq: Daemon, endpoint: Endpoint) -> None:
    file = lq.folder / "payload"
    for data, content_type in (
        (b'{"a": [1, "\xc3\xbc"]}', "application/json"),
        (b"12", "application/json"),
        (b"NaN", "text/plain; charset=utf-8"),
        (b"gr\xc3\xbc\xc3\x9fe", "text/plain; charset=utf-8"),
        (b"\x00\xff" * 1000, "application/octet-stream"),
    ):
        file.write_bytes(data)
        lq.cli("push", "--queue", "q", "--target", endpoint.url(), "--data", "@payload")
        call = endpoint.next()
        assert (call.headers.get("content-type"), call.body) == (content_type, data)


def test_an_empty_payload_has_no_type(lq: Daemon, endpoint: Endpoint) -> None:
    lq.cli("push", "--queue", "q", "--target", endpoint.url())
    call = endpoint.next()
    assert ("content-type" in call.headers, call.body) == (False, b"")


def test_a_payload_comes_from_stdin(lq: Daemon, endpoint: Endpoint) -> None:
    with piped(lq, "push", "--queue", "q", "--target", endpoint.url(), "--data", "-") as process:
        process.communicate(b"from a \xff pipe")
    assert process.returncode == 0
    assert endpoint.next().body == b"from a \xff pipe"


def test_the_call_is_as_the_options_say(lq: Daemon, endpoint: Endpoint) -> None:
    done = lq.cli(
        *("push", "--queue", "a/b", "--target", endpoint.url("/x?y=1")),
        *("--key", "schlüssel", "--header", "X-Team: größe", "--header", "x-b:c"),
        *("--content-type", "text/x", "--data", "1", "--retry", "1s,2s", "--timeout", "9s"),
        *("--label", "red", "--label", "blue", "--json"),
    )
    call = endpoint.next()
    assert call.path == "/x?y=1"
    assert call.headers["content-type"] == "text/x"
    assert call.headers["x-team"].encode("latin-1").decode() == "größe"
    assert call.headers["x-b"] == "c"
    assert call.headers["x-lq-max-attempts"] == "3"
    pushed = json.loads(done.stdout)
    assert pushed["target"] == {"url": endpoint.url("/x?y=1"), "method": "POST"}
    assert pushed["labels"] == ["red", "blue"]
    assert (pushed["outcome"], pushed["key"], pushed["queue"]) == ("created", "schlüssel", "a/b")
    shown = lq.client.item(pushed["id"])
    assert (shown["retry"], shown["timeout"]) == ("1s,2s", "9s")


def test_a_method_may_be_written_small(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--delay", "1h", "--json")
    assert json.loads(lq.cli(*push, "--method", "put").stdout)["target"]["method"] == "PUT"


def test_a_time_is_sent_as_what_it_means(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--json")
    on = lq.cli(*push, "--on", f"{YEAR}-07-01 09:00 Europe/Berlin")
    assert json.loads(on.stdout)["notBefore"] == f"{YEAR}-07-01T07:00:00.000Z"
    expires = lq.cli(*push, "--delay", "1d", "--expires", f"{YEAR}-01-01T00:00:00Z")
    assert json.loads(expires.stdout)["expires"] == f"{YEAR}-01-01T00:00:00.000Z"


def test_a_time_without_a_zone_is_local(start: Start, endpoint: Endpoint) -> None:
    daemon = start(environ={"TZ": "America/New_York"})
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--json")
    done = daemon.cli(*push, "--on", f"{YEAR}-07-01 09:00")
    assert json.loads(done.stdout)["notBefore"] == f"{YEAR}-07-01T13:00:00.000Z"


def test_a_key_is_replaced_kept_or_rejected(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--key", "k", "--target", endpoint.url(), "--delay", "1h")
    first = lq.cli(*push).stdout
    assert lq.cli(*push, "--data", "2").stdout == first
    assert lq.cli(*push, "--data", "3", "--if-exists", "keep").stdout == first
    rejected = lq.cli(*push, "--if-exists", "reject")
    assert (rejected.code, rejected.stdout) == (5, "")
    assert rejected.stderr.startswith("lq: an item with key 'k' is waiting")
    assert lq.client.item(first.strip())["payload"] == 2


def test_without_any_target_both_ways_to_give_one_are_told(lq: Daemon) -> None:
    done = lq.cli("push", "--queue", "q")
    assert (done.code, done.stdout) == (2, "")
    assert "--target" in done.stderr
    assert "[queues.NAME]" in done.stderr


def test_the_target_of_the_queue_is_used(start: Start, endpoint: Endpoint) -> None:
    daemon = start(f'[queues.mail]\ntarget = "{endpoint.url("/mail")}"')
    assert daemon.cli("push", "--queue", "mail").code == 0
    assert endpoint.next().path == "/mail"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--queue'"),
        (("--queue", "q", "--delay", "5"), "--delay"),
        (("--queue", "q", "--on", "09:00 Mars/Base"), "--on"),
        (("--queue", "q", "--expires", "never"), "--expires"),
        (("--queue", "q", "--header", "colon"), "--header"),
        (("--queue", "q", "--header", "a:1", "--header", "a:2"), "--header"),
        (("--queue", "q", "--if-exists", "maybe"), "--if-exists"),
        (("--queue", "q", "--method", "BREW"), "--method"),
        (("--queue", "q", "--data", "@missing"), "missing: No such file or directory"),
        (("--queue", "q", "--key", "a\nb"), "--key: "),
        (("--queue", "q", "--dely", "5m"), "--delay"),
        (("--queue", "q", "surplus"), "surplus"),
    ],
)
def test_what_is_not_understood_is_refused_without_asking(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run_lq("push", *arguments, cwd=tmp_path, environ=environment(tmp_path))
    assert_usage_error(done, said)


def test_what_the_daemon_refuses_is_told_by_option(lq: Daemon) -> None:
    push = ("push", "--queue", "q", "--target", "https://example.com")
    assert_usage_error(lq.cli(*push, "--retry", "no"), "lq: --retry: ")
    assert_usage_error(lq.cli(*push, "--label", "a b"), "lq: --label: ")
    assert_usage_error(lq.cli(*push, "--header", "Host: x"), "lq: --header: ")
    assert_usage_error(lq.cli(*push, "--timeout", "0s"), "lq: --timeout: ")
    assert_usage_error(lq.cli(*push, "--timeout", "25h"), "got '1d1h'")
    assert_usage_error(lq.cli(*push, "--key", ""), "lq: --key: must not be empty\nhint: ")
    assert_usage_error(lq.cli(*push, "--target", "http://a:b@c/"), "send them with --header")
    assert_usage_error(lq.cli(*push, "--target", "ftp://example.com"), "lq: --target: ")
    assert_usage_error(lq.cli(*push, "--queue", "a/items"), "lq: queue: ")


def assert_usage_error(done: Ended, said: str) -> None:
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("lq: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_target_that_lq_may_not_call_is_not_allowed(lq: Daemon) -> None:
    done = lq.cli("push", "--queue", "q", "--target", "http://10.0.0.1/")
    assert (done.code, done.stdout) == (4, "")
    assert (
        'hint: to let lq call it, add to lq.toml: [egress] allow = ["10.0.0.1:80"]' in done.stderr
    )


# Waiting


def test_waiting_exits_with_a_success(lq: Daemon, endpoint: Endpoint) -> None:
    done = lq.cli("push", "--queue", "q", "--target", endpoint.url(), "--wait")
    assert (done.code, done.stdout, done.stderr) == (0, f"{endpoint.next().id}\n", "")


def test_waiting_says_what_holds_the_item(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.secret = "another" * 9
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--wait-timeout", "2s")
    done = lq.cli(*push)
    held, still, _ = done.stderr.splitlines()
    assert done.code == 7
    assert re.search("waits, due .*: endpoint not validated: ", held)
    assert "is still PENDING: endpoint not validated: " in still


def test_an_item_that_expires_before_it_is_due_is_told_of(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--delay", "2h")
    done = lq.cli(*push, "--expires", "1h")
    assert done.code == 0
    assert "expires before it is due" in done.stderr
    assert lq.cli(*push, "--expires", "3h").stderr == ""


def test_waiting_exits_with_a_failure_and_says_why(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.on("/", lambda _: Answer(410, b"\x1b[31mgone"))
    done = lq.cli("push", "--queue", "q", "--target", endpoint.url(), "--wait")
    job = endpoint.next().id
    assert (done.code, done.stdout) == (1, f"{job}\n")
    assert done.stderr.startswith(f"{job} is FAILED after 1 attempt: status 410")
    assert "\x1b" not in done.stderr


def test_waiting_outlasts_retries(lq: Daemon, endpoint: Endpoint) -> None:
    answers = iter([FAILED, FAILED])
    endpoint.on("/", lambda _: next(answers, OK))
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--retry", "10ms,10ms")
    done = lq.cli(*push, "--wait", "--json")
    final = json.loads(done.stdout)
    assert (done.code, final["state"], final["attempts"]) == (0, "COMPLETED", 3)


def test_waiting_gives_up_in_time(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--delay", "1h")
    done = lq.cli(*push, "--wait-timeout", "50ms")
    assert done.code == 7
    job = done.stdout.strip()
    assert done.stderr.startswith(f"lq: {job} is still PENDING\nhint: ")
    assert lq.client.item(job)["state"] == "PENDING"


def test_a_cancelled_item_is_a_negative_outcome(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--delay", "1h", "--wait")
    with piped(lq, *push) as process:
        assert process.stdout
        job = process.stdout.readline().decode().strip()
        lq.client.cancel(job)
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert stderr.decode().startswith(f"{job} is CANCELLED after 0 attempts")


def test_a_payload_that_is_too_large_is_refused(start: Start, endpoint: Endpoint) -> None:
    daemon = start('max_payload = "1KiB"')
    Path(daemon.folder / "large").write_bytes(b"x" * 100_000)
    done = daemon.cli("push", "--queue", "q", "--target", endpoint.url(), "--data", "@large")
    assert (done.code, done.stdout) == (2, "")
    assert "1024 bytes" in done.stderr


# On a terminal


def test_a_person_is_told_what_was_pushed_for_when_and_its_id(
    lq: Daemon, endpoint: Endpoint
) -> None:
    push = ("push", "--queue", "mail", "--target", endpoint.url(), "--key", "k")
    seen = typed(lq, *push, "--delay", "5m", width=200, TZ="Europe/Berlin")
    assert seen.code == 0
    job = lq.client.items()["items"][0]["id"]
    assert re.fullmatch(
        rf"Pushed {job} in mail \(key k\), due \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d CES?T"
        r" \(in 5 minutes\)\n",
        seen.text,
    )
    assert typed(lq, *push).text == f"Replaced {job} in mail (key k), due now\n"


def test_a_person_sees_the_attempts_as_they_happen(lq: Daemon, endpoint: Endpoint) -> None:
    answers = iter([Answer(500, b"\x1b]0;evil\x07")])
    endpoint.on("/", lambda _: next(answers, OK))
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--retry", "10ms")
    seen = typed(lq, *push, "--wait", width=200)
    pushed, first, second, last = seen.lines
    job = endpoint.next().id
    assert pushed == f"Pushed {job} in q, due now"
    assert re.match(r"Attempt 1 failed after \d+ms: status 500", first)
    assert re.fullmatch(r"Attempt 2 succeeded after \d+ms: status 200", second)
    assert last == f"{job} is COMPLETED after 2 attempts"
    assert "\x1b]" not in seen.text


def test_a_push_that_is_repeated_is_there_once(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--idempotency-key")
    key = r'of "today", 12:00; C:\backup'
    first = lq.cli(*push, key, "--data", "1")
    assert (first.code, endpoint.next().body) == (0, b"1")
    again = lq.cli(*push, key, "--data", "1")
    assert (again.code, again.stdout, again.stderr) == (0, first.stdout, "")
    other = lq.cli(*push, key, "--data", "2")
    assert (other.code, other.stdout) == (5, "")
    assert "another request came with this --idempotency-key; nothing was done" in other.stderr
    for wrong in ("", "ü", "x" * 256):
        refused = lq.cli(*push, wrong)
        assert refused.code == 2
        assert refused.stderr.startswith("lq: --idempotency-key: expected 1 to 255 characters")
    assert endpoint.none_left()
