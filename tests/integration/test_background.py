"""Background functions: their platform answers each call 202 by itself, and lets them run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from lq import Fail, Job, Orchestrator, Retry
from lq.config import RetryConfig, Validate
from lq.sdk.http import Endpoint, Request
from lq.sdk.records import Record, Status
from tests.support.app import Beside
from tests.support.handler import GIVE_UP_S


@asynccontextmanager
async def platform(function: Endpoint) -> AsyncIterator[str]:
    """The URL of a background function: whatever it answers, its callers have had their 202."""
    runs: set[asyncio.Task[Any]] = set()

    async def handle(got: web.Request) -> web.Response:
        headers = tuple((name.decode(), value.decode()) for name, value in got.raw_headers)
        request = Request(got.method, got.path, headers, await got.read())
        if got.method == "POST":
            run = asyncio.create_task(function.respond(request))
            runs.add(run)
            run.add_done_callback(runs.discard)
        return web.Response(status=202)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"{site.name}/.netlify/functions/invoke-background"
    finally:
        await asyncio.gather(*runs)
        await runner.cleanup()


class Handled:
    """What the handlers of a test were given, and what they wait for."""

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[Job[str]] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.beats: asyncio.Queue[bool] = asyncio.Queue()

    async def work(self, job: Job[str]) -> str:
        self.jobs.put_nowait(job)
        match job.payload:
            case "fail":
                raise Fail("never")
            case "raise" if job.attempt == 1:
                raise ValueError("odd")
            case "retry" if job.attempt == 1:
                raise Retry("busy")
            case "exit":
                raise SystemExit(3)
            case "long":
                await self.go_on.wait()
                self.beats.put_nowait(await job.heartbeat())
        return job.payload.upper()

    def work_in_a_thread(self, payload: str) -> str:
        return payload[::-1]


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def beside(folder: Path) -> Iterator[Beside]:
    unproved = Validate(skip=("http://127.0.0.1:*/.netlify/functions/*",))
    soon = replace(RetryConfig(jitter=0), base_ms=10)
    with Beside(folder, validate=unproved, retry=soon).running() as running:
        yield running


@pytest.fixture
async def app(beside: Beside, handled: Handled) -> AsyncIterator[Orchestrator]:
    handlers: dict[str, Any] = {"work": handled.work, "thread": handled.work_in_a_thread}
    function = Orchestrator(handlers, secret=beside.secret, background_url="set by the platform")
    async with platform(function) as url:
        yield Orchestrator(handlers, background_url=url, socket=beside.socket)


async def ends(app: Orchestrator, record: Record) -> Record:
    async with asyncio.timeout(GIVE_UP_S):
        while record.status in {Status.RUNNING, Status.SCHEDULED}:
            await asyncio.sleep(0.01)
            found = await app.job(record.id)
            assert found is not None
            record = found
    return record


@pytest.mark.parametrize(
    ("name", "payload", "end"),
    [
        ("work", "ada", (Status.COMPLETED, 1, "ADA")),
        ("thread", "bob!", (Status.COMPLETED, 1, "!bob")),
        ("work", "raise", (Status.COMPLETED, 2, "RAISE")),
        ("work", "retry", (Status.COMPLETED, 2, "RETRY")),
        ("work", "fail", (Status.FAILED, 1, "never")),
    ],
)
async def test_the_function_says_how_it_ended(
    app: Orchestrator, beside: Beside, name: str, payload: str, end: tuple[Status, int, str]
) -> None:
    record = await ends(app, await app.enqueue(name, payload))
    attempts = await beside.attempts({"id": record.id})
    assert (record.status, record.count, attempts[-1]["responseBody"]) == end


async def test_sys_exit_is_a_failure(app: Orchestrator) -> None:
    record = await ends(app, await app.enqueue("work", "exit", retry=0))
    assert record.status is Status.FAILED
    assert "the handler called sys.exit(3)" in (record.reason or "")


async def test_a_job_runs_until_its_function_has_reported(
    app: Orchestrator, handled: Handled
) -> None:
    record = await app.enqueue("work", "long")
    await asyncio.wait_for(handled.jobs.get(), GIVE_UP_S)
    for _ in range(5):
        found = await app.job(record.id)
        assert found is not None
        assert found.status is Status.RUNNING
    handled.go_on.set()
    assert (await ends(app, record)).status is Status.COMPLETED
    assert handled.beats.get_nowait() is True


async def test_a_report_that_comes_too_late_changes_nothing(
    app: Orchestrator, handled: Handled
) -> None:
    record = await app.enqueue("work", "long", timeout="100ms", retry=0)
    record = await ends(app, record)
    assert record.status is Status.FAILED
    handled.go_on.set()
    assert await asyncio.wait_for(handled.beats.get(), GIVE_UP_S) is False
    assert await app.job(record.id) == record


async def test_crons_go_there_too(app: Orchestrator, handled: Handled) -> None:
    cron = await app.cron("work", "tick", every="1s", times=1)
    job = await asyncio.wait_for(handled.jobs.get(), GIVE_UP_S)
    assert (job.schedule, job.payload) == (cron.id, "tick")
    found = await app.job(job.id)
    assert found is not None
    assert (await ends(app, found)).status is Status.COMPLETED
