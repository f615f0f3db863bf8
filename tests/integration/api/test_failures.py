"""What a caller sees when something is wrong with the daemon itself."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator

import pytest

from lq.clock import SystemClock
from lq.daemon.api.app import Api
from lq.daemon.engine import Engine
from lq.daemon.main import Daemon
from lq.daemon.queues import Queues
from lq.model import Queue

from .handler import Handler
from .raw import WAITING, Peer


class BrokenQueues(Queues):
    def __init__(self) -> None:
        pass

    async def all(self) -> list[Queue]:
        raise ZeroDivisionError("canary of the inside")


class BrokenEngine(Engine):
    """An engine with a bug."""

    def __init__(self) -> None:
        self.queues = BrokenQueues()


@pytest.fixture
async def broken() -> AsyncIterator[Peer]:
    protocol = Api(BrokenEngine(), clock=SystemClock()).server(trusted=True)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    peer = Peer(port=server.sockets[0].getsockname()[1])
    yield peer
    await peer.close()
    server.close()
    await protocol.shutdown(1)


async def test_a_bug_shows_its_number_outside_and_its_traceback_in_the_log(
    broken: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await broken.ask("GET queues?token=secret-canary")
    assert (answer.status, answer.json["type"]) == (500, "INTERNAL")
    number = answer.headers["x-request-id"]
    assert answer.json["instance"] == number
    assert b"canary" not in answer.body
    assert b"ZeroDivision" not in answer.body
    (record,) = caplog.records
    assert number in record.getMessage()
    assert "secret-canary" not in caplog.text
    assert "ZeroDivisionError: canary of the inside" in caplog.text


async def test_a_bug_keeps_the_connection_and_the_daemon(broken: Peer) -> None:
    connection = await broken.connect()
    for _ in range(2):
        await connection.send(broken.written("GET queues"))
        assert (await connection.receive()).status == 500


async def test_a_daemon_that_stops_refuses_what_would_change_something(
    api: Peer, running: Daemon
) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING)
    running.engine.stop()
    refused = await api.ask("POST queues/q/items", *WAITING, body=b"x")
    assert (refused.status, refused.json["type"]) == (503, "UNAVAILABLE")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await api.ask(f"GET items/{pushed.json['id']}")).status == 200
    ready = await api.ask("GET /readyz")
    assert (ready.status, ready.json["status"]) == (503, "unavailable")
    assert ready.json["reasons"] == ["the daemon is stopping"]
    assert int(ready.headers["retry-after"]) >= 1
    assert (await api.ask("GET /healthz")).status == 200


FRAGMENTS = (
    ["/", "//", "api", "v1", "queues", "items", "byKey", "tokens", "history", "pause", "run", "a"],
    ["schedules", "byKey/", "next", "cron", "expr", "@daily", "tz", "UTC", "resume", "count"],
    ["?", "&", "=", "limit", "cursor", "state", "force", "until", "from", "5m", "-1", "attempts"],
    ["%", "%00", "%2F", "%2e%2e", "%FF", "%C3%A9", "%ED%A0%80", "..", ".", "#", "@", ":", ";"],
    ["'", '"', "\\", "[", "{", "|", "^", "`", "~", "http://", "x" * 300],
)


@pytest.mark.parametrize("seed", range(20))
async def test_no_path_finds_a_bug(api: Peer, owner: Peer, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        method = chance.choice(["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
        start = chance.choice(["/api/v1/", "/api/v1/queues/", "/api/v1/items/", "/", ""])
        pieces = [chance.choice(chance.choice(FRAGMENTS)) for _ in range(chance.randint(0, 6))]
        path = start + "".join(pieces) or "/"
        body = chance.choice([b"", b"{}", b"x"])
        for peer in (api, owner):
            answer = await peer.ask(f"{method} {path}", body=body)
            assert answer.status < 500, path
            assert isinstance(answer.json, dict | list)


HEADERS = (
    ["schedule", "queue", "key", "tz", "target", "headers", "method", "retry", "timeout", "label"],
    ["expires", "validate", "times", "start", "until", "misfire", "overlap", "jitter", "delay"],
)
VALUES = (
    ["", "q", "nightly", "@daily", "E=1s", "E=3653d", "C=*/7 * * * * *", "0 0 29 2 7"],
    ["UTC", "Africa/Monrovia", "posix/UTC", "../etc/passwd", "é", "٣", "-1", "0", "1e9", "1"],
    ["1000000000", "1ms", "24h", "3653d", "once", "all", "skip", "allow", "none", "head", "PUT"],
    ["1970-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"],
    ["https://[::1]/", "10s,1m", "{}", '{"x-a": "b"}', "x" * 600],
)


@pytest.mark.parametrize("seed", range(10))
async def test_no_header_of_a_schedule_finds_a_bug(api: Peer, handler: Handler, seed: int) -> None:
    chance = random.Random(seed)
    sound = ("schedule: @hourly", "queue: q", "key: nightly", f"target: {handler.url}")
    for _ in range(30):
        names = {chance.choice(chance.choice(HEADERS)) for _ in range(chance.randint(0, 3))}
        headers = [f"x-lq-{name}: {chance.choice(chance.choice(VALUES))}" for name in names]
        given = {header.partition(":")[0] for header in headers}
        rest = [f"x-lq-{header}" for header in sound if f"x-lq-{header.split(':')[0]}" not in given]
        for request_line in (
            "POST schedules", "PATCH schedules/byKey/nightly", "GET schedules/byKey/nightly",
        ):  # fmt: skip
            lines = [*headers, *rest] if request_line.startswith("POST") else headers
            answer = await api.ask(request_line, *lines, body=chance.choice([b"", b"{}", b"\xff"]))
            assert answer.status < 500, (request_line, lines)
            assert isinstance(answer.json, dict)
    for entry in (await api.ask("GET schedules?limit=1000")).json["items"]:
        for end in ("", "/next?count=1000", "/next?from=9999-12-31T00:00:00Z"):
            assert (await api.ask(f"GET schedules/{entry['id']}{end}")).status == 200, entry
        for verb in ("pause", "run", "resume"):
            answer = await api.ask(f"POST schedules/{entry['id']}/{verb}")
            assert answer.status < 500, entry
