"""A whole daemon on a store of its own, and somebody who talks to its API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Protocol

import pytest

from lq.clock import SystemClock
from lq.config import Config, EgressConfig, Limits, Validate
from lq.daemon.api.app import Api
from lq.daemon.main import Daemon
from lq.model import Scope
from tests.support.serving import serving

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
    async with serving(config, clock) as the_daemon:
        yield the_daemon


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


class Door(Protocol):
    """Opens the API on another port, with limits and proxies of its own, for an admin."""

    async def __call__(self, *proxies: str, **limits: int) -> Peer: ...


@pytest.fixture
async def door(running: Daemon, api: Peer, clock: SteppedClock) -> AsyncIterator[Door]:
    async with contextlib.AsyncExitStack() as opened:

        async def open_door(*proxies: str, **limits: int) -> Peer:
            trusted = [ip_network(proxy) for proxy in proxies]
            served = Api(
                running.engine, clock=clock, limits=Limits(**limits), trusted_proxy=trusted
            )
            protocol = served.server(trusted=False)
            opened.push_async_callback(protocol.shutdown, 1)
            server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
            opened.callback(server.close)
            peer = Peer(port=server.sockets[0].getsockname()[1], token=api.token)
            opened.push_async_callback(peer.close)
            return peer

        yield open_door


@pytest.fixture
async def hasty(door: Door) -> Peer:
    """An admin where a body has a moment to arrive and no more."""
    return await door(body_timeout_ms=50)
