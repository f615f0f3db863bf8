"""A whole daemon inside a test: real HTTP, real calls, a database in memory.

It has a thread and an event loop of its own, so that tests may be async or not, and may block.
What it keeps besides the database, its secret and its socket, is in a folder that goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from lq.client import Client
from lq.config import Config, load
from lq.model import Scope
from lq.sdk.beside import LoopThread

if TYPE_CHECKING:
    from lq.client import AsyncClient

Json = dict[str, Any]

_ENDED = ("COMPLETED", "FAILED", "CANCELLED")
_LOCAL = ("127.0.0.1:1-65535", "[::1]:1-65535")


class Daemon:
    """A running daemon: where it is, and what gets one in.

    Shape: `secret` signs its calls, `token` may do everything, `environ` is what an app is told
    with. `client` is for code that is not async.
    """

    def __init__(self, port: int, token: str, secret: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.token = token
        self.secret = secret
        self.client = Client(self.url, token)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that make an app its own."""
        return {"LQ_API_URL": self.url, "LQ_TOKEN": self.token, "LQ_SECRET": self.secret}

    def async_client(self) -> AsyncClient:
        """A client for an event loop; close it, or use it in an `async with`."""
        from lq.client import AsyncClient

        return AsyncClient(self.url, self.token)

    def wait_for(self, item_id: str, *states: str, timeout_s: float = 10.0) -> Json:
        """An item once it is in one of these states, those of finished items if none is named.

        Raises: TimeoutError, telling how the item is.
        """
        give_up_at = time.monotonic() + timeout_s
        while True:
            item: Json = self.client.item(item_id)
            if item["state"] in (states or _ENDED):
                return item
            if time.monotonic() > give_up_at:
                raise TimeoutError(_still(item, timeout_s))
            time.sleep(0.01)

    async def wait_for_async(self, item_id: str, *states: str, timeout_s: float = 10.0) -> Json:
        """`wait_for` where the app under test runs in this event loop."""
        return await asyncio.to_thread(self.wait_for, item_id, *states, timeout_s=timeout_s)


def _still(item: Json, timeout_s: float) -> str:
    held = f", {item['error']}" if "error" in item else ""
    return f"after {timeout_s:g} s item {item['id']} is {item['state']}{held}"


@contextlib.contextmanager
def running(toml: str = "") -> Iterator[Daemon]:
    """A daemon as long as the context is open. Shape: `toml` are settings as in lq.toml.

    Unless it says otherwise, every port of this machine may be called, the first retry follows
    after 20 ms, and the end of the test waits for no call. Raises: ConfigError.
    """
    thread = LoopThread("lq-daemon")
    try:
        with tempfile.TemporaryDirectory(prefix="lq-") as folder:
            life = _Life(_configured(Path(folder), toml))
            daemon = thread.run(life.begin())
            try:
                yield daemon
            finally:
                daemon.client.close()
                thread.run(life.end())
    finally:
        thread.close()


def _configured(folder: Path, toml: str) -> Config:
    file = folder / "lq.toml"
    file.write_text(toml, encoding="utf-8")
    config = load(str(file), {"HOME": str(folder)})

    def unsaid(key: str) -> bool:
        return config.origin[key] == "default"

    own: dict[str, Any] = {"data_dir": folder / "data", "socket": folder / "data" / "lq.sock"}
    if unsaid("listen"):
        own["listen"] = "127.0.0.1:0"
    if unsaid("egress.allow"):
        own["egress"] = replace(config.egress, allow=_LOCAL)
    if unsaid("retry.base"):
        own["retry"] = replace(config.retry, base_ms=20)
    if unsaid("dispatch.drain_timeout"):
        own["dispatch"] = replace(config.dispatch, drain_timeout_ms=0)
    return replace(config, **own)


class _Life:
    """A daemon in a task of its own: a TaskGroup has to be left by the task that entered it."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def begin(self) -> Daemon:
        """Raises: StartError."""
        self._stop = asyncio.Event()
        started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(started))
        either: set[asyncio.Future[Any]] = {self._task, started}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            await self._task
        return started.result()

    async def end(self) -> None:
        self._stop.set()
        await self._task

    async def _live(self, started: asyncio.Future[Daemon]) -> None:
        from lq.daemon.main import daemon
        from lq.daemon.store.sqlite import open_store_at

        async with daemon(self._config, open_store=lambda _: open_store_at(None)) as lives:
            _, token = await lives.engine.create_token("tests", frozenset({Scope.ADMIN}), (), None)
            started.set_result(Daemon(lives.port, token, lives.engine.ring.newest))
            await self._stop.wait()
