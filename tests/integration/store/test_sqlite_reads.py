"""What a query of the SQLite store sees while others write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

from lq.daemon.store.sqlite import open_store
from tests.support.handler import GIVE_UP_S
from tests.support.jobs import claim, new_job

from .conftest import at_work


async def test_a_query_of_several_statements_sees_one_moment(tmp_path: Path) -> None:
    """Or a job that is claimed between them would be neither running yet nor waiting still."""
    async with at_work(store := await open_store(tmp_path)):
        await store.push(new_job())
        begun, claimed = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def states(connection: sqlite3.Connection) -> list[str]:
            [before] = connection.execute("SELECT state FROM jobs").fetchone()
            loop.call_soon_threadsafe(begun.set)
            assert claimed.wait(GIVE_UP_S)
            [after] = connection.execute("SELECT state FROM jobs").fetchone()
            return [before, after]

        reading = asyncio.create_task(store.database.read(states))
        await begun.wait()
        assert await claim(store)
        claimed.set()
        assert await reading == ["PENDING", "PENDING"]
        assert await store.database.read(states) == ["RUNNING", "RUNNING"]
