"""What somebody at the panel sees when something is wrong with the daemon itself."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lq.clock import SystemClock
from lq.config import Config, PanelConfig
from lq.daemon.api.app import Api
from lq.daemon.engine import Engine
from lq.daemon.panel.app import Panel
from lq.daemon.queues import Queues
from lq.daemon.sessions import Sessions
from lq.errors import StartError, StoreFailed
from lq.model import Principal, Queue, Scope
from tests.support.pages import Browser


class BrokenQueues(Queues):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def all(self) -> list[Queue]:
        raise self._error


class BrokenEngine(Engine):
    """An engine with a bug, that knows whoever is logged in."""

    def __init__(self, error: Exception) -> None:
        self.queues = BrokenQueues(error)
        self.sessions = Sessions(
            PanelConfig(), SystemClock(), os.urandom, knows=lambda _: True, wake=lambda: None
        )


@pytest.fixture
async def broken(tmp_path: Path, error: Exception) -> AsyncIterator[Browser]:
    clock, config = SystemClock(), Config(data_dir=tmp_path, socket=tmp_path / "socket")
    engine = BrokenEngine(error)
    api = Api(engine, clock=clock)
    api.pages = Panel(config, engine, api, clock)
    protocol = api.server(trusted=False)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with Browser(server.sockets[0].getsockname()[1]) as browser:
        code = engine.sessions.link(Principal("ada", frozenset({Scope.ADMIN})))
        assert (await browser.log_in(code)).status == 303
        yield browser
    server.close()
    await protocol.shutdown(1)


@pytest.mark.parametrize("error", [ZeroDivisionError("canary of the inside")])
async def test_a_bug_is_a_page_with_its_number(
    broken: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        page = await broken.get("/queues?q=secret-canary")
    assert page.status == 500
    assert "Something went wrong inside lq." in page.text
    assert "canary" not in page.html
    number = page.headers["X-Request-Id"]
    assert number in page.text
    [record] = caplog.records
    assert number in record.getMessage()
    assert page.links["Overview"] == "/"


@pytest.mark.parametrize("error", [StoreFailed("the disk has failed")])
async def test_a_store_that_is_lost_is_told_on_a_page(broken: Browser, error: StartError) -> None:
    page = await broken.get("/queues")
    assert page.status == 503
    assert "The disk has failed." in page.text
    assert page.headers["Content-Type"].startswith("text/html")
