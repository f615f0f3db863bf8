"""Every kind of store, behind one fixture: a new kind joins the suite by joining `params`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from lq.daemon.store import Store
from lq.daemon.store.sqlite import open_store

Opener = Callable[[Path], AbstractAsyncContextManager[Store]]
"""Opens the store that lives in a folder: empty at first, later as the last one left it."""

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]
"""The same for the folder of a test."""


@contextlib.asynccontextmanager
async def at_work(store: Store) -> AsyncIterator[Store]:
    """The store, run and in the end closed."""
    work = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        await store.close()
        await work


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Store]:
    async with at_work(await open_store(folder)) as store:
        yield store


@pytest.fixture(params=[sqlite], ids=["sqlite"])
def opener(request: pytest.FixtureRequest) -> Opener:
    found: Opener = request.param
    return found


@pytest.fixture
def opened(opener: Opener, tmp_path: Path) -> OpenStore:
    return partial(opener, tmp_path / "data")


@pytest.fixture
async def store(opened: OpenStore) -> AsyncIterator[Store]:
    async with opened() as store:
        yield store
