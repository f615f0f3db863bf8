"""The call as the handler sees it: protocol.md, sections 6 and 7."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from lq import __version__
from lq.clock import SystemClock
from lq.daemon.main import Daemon
from lq.model import Firing, QueueSettings, RetryPolicy
from lq.signature import new_secret, verify, webhook_secret
from tests.clock import START, FakeClock
from tests.support.calls import run_of, signing
from tests.support.handler import Call, Wire, answers, response
from tests.support.home import Home, heard


async def called(daemon: Daemon, home: Home, path: str = "/", **push: Any) -> Call:
    """What the handler sees of a push."""
    await daemon.engine.push(home.push(path, **push))
    return await home.handler.next()


async def test_all_headers_of_a_call(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    pushed = await daemon.engine.push(
        home.push(
            "/hook?a=%2F&b",
            queue="mail/out going",
            key="ü/k ey",
            payload=b'{"a":1}',
            content_type="application/json; charset=utf-8",
            retry=RetryPolicy(7),
            headers={"X-Team": "mail", "authorization": "Bearer secret"},
        )
    )
    call = await home.handler.next()
    assert (call.method, call.path, call.body) == ("POST", "/hook?a=%2F&b", b'{"a":1}')
    traceparent = call.headers["traceparent"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", traceparent)
    expected = {
        "host": f"127.0.0.1:{home.handler.port}",
        "content-length": "7",
        "content-type": "application/json; charset=utf-8",
        "user-agent": f"lq/{__version__}",
        "x-lq-signature": call.headers["x-lq-signature"],
        "x-lq-id": pushed.job.id,
        "x-lq-queue": "mail%2Fout%20going",
        "x-lq-key": "%C3%BC%2Fk%20ey",
        "x-lq-attempt": "1",
        "x-lq-max-attempts": "8",
        "webhook-id": pushed.job.id,
        "webhook-timestamp": str(clock.now() // 1000),
        "webhook-signature": call.headers["webhook-signature"],
        "idempotency-key": f'"{pushed.job.id}"',
        "traceparent": traceparent,
        "x-team": "mail",
        "authorization": "Bearer secret",
    }
    assert call.headers == expected
    assert len(call.lines) == len(expected)  # none is there twice
    assert unquote(call.headers["x-lq-queue"]) == "mail/out going"
    assert unquote(call.headers["x-lq-key"]) == "ü/k ey"


async def test_a_call_says_no_more_than_it_must(daemon: Daemon, home: Home) -> None:
    call = await called(daemon, home, payload=b"")
    absent = {"content-type", "x-lq-key", "tracestate", "accept", "accept-encoding", "cookie"}
    assert not absent & set(call.headers)
    assert call.headers["content-length"] == "0"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_each_method_carries_the_payload(daemon: Daemon, home: Home, method: str) -> None:
    call = await called(daemon, home, method=method)
    assert (call.method, call.body) == (method, b"payload-canary")
    assert call.headers["content-length"] == "14"
    assert "transfer-encoding" not in call.headers


@pytest.mark.parametrize("size", [0, 1, 65_536, 1 << 20, 5 << 20])
async def test_payloads_arrive_byte_for_byte_with_their_length(
    daemon: Daemon, home: Home, size: int
) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    call = await called(daemon, home, payload=payload)
    assert call.body == payload
    assert call.headers["content-length"] == str(size)
    verify(call.headers["x-lq-signature"], payload, [home.handler.secret], home.clock.now())


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("size", [1, 1000, 16 * 1024])
async def test_head_and_body_of_a_small_call_are_one_write(
    daemon: Daemon, home: Home, size: int, method: str
) -> None:
    """Handlers built on the JavaScript SDK read only the first chunk."""
    segments = []

    async def count(_: Call, wire: Wire) -> None:
        segments.append(wire.segments)
        await wire.send(response(200))

    home.handler.on("/", count)
    with daemon.events.subscribe() as events:
        await daemon.engine.push(home.push(payload=bytes(size), method=method))
        await heard(events, "succeed")
    assert segments == [1]


async def test_a_large_payload_is_warned_of_once_and_told_of_in_its_failure(
    daemon: Daemon, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    for size, target in ((16 * 1024, "/"), (16 * 1024 + 1, "/?token=hunter2"), (99_999, "/")):
        home.handler.on(target, answers(500))
        for _ in range(2):
            with daemon.events.subscribe() as events:
                pushed = await daemon.engine.push(
                    home.push(target, payload=bytes(size), retry=RetryPolicy(0))
                )
                event = await heard(events, "bury", pushed.job.id)
            assert ("read only its first chunk" in str(event.error)) == (size > 16 * 1024)
    warnings = [line for line in caplog.messages if "first chunk" in line]
    assert len(warnings) == 2
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("ünïcödé ✓", "ünïcödé ✓".encode()),
        ("tab\there", b"tab\there"),
        ("", b""),
        ('"quoted", (comment); =', b'"quoted", (comment); ='),
    ],
)
async def test_odd_values_of_an_items_own_header(
    daemon: Daemon, home: Home, given: str, sent: bytes
) -> None:
    call = await called(daemon, home, headers={"X-Odd": given})
    assert b"X-Odd: " + sent in call.lines
    [validation] = await home.handler.validated(1)
    assert b"X-Odd: " + sent in validation.lines


async def test_an_items_headers_take_the_place_of_ours_where_they_may(
    daemon: Daemon, home: Home
) -> None:
    own = {
        "user-agent": "mine/1",
        "Content-TYPE": "text/csv",
        "idempotency-key": "k",
        "Accept": "a/b",
    }
    call = await called(daemon, home, headers=own, content_type="text/plain")
    for name, text in own.items():
        assert call.headers[name.lower()] == text
    names = [line.partition(b":")[0].lower() for line in call.lines]
    assert len(names) == len(set(names))
    [validation] = await home.handler.validated(1)
    names = [line.partition(b":")[0].lower() for line in validation.lines]
    assert len(names) == len(set(names))
    assert validation.headers["user-agent"] == "mine/1"


@pytest.mark.parametrize(
    ("firing", "sent"),
    [
        (Firing("sch_1", START - 1), {"x-lq-fire-time": "2027-01-15T07:59:59.999Z"}),
        (Firing("sch_1", None), {"x-lq-fire-time": "2027-01-15T08:00:00.000Z"}),
        (
            Firing("sch_1", START, 3),
            {"x-lq-fire-time": "2027-01-15T08:00:00.000Z", "x-lq-missed": "3"},
        ),
    ],
)
def test_a_call_tells_which_schedule_made_its_job(firing: Firing, sent: dict[str, str]) -> None:
    headers = signing(new_secret(bytes(32))).headers(run_of(80, firing=firing), START, "0" * 16)
    plain = signing(new_secret(bytes(32))).headers(run_of(80), START, "0" * 16)
    assert headers.items() - plain.items() == {"x-lq-schedule": "sch_1", **sent}.items()


async def test_headers_of_the_queue_are_sent_too(home: Home) -> None:
    settings = {"q": QueueSettings(headers={"X-Team": "mail", "X-A": "queue"}, method="PUT")}
    async with home.daemon(queues=settings) as daemon:
        call = await called(daemon, home, headers={"x-a": "item"})
        assert (call.method, call.headers["x-team"], call.headers["x-a"]) == (
            "PUT", "mail", "item",
        )  # fmt: skip


async def test_each_attempt_is_signed_anew_with_the_same_ids(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on("/", answers(500), answers(500), answers(200))
    with daemon.events.subscribe() as events:
        await daemon.engine.push(home.push(traceparent=f"00-{'a' * 32}-{'b' * 16}-00"))
        for _ in range(2):
            await heard(events, "fail")
            clock.advance(3_600_000)
        await heard(events, "succeed")
    calls = await home.handler.take(3)
    assert [call.attempt for call in calls] == [1, 2, 3]
    for same in ("x-lq-id", "webhook-id", "idempotency-key", "x-lq-max-attempts"):
        assert len({call.headers[same] for call in calls}) == 1
    for fresh in ("x-lq-signature", "webhook-timestamp", "webhook-signature", "traceparent"):
        assert len({call.headers[fresh] for call in calls}) == 3
    for call in calls:
        verify(call.headers["x-lq-signature"], call.body, [home.handler.secret], call.at, 0)
        assert re.fullmatch(f"00-{'a' * 32}-[0-9a-f]{{16}}-00", call.headers["traceparent"])


async def test_all_attempts_of_a_job_share_one_trace(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on("/", answers(500), answers(200))
    with daemon.events.subscribe() as events:
        await daemon.engine.push(home.push())
        await heard(events, "fail")
        clock.advance(60_000)
        await heard(events, "succeed")
    spans = [call.headers["traceparent"].split("-") for call in await home.handler.take(2)]
    assert spans[0][1] == spans[1][1]
    assert spans[0][2] != spans[1][2]


async def test_the_published_verifier_accepts_every_call(home: Home) -> None:
    home.clock.step(SystemClock().now() - home.clock.now())  # the library looks at the real one
    async with home.daemon() as daemon:
        webhook = Webhook(webhook_secret(home.handler.secret))
        for payload in (b"", b'{"a": "\xc3\xbc"}', b"plain"):
            call = await called(daemon, home, payload=payload)
            webhook.verify(call.body, dict(call.headers), json_parse=False)
            with pytest.raises(WebhookVerificationError):
                webhook.verify(call.body + b" ", dict(call.headers), json_parse=False)
