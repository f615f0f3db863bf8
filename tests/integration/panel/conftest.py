"""A whole daemon with its panel, and people at it: one who may do everything, one who may look."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lq.daemon.main import Daemon
from lq.model import Scope
from tests.integration.api.conftest import (  # what a fixture is made of comes with it
    SteppedClock,
    api,
    clock,
    handler,
    owner,
    pass_time,
    running,
)
from tests.support.pages import Browser

__all__ = ["SteppedClock", "api", "clock", "handler", "owner", "pass_time", "running"]


async def logged_in(
    running: Daemon, name: str, *scopes: Scope, queues: tuple[str, ...] = ()
) -> Browser:
    """Somebody at the panel with a token of these scopes."""
    _, token = await running.engine.create_token(name, frozenset(scopes), queues, None)
    browser = Browser(running.port)
    page = await browser.log_in(token)
    assert page.status == 303, page.text
    return browser


@pytest.fixture
async def panel(running: Daemon) -> AsyncIterator[Browser]:
    """An admin who is logged in."""
    async with await logged_in(running, "ada", Scope.ADMIN) as browser:
        yield browser


@pytest.fixture
async def reader(running: Daemon) -> AsyncIterator[Browser]:
    """Somebody who may look, and change nothing."""
    async with await logged_in(running, "rob", Scope.READ) as browser:
        yield browser


@pytest.fixture
async def limited(running: Daemon) -> AsyncIterator[Browser]:
    """Somebody who may see the queues `mail-*` alone, and push to them."""
    scopes = (Scope.READ, Scope.PUSH)
    async with await logged_in(running, "lim", *scopes, queues=("mail-*",)) as browser:
        yield browser


@pytest.fixture
async def stranger(running: Daemon) -> AsyncIterator[Browser]:
    """Somebody who is not logged in."""
    async with Browser(running.port) as browser:
        yield browser
