"""A daemon that was killed with a hundred thousand jobs waiting serves again at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from lq.daemon.store.sqlite import open_store
from lq.model import NewJob, RetryPolicy
from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint

from .load import now_ms

WAITING = 100_000
QUEUES = 10
HOUR_MS = 3_600_000


def delayed_jobs(target: str) -> Iterator[NewJob]:
    now = now_ms()
    for number in range(WAITING):
        due_at = now + HOUR_MS + number
        yield NewJob(
            id=f"job_{number:026d}",
            queue=f"q{number % QUEUES}",
            created_at=now,
            not_before=due_at,
            due_at=due_at,
            target=target,
            method="POST",
            retry=RetryPolicy(3),
            timeout_ms=60_000,
            payload=b'{"to":"ada"}',
        )


async def fill(data: Path, target: str) -> None:
    """Push through the store itself; over HTTP it would take a minute."""
    store = await open_store(data)
    jobs = delayed_jobs(target)
    while group := list(itertools.islice(jobs, 5_000)):
        await asyncio.gather(*map(store.push, group))
    await store.close()


async def test_it_serves_at_once_with_all_of_them(start: Start, endpoint: Endpoint) -> None:
    daemon = start(start=False)
    await fill(daemon.data, endpoint.url())
    daemon.start()
    daemon.kill()
    started = time.monotonic()
    daemon.start()
    print(f"served after {(time.monotonic() - started) * 1000:.0f} ms with {WAITING} jobs waiting")
    counts = {queue["name"]: queue["pending"] for queue in daemon.client.queues()}
    assert counts == {f"q{number}": WAITING // QUEUES for number in range(QUEUES)}
    page = daemon.client.items("q0", limit=3)["items"]
    assert [item["id"] for item in page] == [f"job_{number:026d}" for number in (0, 10, 20)]
    # What is due now does not stand in line behind what waits for later.
    pushed = daemon.client.push("q0", b"now", target=endpoint.url())["id"]
    assert endpoint.next().id == pushed
    daemon.client.run("job_" + "9".rjust(26, "0"))
    assert endpoint.next().id == "job_" + "9".rjust(26, "0")
    assert endpoint.none_left()
