"""A daemon whose store cannot write: it refuses, keeps what it has, says so, and recovers.

Unless the disk cannot be trusted any more: then it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lq.config import Dispatch
from lq.daemon.events import Event
from lq.daemon.main import Daemon
from lq.daemon.store import Store
from lq.errors import StorageFull, StoreFailed, Unavailable
from lq.model import ById, JobFilter, State
from tests.clock import START, FakeClock
from tests.support.handler import GIVE_UP_S, Gate, answers, hangs
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import HOUR, fired, make
from tests.support.sqlite import Disk, no_file_may_grow

LARGE = bytes(60_000)
"""More than fits where a page is still free."""


class Crowded:
    """A daemon on a disk that can be filled."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.disk: Disk

    async def open_store(self, folder: Path) -> Store:
        store, self.disk = await Disk.open(folder)
        return store

    @contextlib.asynccontextmanager
    async def daemon(self, **settings: Any) -> AsyncIterator[Daemon]:
        async with self.home.daemon(open_store=self.open_store, **settings) as running:
            yield running

    async def stuck(self, daemon: Daemon) -> None:
        """Have a call end whose result no longer fits, though a push or a claim still would."""
        gate = Gate(answers(200, LARGE))
        self.home.handler.on("/large", gate)
        await daemon.engine.push(self.home.push("/large"))
        await self.home.handler.next()
        self.disk.pages = 4
        gate.open()
        await eventually(lambda: noticed(daemon))


@pytest.fixture
def crowded(home: Home) -> Crowded:
    return Crowded(home)


async def test_a_full_disk_refuses_pushes_and_lets_the_rest_go_on(
    crowded: Crowded, home: Home, clock: FakeClock
) -> None:
    gate = Gate()
    home.handler.on("/held", gate)
    async with crowded.daemon() as daemon:
        running = await daemon.engine.push(home.push("/held"))
        waiting = await daemon.engine.push(home.push(delay_ms=1000))
        await home.handler.next()
        crowded.disk.pages = 0
        for _ in range(3):
            with pytest.raises(StorageFull):
                await daemon.engine.push(home.push(payload=LARGE))
        health = daemon.engine.health()
        assert (health.live, health.ready) == (True, False)
        assert "no room left" in health.reasons[0]
        gate.open()
        await reaches(daemon, running.job.id, State.COMPLETED)
        clock.advance(1000)
        await reaches(daemon, waiting.job.id, State.COMPLETED)
        assert {job.id for job in (await daemon.engine.history(JobFilter())).items} == {
            running.job.id, waiting.job.id,
        }  # fmt: skip
        crowded.disk.pages = None
        await daemon.engine.push(home.push(payload=LARGE))
        assert daemon.engine.health().ready


async def test_a_refused_push_gives_its_slot_back(crowded: Crowded, home: Home) -> None:
    async with crowded.daemon(dispatch=Dispatch(concurrency=1)) as daemon:
        crowded.disk.pages = 0
        for _ in range(3):
            with pytest.raises(StorageFull):
                await daemon.engine.push(home.push(payload=LARGE))
        crowded.disk.pages = None
        pushed = await daemon.engine.push(home.push())
        await reaches(daemon, pushed.job.id, State.COMPLETED)


async def test_a_result_that_does_not_fit_is_kept_and_recorded_later(
    crowded: Crowded, home: Home, clock: FakeClock
) -> None:
    """Meanwhile nothing new is started, since its result might not fit either."""
    async with crowded.daemon() as daemon:
        other = await daemon.engine.push(home.push(delay_ms=2000))
        await crowded.stuck(daemon)
        assert daemon.engine.health().reasons == ("1 results could not be stored yet",)
        pushed = await daemon.engine.push(home.push())
        with daemon.events.subscribe() as events:
            for _ in range(20):
                clock.advance(500)
                await daemon.engine.queues.all()
            assert len(home.handler.calls) == 1
            # Nor is anything claimed only to be given back, again and again.
            mark = Event(verb="mark", job_id="", queue="", state=State.PENDING, at=0)
            daemon.events.publish(mark)
            async for event in events:
                assert event.verb != "claim"
                if event is mark:
                    break
        crowded.disk.pages = None
        await eventually(lambda: tried_again(daemon, clock))
        [attempt] = await daemon.engine.attempts(ById(home.handler.calls[0].job_id))
        assert (attempt.status, attempt.body) == (200, LARGE)
        await eventually(lambda: started(daemon, clock, other.job.id))
        await eventually(lambda: started(daemon, clock, pushed.job.id))
        assert [call.path for call in home.handler.calls] == ["/large", "/", "/"]


async def tried_again(daemon: Daemon, clock: FakeClock) -> bool:
    clock.advance(500)
    await daemon.engine.queues.all()
    return daemon.engine.health().live


async def started(daemon: Daemon, clock: FakeClock, job_id: str) -> bool:
    clock.advance(500)
    return (await daemon.engine.get(ById(job_id))).state is State.COMPLETED


@pytest.mark.parametrize("how", ["in time", "at once", "by a second signal"])
async def test_a_result_that_never_fits_does_not_hold_up_a_stop(
    crowded: Crowded, home: Home, how: str
) -> None:
    """The job is found running by the next daemon, which runs it again."""
    drain_ms = {"in time": 50, "at once": 0, "by a second signal": 3_600_000}[how]
    async with asyncio.timeout(GIVE_UP_S):
        async with crowded.daemon(dispatch=Dispatch(drain_timeout_ms=drain_ms)) as daemon:
            await crowded.stuck(daemon)
            if how == "by a second signal":
                asyncio.get_running_loop().call_soon(daemon.cut)
    async with home.daemon() as daemon:
        call = await home.handler.next()
        assert call.attempt == 1
        await reaches(daemon, call.job_id, State.COMPLETED)


async def test_a_read_only_disk(crowded: Crowded, home: Home, clock: FakeClock) -> None:
    """Nothing is started that could not be recorded; all goes on when it is writable again."""
    gate = Gate()
    home.handler.on("/held", gate)
    async with crowded.daemon() as daemon:
        running = await daemon.engine.push(home.push("/held"))
        waiting = await daemon.engine.push(home.push(delay_ms=1000))
        await home.handler.next()
        crowded.disk.read_only = True
        clock.advance(1000)
        with pytest.raises(Unavailable, match="read-only"):
            await daemon.engine.push(home.push())
        assert not daemon.engine.health().ready
        gate.open()
        await eventually(lambda: noticed(daemon))
        assert len(home.handler.calls) == 1
        assert (await daemon.engine.get(ById(running.job.id))).state is State.RUNNING
        crowded.disk.read_only = False
        await eventually(lambda: started(daemon, clock, running.job.id))
        await eventually(lambda: started(daemon, clock, waiting.job.id))
    assert len(home.handler.calls) == 2


async def noticed(daemon: Daemon) -> bool:
    """Whether the daemon knows of a result it cannot store; looking gives it time to."""
    await daemon.engine.queues.all()
    return not daemon.engine.health().live


@pytest.mark.parametrize("how", ["in time", "by a second signal"])
async def test_a_call_that_cannot_be_given_back_does_not_hold_up_a_stop(
    crowded: Crowded, home: Home, how: str
) -> None:
    home.handler.on("/", hangs, answers(200))
    drain_ms = {"in time": 50, "by a second signal": 3_600_000}[how]
    async with asyncio.timeout(GIVE_UP_S):
        async with crowded.daemon(dispatch=Dispatch(drain_timeout_ms=drain_ms)) as daemon:
            await daemon.engine.push(home.push())
            await home.handler.next()
            crowded.disk.read_only = True
            if how == "by a second signal":
                asyncio.get_running_loop().call_soon(daemon.cut)
    async with home.daemon() as daemon:
        call = await home.handler.next()
        await reaches(daemon, call.job_id, State.COMPLETED)


def faults(error: BaseException) -> list[BaseException]:
    """What a group holds, and the groups in it; there is always something."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [fault for inner in error.exceptions for fault in faults(inner)]


async def test_a_disk_that_fails_ends_the_daemon(home: Home) -> None:
    """With an exit code and a hint; whoever waited for the store is told the same."""
    home.handler.on("/", hangs)
    told: list[object] = []

    async def serve() -> None:
        async with asyncio.timeout(GIVE_UP_S), home.daemon() as daemon:
            await daemon.engine.push(home.push())
            await home.handler.next()
            with no_file_may_grow():
                pushing = [asyncio.create_task(daemon.engine.push(home.push())) for _ in range(3)]
                told.extend(await asyncio.gather(*pushing, return_exceptions=True))
            await asyncio.Event().wait()

    with pytest.raises(BaseExceptionGroup) as ended:
        await serve()
    for fault in faults(ended.value):  # a claim that was under way is told, too
        assert isinstance(fault, StoreFailed)
        assert fault.exit_code == 74
        assert fault.hint
    assert [type(error) for error in told] == [StoreFailed] * 3
    home.handler.on("/", answers(200))
    async with home.daemon() as daemon:
        call = await home.handler.next()
        await reaches(daemon, call.job_id, State.COMPLETED)
        assert len((await daemon.engine.history(JobFilter())).items) == 1


async def test_a_firing_that_cannot_be_stored_is_made_when_there_is_room(
    crowded: Crowded, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with crowded.daemon() as daemon:
        hourly = await make(daemon, crowded.home, "0 * * * *")
        minutely = await make(daemon, crowded.home, "* * * * *")
        crowded.disk.read_only = True
        clock.advance(HOUR)
        await eventually(lambda: logged(caplog, "schedules wait"))
        for _ in range(4):
            clock.advance(30_000)
            await eventually(lambda: looked(clock))
        assert "schedules are late" in daemon.engine.health().reasons
        assert not daemon.engine.health().live
        assert await fired(daemon, hourly) == []
        assert caplog.text.count("schedules wait") <= 3
        crowded.disk.read_only = False

        async def made() -> bool:
            clock.advance(1_000)
            return len(await fired(daemon, hourly)) > 0

        await eventually(made)
        assert [at for at, _ in await fired(daemon, hourly)] == [START + HOUR]
        at, missed = (await fired(daemon, minutely))[0]
        assert at == START + missed * 60_000
        assert missed >= 60
        await eventually(lambda: lives(daemon))


async def test_a_start_on_a_full_disk_fires_when_there_is_room(
    crowded: Crowded, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with crowded.daemon() as daemon:
        hourly = await make(daemon, crowded.home, "0 * * * *")
    clock.advance(HOUR)

    async def open_read_only(folder: Path) -> Store:
        store = await crowded.open_store(folder)
        crowded.disk.read_only = True
        return store

    async with crowded.home.daemon(open_store=open_read_only) as daemon:
        await eventually(lambda: logged(caplog, "schedules wait"))
        assert await fired(daemon, hourly) == []
        crowded.disk.read_only = False

        async def made() -> bool:
            clock.advance(1_000)
            return len(await fired(daemon, hourly)) > 0

        await eventually(made)
        assert [at for at, _ in await fired(daemon, hourly)] == [START + HOUR]


async def lives(daemon: Daemon) -> bool:
    await asyncio.sleep(0)
    return daemon.engine.health().live


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    await asyncio.sleep(0)
    return text in caplog.text


async def looked(clock: FakeClock) -> bool:
    """Whether the scheduler has looked at the clock, and waits for it again."""
    await asyncio.sleep(0)
    return clock.waiting > 0
