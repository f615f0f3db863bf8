"""The server that pages come from, and a browser on one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from .site import Site


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with Site() as serving:
        yield serving
