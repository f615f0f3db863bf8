"""`why`: each gate, from those who decide; what is predicted is what then happens."""

from __future__ import annotations

from typing import Any

import pytest

from lq.config import BreakerConfig, Dispatch, Validate
from lq.daemon.main import Daemon
from lq.errors import NotFound
from lq.model import ById, QueueEdit, QueueSettings, Rate, Ref, RetryPolicy, State
from lq.why import Closed, Hold, Why
from tests.clock import FakeClock
from tests.support.handler import Gate, answers
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import HOUR, MINUTE, SECOND

AT_ONCE = Validate(default="none")


def gates(why: Why) -> dict[Hold, Closed]:
    return {closed.gate: closed for closed in why.gates}


async def pushed(daemon: Daemon, home: Home, path: str = "/", **members: Any) -> Ref:
    return ById((await daemon.engine.push(home.push(path, **members))).job.id)


async def waits_again(daemon: Daemon, ref: Ref) -> None:
    async def there() -> bool:
        job = await daemon.engine.get(ref)
        return job.state is State.PENDING and job.failures > 0

    await eventually(there)


async def test_its_time_has_not_come(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    ref = await pushed(daemon, home, delay_ms=5 * MINUTE)
    why = await daemon.engine.why(ref)
    assert why.summary == "It waits: its time is in 5m."
    assert [(one.gate, one.until) for one in why.gates] == [(Hold.TIME, clock.now() + 5 * MINUTE)]
    assert why.starts_at == clock.now() + 5 * MINUTE


async def test_it_waits_for_its_retry(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    home.handler.on("/", answers(500))
    ref = await pushed(daemon, home, retry=RetryPolicy(1, (HOUR,)))
    await waits_again(daemon, ref)
    why = await daemon.engine.why(ref)
    assert why.summary == "It waits: its next attempt, number 2, is in 1h."
    assert why.starts_at == clock.now() + HOUR


async def test_its_queue_is_paused(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    ref = await pushed(daemon, home, delay_ms=SECOND)
    await daemon.engine.queues.edit("q", QueueEdit(paused=True, pause_reason="moving"))
    why = await daemon.engine.why(ref)
    assert gates(why)[Hold.PAUSE].reason == "its queue is paused (moving)"
    assert why.starts_at is None
    await daemon.engine.queues.edit("q", QueueEdit(paused_until=clock.now() + HOUR))
    assert (await daemon.engine.why(ref)).starts_at == clock.now() + HOUR


async def test_others_of_its_queue_are_running(daemon: Daemon, home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    await daemon.engine.queues.edit("q", QueueEdit(concurrency=2))
    running = [await pushed(daemon, home) for _ in range(2)]
    await home.handler.take(2)
    first, second = await pushed(daemon, home), await pushed(daemon, home)
    held = gates(await daemon.engine.why(second))[Hold.CONCURRENCY]
    assert held.reason == "2 of 2 items of its queue are running"
    assert set(held.by) == {ref.id for ref in running if isinstance(ref, ById)}
    assert (await daemon.engine.why(first)).ahead == 0
    assert (await daemon.engine.why(second)).ahead == 1
    assert (await daemon.engine.why(running[0])).summary == (
        "It is running: attempt 1 of 6, for at most 1m."
    )
    gate.open()
    await reaches(daemon, second, State.COMPLETED)
    assert (await daemon.engine.why(second)).summary == "It is finished, as COMPLETED."


async def test_all_slots_are_in_use(home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    async with home.daemon(dispatch=Dispatch(concurrency=1), validate=AT_ONCE) as daemon:
        await pushed(daemon, home, queue="other")
        await home.handler.take(1)
        ref = await pushed(daemon, home)
        held = gates(await daemon.engine.why(ref))[Hold.SLOTS]
        assert held.reason == "all 1 slots over all queues are in use"
        gate.open()
        await reaches(daemon, ref, State.COMPLETED)


async def test_its_queue_has_used_up_its_rate(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(rate=Rate(6, MINUTE)))
    refs = [await pushed(daemon, home) for _ in range(4)]
    await reaches(daemon, refs[0], State.COMPLETED)
    held = gates(await daemon.engine.why(refs[1]))[Hold.RATE]
    assert held.until == clock.now() + 10 * SECOND
    predicted = [(await daemon.engine.why(ref)).starts_at for ref in refs[1:]]
    assert predicted == [clock.now() + n * 10 * SECOND for n in (1, 2, 3)]
    for ref in refs[1:]:
        clock.advance(10 * SECOND)
        await reaches(daemon, ref, State.COMPLETED)
        (attempt,) = await daemon.engine.attempts(ref)
        assert attempt.started_at == predicted.pop(0)


async def test_its_endpoint_does_not_validate(home: Home, clock: FakeClock) -> None:
    home.handler.on_head("/", answers(200))
    async with home.daemon() as daemon:
        ref = await pushed(daemon, home)

        async def held() -> bool:
            return (await daemon.engine.get(ref)).state is State.PENDING

        await home.handler.validated(1)
        await eventually(held)
        why = await daemon.engine.why(ref)
        assert "no x-lq-signature" in why.summary
        assert why.starts_at == clock.now() + 30 * SECOND


async def test_its_target_is_spared(home: Home, clock: FakeClock) -> None:
    home.handler.on("/", answers(500))
    breaker = BreakerConfig(failures=2, hold_ms=MINUTE)
    async with home.daemon(breaker=breaker, validate=AT_ONCE) as daemon:
        for _ in range(2):
            bad = await pushed(daemon, home, retry=RetryPolicy(0))
            await reaches(daemon, bad, State.FAILED)
        ref = await pushed(daemon, home)

        async def held() -> bool:
            return (await daemon.engine.get(ref)).state is State.PENDING

        await eventually(held)
        why = await daemon.engine.why(ref)
        assert gates(why)[Hold.BREAKER].until == clock.now() + MINUTE
        assert "keeps failing (status 500)" in why.summary
        later = await daemon.engine.why(await pushed(daemon, home, delay_ms=SECOND))
        assert Hold.BREAKER in gates(later)


async def test_another_item_with_its_key_is_running(daemon: Daemon, home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    first = await pushed(daemon, home, key="k")
    await home.handler.take(1)
    second = await pushed(daemon, home, key="k")
    held = gates(await daemon.engine.why(second))[Hold.KEY]
    assert isinstance(first, ById)
    assert held.by == (first.id,)
    gate.open()
    await reaches(daemon, second, State.COMPLETED)


async def test_what_is_before_it_in_a_fifo_queue(home: Home) -> None:
    home.handler.on("/0", answers(500))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        head = await pushed(daemon, home, "/0", retry=RetryPolicy(1, (HOUR,)))
        behind = await pushed(daemon, home, "/1")
        await waits_again(daemon, head)
        held = gates(await daemon.engine.why(behind))[Hold.ORDER]
        assert isinstance(head, ById)
        assert held.by == (head.id,)
        assert held.until == home.clock.now() + HOUR
        assert ((await daemon.engine.why(behind)).starts_at or 0) >= held.until


async def test_a_superseded_item_says_by_what(daemon: Daemon, home: Home) -> None:
    gate = Gate(answers(500))
    home.handler.on("/", gate)
    first = await pushed(daemon, home, key="k")
    await home.handler.take(1)
    second = (await daemon.engine.push(home.push(key="k", delay_ms=HOUR))).job
    gate.open()
    await reaches(daemon, first, State.FAILED)
    why = await daemon.engine.why(first)
    assert why.summary == "It is finished, as FAILED."
    assert (why.job.error or "").startswith(f"superseded by {second.id}")


async def test_nobody_knows_an_item_that_is_not_there(daemon: Daemon) -> None:
    with pytest.raises(NotFound):
        await daemon.engine.why(ById("job_none"))
