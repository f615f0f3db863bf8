"""Verbs on many jobs, as the rest of a daemon sees them."""

from __future__ import annotations

from lq.daemon.main import Daemon
from lq.model import JobFilter, QueueEdit
from tests.support.home import Home
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
