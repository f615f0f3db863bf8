"""When jobs start: delays, instants, expiry, pauses; and what a clock that jumps does to them."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from lq.config import HistoryConfig
from lq.daemon.main import Daemon
from lq.errors import NotFound
from lq.model import ById, JobFilter, QueueEdit, State
from tests.clock import START, FakeClock
from tests.support.handler import Gate, Handler, answers
from tests.support.home import Home, eventually, heard, reaches

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


async def state(daemon: Daemon, job_id: str) -> State:
    return (await daemon.engine.get(ById(job_id))).state


async def pass_time(daemon: Daemon, home: Home, ms: int) -> None:
    """Let time pass, and return when the daemon has started what is due by then.

    A job due at that very moment, in a queue of its own, is claimed with or after the rest.
    """
    with daemon.events.subscribe() as events:
        canary = await daemon.engine.push(home.push("/canary", queue="canary", delay_ms=ms))
        home.clock.advance(ms)
        await heard(events, "succeed", canary.job.id)


def seen(handler: Handler) -> list[str]:
    """The jobs that were called, canaries left out."""
    return [call.job_id for call in handler.calls if call.path != "/canary"]


@pytest.mark.parametrize("delay_ms", [1, 999, 1000, MINUTE, DAY, 3653 * DAY])
@pytest.mark.parametrize("asked", ["delay", "on"])
async def test_a_job_starts_at_its_time_and_not_a_millisecond_before(
    daemon: Daemon, home: Home, delay_ms: int, asked: str
) -> None:
    time: dict[str, Any] = (
        {"delay_ms": delay_ms} if asked == "delay" else {"on_at": START + delay_ms}
    )
    pushed = await daemon.engine.push(home.push(**time))
    if delay_ms > 1:
        await pass_time(daemon, home, delay_ms - 1)
        assert await state(daemon, pushed.job.id) is State.PENDING
    home.clock.advance(home.clock.now() - START + 1 if delay_ms == 1 else 1)
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    assert [call.at for call in home.handler.calls if call.path == "/"] == [START + delay_ms]


@pytest.mark.parametrize("on_at", [START, START - 1, 0, -1])
async def test_an_instant_that_has_passed_means_now(daemon: Daemon, home: Home, on_at: int) -> None:
    pushed = await daemon.engine.push(home.push(on_at=on_at))
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    assert (pushed.job.not_before, pushed.job.due_at) == (on_at, START)


async def test_many_delays_at_once_keep_their_order(home: Home, clock: FakeClock) -> None:
    chance = random.Random(3)
    dues = {}
    async with home.daemon() as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(concurrency=1))
        for _ in range(40):
            pushed = await daemon.engine.push(home.push(delay_ms=chance.randrange(1, 8) * 100))
            dues[pushed.job.id] = (pushed.job.due_at, pushed.job.seq)
        with daemon.events.subscribe() as events:
            clock.advance(800)
            for _ in dues:
                await heard(events, "succeed")
    assert seen(home.handler) == sorted(dues, key=lambda job_id: dues[job_id])


async def test_a_delay_survives_a_restart(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        pushed = await daemon.engine.push(home.push(delay_ms=HOUR))
    clock.advance(HOUR - 1)
    async with home.daemon() as daemon:
        await pass_time(daemon, home, 0)
        assert await state(daemon, pushed.job.id) is State.PENDING
        clock.advance(1)
        await reaches(daemon, pushed.job.id, State.COMPLETED)


async def test_what_became_due_while_it_was_down_starts_at_once(
    home: Home, clock: FakeClock
) -> None:
    async with home.daemon() as daemon:
        pushed = [await daemon.engine.push(home.push(delay_ms=n * HOUR)) for n in range(1, 6)]
    clock.advance(DAY)
    async with home.daemon() as daemon:
        for one in pushed:
            await reaches(daemon, one.job.id, State.COMPLETED)


# -- expiry --------------------------------------------------------------------------------------


async def test_an_unstarted_job_fails_when_it_expires(daemon: Daemon, home: Home) -> None:
    pushed = await daemon.engine.push(home.push(delay_ms=HOUR, expires_ms=MINUTE))
    await pass_time(daemon, home, MINUTE - 1)
    assert await state(daemon, pushed.job.id) is State.PENDING
    home.clock.advance(1)
    job = await reaches(daemon, pushed.job.id, State.FAILED)
    assert job.error == "expired before it could start"
    assert job.finished_at == START + MINUTE
    assert await daemon.engine.attempts(ById(job.id)) == []


async def test_a_job_expires_while_its_queue_is_paused(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    expiring = [await daemon.engine.push(home.push(expires_ms=n * MINUTE)) for n in (2, 1, 3)]
    clock.advance(2 * MINUTE)
    await reaches(daemon, expiring[0].job.id, State.FAILED)
    await reaches(daemon, expiring[1].job.id, State.FAILED)
    assert await state(daemon, expiring[2].job.id) is State.PENDING
    await daemon.engine.queues.edit("q", QueueEdit(paused=False))
    await reaches(daemon, expiring[2].job.id, State.COMPLETED)
    assert seen(home.handler) == [expiring[2].job.id]


async def test_a_job_that_runs_is_past_expiring(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    pushed = await daemon.engine.push(home.push(expires_ms=MINUTE))
    await home.handler.next()
    await pass_time(daemon, home, HOUR)
    gate.open()
    await reaches(daemon, pushed.job.id, State.COMPLETED)


@pytest.mark.parametrize("expires", [{"expires_ms": 0}, {"expires_at": START}, {"expires_at": 1}])
async def test_what_expires_at_once_is_never_called(
    daemon: Daemon, home: Home, expires: dict[str, Any]
) -> None:
    pushed = await daemon.engine.push(home.push(**expires))
    await reaches(daemon, pushed.job.id, State.FAILED)
    await pass_time(daemon, home, MINUTE)
    assert seen(home.handler) == []


async def test_a_retry_that_waits_expires(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    home.handler.on("/", answers(500))
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push(expires_ms=MINUTE))
        await heard(events, "fail", pushed.job.id)
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    clock.advance(MINUTE)
    job = await reaches(daemon, pushed.job.id, State.FAILED)
    assert job.error == "expired; last attempt: status 500"


async def test_one_expiry_after_the_other(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    expiring = [await daemon.engine.push(home.push(expires_ms=n * MINUTE)) for n in (3, 1, 2)]
    for turn in (1, 2, 0):
        clock.advance(MINUTE)
        await reaches(daemon, expiring[turn].job.id, State.FAILED)


async def test_many_expire_at_one_moment(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    """More than one step of the housekeeping does."""
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    for _ in range(1200):
        await daemon.engine.push(home.push(expires_ms=MINUTE))
    clock.advance(MINUTE)

    async def all_failed() -> bool:
        return (await daemon.engine.queues.get("q")).counts.failed == 1200

    await eventually(all_failed)


# -- pauses --------------------------------------------------------------------------------------


async def test_a_paused_queue_starts_nothing_and_lets_run_what_runs(
    daemon: Daemon, home: Home
) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    running = await daemon.engine.push(home.push())
    await home.handler.next()
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    waiting = await daemon.engine.push(home.push())
    later = await daemon.engine.push(home.push(delay_ms=MINUTE))
    gate.open()
    await reaches(daemon, running.job.id, State.COMPLETED)
    await pass_time(daemon, home, HOUR)
    assert seen(home.handler) == [running.job.id]
    await daemon.engine.queues.edit("q", QueueEdit(paused=False))
    for pushed in (waiting, later):
        await reaches(daemon, pushed.job.id, State.COMPLETED)


async def test_a_pause_ends_at_its_end(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(paused_until=START + HOUR))
    pushed = await daemon.engine.push(home.push())
    await pass_time(daemon, home, HOUR - 1)
    assert await state(daemon, pushed.job.id) is State.PENDING
    clock.advance(1)
    await reaches(daemon, pushed.job.id, State.COMPLETED)
    queue = await daemon.engine.queues.get("q")
    assert (queue.paused, queue.paused_until) == (False, None)


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (QueueEdit(paused_until=START + 2 * HOUR), True),
        (QueueEdit(paused_until=None), False),
        (QueueEdit(paused=True), False),
    ],
)
async def test_a_pause_may_be_changed(
    daemon: Daemon, home: Home, change: QueueEdit, ends: bool
) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(paused_until=START + HOUR))
    await daemon.engine.queues.edit("q", change)
    pushed = await daemon.engine.push(home.push())
    await pass_time(daemon, home, HOUR)
    await pass_time(daemon, home, HOUR - 1)
    assert await state(daemon, pushed.job.id) is State.PENDING
    await pass_time(daemon, home, 1)
    if ends:
        await reaches(daemon, pushed.job.id, State.COMPLETED)
    else:
        assert (await daemon.engine.queues.get("q")).paused


@pytest.mark.parametrize("down_ms", [0, 2 * HOUR])
async def test_a_pause_survives_a_restart(home: Home, clock: FakeClock, down_ms: int) -> None:
    async with home.daemon() as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(paused_until=START + HOUR))
        await daemon.engine.queues.edit("forever", QueueEdit(paused=True))
        pushed = await daemon.engine.push(home.push())
        await daemon.engine.push(home.push(queue="forever"))
    clock.advance(down_ms)
    async with home.daemon() as daemon:
        if not down_ms:
            await pass_time(daemon, home, HOUR - 1)
            assert await state(daemon, pushed.job.id) is State.PENDING
            clock.advance(1)
        await reaches(daemon, pushed.job.id, State.COMPLETED)
        await pass_time(daemon, home, DAY)
    assert seen(home.handler) == [pushed.job.id]


# -- history -------------------------------------------------------------------------------------


async def test_history_is_forgotten_by_age(home: Home, clock: FakeClock) -> None:
    async with home.daemon(history=HistoryConfig(keep_ms=HOUR)) as daemon:
        with daemon.events.subscribe() as events:
            old = await daemon.engine.push(home.push())
            await heard(events, "succeed", old.job.id)
            clock.advance(30 * MINUTE)
            young = await daemon.engine.push(home.push())
            waiting = await daemon.engine.push(home.push(delay_ms=DAY))
            await heard(events, "succeed", young.job.id)
        clock.advance(31 * MINUTE)

        async def forgotten() -> bool:
            return len((await daemon.engine.history(JobFilter())).items) == 1

        await eventually(forgotten)
        with pytest.raises(NotFound):
            await daemon.engine.get(ById(old.job.id))
        assert await state(daemon, young.job.id) is State.COMPLETED
        assert await state(daemon, waiting.job.id) is State.PENDING


# -- clocks that jump ----------------------------------------------------------------------------


async def notice(home: Home, daemon: Daemon) -> None:
    """Pass the second within which the daemon notices that the clock was set."""
    await pass_time(daemon, home, SECOND)


async def test_the_clock_jumps_ahead(
    daemon: Daemon, home: Home, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    due = await daemon.engine.push(home.push(delay_ms=30 * MINUTE))
    later = await daemon.engine.push(home.push(delay_ms=2 * HOUR))
    with caplog.at_level(logging.WARNING, "lq"):
        clock.step(HOUR)
        await notice(home, daemon)
        await reaches(daemon, due.job.id, State.COMPLETED)
    assert "clock stepped +3600 s" in caplog.text
    assert await state(daemon, later.job.id) is State.PENDING


async def test_the_clock_jumps_back(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    """What has run does not run again; what waits, waits for the wall clock; a call ends."""
    gate = Gate()
    home.handler.on("/held", gate)
    done = await daemon.engine.push(home.push(delay_ms=MINUTE))
    clock.advance(MINUTE)
    await reaches(daemon, done.job.id, State.COMPLETED)
    running = await daemon.engine.push(home.push("/held"))
    waiting = await daemon.engine.push(home.push(delay_ms=MINUTE))
    await home.handler.take(2)
    clock.step(-HOUR)
    await notice(home, daemon)
    gate.open()
    await reaches(daemon, running.job.id, State.COMPLETED)
    now = await daemon.engine.push(home.push())
    await reaches(daemon, now.job.id, State.COMPLETED)
    await pass_time(daemon, home, MINUTE)
    assert await state(daemon, waiting.job.id) is State.PENDING
    await pass_time(daemon, home, waiting.job.due_at - clock.now() - 1)
    assert await state(daemon, waiting.job.id) is State.PENDING
    await pass_time(daemon, home, 1)
    await reaches(daemon, waiting.job.id, State.COMPLETED)
    assert sorted(seen(home.handler)) == sorted(
        pushed.job.id for pushed in (done, running, now, waiting)
    )


async def test_the_clock_goes_to_and_fro(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    """An hour ahead and back every ten seconds: each job once, none before its time."""
    chance = random.Random(5)
    dues = {}
    for _ in range(60):
        pushed = await daemon.engine.push(home.push(delay_ms=chance.randrange(1, 3 * HOUR)))
        dues[pushed.job.id] = pushed.job.due_at
    for turn in range(20):
        clock.step(HOUR if turn % 2 == 0 else -HOUR)
        for _ in range(2):
            await pass_time(daemon, home, 5 * SECOND)
    for _ in range(4):
        await pass_time(daemon, home, HOUR)
    for job_id in dues:
        await reaches(daemon, job_id, State.COMPLETED)
    called = [call for call in home.handler.calls if call.path != "/canary"]
    assert sorted(call.job_id for call in called) == sorted(dues)
    assert all(call.at >= dues[call.job_id] for call in called)


async def test_a_retry_waits_by_the_wall_clock(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on("/", answers(500), answers(200))
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push())
        await heard(events, "fail", pushed.job.id)
    clock.step(-MINUTE)
    await pass_time(daemon, home, MINUTE)
    assert await state(daemon, pushed.job.id) is State.PENDING
    await pass_time(daemon, home, 10 * SECOND)
    await reaches(daemon, pushed.job.id, State.COMPLETED)
