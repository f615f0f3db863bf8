"""A whole daemon on a store of its own, and somebody who talks to its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lq.clock import SystemClock
from lq.config import Config, EgressConfig, Validate
from lq.daemon.api.app import Api
from lq.daemon.main import Daemon, daemon
from lq.model import Scope

from .handler import Handler, handling
from .raw import Peer


class SteppedClock(SystemClock):
    """The machine's clock, set forward by hand."""

    ahead_ms = 0

    def now(self) -> int:
        return super().now() + self.ahead_ms


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def pass_time(clock: SteppedClock) -> Callable[[int], None]:
    """Sets the wall clock forward by as many milliseconds."""

    def forward(ms: int) -> None:
        clock.ahead_ms += ms

    return forward


@pytest.fixture
async def handler() -> AsyncIterator[Handler]:
    """What lq may call."""
    async with handling() as listening:
        yield listening


@pytest.fixture
async def running(
    tmp_path_factory: pytest.TempPathFactory, clock: SteppedClock, handler: Handler
) -> AsyncIterator[Daemon]:
    folder = tmp_path_factory.mktemp("lq")
    config = Config(
        data_dir=folder,
        socket=folder / "socket",
        listen="127.0.0.1:0",
        egress=EgressConfig(allow=(f"127.0.0.1:{handler.port}",)),
        validate=Validate(default="none"),
    )
    started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def run() -> None:
        async with daemon(config, clock) as the_daemon:
            started.set_result(the_daemon)
            await stop.wait()

    # In a task of its own: a TaskGroup has to be left by the task that entered it.
    task = asyncio.create_task(run())
    awaited: set[asyncio.Future[Any]] = {task, started}
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield started.result()
    stop.set()
    await task


@pytest.fixture
async def api(running: Daemon) -> AsyncIterator[Peer]:
    """An admin on the TCP port."""
    admin = frozenset({Scope.ADMIN})
    _, token = await running.engine.create_token("tests", admin, (), None)
    peer = Peer(port=running.port, token=token)
    yield peer
    await peer.close()


@pytest.fixture
async def owner(running: Daemon) -> AsyncIterator[Peer]:
    """Somebody on the unix socket."""
    peer = Peer(socket_path=str(running.engine.data_dir / "socket"))
    yield peer
    await peer.close()


@pytest.fixture
async def hasty(running: Daemon, api: Peer, clock: SteppedClock) -> AsyncIterator[Peer]:
    """An admin on another port, where a body has a moment to arrive and no more."""
    loop = asyncio.get_running_loop()
    protocol = Api(running.engine, clock=clock, body_timeout_s=0.05).server(trusted=False)
    server = await loop.create_server(protocol, "127.0.0.1", 0)
    peer = Peer(port=server.sockets[0].getsockname()[1], token=api.token)
    yield peer
    await peer.close()
    server.close()
    await protocol.shutdown(1)
