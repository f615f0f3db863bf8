"""A data folder with the daemons that run on it, one after the other, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lq.config import Config, EgressConfig, RetryConfig
from lq.daemon.core import Core
from lq.daemon.events import Event, Subscription
from lq.daemon.main import Daemon, daemon
from lq.daemon.store import Store
from lq.daemon.store.sqlite import open_store
from lq.daemon.targets.names import GetAddrInfo
from lq.model import ById, Job, Push, Ref, State
from tests.clock import FakeClock
from tests.support.handler import GIVE_UP_S, Handler


class Home:
    """Where daemons of one test live. Their backoff has no jitter, so that waits are known."""

    def __init__(self, folder: Path, clock: FakeClock, handler: Handler) -> None:
        self.folder = folder
        self.clock = clock
        self.handler = handler
        self.config = Config(
            data_dir=folder,
            socket=folder / "socket",
            listen="127.0.0.1:0",
            egress=EgressConfig(allow=(f"127.0.0.1:{handler.port}",)),
            retry=RetryConfig(jitter=0),
        )

    @contextlib.asynccontextmanager
    async def daemon(
        self,
        *,
        open_store: Callable[[Path], Awaitable[Store]] = open_store,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        **settings: Any,
    ) -> AsyncIterator[Daemon]:
        """A daemon on this folder; `settings` are members of Config."""
        config = replace(self.config, **settings)
        async with daemon(config, self.clock, open_store, getaddrinfo=getaddrinfo) as running:
            yield running

    def push(self, path: str = "/", *, queue: str = "q", **members: Any) -> Push:
        """A push to the handler."""
        members.setdefault("payload", b"payload-canary")
        return Push(queue=queue, target=self.handler.url(path), **members)


async def heard(events: Subscription, verb: str | Set[str], job_id: str | None = None) -> Event:
    """The next event of a verb, of this job if one is named; what comes before is skipped."""
    verbs = {verb} if isinstance(verb, str) else verb
    async with asyncio.timeout(GIVE_UP_S):
        async for event in events:
            if event.verb in verbs and job_id in {None, event.job_id}:
                return event
    raise AssertionError("events end with the daemon only")


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Return when an answer of the daemon has become what it must become; look again and again.

    For what publishes no event. Each look crosses to the store's thread, so none is a spin.
    """
    async with asyncio.timeout(GIVE_UP_S):
        while not await true():
            pass


async def reaches(running: Daemon | Core, ref: Ref | str, state: State) -> Job:
    """The job, once it is in this state."""
    ref = ById(ref) if isinstance(ref, str) else ref

    async def there() -> bool:
        return (await running.engine.get(ref)).state is state

    await eventually(there)
    return await running.engine.get(ref)
