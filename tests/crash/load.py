"""Load on a daemon that is killed all the time: what was pushed, and what each push came to.

Owns: the pushers, each a thread with keys of its own, so that the order of pushes with one key is
known; and what jobs are to do at the endpoint, which their payload says.
"""

from __future__ import annotations

import json
import threading
import time
from random import Random
from types import TracebackType
from typing import NamedTuple

from lq.client import ApiError, Client, Unreachable
from lq.signature import SignatureError, verify
from tests.e2e.endpoint import FAILED, OK, Answer, Call, Endpoint
from tests.e2e.process import Daemon

QUEUES = ("narrow", "wide", "a/b", "ünï")
PUSHERS = 4
RETRIES = 60
CONFIG = f"""
[dispatch]
drain_timeout = "200ms"
[retry]
retries = {RETRIES}
base = "15ms"
factor = 1.0
[queues.narrow]
concurrency = 1
"""
_REFUSED = Answer(500, b"no", {"x-lq-retry": "no"})


class Plan(NamedTuple):
    """What a job does at the endpoint. Shape: `token` is never used twice."""

    token: str
    failures: int
    refused: bool
    slow_ms: int

    @property
    def ends_as(self) -> str:
        return "FAILED" if self.refused else "COMPLETED"


def plan_of(payload: bytes) -> Plan:
    return Plan(**json.loads(payload)["plan"])


class Sent(NamedTuple):
    """One push. Shape: `id` is None when no answer came, so that nobody knows what it did."""

    queue: str
    key: str | None
    plan: Plan
    not_before: int
    id: str | None


class Cancel(NamedTuple):
    """One cancel. Shape: `done` is None when no answer came, False when it came too late."""

    id: str
    answered_at: int
    done: bool | None


class Work(NamedTuple):
    """What one call did at the endpoint. Shape: `name` is that of the key, else of the job."""

    id: str
    name: str
    began_at: int
    ended_at: int


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Load:
    """Pushes while the context is open, whether a daemon is there or not."""

    def __init__(self, daemon: Daemon, endpoint: Endpoint, seed: str) -> None:
        self._client = Client(socket=daemon.socket, timeout_s=10, retries=0)
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self.sent: list[list[Sent]] = [[] for _ in range(PUSHERS)]
        self._threads = [
            threading.Thread(target=self._push, args=(number, Random(f"{seed}-{number}")))
            for number in range(PUSHERS)
        ]
        self.cancels: list[Cancel] = []
        self.worked: list[Work] = []
        self.faults: list[str] = []
        endpoint.on("/job", self._work)

    def acknowledged(self) -> set[str]:
        """The ids that pushes were answered with so far."""
        return {one.id for sent in self.sent for one in tuple(sent) if one.id is not None}

    def _work(self, call: Call) -> Answer:
        try:
            verify(call.headers["x-lq-signature"], call.body, [self._endpoint.secret], call.at)
        except SignatureError as error:
            self.faults.append(f"{call.id}: {error}")
        plan = plan_of(call.body)
        if plan.slow_ms:
            time.sleep(plan.slow_ms / 1000)
        key = call.headers.get("x-lq-key")
        name = call.id if key is None else f"{call.headers['x-lq-queue']} {key}"
        self.worked.append(Work(call.id, name, call.at, now_ms()))
        if plan.refused:
            return _REFUSED
        return FAILED if call.attempt <= plan.failures else OK

    def _push(self, number: int, chance: Random) -> None:
        try:
            while not self._stop.is_set():
                self.sent[number].append(self._push_one(number, chance))
                if chance.random() < 0.05:
                    self._cancel_one(chance.choice(self.sent[number][-10:]).id)
                self._stop.wait(chance.expovariate(1 / 0.008))
        except BaseException as error:
            self._failures.append(error)
            raise

    def _push_one(self, number: int, chance: Random) -> Sent:
        plan = Plan(
            token=f"{number}-{len(self.sent[number])}",
            failures=chance.choice((0, 0, 0, 1, 2)),
            refused=chance.random() < 0.05,
            slow_ms=chance.choice((0, 0, 0, 5, 50)),
        )
        payload = {"plan": plan._asdict(), "padding": "x" * chance.choice((0, 0, 100, 5_000))}
        queue = chance.choice(QUEUES)
        key = f"{number}.{chance.randrange(6)}" if chance.random() < 0.4 else None
        delay_ms = chance.choice((None, None, 0, 30, 300))
        sent = Sent(queue, key, plan, now_ms() + (delay_ms or 0), None)
        try:
            pushed = self._client.push(
                queue,
                json.dumps(payload).encode(),
                target=self._endpoint.url("/job"),
                key=key,
                delay_ms=delay_ms,
            )
        except Unreachable:
            return sent
        except ApiError as error:
            if error.status != 503:  # it was stopping
                raise
            return sent
        return sent._replace(id=pushed["id"])

    def _cancel_one(self, item: str | None) -> None:
        if item is None:
            return
        done: bool | None = True
        try:
            self._client.cancel(item)
        except Unreachable:
            done = None
        except ApiError as error:
            if error.status not in {409, 503}:  # finished already; it was stopping
                raise
            done = False
        self.cancels.append(Cancel(item, now_ms(), done))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures
