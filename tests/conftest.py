"""What tests share: a clock, a handler, a daemon; and no silent skips where all must run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lq.clock import SystemClock
from lq.daemon.egress import Egress
from lq.daemon.main import Daemon
from lq.daemon.secret import open_ring
from lq.daemon.targets.http import HttpTarget
from lq.signature import new_secret
from tests.clock import FakeClock
from tests.support.calls import signing
from tests.support.handler import Handler
from tests.support.home import Home
from tests.support.spoken import EAR

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _required((yield))


def _required(report: Report) -> Report:
    """Fail what would be skipped, where LQ_REQUIRE_ALL=1 says that all can run."""
    if report.skipped and os.environ.get("LQ_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"LQ_REQUIRE_ALL is set, and this was skipped: {report.longrepr}"
    return report


def pytest_sessionstart() -> None:
    EAR.listen()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole session when a daemon has said what it must not, whatever was run."""
    if EAR.leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for leak in EAR.leaks:
        terminalreporter.write_line(f"a daemon said a secret during {leak.test}", red=True)
        terminalreporter.write_line(leak.text)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty data folder, with a name short enough for a unix socket in it."""
    return tmp_path_factory.mktemp("lq")


@pytest.fixture
async def handler(folder: Path, clock: FakeClock) -> AsyncIterator[Handler]:
    """A handler that knows the secret; in no test is a job called twice at one time."""
    async with Handler(clock, open_ring(folder, clock).newest) as serving:
        yield serving
    assert serving.twice == []


@pytest.fixture
async def target() -> AsyncIterator[HttpTarget]:
    """The way out, with leave to call anything on this machine."""
    anywhere = Egress("public", ["127.0.0.1:1-65535", "[::1]:1-65535"])
    signer = signing(new_secret(bytes(32)))
    async with HttpTarget(signer, anywhere, SystemClock()) as target:
        yield target


@pytest.fixture
def home(folder: Path, clock: FakeClock, handler: Handler) -> Home:
    return Home(folder, clock, handler)


@pytest.fixture
async def daemon(home: Home) -> AsyncIterator[Daemon]:
    """A daemon with all defaults that may call the handler."""
    started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def live() -> None:
        async with home.daemon() as running:
            started.set_result(running)
            await stop.wait()

    # In a task of its own: a TaskGroup has to be left by the task that entered it.
    life = asyncio.create_task(live())
    either: set[asyncio.Future[Any]] = {life, started}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        await life
    yield started.result()
    stop.set()
    await life
