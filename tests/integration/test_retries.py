"""From the answer to what becomes of the job: retries, their times, permanent answers, history."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from lq.daemon.main import Daemon
from lq.model import ById, Job, OutcomeKind, RetryPolicy, State
from tests.clock import FakeClock
from tests.support.handler import Behaviour, Gate, answers, closes, hangs, says
from tests.support.home import Home, heard, reaches

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


async def after_failing(daemon: Daemon, home: Home, path: str = "/", **push: Any) -> Job:
    """A job after its first attempt, which fails."""
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push(path, **push))
        await heard(events, {"fail", "bury"}, pushed.job.id)
    return await daemon.engine.get(ById(pushed.job.id))


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        (None, [10, 40, 160, 640, 2560]),
        (RetryPolicy(2), [10, 40]),
        (RetryPolicy(0), []),
        (RetryPolicy(3, (5000, 0, 1_000_000)), [5, 0, 1000]),
    ],
)
async def test_it_is_tried_again_after_each_wait_and_then_fails(
    daemon: Daemon, home: Home, clock: FakeClock, retry: RetryPolicy | None, waits: list[int]
) -> None:
    home.handler.on("/", answers(500, b"no"))
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push(retry=retry))
        for number, wait_s in enumerate(waits, start=1):
            await heard(events, "fail", pushed.job.id)
            job = await daemon.engine.get(ById(pushed.job.id))
            if wait_s:
                assert (job.state, job.failures) == (State.PENDING, number)
                assert job.due_at == clock.now() + wait_s * SECOND
                assert job.error == "status 500: no"
            clock.advance(wait_s * SECOND)
        await heard(events, "bury", pushed.job.id)
    job = await daemon.engine.get(ById(pushed.job.id))
    assert (job.state, job.failures, job.last_status) == (State.FAILED, len(waits) + 1, 500)
    assert (job.error, job.finished_at) == ("status 500: no", clock.now())
    calls = await home.handler.take(len(waits) + 1)
    assert [call.attempt for call in calls] == [*range(1, len(waits) + 2)]
    assert {call.headers["x-lq-max-attempts"] for call in calls} == {str(len(waits) + 1)}
    attempts = await daemon.engine.attempts(ById(job.id))
    assert [attempt.n for attempt in attempts] == [call.attempt for call in calls]
    assert [attempt.started_at for attempt in attempts] == [call.at for call in calls]
    assert {attempt.outcome for attempt in attempts} == {OutcomeKind.FAILED}


async def test_a_success_ends_it(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    home.handler.on("/", closes, answers(503), answers(200, b"done", {"x-request-id": "r1"}))
    job = await after_failing(daemon, home)
    with daemon.events.subscribe() as events:
        clock.advance(10 * SECOND)
        await heard(events, "fail", job.id)
        assert (await daemon.engine.get(ById(job.id))).last_status == 503
        clock.advance(40 * SECOND)
        await heard(events, "succeed", job.id)
    job = await daemon.engine.get(ById(job.id))
    assert (job.state, job.failures, job.last_status) == (State.COMPLETED, 2, 200)
    assert (job.error, job.finished_at) == (None, clock.now())
    attempts = await daemon.engine.attempts(ById(job.id))
    assert [(one.n, one.outcome, one.status) for one in attempts] == [
        (1, "failed", None), (2, "failed", 503), (3, "succeeded", 200),
    ]  # fmt: skip
    assert attempts[0].error is not None
    assert attempts[0].error.startswith("closed")
    assert (attempts[2].body, dict(attempts[2].headers)) == (b"done", {"x-request-id": "r1"})


@pytest.mark.parametrize(
    "answer",
    [
        answers(410, b"gone"),
        answers(500, headers={"x-lq-retry": "no"}),
        answers(302, headers={"X-LQ-Retry": "No"}),
    ],
)
async def test_a_permanent_answer_fails_it_at_once(
    daemon: Daemon, home: Home, answer: Behaviour
) -> None:
    home.handler.on("/", answer)
    job = await after_failing(daemon, home)
    assert (job.state, job.failures) == (State.FAILED, 1)
    [attempt] = await daemon.engine.attempts(ById(job.id))
    assert attempt.outcome is OutcomeKind.REJECTED


def http_date(at_ms: int, form: str = "") -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime(form) if form else format_datetime(moment, usegmt=True)


IMF, RFC850, ASCTIME = "", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"


@pytest.fixture(params=["UTC", "America/New_York"])
def _zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Some zone that the machine may be in."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize("form", [IMF, RFC850, ASCTIME])
@pytest.mark.parametrize(("ahead_ms", "wait_ms"), [(HOUR, HOUR), (-HOUR, 10_000), (DAY * 9, DAY)])
async def test_retry_after_as_a_date(
    daemon: Daemon, home: Home, form: str, ahead_ms: int, wait_ms: int
) -> None:
    home.handler.on(
        "/", answers(500, headers={"Retry-After": http_date(home.clock.now() + ahead_ms, form)})
    )
    job = await after_failing(daemon, home)
    assert job.due_at == home.clock.now() + wait_ms


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("60", MINUTE),
        (" 60 ", MINUTE),
        ("0", 10_000),
        ("3", 10_000),  # the longer of the two
        ("1000000000", DAY),
        ("9" * 20, DAY),
        ("9" * 200, 10_000),
        ("-60", 10_000),
        ("+60", 10_000),
        ("1.5", 10_000),
        ("٣", 10_000),
        ("soon", 10_000),
        ("", 10_000),
        ("Fri, 31 Feb 2027 25:61:61 GMT", 10_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 10_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        ("Fri, 31 Dec 9999 23:59:59 -2359", DAY),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 10_000),
    ],
)
@pytest.mark.parametrize("status", [500, 301])
async def test_retry_after(
    daemon: Daemon, home: Home, text: str, wait_ms: int, status: int
) -> None:
    home.handler.on("/", answers(status, headers={"Retry-After": text}))
    job = await after_failing(daemon, home)
    assert job.due_at == home.clock.now() + wait_ms
    assert job.failures == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_target_that_asks_to_wait_is_spared_by_all(
    daemon: Daemon, home: Home, clock: FakeClock, status: int
) -> None:
    home.handler.on("/busy", answers(status, headers={"Retry-After": "60"}), answers(200))
    job = await after_failing(daemon, home, "/busy")
    assert (job.failures, job.due_at) == (1, clock.now() + MINUTE)
    with daemon.events.subscribe() as events:
        other = await daemon.engine.push(home.push("/busy", queue="other"))
        await heard(events, "release", other.job.id)
        held = await daemon.engine.get(ById(other.job.id))
        assert (held.failures, held.due_at) == (0, clock.now() + MINUTE)
        assert held.error == f"the target answered {status} and asked to wait"
        free = await daemon.engine.push(home.push("/free"))
        await heard(events, "succeed", free.job.id)
        clock.advance(MINUTE)
        await heard(events, "succeed", other.job.id)
        await reaches(daemon, job.id, State.COMPLETED)
    assert await daemon.engine.attempts(ById(job.id))
    assert [one.n for one in await daemon.engine.attempts(ById(other.job.id))] == [1]


async def test_run_now_does_not_mind_a_target_that_asked_to_wait(
    daemon: Daemon, home: Home
) -> None:
    home.handler.on("/", answers(429, headers={"Retry-After": "60"}), answers(200))
    job = await after_failing(daemon, home)
    await daemon.engine.run_now(ById(job.id))
    await reaches(daemon, job.id, State.COMPLETED)


@pytest.mark.parametrize("status", [500, 404])
async def test_other_answers_slow_only_their_own_job(
    daemon: Daemon, home: Home, status: int
) -> None:
    home.handler.on("/", answers(status, headers={"Retry-After": "60"}), answers(200))
    await after_failing(daemon, home)
    pushed = await daemon.engine.push(home.push())
    await reaches(daemon, pushed.job.id, State.COMPLETED)


async def test_a_job_ends_with_its_expiry_if_that_is_before_the_next_retry(
    daemon: Daemon, home: Home
) -> None:
    home.handler.on("/", answers(500))
    job = await after_failing(daemon, home, expires_ms=10 * SECOND)
    assert (job.state, job.failures) == (State.FAILED, 1)
    assert job.error == "expired before the next retry; last attempt: status 500"


async def test_a_timeout_frees_the_slot_and_is_tried_again(home: Home, clock: FakeClock) -> None:
    home.handler.on("/", hangs, answers(200))
    async with home.daemon() as daemon:
        job = await after_failing(daemon, home, timeout_ms=50)
        assert job.error == "timeout: no complete answer within 50ms"
        assert job.state is State.PENDING
        clock.advance(10 * SECOND)
        await reaches(daemon, job.id, State.COMPLETED)


async def test_an_answer_that_cannot_be_text_is_stored_all_the_same(
    daemon: Daemon, home: Home
) -> None:
    """Else a handler could make its job run for ever, or take the store down."""
    evil = b"HTTP/1.1 302 \xff\r\nLocation: \xff\xed\xa0\x80\r\nContent-Type: \xfe\r\n"
    home.handler.on("/", says(evil + b"Content-Length: 4\r\n\r\n\x00\xff\xfe\x80", close=True))
    job = await after_failing(daemon, home, retry=RetryPolicy(0))
    assert job.state is State.FAILED
    [attempt] = await daemon.engine.attempts(ById(job.id))
    assert attempt.body == b"\x00\xff\xfe\x80"
    assert attempt.error == job.error
    assert job.error is not None
    assert job.error.startswith("redirect 302")


async def test_what_it_waited_for_its_endpoint_is_no_part_of_an_attempt(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    gate = Gate(home.handler.signs)
    home.handler.on_head("/", gate)
    pushed = await daemon.engine.push(home.push())
    await home.handler.validated(1)
    clock.advance(5000)
    gate.open()
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    [attempt] = await daemon.engine.attempts(ById(pushed.job.id))
    assert (attempt.started_at, attempt.ended_at) == (clock.now(), clock.now())
