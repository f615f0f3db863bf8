"""Stops, starts, and what ran in between: nothing is lost, nothing is counted that was no attempt.

A daemon that dies is played by its store: the data folder as it was at that moment, copied and
opened by the next daemon. The death of a real process is what tests/crash is about.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from lq.config import Dispatch
from lq.daemon.main import Daemon
from lq.daemon.store.sqlite import open_store
from lq.model import Attempt, ById, Job, JobFilter, OutcomeKind, RetryPolicy, State
from tests.clock import FakeClock
from tests.support.handler import Gate, answers, hangs
from tests.support.home import Home, heard, reaches
from tests.support.jobs import all_of

HOUR = 3_600_000
_EVERYTHING = JobFilter()
AT_ONCE = Dispatch(drain_timeout_ms=0)


async def stored(home: Home) -> list[Job]:
    """The unfinished jobs in the data folder of a daemon that has stopped."""
    store = await open_store(home.folder)
    try:
        assert await store.orphans(home.clock.now()) == []
        return await all_of(store.unfinished)
    finally:
        await store.close()


async def attempts(daemon: Daemon, job_id: str) -> list[Attempt]:
    return await daemon.engine.attempts(ById(job_id))


# -- stops ---------------------------------------------------------------------------------------


async def test_a_stop_lets_running_calls_end(home: Home) -> None:
    gate = Gate(answers(200, b"done"))
    home.handler.on("/", gate)
    async with home.daemon() as daemon:
        for _ in range(3):
            await daemon.engine.push(home.push())
        await home.handler.take(3)
        asyncio.get_running_loop().call_soon(gate.open)
    assert await stored(home) == []
    assert len(home.handler.calls) == 3


async def test_what_does_not_end_in_time_is_given_back_uncounted(home: Home) -> None:
    home.handler.on("/", hangs, answers(200))
    async with home.daemon(dispatch=Dispatch(drain_timeout_ms=50)) as daemon:
        pushed = await daemon.engine.push(home.push())
        await home.handler.next()
    [job] = await stored(home)
    assert (job.id, job.state, job.failures, job.interruptions) == (
        pushed.job.id, State.PENDING, 0, 0,
    )  # fmt: skip
    assert job.error == "interrupted: lq was stopped"
    async with home.daemon() as daemon:
        await reaches(daemon, job.id, State.COMPLETED)
        first, second = await attempts(daemon, job.id)
    assert (first.n, first.outcome) == (1, OutcomeKind.INTERRUPTED)
    assert (second.n, second.outcome) == (1, OutcomeKind.SUCCEEDED)
    calls = home.handler.calls
    assert [call.attempt for call in calls] == [1, 1]
    assert calls[0].job_id == calls[1].job_id


async def test_graceful_stops_never_count(home: Home) -> None:
    home.handler.on("/", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        pushed = await daemon.engine.push(home.push(retry=RetryPolicy(0)))
        await home.handler.next()
    for _ in range(4):
        async with home.daemon(dispatch=AT_ONCE):
            await home.handler.next()
    [job] = await stored(home)
    assert (job.id, job.failures, job.interruptions) == (pushed.job.id, 0, 0)


async def test_a_second_signal_waits_for_no_call(home: Home) -> None:
    home.handler.on("/", hangs)
    async with asyncio.timeout(10):
        async with home.daemon(dispatch=Dispatch(drain_timeout_ms=HOUR)) as daemon:
            await daemon.engine.push(home.push())
            await home.handler.next()
            asyncio.get_running_loop().call_soon(daemon.cut)
    [job] = await stored(home)
    assert (job.state, job.failures) == (State.PENDING, 0)


async def test_a_call_that_ends_during_the_stop_is_no_reason_to_start_another(home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    async with home.daemon(dispatch=Dispatch(concurrency=1)) as daemon:
        for _ in range(3):
            await daemon.engine.push(home.push())
        await home.handler.next()
        asyncio.get_running_loop().call_soon(gate.open)
    assert len(await stored(home)) == 2
    assert len(home.handler.calls) == 1


async def test_what_waits_for_its_endpoint_is_given_back(home: Home) -> None:
    home.handler.on_head("/", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        await daemon.engine.push(home.push())
        await home.handler.validated(1)
    [job] = await stored(home)
    assert (job.state, job.failures) == (State.PENDING, 0)


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_just_after_a_push_loses_nothing(home: Home, turns: int) -> None:
    """At whatever point of its commit, claim or call: nothing is left running by nobody."""
    home.handler.on("/", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        pushing = asyncio.create_task(daemon.engine.push(home.push()))
        for _ in range(turns):
            await asyncio.sleep(0)
    [outcome] = await asyncio.gather(pushing, return_exceptions=True)
    jobs = await stored(home)
    if isinstance(outcome, BaseException):
        assert jobs == []
    else:
        assert [(job.id, job.state, job.failures) for job in jobs] == [
            (outcome.job.id, State.PENDING, 0)
        ]


@pytest.mark.parametrize("turns", range(20))
async def test_a_stop_just_after_a_push_during_a_claim_loses_nothing(
    home: Home, clock: FakeClock, turns: int
) -> None:
    home.handler.on("/", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        await daemon.engine.push(home.push(delay_ms=1))
        clock.advance(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        pushing = asyncio.create_task(daemon.engine.push(home.push()))
        await asyncio.sleep(0)
    pushed = await pushing
    assert {(job.state, job.failures, job.interruptions) for job in await stored(home)} == {
        (State.PENDING, 0, 0)
    }
    assert pushed.job.id in {job.id for job in await stored(home)}


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_just_when_jobs_become_due_loses_nothing(
    home: Home, clock: FakeClock, turns: int
) -> None:
    home.handler.on("/", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        pushed = [await daemon.engine.push(home.push(delay_ms=1)) for _ in range(40)]
        clock.advance(1)
        for _ in range(turns):
            await asyncio.sleep(0)
    jobs = await stored(home)
    assert {job.id for job in jobs} == {one.job.id for one in pushed}
    assert {(job.state, job.failures, job.interruptions) for job in jobs} == {(State.PENDING, 0, 0)}


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_just_when_a_call_ends_keeps_its_result(home: Home, turns: int) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        await daemon.engine.push(home.push())
        await home.handler.next()
        gate.open()
        for _ in range(turns):
            await asyncio.sleep(0)
    jobs = await stored(home)
    assert [(job.state, job.failures) for job in jobs] in ([], [(State.PENDING, 0)])


# -- starts --------------------------------------------------------------------------------------


@pytest.fixture
async def dying(home: Home, tmp_path: Path) -> Home:
    """A home whose folder is a copy, made while its daemon was running a call."""
    home.handler.on("/", hangs)
    async with home.daemon(dispatch=AT_ONCE) as daemon:
        await daemon.engine.push(home.push(retry=RetryPolicy(1)))
        await home.handler.next()
        copy = shutil.copytree(home.folder, tmp_path / "copy", ignore=_sockets)
    home.handler.on("/", answers(200))
    return Home(copy, home.clock, home.handler)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


async def die(home: Home, to: Path) -> Home:
    """The home as the next daemon finds it, when this one dies in the middle of a call."""
    home.handler.on("/", hangs)
    async with home.daemon(dispatch=AT_ONCE):
        await home.handler.next()
        copy = shutil.copytree(home.folder, to, ignore=_sockets)
    return Home(copy, home.clock, home.handler)


async def test_what_ran_when_the_daemon_died_runs_again_at_once_and_uncounted(
    dying: Home,
) -> None:
    async with dying.daemon() as daemon:
        call = await dying.handler.next()
        job = await reaches(daemon, call.job_id, State.COMPLETED)
        first, second = await attempts(daemon, job.id)
    assert call.attempt == 1
    assert (first.n, first.outcome, first.error) == (
        1, OutcomeKind.INTERRUPTED, "interrupted: the daemon died",
    )  # fmt: skip
    assert (second.n, second.outcome) == (1, OutcomeKind.SUCCEEDED)
    assert (job.failures, job.interruptions) == (0, 0)


async def test_a_job_that_kills_the_daemon_again_and_again_fails(
    dying: Home, clock: FakeClock, tmp_path: Path
) -> None:
    """Two deaths are forgiven; the third and the fourth use up its two attempts."""
    home = dying
    for number in (2, 3):
        home = await die(home, tmp_path / f"copy{number}")
    async with home.daemon() as daemon:
        [job] = (await daemon.engine.items(_EVERYTHING)).items
        job = await reaches(daemon, job.id, State.PENDING)
    assert (job.failures, job.interruptions) == (1, 3)
    clock.advance(HOUR)
    home = await die(home, tmp_path / "copy4")
    async with home.daemon() as daemon:
        job = await reaches(daemon, job.id, State.FAILED)
        outcomes = [attempt.outcome for attempt in await attempts(daemon, job.id)]
    assert job.error == "interrupted 4 times in a row: the daemon died while it ran"
    assert outcomes == [OutcomeKind.INTERRUPTED] * 4


async def test_a_success_in_between_forgives_interruptions(dying: Home) -> None:
    async with dying.daemon() as daemon:
        await dying.handler.next()
        job = await reaches(daemon, dying.handler.calls[0].job_id, State.COMPLETED)
        with daemon.events.subscribe() as events:
            await daemon.engine.retry(ById(job.id))
            await heard(events, "succeed")
        assert (await daemon.engine.get(ById(job.id))).interruptions == 0
