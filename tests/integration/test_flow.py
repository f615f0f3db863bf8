"""How much runs at once, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import Counter

from lq.config import Dispatch, Validate
from lq.daemon.main import Daemon
from lq.model import ById, QueueEdit, QueueSettings, State
from tests.clock import START, FakeClock
from tests.support.handler import Gate, answers
from tests.support.home import Home, eventually, reaches

MINUTE = 60_000


async def push_waiting(daemon: Daemon, home: Home, number: int, queue: str, path: str) -> list[str]:
    """Jobs that are all due in a minute."""
    return [
        (await daemon.engine.push(home.push(path, queue=queue, delay_ms=MINUTE))).job.id
        for _ in range(number)
    ]


async def all_done(daemon: Daemon, number: int) -> None:
    async def done() -> bool:
        return sum(queue.counts.completed for queue in await daemon.engine.queues.all()) == number

    await eventually(done)


async def test_a_queue_runs_no_more_than_its_concurrency(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    for _ in range(20):
        await daemon.engine.push(home.push())
    await push_waiting(daemon, home, 20, "q", "/")
    await home.handler.take(16)
    clock.advance(MINUTE)
    assert (await daemon.engine.queues.get("q")).counts.running == 16
    gate.open()
    await all_done(daemon, 40)
    assert home.handler.most_in_flight == 16


async def test_concurrency_may_change_while_jobs_run(daemon: Daemon, home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    await daemon.engine.queues.edit("q", QueueEdit(concurrency=2))
    for _ in range(12):
        await daemon.engine.push(home.push())
    await home.handler.take(2)
    await daemon.engine.queues.edit("q", QueueEdit(concurrency=5))
    await home.handler.take(3)
    assert home.handler.in_flight == 5
    await daemon.engine.queues.edit("q", QueueEdit(concurrency=1))
    home.handler.most_in_flight = 0
    gate.open()
    await all_done(daemon, 12)
    # The five end, and from then on there is never more than one.
    assert home.handler.most_in_flight == 1


async def test_concurrency_of_the_configuration(home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    async with home.daemon(
        dispatch=Dispatch(queue_concurrency=4), queues={"slow": QueueSettings(concurrency=1)}
    ) as daemon:
        for queue in ("slow", "other"):
            for _ in range(8):
                await daemon.engine.push(home.push(queue=queue))
        await home.handler.take(5)
        counts = {queue.name: queue.counts.running for queue in await daemon.engine.queues.all()}
        assert counts == {"slow": 1, "other": 4}
        gate.open()
        await all_done(daemon, 16)


async def test_all_queues_together_run_no_more_than_the_cap(home: Home, clock: FakeClock) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    async with home.daemon(dispatch=Dispatch(concurrency=10)) as daemon:
        for n in range(5):
            await push_waiting(daemon, home, 8, f"q{n}", "/")
        clock.advance(MINUTE)
        await home.handler.take(10)
        running = Counter(call.headers["x-lq-queue"] for call in home.handler.calls)
        assert set(running.values()) == {2}  # a fair share each
        gate.open()
        await all_done(daemon, 40)
        assert home.handler.most_in_flight == 10


async def test_the_cap_holds_for_immediate_pushes_too(home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    async with home.daemon(dispatch=Dispatch(concurrency=3)) as daemon:
        pushes = [daemon.engine.push(home.push(queue=f"q{n}")) for n in range(9)]
        await asyncio.gather(*pushes)
        await home.handler.take(3)
        gate.open()
        await all_done(daemon, 9)
    assert home.handler.most_in_flight == 3


async def test_a_busy_queue_does_not_starve_a_quiet_one(home: Home, clock: FakeClock) -> None:
    """Under a full cap each queue gets its turns: the quiet one's five are not behind 300."""
    async with home.daemon(dispatch=Dispatch(concurrency=4, queue_concurrency=4)) as daemon:
        await push_waiting(daemon, home, 300, "busy", "/busy")
        await push_waiting(daemon, home, 5, "quiet", "/quiet")
        clock.advance(MINUTE)
        await all_done(daemon, 305)
    order = [call.path for call in home.handler.calls]
    assert max(n for n, path in enumerate(order) if path == "/quiet") < 40


async def test_a_push_does_not_overtake_what_waits_for_the_cap(home: Home) -> None:
    gates = {path: Gate() for path in ("/1", "/2")}
    # Not validated: while an endpoint is asked for the first time, others may go ahead.
    at_once = Validate(default="none")
    async with home.daemon(dispatch=Dispatch(concurrency=1), validate=at_once) as daemon:
        for path, gate in gates.items():
            home.handler.on(path, gate)
        first = await daemon.engine.push(home.push("/1", queue="a"))
        second = await daemon.engine.push(home.push("/2", queue="b"))
        third = await daemon.engine.push(home.push("/3", queue="c"))
        for gate in gates.values():
            gate.open()
        await all_done(daemon, 3)
    assert [call.job_id for call in home.handler.calls] == [
        pushed.job.id for pushed in (first, second, third)
    ]


async def test_jobs_start_by_due_time_then_push_order(home: Home, clock: FakeClock) -> None:
    async with home.daemon(dispatch=Dispatch(queue_concurrency=1)) as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(paused=True))
        pushes = [3, 1, 2, 1, 3, 0, 2, 0]
        pushed = [await daemon.engine.push(home.push(delay_ms=ms)) for ms in pushes]
        expected = sorted(pushed, key=lambda one: one.job.due_at)
        clock.advance(10)
        await daemon.engine.queues.edit("q", QueueEdit(paused=False))
        await all_done(daemon, len(pushes))
    assert [call.job_id for call in home.handler.calls] == [one.job.id for one in expected]


async def test_a_failing_head_does_not_hold_up_its_queue(home: Home) -> None:
    async with home.daemon(dispatch=Dispatch(queue_concurrency=1)) as daemon:
        home.handler.on("/bad", answers(500))
        bad = await daemon.engine.push(home.push("/bad"))
        good = await daemon.engine.push(home.push("/good"))
        await reaches(daemon, good.job.id, State.COMPLETED)
        assert (await daemon.engine.get(ById(bad.job.id))).failures == 1


async def test_2000_jobs_due_at_one_instant(home: Home, clock: FakeClock) -> None:
    async with home.daemon() as daemon:
        pushes = [home.push(queue=f"q{n % 8}", on_at=START + MINUTE) for n in range(2000)]
        await asyncio.gather(*map(daemon.engine.push, pushes))
        clock.advance(MINUTE)
        await all_done(daemon, 2000)
    assert len({call.job_id for call in home.handler.calls}) == len(home.handler.calls) == 2000
    assert home.handler.most_in_flight <= 64


async def test_many_queues_share_few_slots_without_a_stall(home: Home, clock: FakeClock) -> None:
    """Each claim asks for more slots than it then needs; what is left over goes to the others."""
    async with home.daemon(dispatch=Dispatch(concurrency=4, queue_concurrency=4)) as daemon:
        for n in range(30):
            await daemon.engine.push(home.push(queue=f"q{n}", delay_ms=MINUTE))
        clock.advance(MINUTE)
        await all_done(daemon, 30)
