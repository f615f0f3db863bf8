"""What is lq's own trouble, or an endpoint's, must not become another job's."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from lq.clock import SystemClock
from lq.config import EgressConfig, Validate
from lq.daemon.egress import Address, Egress
from lq.daemon.main import Daemon
from lq.daemon.targets.http import HttpTarget
from lq.model import ById, OutcomeKind, QueueEdit, RetryPolicy, State
from lq.signature import new_secret
from tests.clock import FakeClock
from tests.support.calls import PATIENT_MS, run_of, signing
from tests.support.handler import Gate, Handler, answers, hangs
from tests.support.home import Home, eventually, heard, reaches
from tests.support.out import Dns

DAY = 86_400_000


async def test_endpoints_that_hang_hold_up_no_other_queue(home: Home, handler: Handler) -> None:
    """More of them than there are slots in all: the queue of a healthy one does not wait."""
    async with home.daemon() as running:
        for number in range(70):
            handler.on_head(f"/{number}", hangs)
            await running.engine.push(home.push(f"/{number}", queue=f"dead{number % 5}"))
        healthy = await running.engine.push(home.push("/healthy", queue="alive"))
        assert (await handler.next()).job_id == healthy.job.id


async def test_no_more_calls_than_the_cap_after_waiting_for_head(
    home: Home, handler: Handler
) -> None:
    """Jobs that stepped aside for their HEAD come back one slot each."""
    cap = home.config.dispatch.concurrency
    gate, calls = Gate(handler.signs), Gate()
    handler.on("/", calls)
    handler.on_head("/", gate)
    async with home.daemon() as running:
        for number in range(cap + 40):
            await running.engine.push(home.push("/", queue=f"q{number % 10}"))
        gate.open()
        await handler.take(cap)
        await eventually(partial(_counts, running, cap))
        calls.open()
        for number in range(10):
            await eventually(partial(_finished, running, f"q{number}"))


async def _counts(running: Daemon, cap: int) -> bool:
    queues = await running.engine.queues.all()
    return sum(queue.counts.running for queue in queues) == cap


async def _finished(running: Daemon, name: str) -> bool:
    counts = (await running.engine.queues.get(name)).counts
    return counts.pending + counts.running + counts.retry == 0


async def test_the_deadline_counts_from_when_validation_fails(
    home: Home, handler: Handler, clock: FakeClock
) -> None:
    """A backlog older than the deadline meets a handler that is still booting."""
    handler.on_head("/", answers(503))
    async with home.daemon(validate=Validate(deadline_ms=DAY)) as running:
        await running.engine.queues.edit("q", QueueEdit(paused=True))
        job = (await running.engine.push(home.push())).job
        clock.advance(2 * DAY)
        with running.events.subscribe() as events:
            await running.engine.queues.edit("q", QueueEdit(paused=False))
            assert (await heard(events, {"release", "bury"}, job.id)).verb == "release"


async def test_a_clock_set_back_prolongs_no_hold(
    home: Home, handler: Handler, clock: FakeClock
) -> None:
    handler.on_head("/", answers(500))
    async with home.daemon() as running:
        with running.events.subscribe() as events:
            first = (await running.engine.push(home.push())).job
            await heard(events, "release", first.id)
            clock.step(-30 * DAY)
            second = (await running.engine.push(home.push())).job
            await heard(events, "release", second.id)
            held = await running.engine.get(ById(second.id))
            assert held.due_at - clock.now() <= 300_000


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no file or socket more than it has open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_lack_of_file_descriptors_costs_no_attempt(
    home: Home, handler: Handler, clock: FakeClock
) -> None:
    async with home.daemon(validate=Validate(default="none")) as running:
        with running.events.subscribe() as events:
            with no_more_files():
                job = (await running.engine.push(home.push(retry=RetryPolicy(0)))).job
                released = await heard(events, {"release", "bury"}, job.id)
            assert released.verb == "release"
            assert "lacks something" in (released.error or "")
            clock.advance(1000)
            assert (await handler.next()).attempt == 1
            await reaches(running, job.id, State.COMPLETED)


async def test_a_verdict_that_cannot_be_had_costs_no_attempt(handler: Handler) -> None:
    """Whether an address is lq's own takes a file to find out."""

    def lacks_files(_: Address) -> bool:
        raise OSError(errno.EMFILE, "Too many open files")

    egress = Egress("public", ["10.0.0.0/8:443"])
    egress.protect(443, lacks_files)
    signer = signing(new_secret(bytes(32)))
    dns = Dns()
    dns.on("a.test", ["10.0.0.7"])
    async with HttpTarget(signer, egress, SystemClock(), getaddrinfo=dns) as target:
        for host in ("10.0.0.7", "a.test"):
            outcome = await target.deliver(run_of(443, target=f"https://{host}/"))
            assert outcome.kind is OutcomeKind.INTERRUPTED
            head = await target.head(f"https://{host}/", {}, PATIENT_MS)
            assert not head.asked


async def test_a_lack_of_file_descriptors_says_nothing_of_an_endpoint(
    home: Home, handler: Handler, clock: FakeClock
) -> None:
    """A HEAD that could not be sent holds its job for a second, and is no failure of anybody's."""
    async with home.daemon() as running:
        with running.events.subscribe() as events:
            with no_more_files():
                job = (await running.engine.push(home.push())).job
                for again in (True, True, False):
                    released = await heard(events, {"release", "bury"}, job.id)
                    assert (released.error or "").startswith("lq itself lacks something")
                    found = await running.engine.get(ById(job.id))
                    assert found.due_at == clock.now() + 1000
                    if again:
                        clock.advance(1000)
            assert handler.validations == []
            handler.on_head("/", answers(404))
            clock.advance(1000)
            await heard(events, "release", job.id)
            found = await running.engine.get(ById(job.id))
            assert found.due_at == clock.now() + 30_000  # the first failure that counts


async def test_a_lack_of_file_descriptors_changes_no_verdict(
    home: Home, handler: Handler, clock: FakeClock
) -> None:
    handler.on_head("/", answers(404), handler.signs)
    async with home.daemon() as running:
        with running.events.subscribe() as events:
            job = (await running.engine.push(home.push())).job
            await heard(events, "release", job.id)
            with no_more_files():
                clock.advance(30_000)
                released = await heard(events, "release", job.id)
                assert (released.error or "").startswith("lq itself lacks something")
            clock.advance(1000)
            assert (await handler.next()).job_id == job.id
            await reaches(running, job.id, State.COMPLETED)


async def test_a_target_that_is_not_allowed_any_more(home: Home, handler: Handler) -> None:
    """It was when it was pushed; the configuration has changed since."""
    async with home.daemon() as running:
        job = (await running.engine.push(home.push(delay_ms=1000))).job
    async with home.daemon(egress=EgressConfig()) as running:
        with running.events.subscribe() as events:
            await running.engine.run_now(ById(job.id))
            released = await heard(events, "release", job.id)
            assert "target_blocked" in (released.error or "")
    assert handler.calls == []


async def test_a_pause_whose_end_moved_away_ends_all_the_same(
    home: Home, handler: Handler, clock: FakeClock
) -> None:
    """The clock is set back between the timer and what it is for."""
    async with home.daemon() as running:
        until = clock.now() + 5000
        await running.engine.queues.edit("q", QueueEdit(paused_until=until))
        job = (await running.engine.push(home.push())).job
        await running.engine.queues.pause_is_over(
            "q"
        )  # as the timer does, but the time has not come
        assert (await running.engine.queues.get("q")).paused
        clock.advance(5000)
        assert (await handler.next()).job_id == job.id


async def test_a_stop_during_head_leaves_no_attempt(home: Home, handler: Handler) -> None:
    handler.on_head("/", hangs)
    async with home.daemon() as running:
        job = (await running.engine.push(home.push())).job
        await handler.validated(1)
        running.cut()
    async with home.daemon() as running:
        await handler.validated(2)
        # The one that is under way now, and none from before.
        assert [one.outcome for one in await running.engine.attempts(ById(job.id))] == [None]


async def test_calls_of_a_daemon_that_dies_are_given_back(home: Home, handler: Handler) -> None:
    handler.on("/", hangs)
    pushed: list[str] = []

    async def dies() -> None:
        async with home.daemon() as running:
            pushed.append((await running.engine.push(home.push(retry=RetryPolicy(0)))).job.id)
            await handler.next()
            raise RuntimeError("a bug")

    with pytest.raises(ExceptionGroup, match="unhandled"):
        await dies()
    handler.on("/", answers(200))
    async with home.daemon() as running:
        assert (await reaches(running, pushed[0], State.COMPLETED)).failures == 0
