"""Events through both clients: from a daemon that stops and starts, and from what breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lq.client import AccessError, ApiError, AsyncClient, BusyError, Client, Unreachable
from lq.client.stream import Reader
from lq.config import Tls
from lq.errors import LqError
from lq.exchange import Flow
from lq.model import Scope
from tests.support.certificates import Authority
from tests.support.handler import GIVE_UP_S
from tests.support.home import Home

Json = dict[str, Any]


class Heard:
    """What a client is told, by either face: events, and news of its connection."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def watch(self, error: LqError | None) -> None:
        self.news.append("there" if error is None else error.message)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, number: int) -> None:
        """Return once there was so much news."""
        async with asyncio.timeout(GIVE_UP_S):
            while len(self.news) < number:
                self._changed.clear()
                await self._changed.wait()


Events = Callable[..., AsyncIterator[Json]]


async def blocking(heard: Heard, where: Json, retries: int = 0, **wanted: Any) -> Any:
    """The blocking client's iterator, gone through in threads."""
    client = Client(**where, retries=retries)
    found: Iterator[Json] = await asyncio.to_thread(client.events, watch=heard.watch, **wanted)
    while True:
        yield await asyncio.to_thread(next, found)


def of_loop(heard: Heard, where: Json, retries: int = 0, **wanted: Any) -> AsyncIterator[Json]:
    return AsyncClient(**where, retries=retries).events(watch=heard.watch, **wanted)


@pytest.fixture(params=[blocking, of_loop], ids=["blocking", "async"])
def events(request: pytest.FixtureRequest) -> Events:
    found: Events = request.param
    return found


async def take(events: AsyncIterator[Json], number: int) -> list[Json]:
    async with asyncio.timeout(GIVE_UP_S):
        return [await anext(events) for _ in range(number)]


# A daemon


@pytest.mark.parametrize("by", ["socket", "http", "https"])
async def test_what_happens_is_heard(
    events: Events, home: Home, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("lq")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    secured = Tls(cert=cert, key=key) if by == "https" else Tls()
    async with home.daemon(tls=secured) as running:
        where: Json = {"socket": home.config.socket}
        if by != "socket":
            _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
            where = {"url": f"{by}://127.0.0.1:{running.port}/", "token": token}
        heard = Heard()
        listening = asyncio.create_task(take(events(heard, where, queue="a/b ü"), 3))
        await heard.until(1)
        await running.engine.push(home.push(queue="other"))
        job = (await running.engine.push(home.push(queue="a/b ü", key="k"))).job
        found = await listening
        assert [(one["verb"], one["id"]) for one in found] == [
            ("push", job.id), ("claim", job.id), ("succeed", job.id),
        ]  # fmt: skip
        assert len({one["eventId"] for one in found}) == 3


async def test_a_new_life_of_the_daemon_is_found_and_told(events: Events, home: Home) -> None:
    heard = Heard()
    async with home.daemon() as running:
        stream = events(heard, {"socket": home.config.socket}, verb="push")
        first = asyncio.create_task(take(stream, 1))
        await heard.until(1)
        before = (await running.engine.push(home.push())).job
        assert [one["id"] for one in await first] == [before.id]
    further = asyncio.create_task(take(stream, 2))
    await heard.until(2)
    async with home.daemon() as running:
        await heard.until(3)
        after = (await running.engine.push(home.push())).job
        missed, pushed = await further
    assert (missed["verb"], missed["reason"]) == ("missed", "restart")
    assert pushed["id"] == after.id
    assert [news == "there" for news in heard.news] == [True, False, True]


async def test_a_connection_that_breaks_loses_and_repeats_nothing(
    events: Events, home: Home
) -> None:
    """A relay between them cuts the connection after every few bytes, again and again."""
    async with home.daemon() as running, cutting(home, every=3000) as relay:
        _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
        relay.port = running.port
        heard = Heard()
        where = {"url": relay.url, "token": token}
        listening = asyncio.create_task(take(events(heard, where, verb="push"), 200))
        await heard.until(1)
        jobs = [
            (await running.engine.push(home.push(key=str(n), delay_ms=3_600_000))).job.id
            for n in range(200)
        ]
        assert [one["id"] for one in await listening] == jobs
        assert heard.news.count("there") > 5


class Relay:
    """Passes on bytes in both directions, and of the answer only so many."""

    def __init__(self, every: int) -> None:
        self.port = 0
        self.url = ""
        self._every = every

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection("127.0.0.1", self.port)
        outward.write(await reader.readuntil(b"\r\n\r\n"))
        left = self._every
        try:
            while left and (data := await inward.read(min(left, 700))):
                left -= len(data)
                writer.write(data)
                await writer.drain()
        finally:
            outward.close()
            writer.close()


@contextlib.asynccontextmanager
async def cutting(home: Home, every: int) -> AsyncIterator[Relay]:
    relay = Relay(every)
    carrying: list[asyncio.Task[None]] = []

    def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying.append(asyncio.create_task(relay.carry(reader, writer)))

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield relay
    server.close()
    for task in carrying:
        task.cancel()
    await asyncio.gather(*carrying, return_exceptions=True)


# What is none


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def said(status: str, value: object, more: str = "") -> bytes:
    body = json.dumps(value)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


BUSY = said("503 X", {"type": "UNAVAILABLE", "message": "stopping"}, "Retry-After: 0\r\n")
DENIED = said("401 X", {"type": "UNAUTHORIZED", "message": "no"})
ONE = b'id: b-1\nevent: push\ndata: {"verb": "push"}\n\n'
TWO = b'id: b-2\ndata: {"verb":\ndata:"cancel"}\n\n'


class Script:
    """Answers each connection with the next of these bytes, and closes it."""

    def __init__(self, *answers: bytes) -> None:
        self.heads: list[str] = []
        self._answers = list(answers)

    async def __aenter__(self) -> Script:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()

    @property
    def places(self) -> list[str | None]:
        """The Last-Event-ID of each request."""
        found = [head.partition("Last-Event-ID: ") for head in self.heads]
        return [rest.partition("\r\n")[0] if name else None for _, name, rest in found]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self._answers.pop(0))
        await writer.drain()
        writer.close()


async def test_each_event_once_over_several_connections(events: Events) -> None:
    chunked = b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    async with Script(
        HEAD + b"\r\n: hello\nid: b-0\n\n",
        HEAD + b"\r\n" + ONE + TWO[:20],
        said("502 Bad Gateway", "the proxy"),
        BUSY,
        chunked % (HEAD, len(TWO), TWO),
    ) as server:
        found = await take(events(Heard(), {"url": server.url, "token": "t"}), 2)
    assert found == [{"verb": "push", "eventId": "b-1"}, {"verb": "cancel", "eventId": "b-2"}]
    assert server.places == [None, "b-0", "b-1", "b-1", "b-1"]
    assert all("Accept: text/event-stream" in head for head in server.heads)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (BUSY, BusyError),
        (DENIED, AccessError),
        (said("400 X", {"type": "VALIDATION_ERROR", "message": "no"}), ApiError),
        (said("200 OK", {"status": "ok"}), Unreachable),
        (said("404 X", "not found"), Unreachable),
        (HEAD + b"\r\ndata: x\n\n", Unreachable),
        (HEAD + b"\r\ndata: [1]\n\n", Unreachable),
        (HEAD + b"\r\ndata: \xff\n\n", Unreachable),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", Unreachable),
        (b"", Unreachable),
        (b"SSH-2.0\r\n\r\n", Unreachable),
    ],
)
async def test_what_is_no_stream(events: Events, answer: bytes, kind: type[LqError]) -> None:
    async with Script(answer) as server:
        with pytest.raises(kind):
            await take(events(Heard(), {"url": server.url, "token": "t"}), 1)


async def test_nobody_is_there(events: Events) -> None:
    with pytest.raises(Unreachable):
        await take(events(Heard(), {"url": "http://127.0.0.1:1", "token": "t"}), 1)


async def test_a_token_that_is_revoked_ends_it(events: Events) -> None:
    async with Script(HEAD + b"\r\n" + ONE, DENIED) as server:
        stream = events(Heard(), {"url": server.url, "token": "t"})
        await take(stream, 1)
        with pytest.raises(AccessError):
            await take(stream, 1)


async def test_one_goes_on_from_an_earlier_event(events: Events) -> None:
    async with Script(HEAD + b"\r\n" + TWO) as server:
        await take(events(Heard(), {"url": server.url, "token": "t"}, after="b-1"), 1)
    assert server.places == ["b-1"]


async def test_who_is_cancelled_lets_go(home: Home) -> None:
    async with home.daemon() as running:
        client = AsyncClient(socket=home.config.socket)
        heard = Heard()
        task = asyncio.ensure_future(anext(client.events(watch=heard.watch)))
        await heard.until(1)
        task.cancel()
        await asyncio.wait({task})
        async with asyncio.timeout(GIVE_UP_S):
            while running.engine.feed.readers:
                await running.engine.queues.all()


# Byte by byte


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_an_event_may_come_in_pieces(ends: bytes) -> None:
    data = (b": c\n\nretry: 1\nid: a\n\n" + ONE + TWO + b"id: b-3\n").replace(b"\n", ends)
    reader = Reader("z")
    found = [event for i in range(len(data)) for event in reader.feed(data[i : i + 1])]
    assert [one["eventId"] for one in found] == ["b-1", "b-2"]
    assert reader.last_id == "b-2"


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="without end"):
        Reader(None).feed(b"data: " + b"x" * (1 << 21))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_flow_is_what_came_whatever_its_framing(size: int) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (b"abc", b"d" * 40, b"e"))
    for body, framing in (
        (chunks + b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
        (b"abc", b""),
    ):
        flow = Flow("text/event-stream")
        data = HEAD + framing + b"\r\n" + body
        came = [flow.take(data[i : i + size]) for i in range(0, len(data), size)]
        came.append(flow.take(b""))
        assert b"".join(came) == (b"abc" + b"d" * 40 + b"e" if framing else b"abc")
        assert (flow.begun, flow.over, flow.answer) == (True, True, None)
