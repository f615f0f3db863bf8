"""Requests under an idempotency key and a daemon's life: restarts, disks, other rules, a day."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest

from lq.config import Dispatch
from lq.daemon.main import Daemon
from lq.errors import StorageFull
from lq.model import Idempotency, QueueSettings, RetryPolicy, State
from lq.when import DAY_MS, MINUTE_MS
from tests.clock import FakeClock
from tests.integration.api.raw import Answer, Peer
from tests.support.handler import answers
from tests.support.home import Home, eventually, heard, reaches
from tests.support.sqlite import Disk, beside

ONCE = "Idempotency-Key: once"


@contextlib.asynccontextmanager
async def owning(home: Home, **settings: Any) -> AsyncIterator[tuple[Daemon, Peer]]:
    """A daemon, and its owner on the socket."""
    async with home.daemon(**settings) as daemon:
        peer = Peer(socket_path=str(home.config.socket))
        yield daemon, peer
        await peer.close()


def asked(key: str, at: int) -> Idempotency:
    return Idempotency(sha256(key.encode()).digest(), bytes(32), at)


async def test_a_due_push_is_called_once_and_answered_the_same_after_a_restart(home: Home) -> None:
    push = ("POST queues/q/items", f"x-lq-target: {home.handler.url('/')}", ONCE)
    async with owning(home) as (daemon, owner):
        first = await owner.ask(*push, body=b"x")
        await reaches(daemon, first.json["id"], State.COMPLETED)
    async with owning(home) as (daemon, owner):
        again = await owner.ask(*push, body=b"x")
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["location"] == first.headers["location"]
        [queue] = await daemon.engine.queues.all()
        assert (queue.counts.completed, queue.counts.pending) == (1, 0)
    assert len(home.handler.calls) == 1


async def test_a_repetition_takes_no_slot(home: Home) -> None:
    async with home.daemon(dispatch=Dispatch(concurrency=1)) as daemon:
        once = asked("a", home.clock.now())
        first = await daemon.engine.push(home.push(), once)
        with daemon.events.subscribe() as events:
            for _ in range(3):
                assert (await daemon.engine.push(home.push(), once)).repeats
            other = await daemon.engine.push(home.push())
            assert (await heard(events, "push")).job_id == other.job.id
            await reaches(daemon, other.job.id, State.COMPLETED)
        await reaches(daemon, first.job.id, State.COMPLETED)


async def test_a_repetition_hides_what_is_to_be_hidden_by_then(home: Home) -> None:
    home.handler.on("/", answers(500, b"said-canary"))
    keyed = ("POST queues/q/items", f"x-lq-target: {home.handler.url('/')}", "x-lq-key: k")
    keep = (*keyed, "x-lq-if-exists: keep", ONCE)
    async with owning(home) as (daemon, owner):
        failing = await daemon.engine.push(home.push(key="k", retry=RetryPolicy(1, (DAY_MS,))))
        await eventually(lambda: _failed_once(daemon, failing.job.id))
        kept = await owner.ask(*keep)
        assert (kept.json["outcome"], kept.json["error"]) == ("kept", "status 500: said-canary")
    async with owning(home, queues={"q": QueueSettings(redact=("response",))}) as (_, owner):
        again = await owner.ask(*keep)
        assert again.json == {**kept.json, "error": "status 500: [redacted]"}


async def _failed_once(daemon: Daemon, job_id: str) -> bool:
    job = await reaches(daemon, job_id, State.PENDING)
    return job.failures == 1


async def test_nothing_secret_is_kept_with_an_answer(home: Home) -> None:
    headers = 'x-lq-headers: {"Authorization": "Bearer header-canary"}'
    for_later = (f"x-lq-target: {home.handler.url('/')}", headers, "Idempotency-Key: key-canary")
    async with owning(home) as (_, owner):
        item = ("POST queues/q/items", "x-lq-delay: 1h", *for_later)
        schedule = ("POST schedules", "x-lq-schedule: @daily", "x-lq-queue: q", *for_later)
        answered: list[Answer] = [await owner.ask(*item, body=b"body-canary")]
        answered.append(await owner.ask(*(*schedule[:-1], ONCE), body=b"body-canary"))
        assert [answer.status for answer in answered] == [201, 201]
        with beside(home.folder) as connection:
            kept = connection.execute("SELECT * FROM answers").fetchall()
        assert len(kept) == 2
        assert "canary" not in repr(kept)


async def test_a_push_that_found_no_room_is_not_remembered(home: Home) -> None:
    disk: list[Disk] = []

    async def open_store(folder: Any) -> Any:
        store, found = await Disk.open(folder)
        disk.append(found)
        return store

    async with home.daemon(open_store=open_store) as daemon:
        once = asked("a", home.clock.now())
        large = home.push(payload=bytes(60_000), delay_ms=MINUTE_MS)
        disk[0].pages = 0
        for _ in range(2):
            with pytest.raises(StorageFull):
                await daemon.engine.push(large, once)
        disk[0].pages = None
        first = await daemon.engine.push(large, once)
        assert not first.repeats
        disk[0].pages = 0
        again = await daemon.engine.pushed_before(once)
        assert again is not None
        assert again.job.id == first.job.id


async def test_answers_are_forgotten_after_a_day_though_there_are_many(
    home: Home, clock: FakeClock
) -> None:
    async with home.daemon() as daemon:
        for number in range(1100):
            await daemon.engine.push(
                home.push(delay_ms=10 * DAY_MS), asked(str(number), clock.now())
            )
        clock.advance(DAY_MS // 2)
        late = asked("late", clock.now())
        await daemon.engine.push(home.push(delay_ms=10 * DAY_MS), late)
        clock.advance(DAY_MS // 2 + MINUTE_MS)
        with beside(home.folder) as connection:
            await eventually(lambda: _left(daemon, connection, 1))
        assert (await daemon.engine.push(home.push(delay_ms=10 * DAY_MS), late)).repeats


async def _left(daemon: Daemon, connection: sqlite3.Connection, number: int) -> bool:
    await daemon.engine.queues.all()  # lets the store's thread work
    [found] = connection.execute("SELECT count(*) FROM answers").fetchone()
    return bool(found == number)
