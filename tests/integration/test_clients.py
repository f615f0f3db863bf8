"""Both clients, by the same cases: against a daemon, and against servers that break off."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lq.client import (
    AccessError,
    ApiError,
    AsyncClient,
    BusyError,
    ByKey,
    Client,
    ConflictError,
    KeyExistsError,
    NotFoundError,
    Unreachable,
)
from lq.client.verbs import Verbs
from lq.config import Tls
from lq.daemon.main import Daemon
from lq.errors import ValidationError
from lq.model import Scope
from tests.support.certificates import Authority
from tests.support.home import Home


class Blocking:
    """The blocking client, called from threads so that a test awaits either face alike."""

    def __init__(self, *where: Any, **how: Any) -> None:
        self.client = Client(*where, **how)

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.client, verb)
        return lambda *arguments, **options: asyncio.to_thread(method, *arguments, **options)


Face = Callable[..., Any]


@pytest.fixture(params=[Blocking, AsyncClient], ids=["blocking", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    made: Face = request.param
    return made


# A real daemon, by each way in


@pytest.fixture(params=["tcp", "unix", "tls"])
async def reach(
    request: pytest.FixtureRequest, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Any]]:
    """How a running daemon is reached: arguments of a client."""
    settings: dict[str, Any] = {}
    if request.param == "tls":
        authority = Authority(tmp_path)
        cert, key = authority.issue("lq")
        settings["tls"] = Tls(cert=cert, key=key)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    started: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def live() -> None:
        async with home.daemon(**settings) as running:
            started.set_result(running)
            await stop.wait()

    life = asyncio.create_task(live())
    running = await started
    if request.param == "unix":
        yield {"socket": home.config.socket}
    else:
        _, token = await running.engine.create_token("t", frozenset({Scope.ADMIN}), (), None)
        scheme = "https" if request.param == "tls" else "http"
        yield {"url": f"{scheme}://127.0.0.1:{running.port}", "token": token}
    stop.set()
    await life


async def test_every_verb_has_its_answer(face: Face, reach: dict[str, Any], home: Home) -> None:
    client = face(**reach, retries=0)
    target = home.handler.url("/")
    item = await client.push("a/b", json={"n": None}, target=target, delay="5m", key="k")
    assert (item["state"], item["outcome"]) == ("PENDING", "created")
    ref = ByKey("a/b", "k")
    assert (await client.item(ref))["payload"] == {"n": None}
    assert (await client.item(ref, payload="base64"))["payload"] == "eyJuIjpudWxsfQ=="
    assert (await client.edit(ref, delay_ms=10_000))["id"] == item["id"]
    assert [one["id"] for one in (await client.items("a/b"))["items"]] == [item["id"]]
    assert await client.attempts(ref) == []
    assert (await client.cancel(ref))["state"] == "CANCELLED"
    assert (await client.find(ref))["state"] == "CANCELLED"
    assert [one["id"] for one in (await client.history(key="k"))["items"]] == [item["id"]]
    usual = (await client.queue("a/b"))["concurrency"]
    changed = await client.edit_queue("q", concurrency=usual + 1, paused_until="30m")
    assert (changed["concurrency"], changed["paused"]) == (usual + 1, True)
    assert (await client.edit_queue("q", concurrency=None))["concurrency"] == usual
    assert not (await client.resume("q"))["paused"]
    await client.pause("q", "5m")
    assert (await client.queue("q"))["paused"]
    assert {one["name"] for one in await client.queues()} >= {"a/b", "q"}
    assert await client.delete_queue("q", force=True) == 0
    made = await client.create_schedule("@daily", "a/b", target=target, key="nightly")
    assert (await client.schedule("nightly"))["id"] == made["id"]
    assert len(await client.schedule_next("nightly", 3)) == 3
    assert (await client.schedule_calendar("nightly", "2031-03"))["days"][30]["count"] == 1
    assert (await client.pause_schedule("nightly"))["paused"]
    assert not (await client.resume_schedule("nightly"))["paused"]
    assert (await client.run_schedule("nightly"))["schedule"] == made["id"]
    assert (await client.edit_schedule("nightly", rule="@hourly"))["schedule"] == "@hourly"
    assert len((await client.schedules())["items"]) == 1
    await client.delete_schedule("nightly")
    assert (await client.cron("@daily"))["explanation"]
    assert (await client.create_token("n", ["push"]))["token"]
    assert "n" in {one["name"] for one in await client.tokens()}
    await client.revoke_token("n")
    assert (await client.secret())["secret"]
    assert await client.rotate_secret(0)
    assert await client.revoke_old_secrets()
    assert "version" in await client.info()
    assert "a/b" in {one["name"] for one in (await client.overview(limit=3))["queues"]}
    assert len((await client.activity("day", "a/b"))["points"]) == 96
    assert await client.healthz() == await client.ready() == {"status": "ok"}
    assert (await client.openapi())["openapi"].startswith("3.1")
    await client.close()


async def test_a_refusal_is_an_error_of_its_kind(face: Face, reach: dict[str, Any]) -> None:
    client = face(**reach, retries=0)
    with pytest.raises(NotFoundError) as missing:
        await client.item("job_none")
    assert missing.value.type == "NOT_FOUND"
    assert missing.value.request_id
    with pytest.raises(ApiError) as wrong:
        await client.push("q", b"", target="https://example.com/", delay="soon")
    assert [issue.path for issue in wrong.value.issues] == ["x-lq-delay"]
    far = {"target": "https://example.com/", "delay": "1h", "key": "k"}
    await client.push("q", b"", **far)
    with pytest.raises(KeyExistsError) as taken:
        await client.push("q", b"", if_exists="reject", **far)
    assert isinstance(taken.value, ConflictError)
    await client.close()


async def test_many_calls_at_once_share_few_connections(
    face: Face, reach: dict[str, Any], home: Home
) -> None:
    client = face(**reach)
    answers = await asyncio.gather(*(client.info() for _ in range(200)))
    assert {answer["version"] for answer in answers} == {answers[0]["version"]}
    await client.close()


async def test_a_token_is_asked_for(face: Face, daemon: Daemon) -> None:
    client = face(f"http://127.0.0.1:{daemon.port}", "wrong")
    with pytest.raises(AccessError):
        await client.info()
    await client.close()


async def test_pages_go_through_all(daemon: Daemon, home: Home) -> None:
    async with AsyncClient(socket=home.config.socket, retries=0) as client:
        for n in range(5):
            await client.push("q", target=home.handler.url("/"), delay="1h", key=str(n))
        found = [one["key"] async for one in client.pages(client.items, queue="q", limit=2)]
    assert sorted(found) == ["0", "1", "2", "3", "4"]

    def blocking() -> list[str]:
        with Client(socket=home.config.socket) as client:
            return [one["key"] for one in client.pages(client.items, queue="q", limit=2)]

    assert await asyncio.to_thread(blocking) == found


async def test_a_batch_has_a_result_for_each_entry(daemon: Daemon, home: Home) -> None:
    entries: Any = [
        {"json": {"a": 1}, "key": "a", "delay_ms": 60_000, "headers": {"x-a": "b"}},
        {"payload": b"\x00\xff", "content_type": "a/b", "labels": ["a", "b"], "retry": 2},
        {"json": None, "if_exists": "nonsense"},
        {"payload": b"", "labels": []},
    ]
    options: Any = {"target": home.handler.url("/"), "delay": "1h"}
    async with AsyncClient(socket=home.config.socket) as client:
        answer = await client.push_batch("q", entries, **options)
        assert [r["status"] for r in answer["results"]] == [201, 201, 400, 201]
        found = [await client.item(r["id"]) for r in answer["results"] if "id" in r]
        with pytest.raises(ApiError, match="line 3: ifExists"):
            await client.push_batch("q", entries, atomic=True, **options)
        with pytest.raises(ValidationError, match="entry 1: json"):
            await client.push_batch("q", [{}, {"json": float("nan")}])
        with pytest.raises(ValidationError, match="is for each entry"):
            await client.push_batch("q", [], content_type="a/b")
        same = [await client.push_batch("q", [{}], idempotency_key="a b", **options) for _ in "ab"]
    assert [(f.get("payload"), f.get("payloadType")) for f in found] == [
        ({"a": 1}, "application/json"), ("AP8=", "a/b"), (None, None),
    ]  # fmt: skip
    assert (found[0]["key"], found[0]["headers"], found[1]["labels"]) == (
        "a",
        {"x-a": "b"},
        ["a", "b"],
    )
    assert same[0] == same[1]


async def test_any_number_is_pushed_in_batches(daemon: Daemon, home: Home) -> None:
    options = {"target": home.handler.url("/"), "delay": "1h", "idempotency_key": "once"}
    entries = [{"json": n} for n in range(2500)]
    async with AsyncClient(socket=home.config.socket) as client:
        first = [one async for one in client.push_many("q", iter(entries), **options)]
        assert [one["index"] for one in first] == [*range(2500)]
        assert {one["outcome"] for one in first} == {"created"}

        def blocking() -> list[Any]:
            with Client(socket=home.config.socket) as client:
                return list(client.push_many("q", iter(entries), **options))

        assert await asyncio.to_thread(blocking) == first
        assert (await client.queue("q"))["pending"] == 2500


# Servers that break off

OK = {"id": "job_1", "ok": True}


def said(value: object, status: str = "200 OK", more: str = "") -> bytes:
    body = json.dumps(value).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


class Script:
    """A server that answers the requests it gets, one after the other, as it is told.

    Shape: None closes the connection without a word; each of `requests` is the number of its
    connection, and its head.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.requests: list[tuple[int, bytes]] = []
        self.connections = 0
        self.port = 0
        self._answers = list(answers)
        self._serving: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Script:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()
        await asyncio.gather(*self._serving)  # each ends when its client lets go of it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of the requests."""
        lines = [line for _, head in self.requests for line in head.decode().splitlines()]
        return [line.split(": ")[1] for line in lines if line.startswith("Idempotency-Key")]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                self.requests.append((number, head))
                answer = self._answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


BUSY = said({"type": "UNAVAILABLE", "message": "stopping"}, "503 X", "Retry-After: 0\r\n")
RUNNING = said({"type": "IDEMPOTENCY_IN_PROGRESS", "message": "wait"}, "409 Conflict")


async def test_a_connection_is_kept(face: Face) -> None:
    async with Script(said(OK), said(OK), said(OK)) as server:
        client = face(server.url)
        for _ in range(3):
            assert await client.info() == OK
        await client.close()
    assert server.connections == 1


async def test_a_kept_connection_that_breaks_is_replaced(face: Face) -> None:
    async with Script(said(OK), None, said(OK)) as server:
        client = face(server.url, retries=0)
        await client.info()
        assert await client.info() == OK
        await client.close()
    assert [number for number, _ in server.requests] == [1, 1, 2]


async def test_what_must_not_be_repeated_has_a_connection_of_its_own(face: Face) -> None:
    async with Script(said(OK), None) as server:
        client = face(server.url)
        await client.info()
        with pytest.raises(Unreachable, match="broke off") as raised:
            await client.cancel("job_1")
        assert "may have done" in str(raised.value.hint)
        await client.close()
    assert [number for number, _ in server.requests] == [1, 2]


@pytest.mark.parametrize("first", [None, BUSY, RUNNING])
async def test_a_push_is_repeated_under_one_key(face: Face, first: bytes | None) -> None:
    async with Script(first, said(OK)) as server:
        client = face(server.url)
        assert await client.push("q", b"x") == OK
        await client.close()
    assert len(server.keys) == 2
    assert len(set(server.keys)) == 1


async def test_each_push_has_a_key_of_its_own_unless_one_is_given(face: Face) -> None:
    async with Script(*[said(OK)] * 3) as server:
        client = face(server.url)
        await client.push("q")
        await client.create_schedule("@daily", "q")
        await client.push("q", idempotency_key="mine")
        await client.close()
    assert len(set(server.keys)) == 3
    assert server.keys[2] == '"mine"'


async def test_without_a_key_a_push_that_may_have_arrived_is_not_repeated(face: Face) -> None:
    async with Script(BUSY, None) as server:
        client = face(server.url)
        with pytest.raises(Unreachable, match="broke off"):
            await client.push("q", idempotency_key=None)
        await client.close()
    assert (len(server.requests), server.keys) == (2, [])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", "an answer of that size"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 60_000 + b"\r\n", "without end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "without end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 70_000, "without end"),
        (b"\x00\xff" * 1000 + b"\n", "no status line"),
    ],
)
async def test_what_a_hostile_server_says_has_an_end(face: Face, answer: bytes, why: str) -> None:
    endless = answer if b"Content-Length" in answer else answer * (600_000 // len(answer) + 1)
    async with Script(endless) as server:
        client = face(server.url, retries=0)
        with pytest.raises(Unreachable, match=why):
            await client.info()
        await client.close()


async def test_it_gives_up(face: Face) -> None:
    async with Script(BUSY, BUSY, BUSY) as server:
        client = face(server.url)
        with pytest.raises(BusyError) as raised:
            await client.cancel("job_1")
        await client.close()
    assert (raised.value.retry_after_s, len(server.requests)) == (0, 3)


async def test_it_does_not_wait_longer_than_a_call_may_take(face: Face) -> None:
    busy = said({"type": "RATE_LIMITED", "message": "m"}, "429 X", "Retry-After: 60\r\n")
    async with Script(busy) as server:
        client = face(server.url, timeout_s=30)
        with pytest.raises(BusyError) as raised:
            await client.info()
        await client.close()
    assert raised.value.retry_after_s == 60


async def test_a_cancelled_call_leaves_the_client_usable() -> None:
    async with Script(*[said(OK)] * 3) as server, AsyncClient(server.url) as client:
        await client.info()
        call = asyncio.create_task(client.info())
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await client.info() == OK


def test_a_client_serves_one_loop_after_another() -> None:
    """A kept connection belongs to no loop: the second one goes on over it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                for _ in range(2):
                    connection.recv(10_000)
                    connection.sendall(said(OK))
                assert connection.recv(10_000) == b""

        thread = threading.Thread(target=serve)
        thread.start()
        client = AsyncClient(f"http://127.0.0.1:{listening.getsockname()[1]}", retries=0)
        assert asyncio.run(client.info()) == asyncio.run(client.info()) == OK
        asyncio.run(client.close())
        thread.join()


def test_a_forked_child_has_connections_of_its_own() -> None:
    program = """
import os, sys
from lq.client import Client
client = Client(sys.argv[1])
first = client.info()["connection"]
if os.fork() == 0:
    os._exit(0 if client.info()["connection"] != first else 1)
assert os.wait()[1] == 0
assert client.info()["connection"] == first
"""
    with counting() as port:
        url = f"http://127.0.0.1:{port}"
        done = subprocess.run([sys.executable, "-c", program, url], check=False, timeout=30)
    assert done.returncode == 0


def test_threads_share_a_client() -> None:
    with (
        counting() as port,
        Client(f"http://127.0.0.1:{port}") as client,
        ThreadPoolExecutor(8) as threads,
    ):
        found = list(threads.map(lambda _: client.info()["connection"], range(400)))
    assert len(set(found)) <= 8


@contextlib.contextmanager
def counting() -> Iterator[int]:
    """A server that answers with the number of the connection it was asked over; its port."""

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            number = next(numbers)
            while line := self.rfile.readline():
                if line == b"\r\n":
                    self.wfile.write(said({"connection": number}))

    class Serving(socketserver.ThreadingTCPServer):
        daemon_threads = True

    numbers = itertools.count(1)
    with Serving(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


# Where it looks, and what it takes


def test_the_environment_names_the_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("LQ_", "XDG_"))]:
        monkeypatch.delenv(name)
    assert Client().where == str(tmp_path / ".local/share/lq/lq.sock")
    monkeypatch.setenv("LQ_API_URL", "http://127.0.0.1:1/api/v1")
    assert AsyncClient().where == Client().where == "http://127.0.0.1:1"
    assert Client("http://127.0.0.1:2").where == "http://127.0.0.1:2"
    monkeypatch.setenv("LQ_API_URL", "127.0.0.1")
    with pytest.raises(ValidationError, match="LQ_API_URL: expected one such as"):
        AsyncClient()


def test_both_faces_have_all_verbs() -> None:
    verbs = {name for name in vars(Verbs) if not name.startswith("_")}
    for face in (Client, AsyncClient):
        assert verbs <= set(vars(face))
        assert all(getattr(face, verb).__doc__ for verb in verbs)


async def test_what_cannot_be_said_is_refused_here(face: Face) -> None:
    client = face("http://127.0.0.1:1")
    for options in ({"json": float("nan")}, {"delay": "5m", "delay_ms": 5}, {"json": {1, 2}}):
        with pytest.raises(ValidationError):
            await client.push("q", **options)
    with pytest.raises(TypeError, match="json= takes values"):
        await client.push("q", "text")
