"""The published JavaScript SDK, unchanged, against the real daemon."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from .conftest import Start
from .node import Failed, Node, NotInstalled, install
from .ports import free_port
from .process import Daemon, environment, wait_until

LATER_MS = 3_600_000
QUEUE, PATH = "api/mail", "/api/mail"


@pytest.fixture(scope="session")
def sdk(pytestconfig: pytest.Config) -> Path:
    """The folder it is installed in, kept with pytest's cache."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("lq-javascript-sdk")
    try:
        install(folder)
    except NotInstalled as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def lq(start: Start, port: int) -> Daemon:
    """A daemon that may call the application, and tries again soon."""
    return start(
        "[retry]\nretries = 2\nbase = '20ms'\n",
        environ={"LQ_EGRESS_ALLOW": f"127.0.0.1:{port}"},
    )


@pytest.fixture
def token(lq: Daemon) -> str:
    """What an application is given: it can push, and see and cancel by key."""
    return str(lq.client.create_token("application", ["push"])["token"])


@pytest.fixture
def node(sdk: Path, lq: Daemon, token: str, port: int) -> Iterator[Node]:
    environ = environment(
        sdk,
        LQ_API_URL=lq.url,
        LQ_TOKEN=token,
        LQ_SECRET=lq.secret(),
        LQ_BASE_URL=f"http://127.0.0.1:{port}",
    )
    with Node(sdk, environ) as application:
        application.call("define", path=PATH, name=QUEUE)
        yield application


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def pushed(answer: object) -> bool:
    """Whether a push went well; the SDK hides from its caller what lq answered."""
    return answer == {"created": None}


def test_an_item_reaches_its_handler_signed_after_a_validation(node: Node, lq: Daemon) -> None:
    payload = {"to": "ada", "text": "Grüße 🌍", "n": [1, None, True]}
    assert pushed(node.call("push", path=PATH, payload=payload))
    assert node.next("head")["head"] == PATH
    assert node.handled()["item"] == payload
    (item,) = wait_until(lambda: lq.client.history(queue=QUEUE)["items"])
    assert (item["state"], item["attempts"]) == ("COMPLETED", 1)
    assert pushed(node.call("push", path=PATH, payload="again"))
    assert node.handled()["item"] == "again"


def test_any_json_arrives_as_it_was_pushed(node: Node) -> None:
    payloads: tuple[Any, ...] = (None, 0, 1.5, "", "text", [], {}, {"deep": [[{}]]}, "é" * 8000)
    for payload in payloads:
        assert pushed(node.call("push", path=PATH, payload=payload))
        assert node.handled()["item"] == payload


def test_no_payload_is_undefined_for_the_handler(node: Node, lq: Daemon) -> None:
    assert pushed(node.call("push", path=PATH))
    assert node.handled()["undefined"] is True
    assert wait_until(lambda: lq.client.history(queue=QUEUE, state="COMPLETED")["items"])


def test_a_delay_in_milliseconds_is_kept(node: Node) -> None:
    for delay in (300, 100.7):
        before = now_ms()
        assert pushed(node.call("push", path=PATH, payload=delay, delay=delay))
        handled = node.handled()
        assert handled["item"] == delay
        assert handled["at"] >= before + int(delay)


def test_a_time_that_is_over_means_now(node: Node) -> None:
    assert pushed(node.call("push", path=PATH, payload="negative", delay=-5))
    assert node.handled()["item"] == "negative"
    assert pushed(node.call("push", path=PATH, payload="past", on=iso(now_ms() - LATER_MS)))
    assert node.handled()["item"] == "past"


def test_a_date_is_kept(node: Node) -> None:
    at = now_ms() + 300
    assert pushed(node.call("push", path=PATH, payload=1, on=iso(at)))
    assert node.handled()["at"] >= at


def test_the_second_push_with_a_key_takes_the_place_of_the_first(node: Node, lq: Daemon) -> None:
    assert pushed(node.call("push", path=PATH, payload="first", key="k", delay=LATER_MS))
    assert pushed(node.call("push", path=PATH, payload="second", key="k", delay=1))
    assert node.handled()["item"] == "second"
    (item,) = wait_until(lambda: lq.client.history(queue=QUEUE)["items"])
    assert item["key"] == "k"
    assert lq.client.items(QUEUE)["items"] == []


PUNCTUATION = """a"b<c>d{e}f|g^h~i'j;k=l,m:n@o!p$q*r(s)t+u[v]w&x`y"""


def test_a_key_with_slashes_and_accents_names_one_item(node: Node, lq: Daemon) -> None:
    queue, key = "büro/påsk", "müller/é?x=1&y"
    node.call("define", path="/other", name=queue)
    for number in range(3):
        assert pushed(
            node.call("push", path="/other", payload=number, key=key, delay=LATER_MS + number)
        )
    (item,) = lq.client.items(queue)["items"]
    assert (item["key"], lq.client.item(item["id"])["payload"]) == (key, 2)
    assert pushed(node.call("push", path="/other", payload="now", key=key, on=iso(now_ms())))
    assert node.handled()["item"] == "now"
    assert wait_until(lambda: lq.client.item(item["id"])["state"] == "COMPLETED")
    assert node.call("deleteByKeyOfHandler", path="/other", key=key) is None


def test_many_pushes_at_once(node: Node, lq: Daemon) -> None:
    payloads = list(range(60))
    node.call("pushMany", path=PATH, payloads=payloads, delay=LATER_MS)
    assert lq.client.queue(QUEUE)["pending"] == len(payloads)
    node.call("pushMany", path=PATH, payloads=payloads, key="k", delay=LATER_MS)
    assert lq.client.queue(QUEUE)["pending"] == len(payloads) + 1


NAMES = (
    ("plain", "k"),
    ("api/orders/eu", "order/7/confirm"),
    ("büro/påsk", "müller/é"),
    ("with space", "a key"),
    ("100%", "50%off"),
    ("api/mail", "a?b=c&d"),
    ("api/mail", "items/byKey/x"),
    ("api/mail?tenant=1", "a?b"),
    ("a//b/", "//a//"),
    ("🌍", "ÿ\xa0ü"),
    (PUNCTUATION, PUNCTUATION),
    ("q.1", "..x"),
)
"""Queues and keys, which the SDK puts into paths as they are."""


def test_fetch_and_delete_by_key(node: Node, lq: Daemon) -> None:
    for queue, key in NAMES:
        named = {"queue": queue, "key": key}
        node.call("define", path="/other", name=queue)
        assert node.call("fetchByKey", **named) is None, named
        assert node.call("deleteByKey", **named) is None, named
        assert pushed(node.call("push", path="/other", payload=1, key=key, delay=LATER_MS)), named
        (item,) = lq.client.items(queue)["items"]
        assert {"queue": item["queue"], "key": item["key"]} == named
        assert node.call("fetchByKey", **named) is not None, named
        assert node.call("deleteByKey", **named) is not None, named
        assert node.call("fetchByKey", **named) is None, named
        assert lq.client.item(item["id"])["state"] == "CANCELLED", named


def test_fetch_and_delete_by_id(node: Node, lq: Daemon) -> None:
    item = lq.client.push(QUEUE, b"1", target="https://example.com/", delay_ms=LATER_MS)["id"]
    assert node.call("fetch", id=item) is not None
    assert node.call("delete", id=item) is not None
    assert lq.client.item(item)["state"] == "CANCELLED"
    assert node.call("fetch", id="job_none") is None


def test_a_handlers_own_fetch_by_key_asks_for_a_queue_and_finds_nothing(node: Node) -> None:
    # A mistake of the SDK's: it asks GET /items/{queue}. It must not find anything else.
    assert pushed(node.call("push", path=PATH, payload=1, key="k", delay=LATER_MS))
    assert node.call("fetchByKeyOfHandler", path=PATH, key="k") is None


def test_a_handler_that_throws_is_called_again_and_its_words_are_kept(
    node: Node, lq: Daemon
) -> None:
    assert pushed(node.call("push", path=PATH, payload={"fails": "always"}))
    for _ in range(3):
        assert node.handled()["item"] == {"fails": "always"}
        assert node.next("refused") == {"refused": "told to fail: always"}
    (item,) = wait_until(lambda: lq.client.history(queue=QUEUE)["items"])
    assert (item["state"], item["attempts"], item["lastStatus"]) == ("FAILED", 3, 500)
    assert "told to fail: always" in item["error"]
    assert [one["status"] for one in lq.client.attempts(item["id"])] == [500, 500, 500]


def test_what_a_handler_returns_is_remembered(node: Node, lq: Daemon) -> None:
    assert pushed(node.call("push", path=PATH, payload={"returns": {"sent": 3}}))
    (item,) = wait_until(lambda: lq.client.history(queue=QUEUE)["items"])
    (attempt,) = lq.client.attempts(item["id"])
    assert (attempt["status"], attempt["responseBody"]) == (200, '{"sent":3}')


TYPED: tuple[tuple[str | None, bytes, object, bytes | None], ...] = (
    ("text/plain", "Grüße 🌍".encode(), "Grüße 🌍", None),
    ("text/csv; charset=utf-8", b"a,b\n1,2\n", "a,b\n1,2\n", None),
    ("application/json; charset=utf-8", b'{"a": [1, null]}', {"a": [1, None]}, None),
    ("application/octet-stream", bytes(range(256)) * 4, {}, bytes(range(256)) * 4),
    ("image/png", b"\x89PNG\r\n\x1a\n\x00", {}, b"\x89PNG\r\n\x1a\n\x00"),
    (None, b"\x00\xff", {}, b"\x00\xff"),
)
"""Types of bodies, and what a handler gets of each: a value, or bytes."""


@pytest.mark.parametrize("package", ["define", "definePlain"])
def test_a_handler_gets_json_text_and_bytes_as_what_they_are(
    node: Node, lq: Daemon, port: int, package: str
) -> None:
    """Its signature is over the bytes: a handler that was called has verified it."""
    node.call(package, path="/typed", name="typed")
    target = f"http://127.0.0.1:{port}/typed"
    for content_type, body, item, binary in TYPED:
        lq.client.push("typed", body, target=target, content_type=content_type)
        handled = node.handled()
        assert handled["item"] == item
        assert handled.get("bytes") == (None if binary is None else b64encode(binary).decode())
    assert wait_until(lambda: lq.client.queue("typed")["completed"] == len(TYPED))


@pytest.mark.parametrize("size", [10_000, 30_000, 60_000])
def test_what_is_no_larger_than_one_read_arrives_whole(node: Node, size: int) -> None:
    assert pushed(node.call("push", path=PATH, payload="x" * size))
    assert node.handled()["item"] == "x" * size


def test_an_application_on_the_smaller_package_alone(node: Node, lq: Daemon) -> None:
    node.call("definePlain", path="/plain", name="plain/é")
    for payload in ({"n": 1}, "x" * 900_000, None):
        assert pushed(node.call("pushPlain", path="/plain", payload=payload))
        assert node.handled()["item"] == payload
    assert pushed(node.call("pushPlain", path="/plain"))
    assert node.handled()["undefined"] is True
    wait_until(lambda: lq.client.queue("plain/é")["completed"] == 4)
    assert pushed(node.call("pushPlain", path="/plain", payload=1, key="a/é", delay=LATER_MS))
    assert node.call("deleteByKeyPlain", path="/plain", key="a/é") is not None
    assert node.call("deleteByKeyPlain", path="/plain", key="a/é") is None


@pytest.mark.parametrize(
    ("path", "queue"),
    [
        ("mail/send", "mail/send"),
        ("/mail/send/", "mail/send/"),
        ("büro/påsk", "büro/påsk"),
        ("mail?tenant=1&x", "mail?tenant=1&x"),
    ],
)
def test_a_queue_is_named_after_its_path(node: Node, lq: Daemon, path: str, queue: str) -> None:
    defined = node.call("define", path=path)
    assert defined["queue"] == queue
    named = path.partition("?")[0]
    named = named if named.startswith("/") else f"/{named}"
    assert pushed(node.call("push", path=named, payload=1))
    assert node.handled()["item"] == 1
    assert pushed(node.call("push", path=named, payload=1, key="k", delay=LATER_MS))
    (waiting,) = lq.client.items(queue)["items"]
    assert node.call("fetchOfHandler", path=named, id=waiting["id"]) is not None
    assert node.call("deleteByKeyOfHandler", path=named, key="k") is not None
    assert node.call("deleteByKeyOfHandler", path=named, key="k") is None
    assert pushed(node.call("push", path=named, payload=1, delay=LATER_MS))
    (waiting,) = lq.client.items(queue)["items"]
    assert node.call("deleteOfHandler", path=named, id=waiting["id"]) is not None
    assert lq.client.items(queue)["items"] == []
    assert node.call("fetchOfHandler", path=named, id="undefined") is None


@pytest.mark.parametrize(
    ("status", "headers", "ends"),
    [
        (202, {}, ("COMPLETED", 1)),
        (204, {}, ("COMPLETED", 1)),
        (500, {}, ("FAILED", 3)),
        (422, {"x-lq-retry": "no"}, ("FAILED", 1)),
        (410, {}, ("FAILED", 1)),
    ],
)
def test_a_handler_may_answer_with_a_response_of_its_own(
    node: Node, lq: Daemon, status: int, headers: dict[str, str], ends: tuple[str, int]
) -> None:
    responds: dict[str, Any] = {"status": status, "headers": headers}
    if status != 204:
        responds["body"] = "in its own words"
    assert pushed(node.call("push", path=PATH, payload={"responds": responds}))
    (item,) = wait_until(lambda: lq.client.history(queue=QUEUE)["items"])
    assert (item["state"], item["attempts"], item["lastStatus"]) == (*ends, status)
    if status >= 400:
        assert "in its own words" in item["error"]


def test_headers_beyond_ascii_reach_the_handler(node: Node) -> None:
    node.call("define", path="/guarded", name="guarded", headers={"x-who": "Åsa", "Cookie": "a=b"})
    assert pushed(node.call("push", path="/guarded", payload=1))
    head = node.next("head")["headers"]
    assert head["x-who"].encode("latin-1").decode() == "Åsa"
    assert head["cookie"] == "a=b"
    assert node.handled()["item"] == 1


def test_on_a_platform_that_it_knows_it_guesses_where_it_is(
    sdk: Path, lq: Daemon, token: str, port: int
) -> None:
    """On Vercel, where a header lets requests past the protection of a preview."""
    environ = environment(
        sdk,
        LQ_API_URL=lq.url,
        LQ_TOKEN=token,
        LQ_SECRET=lq.secret(),
        VERCEL="1",
        VERCEL_URL=f"127.0.0.1:{port}",
        VERCEL_AUTOMATION_BYPASS_SECRET="bypass-canary",
    )
    with Node(sdk, environ) as node:
        assert (
            node.call("define", path=PATH, name=QUEUE)["target"] == f"http://127.0.0.1:{port}{PATH}"
        )
        assert pushed(node.call("push", path=PATH, payload=1))
        assert node.next("head")["headers"]["x-vercel-protection-bypass"] == "bypass-canary"
        assert node.handled()["item"] == 1
    (item,) = wait_until(lambda: lq.client.history()["items"])
    assert lq.client.item(item["id"])["headers"] == {"x-vercel-protection-bypass": "[redacted]"}


def test_headers_go_with_the_validation_and_the_call(node: Node, lq: Daemon) -> None:
    node.call("define", path="/guarded", name="guarded", headers={"x-bypass": "let me in"})
    assert pushed(node.call("push", path="/guarded", payload=1))
    assert node.next("head")["headers"]["x-bypass"] == "let me in"
    assert node.handled()["item"] == 1


def test_a_wrong_secret_holds_items_and_says_so(node: Node, lq: Daemon) -> None:
    lq.environ["LQ_LISTEN"] = lq.url.removeprefix("http://")
    assert lq.stop().code == 0
    (lq.data / "secret").write_text("lqs_" + "0" * 64)
    lq.start()
    assert pushed(node.call("push", path=PATH, payload=1, key="k"))
    node.next("head")
    held = wait_until(lambda: [i for i in lq.client.items(QUEUE)["items"] if "error" in i])
    assert "x-lq-signature" in held[0]["error"]
    assert held[0]["attempts"] == 0
    assert node.nothing_happened()


def test_an_address_with_a_slash_at_its_end_works(node: Node, lq: Daemon) -> None:
    target = "https://example.com/"
    options = {"queue": QUEUE, "key": "k", "apiUrl": f"{lq.url}/"}
    assert pushed(node.call("pushTo", payload=1, target=target, delay=LATER_MS, **options))
    assert node.call("fetchByKey", **options) is not None


def test_a_request_that_is_not_valid_is_a_request_invalid(node: Node) -> None:
    failed = node.call("push", path=PATH, payload=1, delay="soon", key="k" * 600)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.status) == ("RequestInvalid", 400)
    assert failed.issues is not None
    assert {issue["path"][0] for issue in failed.issues} == {"x-lq-delay", "x-lq-key"}
    assert all(issue["message"] for issue in failed.issues)


def test_other_refusals_are_client_errors(node: Node, lq: Daemon) -> None:
    wanted = {"queue": QUEUE, "payload": 1, "target": "https://example.com/"}
    stranger = node.call("pushTo", **wanted, token="lq_nobody")
    assert (stranger.kind, stranger.status) == ("ClientError", 401)
    forbidden = node.call("pushTo", **wanted | {"target": "https://10.0.0.1/"})
    assert (forbidden.kind, forbidden.status) == ("ClientError", 422)
    large = node.call("pushTo", **wanted | {"payload": "x" * (2 << 20)})
    assert (large.kind, large.status) == ("ClientError", 413)
    assert "1048576" in large.message
    elsewhere = lq.client.create_token("elsewhere", ["push"], ["other"])["token"]
    limited = node.call("pushTo", **wanted, token=elsewhere)
    assert (limited.kind, limited.status) == ("ClientError", 403)


def test_what_a_token_may_not_do_is_a_client_error(node: Node, lq: Daemon) -> None:
    lq.client.push("q", b"1", key="k", target="https://example.com/", delay_ms=LATER_MS)
    reader = lq.client.create_token("reader", ["read"])["token"]
    named = {"queue": "q", "key": "k", "token": reader}
    assert node.call("fetchByKey", **named) is not None
    refused = node.call("deleteByKey", **named)
    assert (refused.kind, refused.status) == ("ClientError", 403)
    nobody = node.call("fetchByKey", **named | {"token": "lq_nobody"})
    assert (nobody.kind, nobody.status) == ("ClientError", 401)
    assert nobody.message.startswith("this needs a valid token")


def test_a_push_to_a_daemon_that_has_stopped_is_an_error_that_passes(
    node: Node, lq: Daemon
) -> None:
    assert pushed(node.call("push", path=PATH, payload={"fails": "for ever"}, delay=LATER_MS))
    item = lq.client.items(QUEUE)["items"][0]["id"]
    lq.environ["LQ_LISTEN"] = lq.url.removeprefix("http://")
    assert lq.stop().code == 0
    assert node.call("push", path=PATH, payload=1).kind == "TypeError"  # of fetch
    lq.start()
    assert pushed(node.call("push", path=PATH, payload="again"))
    assert node.handled()["item"] == "again"
    assert node.call("fetch", id=item) is not None


def test_a_schedule_without_payload_gives_its_handler_undefined(node: Node, lq: Daemon) -> None:
    made = node.call("scheduleHandler", cron="* * * * * *", path=PATH)
    assert node.handled()["undefined"] is True
    assert "payload" not in lq.client.schedule(made["id"])
    assert node.call("deleteSchedule", id=made["id"]) is True


def test_a_schedule_is_made_once(node: Node, lq: Daemon) -> None:
    wanted = {
        "cron": "30 2 * * 1-5",
        "queue": QUEUE,
        "payload": {"to": "ada"},
        "target": "https://example.com/hook",
        "key": "nightly",
        "timezone": "Europe/Berlin",
        "headers": {"x-team": "ops"},
    }
    made = node.call("schedule", **wanted)
    assert (made["schedule"], made["timezone"], made["queue"]) == (
        "30 2 * * 1-5", "Europe/Berlin", QUEUE,
    )  # fmt: skip
    assert made["created"].endswith("Z")
    assert made["nextRun"].endswith("Z")
    again = node.call("schedule", **wanted)
    assert again == {**made, "outcome": "kept"}
    (listed,) = lq.client.schedules()["items"]
    assert listed["id"] == made["id"]
    shown = lq.client.schedule("nightly")
    assert (shown["payload"], shown["headers"]) == ({"to": "ada"}, {"x-team": "ops"})
    moved = node.call("schedule", **wanted | {"cron": "@yearly", "timezone": None})
    assert (moved["id"], moved["timezone"], moved["outcome"]) == (made["id"], "UTC", "replaced")


def test_a_schedule_calls_the_handler_it_is_for(node: Node, lq: Daemon) -> None:
    made = node.call("scheduleHandler", cron="* * * * * *", path=PATH, payload={"n": 1}, key="k")
    assert (made["queue"], made["target"]["url"].endswith(PATH)) == (QUEUE, True)
    assert node.handled()["item"] == {"n": 1}
    assert node.call("deleteScheduleByKey", key="k") is True
    (item, *_) = wait_until(lambda: lq.client.history(schedule=made["id"])["items"])
    assert (item["state"], item["schedule"]) == ("COMPLETED", made["id"])


def test_fetch_and_delete_schedules(node: Node) -> None:
    named: tuple[tuple[str, dict[str, str]], ...] = (
        ("", {}),
        ("ByKey", {"key": "nightly"}),
        ("ByKey", {"key": "reports/eu?x=1&y"}),
        ("ByKey", {"key": "größe"}),
        ("ByKey", {"key": "50%off"}),
    )
    for by, key in named:
        wanted = {"cron": "@daily", "queue": "büro/påsk", "target": "https://example.com/"}
        made = node.call("schedule", **wanted, **key)
        assert made["queue"] == "büro/påsk", key
        ref = key or {"id": made["id"]}
        assert node.call(f"fetchSchedule{by}", **ref) is True, key
        assert node.call(f"deleteSchedule{by}", **ref) is True, key
        assert node.call(f"fetchSchedule{by}", **ref) is False, key
        assert node.call(f"deleteSchedule{by}", **ref) is False, key


def test_a_schedule_that_is_not_valid_is_a_request_invalid(node: Node, lq: Daemon) -> None:
    wanted = {"queue": QUEUE, "target": "https://example.com/", "payload": 1}
    failed = node.call("schedule", cron="0 24 * * *", timezone="Mars/Olympus", **wanted)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.status) == ("RequestInvalid", 400)
    assert failed.issues is not None
    issues = {issue["path"][0]: issue for issue in failed.issues}
    assert set(issues) == {"x-lq-schedule", "x-lq-tz"}
    assert "hour field" in issues["x-lq-schedule"]["message"]
    assert "position 3" in issues["x-lq-schedule"]["message"]  # of what its author wrote
    assert issues["x-lq-tz"]["code"] == "unknown_timezone"
    assert lq.client.schedules() == {"items": []}


def test_its_process_survives_a_daemon_that_goes_away(node: Node, lq: Daemon) -> None:
    lq.kill()
    assert node.call("push", path=PATH, payload=1).kind == "TypeError"
    assert node.call("fetchByKey", queue=QUEUE, key="k").kind == "TypeError"
    assert node.call("define", path="/still", name="here")["queue"] == "here"
