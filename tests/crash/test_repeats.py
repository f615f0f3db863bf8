"""kill -9 in a storm of pushes that are repeated until they are answered: each is there once."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

from lq.client import ApiError, Client, Unreachable
from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon

from . import evidence
from .deaths import SECONDS, SEED, live_and_die

PUSHERS = 4


class Once(NamedTuple):
    """A push, and what it was answered each time. Shape: `tries` counts those without answer."""

    key: str
    delay_ms: int
    ids: set[str]
    tries: list[str]


class Repeating:
    """Pushes while it is open, each until it is answered, and some once more."""

    def __init__(self, daemon: Daemon, endpoint: Endpoint) -> None:
        self._client = Client(socket=daemon.socket, timeout_s=10, retries=0)
        self._url = endpoint.url()
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.made: list[list[Once]] = [[] for _ in range(PUSHERS)]
        self.threads = [
            threading.Thread(target=self._work, args=(number, Random(f"{SEED}-{number}")))
            for number in range(PUSHERS)
        ]

    def push(self, one: Once) -> bool:
        """Whether it was answered."""
        try:
            pushed = self._client.push(
                "q",
                json.dumps(one.key).encode(),
                target=self._url,
                delay_ms=one.delay_ms,
                idempotency_key=one.key,
            )
        except Unreachable:
            one.tries.append("unreachable")
            return False
        except ApiError as error:
            if error.type not in {"IDEMPOTENCY_IN_PROGRESS", "UNAVAILABLE"}:
                raise
            one.tries.append(error.type)
            return False
        one.ids.add(pushed["id"])
        return True

    def _work(self, number: int, chance: Random) -> None:
        try:
            while not self.stop.is_set():
                key = f"{number}-{len(self.made[number])}"
                one = Once(key, chance.choice((0, 30, 3_600_000)), set(), [])
                self.made[number].append(one)
                while not self.push(one) and not self.stop.is_set():
                    self.stop.wait(0.01)
                if chance.random() < 0.2:
                    self.push(chance.choice(self.made[number]))
        except BaseException as error:
            self.failures.append(error)
            raise


def test_a_push_that_is_repeated_until_it_is_answered_is_there_once(
    start: Start, endpoint: Endpoint, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    chance = Random(SEED)
    daemon = start(start=False)
    load = Repeating(daemon, endpoint)
    for thread in load.threads:
        thread.start()
    deaths = 0
    ends_at = time.monotonic() + SECONDS / 2
    while time.monotonic() < ends_at:
        live_and_die(daemon, chance)
        deaths += 1
    load.stop.set()
    for thread in load.threads:
        thread.join()
    assert load.failures == []

    pushes = [one for made in load.made for one in made]
    in_doubt = [one for one in pushes if one.tries]
    daemon.start()
    assert all(load.push(one) for one in pushes)
    assert daemon.stop().code == 0
    assert [one for one in pushes if len(one.ids) != 1] == []
    left = evidence.read(daemon.data, tmp_path / "scratch")
    assert left.faults == ()
    payloads = {job.id: json.loads(job.payload) for job in left.jobs.values()}
    assert payloads == {job_id: one.key for one in pushes for job_id in one.ids}
    assert deaths > 2
    assert len(pushes) > 50
    assert len(in_doubt) > 0
    print(f"{deaths} deaths, {len(pushes)} pushes, {len(in_doubt)} of them in doubt for a while")
