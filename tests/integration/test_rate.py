"""Rates and order of a running daemon: nothing starts too early, and nothing is lost over it."""

from __future__ import annotations

import pytest

from lq.config import Validate
from lq.daemon.main import Daemon
from lq.errors import Conflict, ValidationError
from lq.model import ById, Edit, QueueEdit, QueueSettings, Rate, RetryPolicy, State
from tests.clock import FakeClock
from tests.support.handler import Gate, answers
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import HOUR, SECOND

TEN = Rate(10, SECOND)


async def calls(daemon: Daemon, home: Home, number: int) -> None:
    """So many calls have been made and settled, and nothing more is about to start."""

    async def settled() -> bool:
        made = len(home.handler.calls)  # first: what is called later is not settled yet
        counts = [queue.counts for queue in await daemon.engine.queues.all()]
        return made >= number and not any(one.running for one in counts)

    await eventually(settled)
    assert len(home.handler.calls) == number


async def nothing_starts(daemon: Daemon, home: Home, number: int) -> None:
    """Whatever is pushed elsewhere starts; of the others still only so many have been called."""
    probe = await daemon.engine.push(home.push("/probe", queue="probe"))
    await reaches(daemon, probe.job.id, State.COMPLETED)
    assert sum(call.path != "/probe" for call in home.handler.calls) == number
    home.handler.calls[:] = [call for call in home.handler.calls if call.path != "/probe"]


async def test_a_rate_spreads_what_starts(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(rate=TEN))
    for _ in range(5):
        await daemon.engine.push(home.push())
    for number in range(1, 6):
        await calls(daemon, home, number)
        clock.advance(99)
        await calls(daemon, home, number)
        clock.advance(1)
    await daemon.engine.queues.edit("q", QueueEdit(rate=None))
    for _ in range(40):
        await daemon.engine.push(home.push())
    await calls(daemon, home, 45)


async def test_a_burst_starts_at_once(daemon: Daemon, home: Home, clock: FakeClock) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(rate=TEN, burst=3))
    for _ in range(5):
        await daemon.engine.push(home.push())
    await calls(daemon, home, 3)
    clock.advance(200)
    await calls(daemon, home, 5)


async def test_a_restart_is_no_way_around_a_rate(home: Home, clock: FakeClock) -> None:
    queues = {"q": QueueSettings(rate=Rate(1, HOUR))}
    async with home.daemon(queues=queues) as daemon:
        for _ in range(3):
            await daemon.engine.push(home.push())
        await calls(daemon, home, 1)
    for _ in range(3):
        async with home.daemon(queues=queues) as daemon:
            await nothing_starts(daemon, home, 1)
    clock.advance(HOUR - 1)
    async with home.daemon(queues=queues) as daemon:
        await nothing_starts(daemon, home, 1)
        clock.advance(1)
        await calls(daemon, home, 2)
    async with home.daemon() as daemon:  # the rate was taken away meanwhile
        await calls(daemon, home, 3)


async def test_a_clock_set_back_holds_up_a_rate_for_no_longer_than_itself(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(rate=Rate(1, SECOND)))
    await daemon.engine.push(home.push())
    await calls(daemon, home, 1)
    clock.step(-HOUR)
    await daemon.engine.push(home.push())
    await calls(daemon, home, 1)
    clock.advance(SECOND)
    await calls(daemon, home, 2)


async def test_what_was_not_called_uses_up_nothing(home: Home, clock: FakeClock) -> None:
    home.handler.on_head("/", answers(500), home.handler.signs)
    async with home.daemon(queues={"q": QueueSettings(rate=Rate(1, HOUR))}) as daemon:
        held = await daemon.engine.push(home.push())
        await home.handler.validated(1)

        async def is_held() -> bool:
            job = await daemon.engine.get(ById(held.job.id))
            return job.state is State.PENDING and job.error is not None

        await eventually(is_held)
        clock.advance(30 * SECOND)
        await reaches(daemon, held.job.id, State.COMPLETED)


async def test_other_queues_are_not_slowed(daemon: Daemon, home: Home) -> None:
    await daemon.engine.queues.edit("slow", QueueEdit(rate=Rate(1, HOUR)))
    for queue in ("slow", "slow", "quick", "quick"):
        await daemon.engine.push(home.push(queue=queue))
    await calls(daemon, home, 3)


async def test_fifo_keeps_the_order_through_failures(home: Home, clock: FakeClock) -> None:
    home.handler.on("/0", answers(500), answers(500), answers(200))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        waits = RetryPolicy(2, (SECOND, SECOND))
        pushed = [await daemon.engine.push(home.push(f"/{n}", retry=waits)) for n in range(4)]
        for attempt in (1, 2):
            await calls(daemon, home, attempt)
            head = await daemon.engine.get(ById(pushed[0].job.id))
            assert (head.failures, head.next_at) == (attempt, clock.now() + SECOND)
            await daemon.engine.push(home.push(f"/late{attempt}", on_at=clock.now() - HOUR))
            clock.advance(SECOND - 1)
            await calls(daemon, home, attempt)
            clock.advance(1)
        await calls(daemon, home, 8)
    paths = [call.path for call in home.handler.calls]
    assert paths == ["/0", "/0", "/0", "/1", "/2", "/3", "/late1", "/late2"]
    assert home.handler.most_in_flight == 1


async def test_fifo_goes_on_behind_a_head_that_has_failed_for_good(home: Home) -> None:
    home.handler.on("/0", answers(500))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        bad = await daemon.engine.push(home.push("/0", retry=RetryPolicy(0)))
        good = await daemon.engine.push(home.push("/1"))
        await reaches(daemon, good.job.id, State.COMPLETED)
        assert (await daemon.engine.get(ById(bad.job.id))).state is State.FAILED


async def test_fifo_holds_its_place_over_a_restart(home: Home, clock: FakeClock) -> None:
    home.handler.on("/0", answers(500), answers(200))
    queues = {"q": QueueSettings(fifo=True)}
    async with home.daemon(queues=queues) as daemon:
        await daemon.engine.push(home.push("/0", retry=RetryPolicy(1, (HOUR,))))
        await daemon.engine.push(home.push("/1"))
        await calls(daemon, home, 1)
    async with home.daemon(queues=queues) as daemon:
        await calls(daemon, home, 1)
        clock.advance(HOUR)
        await calls(daemon, home, 3)
    assert [call.path for call in home.handler.calls] == ["/0", "/0", "/1"]


async def test_a_fifo_queue_waits_for_an_endpoint_in_order(home: Home, clock: FakeClock) -> None:
    home.handler.on_head("/0", answers(500), home.handler.signs)
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        for n in range(3):
            await daemon.engine.push(home.push(f"/{n}"))
        await home.handler.validated(1)
        await calls(daemon, home, 0)
        clock.advance(30 * SECOND)
        await calls(daemon, home, 3)
    assert [call.path for call in home.handler.calls] == ["/0", "/1", "/2"]


async def test_a_head_that_waits_may_be_run_now_or_dropped(home: Home) -> None:
    home.handler.on("/0", answers(500), answers(500), answers(200))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        retry = RetryPolicy(3, (HOUR, HOUR, HOUR))
        head = ById((await daemon.engine.push(home.push("/0", retry=retry))).job.id)
        await daemon.engine.push(home.push("/1"))
        await calls(daemon, home, 1)
        assert (await daemon.engine.run_now(head)).next_at <= home.clock.now()
        await calls(daemon, home, 2)
        await daemon.engine.edit(head, Edit(labels=("kept",)))  # says nothing of the time
        await calls(daemon, home, 2)
        await daemon.engine.cancel(head)
        await calls(daemon, home, 3)
    assert [call.path for call in home.handler.calls] == ["/0", "/0", "/1"]


async def test_without_its_order_a_queue_goes_on_at_once(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on("/0", answers(500), answers(200))
    await daemon.engine.queues.edit("q", QueueEdit(fifo=True))
    head = await daemon.engine.push(home.push("/0", retry=RetryPolicy(1, (HOUR,))))
    await daemon.engine.push(home.push("/1"))
    await calls(daemon, home, 1)
    await daemon.engine.queues.edit("q", QueueEdit(fifo=False))
    await calls(daemon, home, 2)
    assert (await daemon.engine.get(ById(head.job.id))).next_at == clock.now() + HOUR
    clock.advance(HOUR)
    await calls(daemon, home, 3)
    assert [call.path for call in home.handler.calls] == ["/0", "/1", "/0"]


async def test_order_and_many_at_once_do_not_go_together(home: Home) -> None:
    async with home.daemon(queues={"file": QueueSettings(concurrency=4)}) as daemon:
        edit = daemon.engine.queues.edit
        with pytest.raises(ValidationError, match="fifo"):
            await edit("file", QueueEdit(fifo=True))
        assert (await edit("q", QueueEdit(fifo=True))).settings.concurrency == 1
        with pytest.raises(ValidationError, match="concurrency"):
            await edit("q", QueueEdit(concurrency=2))
        await edit("q", QueueEdit(concurrency=2, fifo=None))
        with pytest.raises(ValidationError, match="fifo"):
            await edit("q", QueueEdit(fifo=True))


async def test_the_file_wins_over_what_was_set_and_says_so(home: Home) -> None:
    async with home.daemon() as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(rate=TEN, burst=7))
    origin = {"queues.q.rate": "lq.toml:3"}
    queues = {"q": QueueSettings(rate=Rate(1, HOUR))}
    async with home.daemon(queues=queues, origin=origin) as daemon:
        shown = await daemon.engine.queues.get("q")
        assert (shown.settings.rate, shown.settings.burst) == (Rate(1, HOUR), 7)
        assert shown.set_by == {"rate": "lq.toml:3"}
        with pytest.raises(Conflict, match=r"rate is set by lq\.toml:3"):
            await daemon.engine.queues.edit("q", QueueEdit(rate=None))


async def test_a_pause_has_a_reason_until_it_ends(daemon: Daemon) -> None:
    edit = daemon.engine.queues.edit
    await edit("q", QueueEdit(paused=True, pause_reason="the shop is being moved"))
    queue = await edit("q", QueueEdit(concurrency=3))
    assert (queue.paused, queue.pause_reason) == (True, "the shop is being moved")
    assert (await edit("q", QueueEdit(paused=False))).pause_reason is None
    assert (await edit("q", QueueEdit(paused=True))).pause_reason is None


async def test_concurrency_of_a_fifo_queue_while_it_runs(daemon: Daemon, home: Home) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    for _ in range(6):
        await daemon.engine.push(home.push())
    await home.handler.take(6)
    await daemon.engine.queues.edit("q", QueueEdit(fifo=True))
    home.handler.most_in_flight = 0
    for _ in range(3):
        await daemon.engine.push(home.push())
    gate.open()
    await calls(daemon, home, 9)
    assert home.handler.most_in_flight == 1


async def test_many_held_jobs_keep_no_daemon_busy(home: Home, clock: FakeClock) -> None:
    """Behind 300 jobs whose target is spared, another one is found, and slowly."""
    home.handler.on_head("/held", answers(500))
    async with home.daemon(validate=Validate()) as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(paused=True))
        for _ in range(300):
            await daemon.engine.push(home.push("/held"))
        good = await daemon.engine.push(home.push("/good"))
        await daemon.engine.queues.edit("q", QueueEdit(paused=False))

        async def done() -> bool:
            clock.advance(100)
            return (await daemon.engine.get(ById(good.job.id))).state is State.COMPLETED

        await eventually(done)
        assert {call.path for call in home.handler.calls} == {"/good"}


async def test_a_pause_ends_whatever_is_set_where(home: Home, clock: FakeClock) -> None:
    """What was set by API does not go together with what lq.toml says since."""
    async with home.daemon() as daemon:
        edit = QueueEdit(concurrency=4, paused_until=clock.now() + SECOND)
        await daemon.engine.queues.edit("q", edit)
        await daemon.engine.push(home.push())
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        clock.advance(SECOND)
        await calls(daemon, home, 1)
        assert not (await daemon.engine.queues.get("q")).paused


async def test_an_order_that_a_restart_takes_away_holds_nobody(
    home: Home, clock: FakeClock
) -> None:
    home.handler.on("/0", answers(500), answers(200))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        await daemon.engine.push(home.push("/0", retry=RetryPolicy(1, (HOUR,))))
        await daemon.engine.push(home.push("/1"))
        await calls(daemon, home, 1)
    async with home.daemon() as daemon:
        await calls(daemon, home, 2)
    assert [call.path for call in home.handler.calls] == ["/0", "/1"]


async def test_who_was_behind_a_head_goes_on_when_that_is_put_off(home: Home) -> None:
    home.handler.on("/0", answers(500))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        head = (await daemon.engine.push(home.push("/0", retry=RetryPolicy(1, (HOUR,))))).job
        await daemon.engine.push(home.push("/1"))
        await calls(daemon, home, 1)
        await daemon.engine.edit(ById(head.id), Edit(delay_ms=24 * HOUR))
        await calls(daemon, home, 2)


async def test_who_was_behind_a_head_goes_on_when_that_expires(
    home: Home, clock: FakeClock
) -> None:
    home.handler.on_head("/0", answers(500))
    async with home.daemon(queues={"q": QueueSettings(fifo=True)}) as daemon:
        await daemon.engine.push(home.push("/0", expires_ms=20 * SECOND))
        await daemon.engine.push(home.push("/1"))
        await home.handler.validated(1)
        await calls(daemon, home, 0)
        clock.advance(20 * SECOND)
        await calls(daemon, home, 1)


async def test_a_clock_set_back_under_a_backlog_delays_it_by_one_interval(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(rate=Rate(1, SECOND)))
    clock.advance(HOUR)
    for _ in range(3):
        await daemon.engine.push(home.push())
    await calls(daemon, home, 1)
    clock.step(-10 * SECOND)

    async def all_called() -> bool:
        await daemon.engine.queues.all()
        clock.advance(SECOND)
        return len(home.handler.calls) == 3

    began = clock.monotonic()
    await eventually(all_called)
    assert clock.monotonic() - began < 1000
