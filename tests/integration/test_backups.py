"""The one backup of a daemon: its stages, its parts, and when it is forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lq.backups import Backup, Stage
from lq.daemon.main import Daemon
from lq.daemon.store import backup as store
from lq.errors import Conflict, NotFound, Unavailable
from lq.model import ById, State
from tests.clock import START, FakeClock
from tests.support.handler import GIVE_UP_S
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import HOUR, make
from tests.support.sqlite import beside, files


async def ready(daemon: Daemon) -> Backup:
    """The backup that has begun, once it can be fetched."""

    async with asyncio.timeout(GIVE_UP_S):
        while True:
            backup = await daemon.engine.backups.show(20_000)  # on a clock that stands still
            if backup.stage not in {Stage.COPYING, Stage.CHECKING}:
                return backup


async def fetched(daemon: Daemon) -> bytes:
    content = b""
    while data := (await daemon.engine.backups.part(len(content))).data:
        content += data
    return content


async def test_it_is_made_and_fetched_in_parts(home: Home, tmp_path: Path) -> None:
    async with home.daemon() as daemon:
        for _ in range(5):
            await daemon.engine.push(home.push(payload=b"x" * 900_000, delay_ms=HOUR))
        begun = daemon.engine.backups.begin()
        assert (begun.stage, begun.made_at) == (Stage.COPYING, START)
        made = await ready(daemon)
        assert made.stage is Stage.READY
        assert made.size is not None
        content = await fetched(daemon)
        assert len(content) == made.size
        assert (await daemon.engine.backups.part(made.size)).data == b""
        assert daemon.engine.backups.forget() == made
        with pytest.raises(NotFound):
            await daemon.engine.backups.show(0)
    copy = tmp_path / "copy.db"
    copy.write_bytes(content)
    with store.examined(copy) as connection:
        assert dict(store.counts(connection)) == dict(made.rows)
        assert made.rows["jobs"] == 5


async def test_there_is_one_at_a_time(home: Home) -> None:
    async with home.daemon() as daemon:
        daemon.engine.backups.begin()
        with pytest.raises(Conflict):
            daemon.engine.backups.begin()
        with pytest.raises(Conflict, match="not ready"):
            await daemon.engine.backups.part(0)
        await ready(daemon)
        with pytest.raises(Conflict):
            daemon.engine.backups.begin()
        daemon.engine.backups.forget()
        for _ in range(20):
            daemon.engine.backups.begin()
            daemon.engine.backups.forget()  # at whatever stage it is
        daemon.engine.backups.begin()
        assert (await ready(daemon)).stage is Stage.READY


async def test_one_that_nobody_asks_for_is_forgotten(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        daemon.engine.backups.begin()
        await ready(daemon)
        clock.advance(40_000)
        assert (await daemon.engine.backups.part(0)).data
        clock.advance(40_000)
        assert (await daemon.engine.backups.part(0)).data

        async def forgotten() -> bool:
            clock.advance(61_000)
            await daemon.engine.queues.all()
            try:
                daemon.engine.backups.begin()
            except Conflict:
                return False
            return True

        await eventually(forgotten)


async def test_a_stop_in_the_middle(home: Home) -> None:
    async with home.daemon() as daemon:
        for _ in range(20):
            await daemon.engine.push(home.push(payload=b"x" * 900_000, delay_ms=HOUR))
        daemon.engine.backups.begin()
    with pytest.raises(Unavailable):
        daemon.engine.backups.begin()
    assert "backup.part" not in files(home.folder)


def freeze(folder: Path) -> None:
    """As a restore with --hold does."""
    with beside(folder) as connection:
        connection.execute("INSERT INTO hold VALUES (1, ?, ?)", (START, START - HOUR))


async def test_nothing_moves_while_it_is_frozen(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        due = await daemon.engine.push(home.push(delay_ms=1000))
        expiring = await daemon.engine.push(home.push(delay_ms=HOUR, expires_ms=2000))
        await make(daemon, home, "E=1h", key="hourly")
        await make(daemon, home, "E=1h", key="all", misfire="all")
    freeze(home.folder)
    async with home.daemon() as daemon:
        assert daemon.engine.health().reasons[0].startswith("frozen: a backup of 2027-")
        new = await daemon.engine.push(home.push())
        assert new.job.state is State.PENDING
        [gate] = (await daemon.engine.why(ById(new.job.id))).gates
        assert gate.gate == "frozen"
        made = await make(daemon, home, "E=1s", key="often")
        for _ in range(5):
            clock.advance(HOUR)
            await daemon.engine.queues.all()
        assert home.handler.calls == []
        assert (await daemon.engine.get(ById(due.job.id))).state is State.PENDING
        assert (await daemon.engine.get(ById(expiring.job.id))).state is State.PENDING
        health = daemon.engine.health()
        assert (health.live, health.ready) == (True, False)
        by_hand = await daemon.engine.schedules.run_now(ById(made.id))
        assert by_hand.state is State.PENDING
    async with home.daemon() as daemon:  # a restart stays frozen
        assert not daemon.engine.health().ready
        assert home.handler.calls == []
        released = await daemon.engine.holding.release(skip_missed=True)
        assert released.skipped == 3
        for pushed in (due, new):
            await reaches(daemon, pushed.job.id, State.COMPLETED)
        await reaches(daemon, expiring.job.id, State.FAILED)
        await reaches(daemon, by_hand.id, State.COMPLETED)
        assert len(home.handler.calls) == 3
        with pytest.raises(Conflict):
            await daemon.engine.holding.release(skip_missed=False)
        assert daemon.engine.health().ready
    async with home.daemon() as daemon:
        assert daemon.engine.health().ready


async def test_what_was_missed_is_made_up_for_by_each_policy(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        await make(daemon, home, "E=1h", key="once")
        await make(daemon, home, "E=1h", key="all", misfire="all")
        await make(daemon, home, "E=1h", key="skip", misfire="skip")
    freeze(home.folder)
    clock.advance(3 * HOUR + 120_000)
    async with home.daemon() as daemon:
        await daemon.engine.holding.release(skip_missed=False)

        async def all_called() -> bool:
            await daemon.engine.queues.all()
            return len(home.handler.calls) >= 4

        await eventually(all_called)
        for _ in range(20):
            await daemon.engine.queues.all()
        assert len(home.handler.calls) == 1 + 3
