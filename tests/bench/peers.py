"""The processes that lq is measured against, each a bare version of one half of lq.

Run as `python -m tests.bench.peers NAME ARGUMENT …`: those that answer serve until they are
ended, the one that calls prints its rate.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

from lq.config import load
from lq.daemon.main import daemon
from lq.daemon.store.sqlite import SqliteStore, open_store
from lq.model import Job, NewJob, Pushed, PushOutcome, RetryPolicy, Run, State
from tests.bench.load import Arrivals, Handler
from tests.support.calls import signing

BODY = b'{"user":"ada","n":12345}'
_ANSWER = (
    b'{"id":"job_019a0000000000000000000000000000","queue":"q","created":"2026-01-01T00:00:00.000Z"'
    b',"target":{"url":"http://127.0.0.1:3000/a","method":"POST"},"type":"HTTP","state":"PENDING",'
    b'"notBefore":"2026-01-02T00:00:00.000Z","attempts":0,"maxAttempts":6,"outcome":"created"}'
)


class Forgetful(SqliteStore):
    """lq's store, but a push is answered without being stored."""

    def push(self, job: NewJob) -> asyncio.Future[Pushed]:
        answer: asyncio.Future[Pushed] = asyncio.get_running_loop().create_future()
        answer.set_result(Pushed(_job(job), PushOutcome.CREATED))
        return answer


def _job(new: NewJob) -> Job:
    return Job(
        seq=1,
        id=new.id,
        queue=new.queue,
        state=State.COMPLETED,  # so that nobody waits for it
        created_at=new.created_at,
        not_before=new.not_before,
        due_at=new.due_at,
        target=new.target,
        method=new.method,
        retry=new.retry,
        timeout_ms=new.timeout_ms,
    )


async def same_app(folder: str) -> None:
    """lq's own API and engine, configured by the environment, storing nothing."""

    async def forgetful(path: Path) -> Forgetful:
        store = await open_store(path)
        return Forgetful(store.database)

    async with daemon(load(None, os.environ | {"LQ_DATA_DIR": folder}), open_store=forgetful):
        await asyncio.Event().wait()


async def bare_app(port: str) -> None:
    """An aiohttp application that reads a push and answers as much as lq does."""

    async def push(request: web.Request) -> web.Response:
        await request.read()
        headers = {"Location": "/api/v1/items/job_019a0000000000000000000000000000"}
        return web.Response(
            status=201, body=_ANSWER, content_type="application/json", headers=headers
        )

    app = web.Application()
    app.router.add_post("/api/v1/queues/{queue}/items", push)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


async def handler(port: str) -> None:
    """A handler that says ok."""
    arrivals = Arrivals()
    await asyncio.get_running_loop().create_server(
        lambda: Handler(arrivals), "127.0.0.1", int(port)
    )
    await asyncio.Event().wait()


async def bare_client(port: str, calls: str, workers: str) -> None:
    """Send signed calls in a bare aiohttp client loop; prints calls a second."""
    job = Job(
        seq=1,
        id="job_019a0000000000000000000000000000",
        queue="q",
        state=State.PENDING,
        created_at=0,
        not_before=0,
        due_at=0,
        target=f"http://127.0.0.1:{port}/a",
        method="POST",
        retry=RetryPolicy(5),
        timeout_ms=60_000,
        content_type="application/json",
        payload=BODY,
    )
    run, signer, url = Run(1, job, 0), signing("lqs_" + "0" * 64), URL(job.target)
    left = iter(range(int(calls)))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=60),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    ) as session:

        async def work() -> None:
            for _ in left:
                headers = signer.headers(run, time.time_ns() // 1_000_000, os.urandom(8).hex())
                async with session.post(
                    url, headers=headers, data=BODY, allow_redirects=False
                ) as response:
                    await response.read()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(int(workers))))
        print(int(calls) / (time.perf_counter() - started))


if __name__ == "__main__":
    peers: dict[str, Callable[..., Coroutine[None, None, None]]] = {
        "same-app": same_app,
        "bare-app": bare_app,
        "handler": handler,
        "bare-client": bare_client,
    }
    uvloop.run(peers[sys.argv[1]](*sys.argv[2:]))
