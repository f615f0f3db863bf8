"""kill -9 at random moments, under load, again and again: nothing acknowledged is lost."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from tests.e2e.conftest import Start
from tests.e2e.endpoint import Call, Endpoint
from tests.e2e.process import PATIENCE_S, Daemon

from . import evidence
from .deaths import SECONDS, SEED, live_and_die
from .load import CONFIG, Load


def all_calls(endpoint: Endpoint) -> list[Call]:
    return [endpoint.calls.get() for _ in range(endpoint.calls.qsize())]


def unfinished(daemon: Daemon) -> int:
    queues = daemon.client.queues()
    return sum(queue["pending"] + queue["retry"] + queue["running"] for queue in queues)


def await_the_end_of_all(daemon: Daemon) -> None:
    """Wait for as long as the work that is left becomes less."""
    left, deadline = unfinished(daemon), 0.0
    least = left + 1
    while left:
        if left < least:
            least, deadline = left, time.monotonic() + PATIENCE_S
        assert time.monotonic() < deadline, f"{left} jobs do not come to an end"
        time.sleep(0.05)
        left = unfinished(daemon)


def test_nothing_acknowledged_is_lost_and_nothing_that_ended_runs_again(
    start: Start, endpoint: Endpoint, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    chance = Random(SEED)
    daemon = start(CONFIG, start=False)
    deaths: list[int] = []
    scratch = tmp_path / "scratch"
    with Load(daemon, endpoint, SEED) as load:
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            deaths.append(live_and_die(daemon, chance))
            acknowledged = load.acknowledged()
            left = evidence.read(daemon.data, scratch)
            found, lost = left.faults, acknowledged - left.jobs.keys()
            assert (found, lost) == ((), set()), SEED
    daemon.start()
    await_the_end_of_all(daemon)
    ended = daemon.stop()
    assert (ended.code, ended.stderr.count("Traceback")) == (0, 0)
    calls = all_calls(endpoint)
    left = evidence.read(daemon.data, scratch)
    found = evidence.faults(left, load, calls, deaths)
    assert found == (), SEED
    interrupted = sum(run.outcome == "interrupted" for run in left.runs)
    assert len(deaths) > 3
    assert len(load.acknowledged()) > 50
    assert interrupted > 0
    print(
        f"{len(deaths)} deaths, {len(load.acknowledged())} acknowledged, {len(left.jobs)} jobs,"
        f" {len(calls)} calls, {interrupted} interrupted runs"
    )
