"""Completion by callback: what an app reports, to a server that keeps what it hears."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from lq import Fail, Job, Queue, Request, Response, Retry
from lq.clock import SystemClock
from tests.support.handler import Call, Handler, answers, closes
from tests.support.signed import SECRET, call

TOKEN = "/callbacks/one-attempt"


@pytest.fixture
async def lq() -> AsyncIterator[Handler]:
    """What lq is to an app that reports."""
    async with Handler(SystemClock(), SECRET) as serving:
        yield serving


def queue_of(handle: Any, completion: Literal["response", "callback", "background"]) -> Queue[int]:
    queue = Queue[int]("q", secret=SECRET, completion=completion)
    queue.handler(handle)
    return queue


def returns(job: Job[int]) -> dict[str, int]:
    return {"twice": job.payload * 2}


def fails(job: Job[int]) -> None:
    raise Fail("no such user")


def retries(job: Job[int]) -> None:
    raise Retry("busy", after="10m")


def raises(job: Job[int]) -> None:
    raise ValueError("odd")


End = tuple[Any, str, bytes, dict[str, str]]
ENDS: list[End] = [
    (returns, "complete", b'{"twice":2}', {"content-type": "application/json"}),
    (fails, "fail", b"no such user", {"x-lq-retry": "no"}),
    (retries, "fail", b"busy", {"retry-after": "600"}),
    (raises, "fail", b"ValueError: odd", {"content-type": "text/plain; charset=utf-8"}),
    (lambda job: None, "complete", b"", {}),
]


def heard_as(heard: Call, end: End) -> None:
    _, verb, body, headers = end
    assert (heard.method, heard.path, heard.body) == ("POST", f"{TOKEN}/{verb}", body)
    assert headers.items() <= heard.headers.items()
    assert ("x-lq-retry" in heard.headers) == ("x-lq-retry" in headers)


@pytest.mark.parametrize("end", ENDS, ids=range(len(ENDS)))
@pytest.mark.parametrize("completion", ["response", "background"])
async def test_a_handler_is_reported_before_its_call_is_answered(
    lq: Handler, end: End, completion: Any
) -> None:
    queue = queue_of(end[0], completion)
    request = call(b"1", x_lq_callback=lq.url(TOKEN))
    assert (await queue.respond(request)).status == 202
    heard_as(lq.calls[-1], end)
    assert (await asyncio.to_thread(queue.respond_sync, request)).status == 202
    heard_as(lq.calls[-1], end)
    assert len(lq.calls) == 2


@pytest.mark.parametrize("end", ENDS, ids=range(len(ENDS)))
async def test_a_call_is_answered_before_its_handler_is_reported(lq: Handler, end: End) -> None:
    release = threading.Event()

    def gated(job: Job[int]) -> Any:
        assert release.wait(10)
        return end[0](job)

    queue = queue_of(gated, "callback")
    request = call(b"1", x_lq_callback=lq.url(TOKEN))
    assert await queue.respond(request) == (202, (), b"")
    assert await asyncio.to_thread(queue.respond_sync, request) == (202, (), b"")
    assert lq.calls == []
    release.set()
    for heard in await lq.take(2):
        heard_as(heard, end)
    await queue.drain()


@pytest.mark.parametrize("variable", ["VERCEL", "AWS_LAMBDA_RUNTIME_API"])
async def test_no_handler_runs_on_where_the_platform_would_freeze_it(
    lq: Handler, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    response = await queue_of(returns, "callback").respond(call(b"1", x_lq_callback=lq.url(TOKEN)))
    assert response.status == 202
    heard_as(lq.calls[0], ENDS[0])


async def test_a_heartbeat_asks_for_more_time(lq: Handler) -> None:
    lq.on(f"{TOKEN}/heartbeat", answers(204), closes, answers(503), answers(409))
    alive: list[bool] = []

    async def handle(job: Job[int]) -> None:
        for _ in range(3):
            alive.append(await job.heartbeat())
        alive.append(await asyncio.to_thread(job.heartbeat_sync))

    queue = queue_of(handle, "background")
    await queue.respond(call(b"1", x_lq_callback=lq.url(TOKEN)))
    # Only an answer that says so means the end: not hearing one does not.
    assert alive == [True, True, True, False]
    assert [heard.path for heard in lq.calls] == [*[f"{TOKEN}/heartbeat"] * 4, f"{TOKEN}/complete"]


async def test_a_report_is_repeated_until_it_is_heard(lq: Handler) -> None:
    lq.on(f"{TOKEN}/complete", closes, answers(200))
    response = await queue_of(returns, "background").respond(
        call(b"1", x_lq_callback=lq.url(TOKEN))
    )
    assert response.status == 202
    assert len(lq.calls) == 2


async def test_a_late_report_is_not_repeated(lq: Handler, caplog: pytest.LogCaptureFixture) -> None:
    lq.on(f"{TOKEN}/complete", answers(409))
    response = await queue_of(returns, "background").respond(
        call(b"1", x_lq_callback=lq.url(TOKEN))
    )
    assert response.status == 202
    assert len(lq.calls) == 1
    assert "lq answered 409" in caplog.text


async def test_what_does_not_fit_is_reported_too(lq: Handler) -> None:
    queue = queue_of(returns, "background")
    response = await queue.respond(call(b'"x"', x_lq_callback=lq.url(TOKEN)))
    assert response.status == 202
    heard_as(lq.calls[0], (None, "fail", b"payload: expected int, got str", {}))


async def test_nothing_is_reported_for_a_stranger(
    lq: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of(returns, "callback")
    request = call(b"1", secret="another", x_lq_callback=lq.url(TOKEN))
    assert (await queue.respond(request)).status == 401
    assert (await queue.respond(request._replace(method="HEAD"))).status == 200
    assert (await queue.respond(request._replace(method="OPTIONS"))).status == 405
    monkeypatch.delenv("LQ_SECRET", raising=False)
    without = Queue[int]("q", completion="background")
    assert (await without.respond(request)).status == 500
    assert lq.calls == []


async def test_that_there_is_no_handler_is_reported_too(lq: Handler) -> None:
    queue = Queue[int]("q", secret=SECRET, completion="background")
    request = call(b"1", x_lq_callback=lq.url(TOKEN))
    for response in (await queue.respond(request), await _off_the_loop(queue, request)):
        assert response.status == 202
        heard_as(lq.calls[-1], (None, "fail", b"the queue q has no handler in this app", {}))


async def _off_the_loop(queue: Queue[int], request: Request) -> Response:
    return await asyncio.to_thread(queue.respond_sync, request)


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "//host", "nonsense", "http://", "http://[", "http://h:x"]
)
async def test_an_address_that_is_none_is_not_called(address: str) -> None:
    response = await queue_of(returns, "background").respond(call(b"1", x_lq_callback=address))
    assert (response.status, response.body) == (200, b'{"twice":2}')
