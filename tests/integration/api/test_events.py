"""The stream of events, over raw sockets: what is told, to whom, and where one goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import jsonschema_rs
import pytest

from lq.clock import Clock, SystemClock
from lq.config import Config, EventsConfig, Validate
from lq.daemon.main import Daemon, daemon
from lq.event import Event
from lq.model import Scope
from tests.clock import FakeClock
from tests.support.home import eventually

from .described import DOCUMENT
from .given import token
from .handler import Handler
from .raw import WAITING, Peer
from .stream import Frame, Listener, listen

EVENT = jsonschema_rs.Draft202012Validator(
    {**DOCUMENT["components"]["schemas"]["Event"], "additionalProperties": False},
    validate_formats=True,
)


async def pushed(peer: Peer, queue: str = "q", *headers: str) -> str:
    """The id of a new item that waits."""
    answer = await peer.ask(f"POST queues/{queue}/items", *WAITING, *headers)
    assert answer.status in {200, 201}, answer.body
    return str(answer.json["id"])


def told(frames: list[Frame]) -> list[tuple[str, str]]:
    """What happened to which item."""
    return [(frame.verb, frame.item) for frame in frames]


# What is told


async def test_a_stream_is_one_for_browsers_and_proxies(api: Peer) -> None:
    head = (await listen(api)).head
    assert head.headers["content-type"] == "text/event-stream"
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["x-accel-buffering"] == "no"
    assert head.headers["connection"] == "close"
    assert "content-length" not in head.headers
    assert head.headers["x-request-id"]


async def test_each_move_of_an_item_is_told(api: Peer, handler: Handler) -> None:
    listener = await listen(api)
    handler.answers = [(500, b"no\x1b[2J"), (200, b"yes")]
    answer = await api.ask(
        "POST queues/q/items", f"x-lq-target: {handler.url}", "x-lq-retry: 1ms",
        "x-lq-key: k", "x-lq-label: a,b", body=b"secret-canary",
    )  # fmt: skip
    item = answer.json["id"]
    frames = await listener.take(5)
    assert told(frames) == [(v, item) for v in ("push", "claim", "fail", "claim", "succeed")]
    for frame in frames:
        EVENT.validate(frame.data)
        assert frame.data["verb"] == frame.verb
        assert (frame.data["queue"], frame.data["key"]) == ("q", "k")
        assert frame.data["labels"] == ["a", "b"]
        assert "canary" not in str(frame.data)
    push, _, fail, claim, succeed = (frame.data for frame in frames)
    assert push["outcome"] == "created"
    assert (fail["state"], fail["attempt"], fail["status"]) == ("RETRY", 1, 500)
    assert fail["error"].startswith("status 500")
    assert "nextAttempt" in fail
    assert (claim["state"], claim["attempt"]) == ("RUNNING", 2)
    assert (succeed["state"], succeed["attempt"], succeed["status"]) == ("COMPLETED", 2, 200)
    assert len({frame.id for frame in frames}) == 5


async def test_each_verb_of_the_api_is_told(api: Peer) -> None:
    listener = await listen(api)
    item = await pushed(api, "q", "x-lq-key: k")
    assert await pushed(api, "q", "x-lq-key: k", "x-lq-if-exists: keep") == item  # moves nothing
    assert await pushed(api, "q", "x-lq-key: k", "x-lq-method: PUT") == item
    await api.ask(f"PATCH items/{item}", "x-lq-delay: 2h")
    await api.ask(f"DELETE items/{item}")
    await api.ask(f"POST items/{item}/retry")
    frames = await listener.take(5)
    verbs = ["push", "push", "edit", "cancel", "revive"]
    assert told(frames) == [(verb, item) for verb in verbs]
    assert [frame.data.get("outcome") for frame in frames[:2]] == ["created", "replaced"]
    assert frames[3].data["state"] == "CANCELLED"


async def test_queues_are_told_of(api: Peer) -> None:
    listener = await listen(api)
    await api.ask("POST queues/mail/pause")
    await api.ask("POST queues/mail/resume")
    await api.ask("PATCH queues/mail", body=b'{"concurrency": 2}')  # is no pause
    await api.ask("DELETE queues/mail")
    frames = await listener.take(3)
    assert [(frame.verb, frame.data["queue"]) for frame in frames] == [
        ("pause", "mail"), ("resume", "mail"), ("delete", "mail"),
    ]  # fmt: skip
    for frame in frames:
        EVENT.validate(frame.data)
        assert "id" not in frame.data


async def test_what_expires_is_told_of(
    api: Peer, pass_time: Callable[[int], None], running: Daemon
) -> None:
    listener = await listen(api)
    item = await pushed(api, "q", "x-lq-expires: 10m")
    pass_time(600_000)
    push, expire = await listener.take(2)
    assert told([push, expire]) == [("push", item), ("expire", item)]
    assert (expire.data["state"], expire.data["error"]) == (
        "FAILED", "expired before it could start",
    )  # fmt: skip


async def test_schedules_are_told_of_by_their_items(api: Peer, handler: Handler) -> None:
    asked = ("x-lq-schedule: 30 2 * * *", "x-lq-queue: ops", f"x-lq-target: {handler.url}")
    made = (await api.ask("POST schedules", *asked)).json["id"]
    listener = await listen(api, f"?schedule={made}")
    await pushed(api)
    item = (await api.ask(f"POST schedules/{made}/run")).json["id"]
    frames = await listener.take(3)
    assert told(frames) == [("push", item), ("claim", item), ("succeed", item)]
    assert {frame.data["schedule"] for frame in frames} == {made}


# Filters


@pytest.mark.parametrize(
    ("query", "verbs"),
    [
        ("?queue=a", ["push", "cancel"]),
        ("?queue=b%2Fc", ["push", "edit"]),
        ("?state=cancelled", ["cancel"]),
        ("?state=CANCELLED,RETRY", ["cancel"]),
        ("?verb=edit,cancel", ["edit", "cancel"]),
        ("?key=k&verb=push", ["push"]),
        ("?label=red", ["push", "cancel"]),
        ("?label=re&verb=push", []),
        ("?verb=pause", ["pause"]),
        ("?queue=a&state=PENDING", ["push"]),
        ("/", ["push", "push", "edit", "cancel", "pause"]),
    ],
)
async def test_a_filter(api: Peer, running: Daemon, query: str, verbs: list[str]) -> None:
    listener = await listen(api, query)
    one = await pushed(api, "a", "x-lq-label: red,blue")
    other = await pushed(api, "b%2Fc", "x-lq-key: k")
    await api.ask(f"PATCH items/{other}", "x-lq-delay: 2h")
    await api.ask(f"DELETE items/{one}")
    await api.ask("POST queues/z/pause")
    running.engine.feed.end()
    assert [frame.verb for frame in await listener.all()] == verbs


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?state=DONE", "state"),
        ("?state=", "state"),
        ("?state=FAILED,", "state"),
        ("?verb=vanish", "verb"),
        ("?queue=items", "queue"),
        ("?queue=a&queue=b", "queue"),
        ("?label=a%20b", "label"),
        ("?schedule=%00", "schedule"),
        ("?since=1h", "since"),
    ],
)
async def test_a_filter_that_is_not_understood(api: Peer, query: str, field: str) -> None:
    assert (await api.ask(f"GET events{query}")).issues == [field]


async def test_a_head_request_does_not_wait(api: Peer) -> None:
    answer = await api.ask("HEAD events")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")


# Going on


async def test_who_comes_back_is_given_what_it_missed(api: Peer) -> None:
    listener = await listen(api)
    before = await pushed(api)
    seen = await listener.next()
    await listener.close()
    items = [await pushed(api, "q", f"x-lq-key: {number}") for number in range(300)]
    again = await listen(api, "", f"Last-Event-ID: {seen.id}")
    frames = await again.take(300)
    assert [frame.item for frame in frames] == items
    middle = await listen(api, "", f"Last-Event-ID: {frames[149].id}")
    assert [frame.item for frame in await middle.take(150)] == items[150:]
    assert before not in items


async def test_who_has_heard_nothing_yet_can_come_back(api: Peer) -> None:
    listener = await listen(api)
    await listener.close()
    item = await pushed(api)
    again = await listen(api, "", f"Last-Event-ID: {listener.last_id}")
    assert told([await again.next()]) == [("push", item)]


@pytest.mark.parametrize(
    "last_id",
    [
        *("", "x", "0", "-1", "00000000-1", "ffffffff-ffffffffffffffff", "zzzzzzzz-1"),
        *("a" * 4000, "é", "'; DROP TABLE jobs; --", "{boot}-ffffffffffffffff", "{boot}--1"),
        *("{boot}-", "{boot}-1\tx", "{boot}-1_0", "{place}, {place}"),
    ],
)
async def test_a_place_that_never_was(api: Peer, last_id: str) -> None:
    """It is said that something may be missing, and what happens from then on is told."""
    place = (await listen(api)).last_id
    given = last_id.format(boot=place.partition("-")[0], place=place)
    listener = await listen(api, "", f"Last-Event-ID: {given}")
    missed = await listener.next()
    EVENT.validate(missed.data)
    assert (missed.verb, missed.data["reason"]) == ("missed", "restart")
    item = await pushed(api)
    assert told([await listener.next()]) == [("push", item)]
    again = await listen(api, "", f"Last-Event-ID: {missed.id}")
    assert told([await again.next()]) == [("push", item)]


async def test_two_places_are_none(api: Peer) -> None:
    place = f"Last-Event-ID: {(await listen(api)).last_id}"
    assert (await (await listen(api, "", place, place)).next()).verb == "missed"


@contextlib.asynccontextmanager
async def serving(folder: Path, clock: Clock, **events: int) -> AsyncIterator[tuple[Daemon, Peer]]:
    """Another daemon, with settings of its own for events, and an admin of it."""
    config = Config(
        data_dir=folder,
        socket=folder / "socket",
        listen="127.0.0.1:0",
        validate=Validate(default="none"),
        events=EventsConfig(**events),
    )
    peer = Peer()
    try:
        async with daemon(config, clock) as running:
            name = f"t{running.port}"
            _, text = await running.engine.create_token(name, frozenset({Scope.ADMIN}), (), None)
            peer.port, peer.token = running.port, text
            yield running, peer
    finally:
        await peer.close()


async def test_what_is_forgotten_is_said_to_be(folder: Path) -> None:
    """A ring of 100, and a reader who comes back after 150."""
    async with serving(folder, SystemClock(), remember=100) as (_, api):
        listener = await listen(api)
        await listener.close()
        items = [await pushed(api, "q", f"x-lq-key: {number}") for number in range(150)]
        again = await listen(api, "", f"Last-Event-ID: {listener.last_id}")
        missed = await again.next()
        EVENT.validate(missed.data)
        assert (missed.verb, missed.data["reason"]) == ("missed", "overrun")
        frames = await again.take(100)
        assert [frame.item for frame in frames] == items[50:]
        from_there = await listen(api, "", f"Last-Event-ID: {missed.id}")
        assert [frame.item for frame in await from_there.take(100)] == items[50:]
        exactly = await listen(api, "", f"Last-Event-ID: {frames[0].id}")
        assert [frame.item for frame in await exactly.take(99)] == items[51:]


async def test_another_life_of_the_daemon(folder: Path) -> None:
    """An id of one is none of the next."""
    async with serving(folder, SystemClock()) as (_, api):
        place = (await listen(api)).last_id
    async with serving(folder, SystemClock()) as (_, api):
        owner = Peer(socket_path=str(folder / "socket"))
        missed = await (await listen(owner, "", f"Last-Event-ID: {place}")).next()
        assert (missed.verb, missed.data["reason"]) == ("missed", "restart")
        await owner.close()


async def test_nothing_is_remembered_for_nobody(folder: Path) -> None:
    """Once the time for that is over; and that is said to who comes back."""
    async with serving(folder, SystemClock(), linger_ms=0) as (running, api):
        wanted = [running.events.wanted]
        listener = await listen(api)
        wanted.append(running.events.wanted)
        await listener.close()
        await becomes(running, lambda: not running.events.wanted)
        assert wanted == [False, True]
        await pushed(api)
        again = await listen(api, "", f"Last-Event-ID: {listener.last_id}")
        missed = await again.next()
        assert (missed.verb, missed.data["reason"]) == ("missed", "overrun")
        item = await pushed(api)
        assert told([await again.next()]) == [("push", item)]


# Who may


async def test_a_limited_token_sees_its_queues_alone(api: Peer, running: Daemon) -> None:
    limited = await token(api, "read", queues=("mail-*",))
    listener, other = await listen(limited), await listen(limited, "?queue=mail-a")
    for number in range(20):
        await pushed(api, "secret", f"x-lq-key: {number}")
    await api.ask("POST queues/secret/pause")
    item = await pushed(api, "mail-a")
    frame = await listener.next()
    assert told([frame]) == [("push", item)]
    await pushed(api, "secret")
    further = await listener_after(limited, frame)
    running.engine.feed.end()
    assert await further.all() == await listener.all() == []
    assert [one.item for one in await other.all()] == [item]
    for listened in (listener, further):
        assert b"secret" not in await listened.rest()


async def listener_after(peer: Peer, frame: Frame) -> Listener:
    return await listen(peer, "", f"Last-Event-ID: {frame.id}")


async def test_ids_do_not_count(api: Peer) -> None:
    """However much happens between two events, their ids are apart by time and nothing else."""
    listener = await listen(await token(api, "read", queues=("mail",)))
    await pushed(api, "mail")
    await asyncio.gather(*(pushed(api, "secret", f"x-lq-key: {n}") for n in range(30)))
    await pushed(api, "mail")
    first, second = (int(frame.id.partition("-")[2], 16) for frame in await listener.take(2))
    assert second - first > 100_000  # nanoseconds; events would be 31


async def test_a_queue_out_of_reach_is_refused(api: Peer) -> None:
    limited = await token(api, "read", queues=("mail-*",))
    assert (await limited.ask("GET events?queue=other")).status == 403
    assert (await (await token(api, "push")).ask("GET events")).status == 403


async def test_a_revoked_token_hears_nothing_more(api: Peer) -> None:
    listener = await listen(await token(api, "read"))
    item = await pushed(api)
    assert told([await listener.next()]) == [("push", item)]
    await api.ask("DELETE tokens/read-token")
    assert await listener.rest() == b""


async def test_a_token_that_expires_hears_nothing_more(
    api: Peer, running: Daemon, pass_time: Callable[[int], None]
) -> None:
    soon = SystemClock().now() + 3_600_000
    _, text = await running.engine.create_token("soon", frozenset({Scope.READ}), (), soon)
    listener = await listen(api.having(text))
    other = await listen(api)
    pass_time(3_600_000)
    item = await pushed(api)  # nobody waits for the clock, but each event looks at it
    assert await listener.rest() == b""
    assert told([await other.next()]) == [("push", item)]


# How many, how slow


async def test_so_many_and_no_more(folder: Path) -> None:
    async with serving(folder, SystemClock(), subscribers=2) as (running, api):
        first, second = await listen(api), await listen(api)
        refused = await api.ask("GET events")
        assert (refused.status, refused.json["type"]) == (503, "UNAVAILABLE")
        assert refused.headers["retry-after"] == "5"
        owner = Peer(socket_path=str(folder / "socket"))
        mine = await listen(owner)  # the socket has no limit
        item = await pushed(api)
        assert [(await one.next()).item for one in (first, second, mine)] == [item] * 3
        await first.close()
        await becomes(running, lambda: running.engine.feed.subscribers == 1)
        await listen(api)
        await owner.close()


async def test_many_hear_the_same(api: Peer, owner: Peer) -> None:
    listeners = [await listen(owner) for _ in range(100)]
    items = [await pushed(api, "q", f"x-lq-key: {number}") for number in range(30)]
    for listener in listeners:
        assert [frame.item for frame in await listener.take(30)] == items


async def test_who_does_not_read_loses_the_oldest_and_is_told(folder: Path) -> None:
    """Nobody else waits for it, and the daemon keeps no more for it than for anybody."""
    async with serving(folder, SystemClock(), remember=100) as (running, api):
        slow, quick = await listen(api), await listen(api)
        error = "x" * 4000  # more than the sockets between hold
        events = running.events
        for number in range(4000):
            events.publish(Event(verb="fail", queue="q", at=number, job_id="j", error=error))
            if not number % 50:
                assert (await quick.take(50 if number else 1))[-1].data["at"]
        frames = [await slow.next()]
        while frames[-1].verb != "missed":
            frames.append(await slow.next())
        assert frames[-1].data["reason"] == "overrun"
        item = await pushed(api)
        while (last := await slow.next()).verb != "push":
            frames.append(last)
        assert last.item == item
        assert len(frames) < 4000


async def test_a_reader_that_has_gone_is_forgotten_at_once(running: Daemon, api: Peer) -> None:
    listeners = [await listen(api) for _ in range(5)]
    assert running.engine.feed.subscribers == 5
    for listener in listeners:
        await listener.close()
    await becomes(running, lambda: running.engine.feed.subscribers == 0)


async def test_a_stop_ends_all_streams(folder: Path) -> None:
    """After what was drained has been told, and without waiting for who does not read."""
    async with serving(folder, SystemClock()) as (running, api):
        listener, slow = await listen(api), await listen(api)
        reading = asyncio.create_task(listener.all())
        item = await pushed(api)
        for number in range(5000):
            running.events.publish(
                Event(verb="fail", queue="q", at=number, job_id="j", error="x" * 4000)
            )
    frames = await reading
    assert told(frames[:1]) == [("push", item)]
    assert len(frames) == 5001
    with pytest.raises(asyncio.IncompleteReadError):  # it was cut off
        await slow.take(5001)


async def test_none_begins_while_the_daemon_stops(api: Peer, running: Daemon) -> None:
    running.engine.feed.end()
    assert (await api.ask("GET events")).status == 503


async def becomes(running: Daemon, true: Callable[[], bool]) -> None:
    """Return once it is so."""

    async def there() -> bool:
        await running.engine.queues.all()
        return true()

    await eventually(there)


async def test_who_reads_nothing_at_all_is_closed(running: Daemon, hasty: Peer) -> None:
    """As with any answer: a body_timeout is what it has, here a moment."""
    await listen(hasty)
    for number in range(5000):
        running.events.publish(
            Event(verb="fail", queue="q", at=number, job_id="j", error="x" * 4000)
        )
    await becomes(running, lambda: running.engine.feed.readers == 0)


async def test_a_heartbeat_tells_where_to_go_on(folder: Path) -> None:
    """Who hears of little does not come back to what is long forgotten."""
    clock = FakeClock()
    async with serving(folder, clock, remember=100) as (running, api):
        listener = await listen(api, "?queue=quiet")
        place = listener.last_id
        for number in range(150):
            await pushed(api, "busy", f"x-lq-key: {number}")
        while listener.last_id == place:
            await running.engine.queues.all()
            clock.advance(1000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    assert (await listener.fields()).keys() == {"id"}
        await listener.close()
        again = await listen(api, "?queue=quiet", f"Last-Event-ID: {listener.last_id}")
        item = await pushed(api, "quiet")
        assert told([await again.next()]) == [("push", item)]
