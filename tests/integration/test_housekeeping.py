"""The scheduler's chores, when the store has refused one of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lq.daemon.scheduler import Scheduler
from lq.model import JobFilter
from tests.clock import START, FakeClock
from tests.support.home import eventually
from tests.support.jobs import new_job
from tests.support.sqlite import Disk

HOUR = 3_600_000


async def test_a_refused_expiry_is_tried_again_whatever_is_pushed_meanwhile(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store, disk = await Disk.open(tmp_path)
    scheduler = Scheduler(clock, store, keep_ms=HOUR)
    await store.push(new_job(expires_at=START))

    async def refused() -> bool:
        await store.queues()
        return caplog.text.count("housekeeping waits") == 1

    async def expired() -> bool:
        return len((await store.finished(JobFilter())).items) == 1

    disk.read_only = True
    keeping = asyncio.create_task(scheduler.run())
    try:
        await eventually(refused)
        disk.read_only = False
        # What expires later must not take the place of what may be overdue.
        scheduler.expect_expiry(START + HOUR)
        clock.advance(5000)
        await eventually(expired)
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        await store.close()
