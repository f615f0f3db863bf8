"""The clients of a daemon that is killed and started again."""

from __future__ import annotations

import asyncio
import threading

from lq.client import AsyncClient, Client

from .endpoint import Endpoint
from .process import PATIENCE_S, Daemon


def test_a_killed_daemon_is_found_again(lq: Daemon, endpoint: Endpoint) -> None:
    with Client(socket=lq.socket, timeout_s=PATIENCE_S) as client:
        pid = client.info()["pid"]
        lq.kill()
        lq.start()
        assert client.info()["pid"] != pid
        item = client.push("q", target=endpoint.url(), delay="1h")
        assert client.item(item["id"])["state"] == "PENDING"


async def test_so_does_the_one_on_an_event_loop(lq: Daemon) -> None:
    async with AsyncClient(socket=lq.socket, timeout_s=PATIENCE_S) as client:
        pid = (await client.info())["pid"]
        await asyncio.to_thread(lq.kill)
        await asyncio.to_thread(lq.start)
        assert {(await client.info())["pid"] for _ in range(20)} == {lq.pid}
        assert pid != lq.pid


def test_a_push_waits_for_a_daemon_that_is_starting(lq: Daemon, endpoint: Endpoint) -> None:
    lq.kill()
    starting = threading.Thread(target=lq.start)
    starting.start()
    with Client(socket=lq.socket, timeout_s=PATIENCE_S, retries=5) as client:
        item = client.push("q", target=endpoint.url(), delay="1h")
    starting.join()
    assert [one["id"] for one in lq.client.items()["items"]] == [item["id"]]
