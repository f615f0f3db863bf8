"""Spans of attempts, as a collector gets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from lq.config import Otlp, Validate
from lq.model import RetryPolicy, State
from tests.support.handler import GIVE_UP_S, answers
from tests.support.home import Home, reaches
from tests.support.schedules import SECOND

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Collector:
    """Takes OTLP over HTTP. `headers` are those of the last request."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: dict[str, str] = {}
        self.services: set[str] = set()
        self._come = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        self.headers = {name.lower(): text for name, text in request.headers.items()}
        told = ExportTraceServiceRequest.FromString(await request.read())
        async with self._come:
            for resource in told.resource_spans:
                for attribute in resource.resource.attributes:
                    if attribute.key == "service.name":
                        self.services.add(attribute.value.string_value)
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            self._come.notify_all()
        return web.Response()

    async def have(self, number: int) -> list[Span]:
        async with asyncio.timeout(GIVE_UP_S), self._come:
            await self._come.wait_for(lambda: len(self.spans) >= number)
        return sorted(self.spans, key=lambda span: span.start_time_unix_nano)


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    taking = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", taking.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield taking, f"http://{host}:{port}"
    await runner.cleanup()


def said(span: Span) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_each_attempt_is_a_span_below_the_one_that_pushed(
    home: Home, collector: tuple[Collector, str], tmp_path: Path
) -> None:
    taking, endpoint = collector
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer canary\n\nX-Team: mail\n")
    home.handler.on("/?secret=canary", answers(500), answers(200))
    otlp = Otlp(endpoint=endpoint, headers_file=headers, service="shop-lq")
    async with home.daemon(otlp=otlp, validate=Validate(default="none")) as daemon:
        push = home.push("/?secret=canary", retry=RetryPolicy(1, (SECOND,)), traceparent=PARENT)
        job = (await daemon.engine.push(push)).job
        await home.handler.next()
        await reaches(daemon, job.id, State.PENDING)
        home.clock.advance(SECOND)
        await reaches(daemon, job.id, State.COMPLETED)
    first, second = await taking.have(2)
    sent = [call.headers["traceparent"].split("-") for call in home.handler.calls]
    assert [[span.trace_id.hex(), span.span_id.hex()] for span in (first, second)] == [
        [trace, own] for _, trace, own, _ in sent
    ]
    assert {span.parent_span_id.hex() for span in (first, second)} == {"00f067aa0ba902b7"}
    assert first.trace_id.hex() == TRACE
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert second.status.code == Status.STATUS_CODE_OK
    assert said(second) == {
        "messaging.system": "lq", "messaging.operation.type": "process",
        "messaging.destination.name": "q", "messaging.message.id": job.id, "lq.attempt": 2,
        "lq.outcome": "succeeded", "http.request.method": "POST",
        "url.full": home.handler.url("/"), "http.response.status_code": 200,
    }  # fmt: skip
    assert taking.services == {"shop-lq"}
    assert (taking.headers["authorization"], taking.headers["x-team"]) == ("Bearer canary", "mail")


async def test_jobs_of_nobody_s_trace_have_one_of_their_own(
    home: Home, collector: tuple[Collector, str]
) -> None:
    taking, endpoint = collector
    async with home.daemon(
        otlp=Otlp(endpoint=endpoint), validate=Validate(default="none")
    ) as daemon:
        job = (await daemon.engine.push(home.push())).job
        await reaches(daemon, job.id, State.COMPLETED)
    [span] = await taking.have(1)
    assert span.trace_id.hex() == home.handler.calls[0].headers["traceparent"].split("-")[1]
    assert span.parent_span_id == b""


async def test_a_collector_that_is_away_holds_up_nothing(home: Home) -> None:
    otlp = Otlp(endpoint="http://127.0.0.1:9")
    async with home.daemon(otlp=otlp, validate=Validate(default="none")) as daemon:
        for _ in range(20):
            job = (await daemon.engine.push(home.push())).job
            await reaches(daemon, job.id, State.COMPLETED)
