"""Applications of every framework with the same handler in them, on real servers.

Each is served from a thread of the test's process, so that tests see what the handler was given.
All have an `/echo` of their own, which answers with the body it was sent.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any
from urllib.parse import quote

from lq import Job, Queue
from lq.signature import new_secret
from tests.e2e.process import PATIENCE_S

SECRET = new_secret(bytes(range(32)))
ROUTE = "/lq/büro"
"""Where the handler is, as people and routers write it."""
PATH = quote(ROUTE)
"""The same, as it is on the wire."""
MOST = 100_000
"""How large a body may be. Units: bytes."""

jobs: queue.Queue[Job[Any]] = queue.Queue()
"""What the handler was given."""
read_after: queue.Queue[bytes] = queue.Queue()
"""Bodies that an application has read once the call was answered."""


gate = threading.Event()
"""What a job waits for whose payload is "wait"."""


def run(job: Job[Any]) -> Any:
    jobs.put(job)
    if job.payload == "wait":
        gate.wait(PATIENCE_S)
    if job.payload == "fail":
        raise RuntimeError("as it was told")
    return {"id": job.id}


async def run_async(job: Job[Any]) -> Any:
    return await asyncio.to_thread(run, job)


def queue_at(path: str = PATH, *, is_async: bool = False) -> Queue[Any]:
    """A queue whose handler is `run`, or its asynchronous twin."""
    made = Queue[Any]("work", path=path, secret=SECRET)
    made.handler(run_async if is_async else run)
    return made
