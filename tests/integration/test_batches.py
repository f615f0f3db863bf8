"""Batches and a daemon's life: full disks, restarts, expiries, pauses."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from lq.batch import Batched, Entry
from lq.errors import StorageFull, Unavailable
from lq.model import Idempotency, Push, QueueEdit, State
from lq.when import MINUTE_MS
from tests.clock import FakeClock
from tests.support.home import Home, heard, reaches
from tests.support.sqlite import Disk


def entries(home: Home, number: int, **members: Any) -> list[Entry]:
    return [Entry(home.push(**members)) for _ in range(number)]


def ids(done: Batched) -> list[str]:
    return [str(result.id) for result in done.results]


async def test_a_batch_that_finds_no_room_leaves_nothing(home: Home) -> None:
    disk: list[Disk] = []

    async def open_store(folder: Any) -> Any:
        store, found = await Disk.open(folder)
        disk.append(found)
        return store

    async with home.daemon(open_store=open_store) as daemon:
        once = Idempotency(sha256(b"a").digest(), bytes(32), home.clock.now())
        wanted = entries(home, 500, payload=bytes(500), delay_ms=MINUTE_MS)
        disk[0].pages = 0
        for _ in range(2):
            with pytest.raises(StorageFull):
                await daemon.engine.batches.push(wanted, asked=once)
        assert await daemon.engine.queues.all() == []
        assert not daemon.engine.health().ready
        disk[0].pages = None
        first = await daemon.engine.batches.push(wanted, asked=once)
        assert (await daemon.engine.batches.push(wanted, asked=once)).results == first.results
        [queue] = await daemon.engine.queues.all()
        assert queue.counts.pending == 500
        assert daemon.engine.health().ready


async def test_what_a_batch_stored_is_called_after_a_restart(home: Home) -> None:
    async with home.daemon() as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(paused=True))
        done = await daemon.engine.batches.push(entries(home, 30))
        daemon.engine.stop()
        with pytest.raises(Unavailable):
            await daemon.engine.batches.push(entries(home, 1))
    async with home.daemon() as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(paused=False))
        for job_id in ids(done):
            await reaches(daemon, job_id, State.COMPLETED)
    assert len(home.handler.calls) == 30


async def test_entries_wake_what_has_to_act_on_them(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        with daemon.events.subscribe() as events:
            done = await daemon.engine.batches.push(
                [
                    Entry(home.push(delay_ms=MINUTE_MS)),
                    Entry(home.push(delay_ms=10 * MINUTE_MS, expires_ms=MINUTE_MS)),
                ]
            )
            pushed = [await heard(events, "push") for _ in range(2)]
        assert [event.job_id for event in pushed] == ids(done)
        clock.advance(2 * MINUTE_MS)
        await reaches(daemon, ids(done)[0], State.COMPLETED)
        await reaches(daemon, ids(done)[1], State.FAILED)


async def test_entries_are_resolved_each_for_itself(home: Home) -> None:
    async with home.daemon() as daemon:
        bad = Push(queue="q", payload=b"")
        far = home.push(on_at=home.clock.now() + 11 * 366 * 86_400_000)
        good = home.push(delay_ms=MINUTE_MS)
        done = await daemon.engine.batches.push([Entry(p) for p in (bad, good, far)])
        refusals = [result.refusal for result in done.results]
        assert [r and [issue.path for issue in r.issues] for r in refusals] == [
            ["target"], None, ["on"],
        ]  # fmt: skip
        assert (await daemon.engine.queues.get("q")).counts.pending == 1
