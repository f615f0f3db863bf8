"""Targets that keep failing are spared: their jobs wait, and lose no attempts."""

from __future__ import annotations

import socket

from lq.config import BreakerConfig, EgressConfig, Validate
from lq.daemon.main import Daemon
from lq.model import ById, Push, RetryPolicy, State
from tests.clock import FakeClock
from tests.support.handler import answers
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import MINUTE, SECOND

AT_ONCE = Validate(default="none")
ONCE = RetryPolicy(0)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def fail(daemon: Daemon, home: Home, number: int, path: str = "/") -> None:
    """So many jobs that fail for good, one after the other."""
    for _ in range(number):
        pushed = await daemon.engine.push(home.push(path, retry=ONCE))
        await reaches(daemon, pushed.job.id, State.FAILED)


async def held(daemon: Daemon, job_id: str) -> str:
    """The reason for which a job was put off."""

    async def there() -> bool:
        job = await daemon.engine.get(ById(job_id))
        return job.state is State.PENDING and job.error is not None

    await eventually(there)
    job = await daemon.engine.get(ById(job_id))
    assert (job.failures, await daemon.engine.attempts(ById(job_id))) == (0, [])
    return job.error or ""


async def test_ten_failures_in_a_row_hold_the_others(home: Home, clock: FakeClock) -> None:
    home.handler.on("/", *[answers(500)] * 11, answers(200))
    async with home.daemon(validate=AT_ONCE) as daemon:
        await fail(daemon, home, 10)
        waiting = [(await daemon.engine.push(home.push(retry=ONCE))).job.id for _ in range(30)]
        for job_id in waiting:
            assert "keeps failing (status 500)" in await held(daemon, job_id)
        assert len(home.handler.calls) == 10
        other = await daemon.engine.push(home.push("/other"))
        await reaches(daemon, other.job.id, State.COMPLETED)

        clock.advance(5 * SECOND)  # one call tries it, and fails
        await reaches(daemon, waiting[0], State.FAILED)
        assert [call.path for call in home.handler.calls].count("/") == 11
        clock.advance(10 * SECOND)  # another one works

        async def done() -> bool:
            clock.advance(SECOND)
            counts = (await daemon.engine.queues.get("q")).counts
            return counts.completed == 30

        await eventually(done)
        for job_id in waiting[1:]:
            assert len(await daemon.engine.attempts(ById(job_id))) == 1


async def test_a_server_that_is_down_costs_few_attempts(home: Home, clock: FakeClock) -> None:
    port = free_port()
    egress = EgressConfig(allow=(f"127.0.0.1:{port}",))
    async with home.daemon(validate=AT_ONCE, egress=egress) as daemon:
        for n in range(100):
            target = f"http://127.0.0.1:{port}/{n}"
            await daemon.engine.push(Push(queue="q", payload=b"", target=target))

        async def quiet() -> bool:
            counts = (await daemon.engine.queues.get("q")).counts
            return counts.running == 0

        await eventually(quiet)
        failed = (await daemon.engine.queues.get("q")).counts.retry
        assert 10 <= failed <= 26  # those that were under way when it opened count, too
        for _ in range(20):
            clock.advance(MINUTE)
            await eventually(quiet)
        assert (await daemon.engine.queues.get("q")).counts.failed <= failed


async def test_a_held_job_still_expires(home: Home, clock: FakeClock) -> None:
    home.handler.on("/", answers(500))
    breaker = BreakerConfig(failures=2, hold_ms=MINUTE)
    async with home.daemon(validate=AT_ONCE, breaker=breaker) as daemon:
        await fail(daemon, home, 2)
        pushed = await daemon.engine.push(home.push(expires_ms=SECOND))
        await held(daemon, pushed.job.id)
        clock.advance(SECOND)
        job = await reaches(daemon, pushed.job.id, State.FAILED)
        assert (job.error or "").startswith("expired")


async def test_run_now_tries_a_spared_target_at_once(home: Home) -> None:
    home.handler.on("/", answers(500), answers(500), answers(200))
    breaker = BreakerConfig(failures=2, hold_ms=MINUTE)
    async with home.daemon(validate=AT_ONCE, breaker=breaker) as daemon:
        await fail(daemon, home, 2)
        pushed = await daemon.engine.push(home.push())
        await held(daemon, pushed.job.id)
        await daemon.engine.run_now(ById(pushed.job.id))
        await reaches(daemon, pushed.job.id, State.COMPLETED)


async def test_zero_spares_nobody(home: Home) -> None:
    home.handler.on("/", answers(500))
    breaker = BreakerConfig(failures=0)
    async with home.daemon(validate=AT_ONCE, breaker=breaker) as daemon:
        await fail(daemon, home, 30)
    assert len(home.handler.calls) == 30


async def test_a_restart_forgets_who_was_spared(home: Home, clock: FakeClock) -> None:
    home.handler.on("/", answers(500), answers(500), answers(200))
    breaker = BreakerConfig(failures=2, hold_ms=MINUTE)
    async with home.daemon(validate=AT_ONCE, breaker=breaker) as daemon:
        await fail(daemon, home, 2)
        pushed = await daemon.engine.push(home.push())
        await held(daemon, pushed.job.id)
    clock.advance(MINUTE)  # what was put off stays so
    async with home.daemon(validate=AT_ONCE, breaker=breaker) as daemon:
        job = await reaches(daemon, pushed.job.id, State.COMPLETED)
        assert job.failures == 0
