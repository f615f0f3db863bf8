"""HEAD validation: an endpoint must know the secret before it is called (protocol.md, 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from lq.config import Validate
from lq.daemon.main import Daemon
from lq.model import ById, Job, QueueSettings, State
from lq.signature import new_secret, sign
from tests.clock import FakeClock
from tests.support.handler import (
    Behaviour,
    Call,
    Gate,
    Handler,
    Wire,
    answers,
    closes,
    hangs,
    says,
)
from tests.support.home import Home, eventually, heard

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
PATH = "/"


def signed(handler: Handler, **members: Any) -> Behaviour:
    """A signed answer to HEAD that is wrong in some way."""

    async def behave(_: Call, wire: Wire) -> None:
        at = handler.clock.now() + members.get("ahead_ms", 0)
        secret = members.get("secret", handler.secret)
        text = sign(secret, members.get("body", b""), at)
        text = members.get("change", lambda text: text)(text)
        lines = [("x-lq-signature", text)] * members.get("times", 1)
        await wire.send(_answer(members.get("status", 200), lines))

    return behave


def _answer(status: int, lines: list[tuple[str, str]]) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n"
    return (head + "".join(f"{name}: {text}\r\n" for name, text in lines) + "\r\n").encode()


REFUSALS: Mapping[str, tuple[Any, str]] = {
    "no signature": (lambda h: answers(200), "with no x-lq-signature header"),
    "405": (lambda h: answers(405), "HEAD answered 405, not 2xx"),
    "a redirect": (
        lambda h: answers(302, headers={"Location": "/elsewhere"}),
        "HEAD answered 302, not 2xx",
    ),
    "500, though signed": (lambda h: signed(h, status=500), "HEAD answered 500, not 2xx"),
    "two signatures": (lambda h: signed(h, times=2), "more than one x-lq-signature header"),
    "another secret": (lambda h: signed(h, secret=new_secret(bytes(32))), "another secret"),
    "another body": (lambda h: signed(h, body=b"x"), "another secret"),
    "stale": (lambda h: signed(h, ahead_ms=-120_001), "too far from now"),
    "from the future": (lambda h: signed(h, ahead_ms=120_001), "too far from now"),
    "version 2": (
        lambda h: signed(h, change=lambda text: text.replace("v=1", "v=2")),
        "not of version 1",
    ),
    "upper case": (lambda h: signed(h, change=str.upper), "not of the form"),
    "nonsense": (lambda h: signed(h, change=lambda _: "trust me"), "not of the form"),
    "12 digits": (
        lambda h: signed(h, change=lambda text: text[:6] + text[7:]),
        "not 13 digits",
    ),
    "no answer": (lambda h: closes, "HEAD failed with closed"),
    "garbage": (lambda h: says(b"garbage\r\n\r\n", close=True), "HEAD failed with protocol_error"),
    "bytes that are no text": (
        lambda h: says(b"HTTP/1.1 200 OK\r\nx-lq-signature: \xff\xfe\r\n\r\n", close=True),
        "not of the form",
    ),
    "silence": (lambda h: hangs, "HEAD failed with timeout"),
    "an endless answer": (
        lambda h: says(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n" + b"x" * 65_536),
        "HEAD",
    ),
}


async def held(daemon: Daemon, home: Home, path: str = PATH, **push: Any) -> Job:
    """Push a job; what it is once its endpoint has been found wanting."""
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push(path, **push))
        await heard(events, "release", pushed.job.id)
    return await daemon.engine.get(ById(pushed.job.id))


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_an_endpoint_that_does_not_prove_itself_holds_its_jobs(
    home: Home, clock: FakeClock, refusal: str
) -> None:
    """No attempt is spent, the reason is told, and all goes well once it validates."""
    behave, reason = REFUSALS[refusal]
    home.handler.on_head(PATH, behave(home.handler), home.handler.signs)
    async with home.daemon(validate=Validate(timeout_ms=100)) as daemon:
        job = await held(daemon, home)
        assert (job.state, job.failures, job.interruptions) == (State.PENDING, 0, 0)
        assert job.error is not None
        assert job.error.startswith("endpoint not validated: ")
        assert reason in job.error
        assert job.due_at == clock.now() + 30_000
        assert await daemon.engine.attempts(ById(job.id)) == []
        assert home.handler.calls == []
        with daemon.events.subscribe() as events:
            clock.advance(30_000)
            await heard(events, "succeed", job.id)
        [attempt] = await daemon.engine.attempts(ById(job.id))
        assert (attempt.n, attempt.status) == (1, 200)
        assert (await home.handler.next()).attempt == 1


@pytest.mark.parametrize("ahead_ms", [-120_000, 0, 120_000])
async def test_a_clock_that_is_two_minutes_off_is_forgiven(
    daemon: Daemon, home: Home, ahead_ms: int
) -> None:
    home.handler.on_head(PATH, signed(home.handler, ahead_ms=ahead_ms))
    await daemon.engine.push(home.push())
    await home.handler.next()


async def test_the_head_carries_the_items_headers_and_nothing_else(
    daemon: Daemon, home: Home
) -> None:
    await daemon.engine.push(
        home.push("/hook?a=1", headers={"Authorization": "Bearer x"}, payload=b"secret")
    )
    [head] = await home.handler.validated(1)
    assert (head.method, head.path, head.body) == ("HEAD", "/hook?a=1", b"")
    assert set(head.headers) == {"host", "user-agent", "connection", "authorization"}
    assert head.headers["user-agent"].startswith("lq/")


async def test_a_valid_endpoint_is_asked_once_an_hour_and_called_meanwhile(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    async def called() -> None:
        await daemon.engine.push(home.push())
        await home.handler.next()

    for _ in range(3):
        await called()
    clock.advance(HOUR - 1)
    await called()
    assert len(home.handler.validations) == 1
    clock.advance(1)
    gate = Gate(home.handler.signs)
    home.handler.on_head(PATH, gate)
    for _ in range(3):  # the old verdict holds while it is asked again
        await called()
    await home.handler.validated(2)
    assert len(gate.held) == 1
    gate.open()
    await called()
    assert len(home.handler.validations) == 2


async def test_an_endpoint_that_is_no_longer_valid_holds_its_jobs(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    await daemon.engine.push(home.push())
    await home.handler.next()
    clock.advance(HOUR)
    home.handler.on_head(PATH, answers(200), home.handler.signs)

    async def is_held() -> bool:
        with daemon.events.subscribe() as events:
            pushed = await daemon.engine.push(home.push())
            ended = await heard(events, {"succeed", "release"}, pushed.job.id)
            return ended.verb == "release"

    assert not await is_held()  # called under the old verdict
    await eventually(is_held)


async def test_endpoints_are_told_apart_by_url_and_headers(daemon: Daemon, home: Home) -> None:
    with daemon.events.subscribe() as events:
        for push in (
            home.push("/a"),
            home.push("/a"),
            home.push("/b"),
            home.push("/a", headers={"x": "1"}),
            home.push("/a", headers={"x": "2"}),
            home.push("/a", headers={"x": "1"}),
        ):
            pushed = await daemon.engine.push(push)
            await heard(events, "succeed", pushed.job.id)
    asked = [(head.path, head.headers.get("x")) for head in home.handler.validations]
    assert asked == [("/a", None), ("/b", None), ("/a", "1"), ("/a", "2")]


async def test_many_jobs_wait_for_one_probe(daemon: Daemon, home: Home) -> None:
    gate = Gate(home.handler.signs)
    home.handler.on_head(PATH, gate)
    pushes = [daemon.engine.push(home.push()) for _ in range(16)]
    await asyncio.gather(*pushes)
    await home.handler.validated(1)
    gate.open()
    await home.handler.take(16)
    assert len(home.handler.validations) == 1


async def test_it_is_asked_again_after_30_s_doubling_to_5_minutes(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on_head(PATH, answers(404))
    job = await held(daemon, home)
    waits = []
    with daemon.events.subscribe() as events:
        for _ in range(6):
            wait_ms = job.due_at - clock.now()
            waits.append(wait_ms)
            clock.advance(wait_ms - 1)
            clock.advance(1)
            await heard(events, "release", job.id)
            job = await daemon.engine.get(ById(job.id))
    assert waits == [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]
    assert len(home.handler.validations) == 7
    assert job.failures == 0


async def test_one_success_makes_earlier_failures_forgotten(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on_head(PATH, answers(404), answers(404), home.handler.signs, answers(404))
    job = await held(daemon, home)
    with daemon.events.subscribe() as events:
        clock.advance(30_000)
        await heard(events, "release", job.id)
        clock.advance(60_000)
        await heard(events, "succeed", job.id)
    clock.advance(HOUR)

    async def is_held() -> bool:
        with daemon.events.subscribe() as events:
            pushed = await daemon.engine.push(home.push())
            ended = await heard(events, {"succeed", "release"}, pushed.job.id)
        nonlocal job
        job = await daemon.engine.get(ById(pushed.job.id))
        return ended.verb == "release"

    await eventually(is_held)
    assert job.due_at == clock.now() + 30_000


async def test_a_job_fails_when_its_endpoint_was_missing_for_a_day(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on_head(PATH, answers(404))
    job = await held(daemon, home)
    with daemon.events.subscribe() as events:
        clock.advance(DAY - 30_001)
        await heard(events, "release", job.id)
        clock.advance(MINUTE)
        await heard(events, "bury", job.id)
    job = await daemon.engine.get(ById(job.id))
    assert (job.state, job.failures) == (State.FAILED, 0)
    assert job.error is not None
    assert job.error.startswith("gave up after 1d: endpoint not validated: HEAD answered 404")
    assert await daemon.engine.attempts(ById(job.id)) == []
    assert home.handler.calls == []


async def test_the_deadline_counts_from_when_the_job_was_due(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on_head(PATH, answers(404))
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push(delay_ms=2 * DAY))
        clock.advance(2 * DAY)
        await heard(events, "release", pushed.job.id)
    job = await daemon.engine.get(ById(pushed.job.id))
    assert job.state is State.PENDING


async def test_run_now_asks_again_at_once(daemon: Daemon, home: Home) -> None:
    home.handler.on_head(PATH, answers(404), home.handler.signs)
    job = await held(daemon, home)
    await daemon.engine.run_now(ById(job.id))
    assert (await home.handler.next()).job_id == job.id


async def test_a_push_while_it_is_held_waits_with_the_others(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on_head(PATH, answers(404))
    first = await held(daemon, home)
    clock.advance(1000)
    second = await held(daemon, home)
    assert len(home.handler.validations) == 1
    assert second.due_at == first.due_at


@pytest.mark.parametrize(
    ("config", "queue", "push"),
    [
        (Validate(default="none"), None, {}),
        (Validate(skip=("http://127.0.0.1:*/*",)), None, {}),
        (Validate(), QueueSettings(validate="none"), {}),
        (Validate(), None, {"validate": False}),
    ],
)
async def test_what_need_not_prove_itself(
    home: Home, config: Validate, queue: QueueSettings | None, push: dict[str, Any]
) -> None:
    home.handler.on_head(PATH, answers(404))
    async with home.daemon(validate=config, queues={"q": queue} if queue else {}) as daemon:
        await daemon.engine.push(home.push(**push))
        await home.handler.next()
    assert home.handler.validations == []


async def test_a_queue_may_ask_for_more_than_the_default(home: Home) -> None:
    queues = {"q": QueueSettings(validate="head")}
    async with home.daemon(validate=Validate(default="none"), queues=queues) as daemon:
        await daemon.engine.push(home.push())
        await home.handler.next()
    assert len(home.handler.validations) == 1


async def test_an_endpoint_that_is_slow_to_prove_itself_holds_up_no_other_queue(
    daemon: Daemon, home: Home
) -> None:
    gate = Gate(home.handler.signs)
    home.handler.on_head("/slow", gate)
    for _ in range(30):
        await daemon.engine.push(home.push("/slow", queue="slow"))
    await home.handler.validated(1)
    await daemon.engine.push(home.push("/fast", queue="fast"))
    assert (await home.handler.next()).path == "/fast"
    gate.open()
    assert {call.path for call in await home.handler.take(30)} == {"/slow"}
