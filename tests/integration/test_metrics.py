"""/metrics: what Prometheus reads is what a daemon did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lq import __version__
from lq.config import MetricsConfig, Validate
from lq.daemon.main import Daemon
from lq.model import QueueEdit, RetryPolicy, Scope, State
from tests.clock import FakeClock
from tests.integration.api.raw import Peer
from tests.support.handler import Gate, answers
from tests.support.home import Home, reaches
from tests.support.schedules import HOUR, MINUTE, make

ONCE = RetryPolicy(0)


@pytest.fixture
async def watched(home: Home) -> AsyncIterator[Daemon]:
    async with home.daemon(validate=Validate(default="none")) as daemon:
        yield daemon


Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(home: Home) -> Found:
    """What is told now, by name and labels."""
    peer = Peer(socket_path=str(home.config.socket))
    answer = await peer.ask("GET /metrics")
    await peer.close()
    assert answer.status == 200
    return read(answer.body.decode())


def read(text: str) -> Found:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(found: Found, name: str, **labels: str) -> float:
    return found[f"lq_{name}", frozenset(labels.items())]


async def test_what_a_daemon_did_is_what_is_told(
    watched: Daemon, home: Home, clock: FakeClock
) -> None:
    home.handler.on("/bad", answers(500), answers(404))
    for path in ("/good", "/good", "/bad", "/bad"):
        pushed = await watched.engine.push(home.push(path, retry=ONCE))
        end = State.COMPLETED if path == "/good" else State.FAILED
        await reaches(watched, pushed.job.id, end)
    await watched.engine.push(home.push(delay_ms=HOUR))
    await watched.engine.queues.edit("q", QueueEdit(paused=True))
    clock.advance(HOUR + MINUTE)
    found = await scrape(home)
    assert at(found, "jobs_pushed_total", queue="q") == 5
    assert at(found, "jobs_finished_total", queue="q", state="completed") == 2
    assert at(found, "jobs_finished_total", queue="q", state="failed") == 2
    for outcome, number in (("2xx", 2), ("5xx", 1), ("4xx", 1)):
        assert at(found, "attempts_total", queue="q", outcome=outcome) == number
    assert at(found, "attempt_duration_seconds_count", queue="q") == 4
    assert at(found, "job_start_lateness_seconds_count", queue="q") == 4
    assert at(found, "job_start_lateness_seconds_bucket", queue="q", le="0.005") == 4
    assert at(found, "queue_jobs", queue="q", state="pending") == 1
    assert at(found, "queue_oldest_due_age_seconds", queue="q") == MINUTE / 1000
    assert at(found, "queue_paused", queue="q") == 1
    assert at(found, "commit_duration_seconds_count") == at(found, "commit_writes_count") > 0
    assert at(found, "live") == at(found, "ready") == 1
    assert at(found, "slots") == 64
    assert at(found, "database_bytes") > 0
    assert at(found, "info", version=__version__) == 1
    assert found["process_resident_memory_bytes", frozenset()] > 1 << 20


async def test_late_jobs_and_overdue_schedules_are_seen(
    watched: Daemon, home: Home, clock: FakeClock
) -> None:
    gate = Gate()
    home.handler.on("/held", gate)
    await watched.engine.queues.edit("q", QueueEdit(concurrency=1))
    await watched.engine.push(home.push("/held"))
    await home.handler.next()
    late = await watched.engine.push(home.push("/late"))
    clock.advance(20_000)
    gate.open()
    await reaches(watched, late.job.id, State.COMPLETED)
    await make(watched, home, "0 * * * *", key="hourly")
    found = await scrape(home)
    assert at(found, "job_start_lateness_seconds_bucket", queue="q", le="10.0") == 1
    assert at(found, "job_start_lateness_seconds_bucket", queue="q", le="30.0") == 2
    assert (at(found, "schedules"), at(found, "schedules_overdue")) == (1, 0)


async def test_odd_names_are_escaped_and_many_share_one(home: Home) -> None:
    odd = 'a"b\\c ü'
    async with home.daemon(metrics=MetricsConfig(queues=2)) as daemon:
        for queue in (odd, "b", "c", "d"):
            await daemon.engine.push(home.push(queue=queue, delay_ms=HOUR))
        found = await scrape(home)
        assert at(found, "jobs_pushed_total", queue=odd) == 1
        assert at(found, "jobs_pushed_total", queue="_other") == 2
        assert at(found, "queue_jobs", queue="_other", state="pending") == 2
        assert {labels for name, labels in found if name == "lq_queue_paused"} == {
            frozenset({("queue", name)}) for name in (odd, "b", "_other")
        }


async def test_a_thousand_queues_hold_up_nothing(home: Home) -> None:
    async with home.daemon(metrics=MetricsConfig(queues=1000)) as daemon:
        pushes = [home.push(queue=f"q{n}", delay_ms=HOUR) for n in range(1000)]
        await asyncio.gather(*map(daemon.engine.push, pushes))
        found = await scrape(home)
        assert sum(name == "lq_queue_paused" for name, _ in found) == 1000


async def test_only_those_who_may_read_all_of_it_may_scrape(watched: Daemon, home: Home) -> None:
    make_token = watched.engine.create_token
    _, read_all = await make_token("r", frozenset({Scope.READ}), (), None)
    _, limited = await make_token("l", frozenset({Scope.READ}), ("a*",), None)
    _, push = await make_token("p", frozenset({Scope.PUSH}), (), None)
    statuses = []
    for token in (read_all, limited, push, ""):
        peer = Peer(port=watched.port, token=token)
        statuses.append((await peer.ask("GET /metrics")).status)
        await peer.close()
    assert statuses == [200, 403, 403, 401]
