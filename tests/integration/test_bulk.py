"""Verbs on many jobs, as the rest of a daemon sees them."""

from __future__ import annotations

from msgspec.structs import replace

from lq.config import Validate
from lq.daemon.main import Daemon
from lq.finding import FailureFilter
from lq.model import JobFilter, QueueEdit, RetryPolicy, State
from tests.clock import FakeClock
from tests.support.handler import Gate, answers
from tests.support.home import Home, reaches
from tests.support.schedules import HOUR


async def test_what_a_sweep_moves_is_counted_and_told(daemon: Daemon, home: Home) -> None:
    pushed = [(await daemon.engine.push(home.push(delay_ms=HOUR))).job.id for _ in range(5)]
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    wanted = JobFilter(queue="q")
    with daemon.events.subscribe() as events:
        assert (await daemon.engine.bulk.cancel(wanted, running=False, dry=False)).done == 5
        assert (await daemon.engine.bulk.replay(wanted, None, dry=False)).done == 5
        told = [await anext(events) for _ in range(10)]
    assert sorted((one.verb, one.job_id) for one in told) == [
        *(("cancel", job) for job in sorted(pushed)),
        *(("revive", job) for job in sorted(pushed)),
    ]
    queues = await daemon.engine.queues.all()
    [(_, rate)] = (await daemon.engine.overviews.take(queues, (), 1)).queues
    assert (rate.taken, rate.ended) == (10, 5)


async def test_what_has_begun_to_run_is_not_waiting(daemon: Daemon, home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    running = (await daemon.engine.push(home.push())).job
    await home.handler.next()
    await daemon.engine.push(home.push(delay_ms=HOUR))
    wanted = JobFilter(queue="q", state=State.PENDING.value)
    assert (await daemon.engine.bulk.cancel(wanted, running=False, dry=False)).done == 1
    gate.open()
    await reaches(daemon, running.id, State.COMPLETED)


async def test_failures_of_some_queues_are_told_once_and_in_their_order(
    home: Home, clock: FakeClock
) -> None:
    async with home.daemon(validate=Validate(default="none")) as daemon:
        for queue, path in (("mine", "/alpha"), ("mine", "/beta"), ("other", "/alpha")):
            home.handler.on(path, answers(500))
            pushed = await daemon.engine.push(home.push(path, queue=queue, retry=RetryPolicy(0)))
            await reaches(daemon, pushed.job.id, State.FAILED)
            clock.advance(1000)
        for wanted in (
            FailureFilter(queue="mine", limit=1),
            FailureFilter(queues=("m*",), limit=1),
        ):
            told, cursor = [], None
            for _ in range(5):
                page = await daemon.engine.bulk.failures(replace(wanted, cursor=cursor))
                told += [kind.target.rpartition("/")[2] for kind in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert told == ["beta", "alpha"]
