"""An app that serves the SDK's endpoints on a real port, and a daemon beside it that calls them.

The daemon has a thread and an event loop of its own, as it would have a process: what blocks the
app must not block it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from lq.client import AsyncClient
from lq.clock import SystemClock
from lq.config import Config, EgressConfig, RetryConfig
from lq.daemon.main import daemon
from lq.daemon.secret import open_ring
from lq.sdk.http import Endpoint, Mount, Request
from tests.support.handler import GIVE_UP_S


@contextlib.asynccontextmanager
async def serving(*endpoints: Endpoint, is_sync: bool = False) -> AsyncIterator[str]:
    """The URL below which endpoints are served. Shape: `is_sync` is how WSGI calls them."""
    mount = Mount(*endpoints)

    async def handle(got: web.Request) -> web.Response:
        headers = tuple((name.decode(), value.decode()) for name, value in got.raw_headers)
        request = Request(got.method, got.path, headers, await got.read())
        endpoint = mount.find(got.path)
        if endpoint is None:
            return web.Response(status=404)
        if is_sync:
            response = await asyncio.to_thread(endpoint.respond_sync, request)
        else:
            response = await endpoint.respond(request)
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    runner = web.AppRunner(_app(handle), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


def _app(handle: Any) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    return app


class Beside:
    """A daemon that runs beside the test; it may call anything on this machine."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.secret = open_ring(folder, SystemClock()).newest
        base = Config(
            data_dir=folder,
            socket=self.socket,
            listen="127.0.0.1:0",
            egress=EgressConfig(allow=("127.0.0.1:1-65535",)),
            retry=RetryConfig(jitter=0),
        )
        self._config = replace(base, **settings)
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed: list[BaseException] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[Beside]:
        """The daemon serves while this is open."""
        started = threading.Event()
        thread = threading.Thread(target=self._life, args=(started,))
        thread.start()
        try:
            assert started.wait(GIVE_UP_S)
            if self._failed:
                raise self._failed[0]
            yield self
        finally:
            if self._loop is not None and self._stop is not None and not self._failed:
                self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(GIVE_UP_S)
            assert not thread.is_alive()

    def _life(self, started: threading.Event) -> None:
        async def live() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with daemon(self._config, SystemClock()):
                started.set()
                await self._stop.wait()

        try:
            asyncio.run(live())
        except BaseException as error:  # noqa: BLE001 (raised by whoever waits for the start)
            self._failed.append(error)
        finally:
            started.set()

    def client(self) -> AsyncClient:
        return AsyncClient(socket=self.socket)

    async def ended(self, item: dict[str, Any], *states: str) -> dict[str, Any]:
        """An item once it is in one of the states, COMPLETED or FAILED unless others are named."""
        wanted: Sequence[str] = states or ("COMPLETED", "FAILED")
        async with asyncio.timeout(GIVE_UP_S), self.client() as client:
            while True:
                found = await client.item(str(item["id"]))
                if found["state"] in wanted:
                    return found

    async def attempts(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        async with self.client() as client:
            return await client.attempts(str(item["id"]))
