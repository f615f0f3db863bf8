"""What needs a person: each concern comes with its cause, and goes with it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

from lq.config import BreakerConfig, Validate
from lq.daemon.attention import MOST
from lq.daemon.main import Daemon
from lq.model import ById, Overlap, QueueEdit, QueueSettings, RetryPolicy, Schedule, Scope, State
from lq.when import format_instant
from tests.clock import START, FakeClock
from tests.integration.api.given import token
from tests.integration.api.raw import Peer
from tests.support.handler import Gate, answers
from tests.support.home import Home, eventually, heard, reaches
from tests.support.schedules import HOUR, MINUTE, jobs_of, make, pass_time

ONCE = RetryPolicy(0)
AT_ONCE = Validate(default="none")


@contextlib.asynccontextmanager
async def at_work(home: Home, **settings: Any) -> AsyncIterator[tuple[Daemon, Peer]]:
    """A daemon whose endpoints need not prove themselves, and its owner."""
    async with home.daemon(**{"validate": AT_ONCE, **settings}) as daemon:
        owner = Peer(socket_path=str(home.folder / "socket"))
        yield daemon, owner
        await owner.close()


async def told(peer: Peer) -> list[dict[str, Any]]:
    answer = await peer.ask("GET attention")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json
    return found


async def kinds(peer: Peer) -> list[str]:
    return [one["kind"] for one in await told(peer)]


async def fail(daemon: Daemon, home: Home, path: str = "/bad", **push: Any) -> str:
    pushed = await daemon.engine.push(home.push(path, retry=ONCE, **push))
    await reaches(daemon, pushed.job.id, State.FAILED)
    return pushed.job.id


def rewrite(home: Home, schedule: Schedule, **columns: Any) -> None:
    """Make a schedule in the database what it becomes only when something has gone wrong."""
    named = ", ".join(f"{name} = :{name}" for name in columns)
    with contextlib.closing(sqlite3.connect(home.folder / "lq.db", isolation_level=None)) as open_:
        open_.execute(
            f"UPDATE schedules SET {named} WHERE id = :id", {**columns, "id": schedule.id}
        )


async def test_all_is_well(home: Home) -> None:
    async with at_work(home) as (daemon, owner):
        assert await told(owner) == []
        pushed = await daemon.engine.push(home.push())
        await reaches(daemon, pushed.job.id, State.COMPLETED)
        await make(daemon, home, "@hourly", key="nightly")
        await daemon.engine.queues.edit("idle", QueueEdit(paused=True))
        assert await told(owner) == []


async def test_a_schedule_whose_jobs_fail(home: Home) -> None:
    home.handler.on("/bad", answers(500, b"boom"))
    async with at_work(home) as (daemon, owner):
        push = {"path": "/bad", "retry": ONCE}
        schedule = await make(daemon, home, "@hourly", key="nightly", push=push)
        since = []
        for times in range(1, 4):
            await pass_time(daemon, home, HOUR)

            async def ended(times: int = times) -> bool:
                jobs = await jobs_of(daemon, schedule)
                return [job.state for job in jobs] == [State.FAILED] * times

            await eventually(ended)
            since.append(home.clock.now())
        failing, kind = await told(owner)
        assert failing == {
            "kind": "schedule_failing", "level": "bad", "queue": "q", "schedule": schedule.id,
            "text": "Schedule nightly has failed 3 times in a row: status 500: boom",
            "since": format_instant(since[0]), "number": 3, "fingerprint": kind["fingerprint"],
        }  # fmt: skip
        assert (kind["kind"], kind["number"]) == ("failures", 3)
        home.handler.on("/bad", answers(200))
        await pass_time(daemon, home, HOUR)

        async def well() -> bool:
            return await kinds(owner) == ["failures"]

        await eventually(well)


async def test_what_was_skipped_is_no_verdict(home: Home) -> None:
    """A run that fails and takes long has others skipped meanwhile; it has failed all the same."""
    async with at_work(home) as (daemon, owner):
        schedule = await make(
            daemon,
            home,
            "@hourly",
            key="slow",
            overlap=Overlap.SKIP,
            push={"path": "/bad", "retry": ONCE},
        )
        gate = Gate(answers(500))
        home.handler.on("/bad", gate)
        await pass_time(daemon, home, HOUR)
        for _ in range(2):
            await pass_time(daemon, home, HOUR)
        gate.open()
        first = (await jobs_of(daemon, schedule))[0]
        await reaches(daemon, first.id, State.FAILED)
        gate = Gate()
        home.handler.on("/bad", gate)
        await pass_time(daemon, home, HOUR)
        for _ in range(2):
            await pass_time(daemon, home, HOUR)
        [failing, _] = await told(owner)
        assert (failing["kind"], failing["number"]) == ("schedule_failing", 1)
        gate.open()


async def test_an_overdue_schedule(home: Home, clock: FakeClock) -> None:
    async with at_work(home) as (daemon, owner):
        schedule = await make(daemon, home, "@hourly", key="nightly")
        rewrite(home, schedule, next_at=clock.now() - 10 * MINUTE)
        [one] = await told(owner)
        assert one == {
            "kind": "overdue", "level": "bad", "queue": "q", "schedule": schedule.id,
            "text": "Schedule nightly should have fired 10m ago",
            "since": format_instant(clock.now() - 10 * MINUTE),
        }  # fmt: skip


async def test_a_schedule_that_lq_has_paused(home: Home) -> None:
    """One that somebody has paused needs nobody."""
    async with at_work(home) as (daemon, owner):
        schedule = await make(daemon, home, "@hourly", key="nightly")
        by_hand = await make(daemon, home, "@daily", key="daily")
        await daemon.engine.schedules.pause(ById(by_hand.id))
        rewrite(home, schedule, paused=1, next_at=None, reason="it names no target")
        [one] = await told(owner)
        assert (one["kind"], one["level"], one["schedule"]) == (
            "schedule_paused", "bad", schedule.id,
        )  # fmt: skip
        assert one["text"] == "lq has paused the schedule nightly: it names no target"


async def test_an_endpoint_that_holds_its_items(home: Home, clock: FakeClock) -> None:
    home.handler.on_head("/", answers(404), home.handler.signs)
    async with at_work(home, validate=Validate()) as (daemon, owner):
        with daemon.events.subscribe() as events:
            job = (await daemon.engine.push(home.push(queue="mail"))).job
            await heard(events, "release", job.id)
        url = home.handler.url("/")
        assert await told(owner) == [
            {
                "kind": "endpoint", "level": "bad", "url": url, "queue": "mail",
                "text": f"Items for {url} wait: not validated, HEAD answered 404, not 2xx",
                "since": format_instant(clock.now()),
            }
        ]  # fmt: skip
        await daemon.engine.survey.check(url, None)
        assert await told(owner) == []


async def test_a_breaker_is_told_once_for_all_that_it_holds(home: Home) -> None:
    home.handler.on("/bad", answers(500))
    home.handler.on("/busy", answers(429, headers={"Retry-After": "60"}))
    async with at_work(home, breaker=BreakerConfig(failures=1)) as (daemon, owner):
        await fail(daemon, home)
        with daemon.events.subscribe() as events:
            for path in ("/bad?a", "/bad?b"):
                job = (await daemon.engine.push(home.push(path))).job
                await heard(events, "release", job.id)
            job = (await daemon.engine.push(home.push("/busy"))).job
            await heard(events, "fail", job.id)
        breaker, _, slowed = await told(owner)
        url = home.handler.url("/bad")
        assert (breaker["kind"], breaker["level"], breaker["url"]) == ("breaker", "bad", url)
        assert breaker["text"] == f"Items for {url} wait: {url} keeps failing (status 500)"
        assert (slowed["kind"], slowed["level"]) == ("slowed", "info")
        assert slowed["text"].endswith("wait: the target answered 429 and asked to wait")


async def test_a_paused_queue_in_which_items_wait(home: Home) -> None:
    async with at_work(home) as (daemon, owner):
        edit = QueueEdit(paused=True, pause_reason="moving house")
        await daemon.engine.queues.edit("mail", edit)
        await daemon.engine.push(home.push(queue="mail"))
        assert await told(owner) == [
            {
                "kind": "queue_paused", "level": "warn", "queue": "mail", "number": 1,
                "text": "Queue mail is paused (moving house), and 1 item waits",
            }
        ]  # fmt: skip
        await daemon.engine.queues.edit("mail", QueueEdit(paused_until=home.clock.now() + HOUR))
        [one] = await told(owner)
        assert one["text"] == "Queue mail is paused for 1h more (moving house), and 1 item waits"
        await daemon.engine.queues.edit("mail", QueueEdit(paused=False))
        await home.handler.next()

        async def well() -> bool:
            return await told(owner) == []

        await eventually(well)


async def test_a_queue_that_is_behind(home: Home, clock: FakeClock) -> None:
    """While one is called the others are slow; no queue is late while lq drains."""
    gate = Gate()
    home.handler.on("/slow", gate)
    queues = {"mail": QueueSettings(concurrency=1)}
    async with at_work(home, queues=queues) as (daemon, owner):
        for _ in range(3):
            await daemon.engine.push(home.push("/slow", queue="mail"))
        await home.handler.next()
        clock.advance(5 * MINUTE)
        assert await told(owner) == []
        clock.advance(MINUTE)
        assert await told(owner) == [
            {
                "kind": "queue_late", "level": "warn", "queue": "mail", "number": 2,
                "text": "Queue mail is 6m behind, and 2 items wait",
                "since": format_instant(START),
            }
        ]  # fmt: skip
        await daemon.engine.draining.begin()
        [one] = await told(owner)
        assert (one["kind"], one["level"]) == ("daemon", "bad")
        assert one["text"] == "The daemon is draining: it starts nothing"
        await daemon.engine.draining.end()
        gate.open()


async def test_kinds_of_failures_of_the_last_day(home: Home, clock: FakeClock) -> None:
    home.handler.on("/bad", answers(500, b"boom\r\n" + b"x" * 1000))
    async with at_work(home) as (daemon, owner):
        await fail(daemon, home)
        await fail(daemon, home)
        [one] = await told(owner)
        assert (one["kind"], one["level"], one["number"]) == ("failures", "warn", 2)
        url = home.handler.url("/bad")
        assert one["text"].startswith(f"2 items have failed alike at {url}: status 500: boom")
        assert one["url"] == url
        assert len(one["text"]) == 200
        assert "\n" not in one["text"]
        clock.advance(25 * HOUR)
        assert await told(owner) == []


async def test_answers_that_a_queue_keeps_to_itself_are_not_told(home: Home) -> None:
    home.handler.on("/bad", answers(500, b"canary"))
    queues = {"q": QueueSettings(redact=("response",))}
    async with at_work(home, queues=queues) as (daemon, owner):
        push = {"path": "/bad", "retry": ONCE}
        schedule = await make(daemon, home, "@hourly", push=push)
        await pass_time(daemon, home, HOUR)
        [job] = await jobs_of(daemon, schedule)
        await reaches(daemon, job.id, State.FAILED)
        found = await told(owner)
        assert [one["kind"] for one in found] == ["schedule_failing", "failures"]
        assert "canary" not in str(found)
        assert "status 500" in found[0]["text"]


async def test_a_token_of_some_queues_is_told_of_those(home: Home) -> None:
    home.handler.on("/bad", answers(500))
    home.handler.on_head("/held", answers(404))
    async with at_work(home, validate=Validate()) as (daemon, _):
        _, plain = await daemon.engine.create_token("owner", frozenset({Scope.ADMIN}), (), None)
        owner = Peer(port=daemon.port, token=plain)
        reader = await token(owner, "read", queues=("mail*",))
        for queue in ("mail", "shop"):
            await fail(daemon, home, queue=queue)
            with daemon.events.subscribe() as events:
                job = (await daemon.engine.push(home.push("/held", queue=queue))).job
                await heard(events, "release", job.id)
            await daemon.engine.queues.edit(f"{queue}-paused", QueueEdit(paused=True))
            await daemon.engine.push(home.push(queue=f"{queue}-paused"))
        await daemon.engine.draining.begin()
        found = await told(reader)
        assert [one["kind"] for one in found] == ["endpoint", "queue_paused", "failures"]
        assert "shop" not in str(found)
        assert {one["kind"] for one in await told(owner)} >= {"daemon", "endpoint"}
        assert (await (await token(owner, "push")).ask("GET attention")).status == 403
        assert (await reader.ask("GET attention?limit=1")).status == 400
        await owner.close()


async def test_of_each_kind_there_are_some_and_no_more(home: Home) -> None:
    async with at_work(home) as (daemon, owner):
        for number in range(MOST + 5):
            name = f"q{number}"
            await daemon.engine.queues.edit(name, QueueEdit(paused=True))
            await daemon.engine.push(home.push(queue=name))
        assert await kinds(owner) == ["queue_paused"] * MOST


async def test_the_worst_comes_first(home: Home, clock: FakeClock) -> None:
    home.handler.on("/bad", answers(500))
    async with at_work(home) as (daemon, owner):
        await fail(daemon, home)
        await daemon.engine.queues.edit("p", QueueEdit(paused=True))
        await daemon.engine.push(home.push(queue="p"))
        schedule = await make(daemon, home, "@hourly", key="nightly")
        rewrite(home, schedule, next_at=clock.now() - 10 * MINUTE)
        assert await kinds(owner) == ["overdue", "queue_paused", "failures"]
