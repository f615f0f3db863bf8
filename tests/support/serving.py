"""A whole daemon in the test's own process, whoever opens and closes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from lq.clock import Clock
from lq.config import Config
from lq.daemon.main import Daemon, daemon


@contextlib.asynccontextmanager
async def serving(config: Config, clock: Clock) -> AsyncIterator[Daemon]:
    """A daemon in a task of its own: a TaskGroup has to be left by the task that entered it."""
    started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def run() -> None:
        async with daemon(config, clock) as one:
            started.set_result(one)
            await stop.wait()

    task = asyncio.create_task(run())
    awaited: set[asyncio.Future[Any]] = {task, started}
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield started.result()
    finally:
        stop.set()
        await task
