"""What one address may take of the API: guesses, junk, connections, time."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import suppress

import pytest

from lq.daemon.api.server import HOLD_S

from .conftest import Door
from .given import token, without_id
from .raw import GIVE_UP_S, WAITING, Connection, Peer

ELSEWHERE = "127.0.0.2"
CLIENT, OTHER = "198.51.100.7", "198.51.100.8"


async def refused_until(peer: Peer, *headers: str, times: int) -> None:
    for _ in range(times):
        assert (await peer.ask("GET queues", *headers)).status == 401


# Guessing


async def test_twenty_bad_tokens_a_minute_and_no_more(
    api: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    guesser = api.having("lq_guess")
    await refused_until(guesser, times=20)
    limited = await guesser.ask("GET queues")
    assert (limited.status, limited.json["type"]) == (429, "RATE_LIMITED")
    assert 55 <= int(limited.headers["retry-after"]) <= 60
    await guesser.ask("GET queues")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage().split(":")[0] for record in warnings] == ["127.0.0.1"]


async def test_a_good_token_passes_all_the_same(api: Peer) -> None:
    await refused_until(api.having("lq_guess"), times=20)
    assert (await api.having("lq_guess").ask("GET queues")).status == 429
    assert (await api.ask("GET queues")).status == 200
    assert (await api.having("").ask("GET /healthz")).status == 200


async def test_only_the_address_that_guesses_is_limited(api: Peer) -> None:
    await refused_until(api.having("lq_guess"), times=20)
    assert (await api.having("lq_guess").ask("GET queues")).status == 429
    await refused_until(api.having("lq_guess").at(ELSEWHERE), times=20)


async def test_what_is_wrong_with_a_token_cannot_be_told_beyond_the_limit_either(
    api: Peer,
) -> None:
    revoked = await token(api, "push")
    await api.ask("DELETE tokens/push-token")
    await refused_until(api.having("lq_guess"), times=20)
    bad = ["lq_guess", "x", api.token[:-1], api.token + "x", revoked.token, "lq_" + "0" * 49]
    answers = [await api.having(one).ask("GET queues") for one in bad]
    assert {answer.status for answer in answers} == {429}
    assert len({str(without_id(answer)) for answer in answers}) == 1


async def test_no_token_is_no_guess(api: Peer) -> None:
    await refused_until(api.having(""), times=30)


async def test_the_unix_socket_has_no_limits(owner: Peer) -> None:
    for _ in range(30):
        assert (await owner.ask("GET nothing", "Authorization: Bearer bad")).status == 404
    connections = [await owner.connect() for _ in range(80)]
    await connections[-1].send(owner.written("GET queues"))
    assert (await connections[-1].receive()).status == 200


# Whose address it is


async def test_a_trusted_proxy_says_who_guesses(door: Door) -> None:
    peer = (await door("127.0.0.0/30", bad_tokens=2)).having("lq_guess")
    forwarded = f"X-Forwarded-For: 203.0.113.1, {CLIENT}, {ELSEWHERE}"
    await refused_until(peer, forwarded, times=2)
    assert (await peer.ask("GET queues", f"Forwarded: for={CLIENT}")).status == 429
    assert (await peer.ask("GET queues", f"X-Forwarded-For: {OTHER}")).status == 401
    assert (await peer.ask("GET queues")).status == 401


async def test_others_cannot_say_that_they_are_somebody_else(door: Door) -> None:
    peer = (await door("127.0.0.9", bad_tokens=2)).having("lq_guess")
    await refused_until(peer, f"X-Forwarded-For: {CLIENT}", times=2)
    for header in (f"X-Forwarded-For: {OTHER}", f"Forwarded: for={OTHER}", f"X-Real-IP: {OTHER}"):
        assert (await peer.ask("GET queues", header)).status == 429


# Junk


async def test_junk_is_answered_late_and_others_are_not(door: Door) -> None:
    peer = await door(refused=5)
    junk = ("GET nothing", "GET items/x", "LOCK queues", "LOCK /healthz", "POST /readyz")
    anybody = peer.having("")
    assert [(await anybody.ask(one)).status for one in junk] == [401, 401, 401, 405, 405]
    assert 40 * HOLD_S > GIVE_UP_S  # one after the other, they would not be waited for
    began = time.monotonic()
    flood = await asyncio.gather(*(anybody.ask("GET queues") for _ in range(40)))
    assert {answer.status for answer in flood} == {429}
    assert {answer.json["type"] for answer in flood} == {"RATE_LIMITED"}
    assert time.monotonic() - began >= HOLD_S
    assert (await peer.ask("GET queues")).status == 200
    assert (await peer.at(ELSEWHERE).ask("GET nothing")).status == 404


JUNK = ("GET nothing", "GET items/x", "GET items?limit=0", "LOCK queues", "POST schedules")


async def test_refusals_of_a_good_token_stay_what_they_are(door: Door) -> None:
    peer = await door(refused=2, bad_tokens=2)
    limited = peer.having((await token(peer, "push")).token)
    refusals = [404, 404, 400, 405, 400]
    for _ in range(2):
        assert [(await peer.ask(one)).status for one in JUNK] == refusals
        assert (await limited.ask("GET queues")).status == 403
    await refused_until(peer.having("lq_guess"), times=2)  # none of these was counted
    assert (await peer.having("lq_guess").ask("GET queues")).status == 429
    for junk, status in zip(JUNK, refusals, strict=True):
        assert await fastest_s(peer, junk, status) < HOLD_S
    assert await fastest_s(limited, "GET queues", 403) < HOLD_S


async def fastest_s(peer: Peer, request_line: str, status: int) -> float:
    """How long the fastest of a few answers takes: a machine that stalls is not slow each time."""
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert (await peer.ask(request_line)).status == status
        took.append(time.monotonic() - began)
    return min(took)


async def test_what_is_not_http_is_junk_too(door: Door) -> None:
    peer = await door(refused=2)
    for _ in range(2):
        assert (await peer.raw(b"junk\r\n\r\n")).status == 400
    assert (await peer.raw(b"junk\r\n\r\n")).status == 429


async def test_what_is_not_http_may_come_through_a_proxy(door: Door) -> None:
    peer = await door("127.0.0.1", refused=1)
    assert (await peer.raw(b"junk\r\n\r\n")).status == 400
    assert (await peer.raw(b"junk\r\n\r\n")).status == 429
    anybody = peer.having("")
    assert (await anybody.ask("GET queues", f"X-Forwarded-For: {CLIENT}")).status == 401


async def test_who_hangs_up_keeps_its_place_until_its_junk_is_answered(door: Door) -> None:
    peer = (await door(refused=1, connections_per_address=3)).having("")
    await refused_until(peer, times=1)
    held = await connections_of(peer, 3)  # the first request's idle one makes room
    for connection in held:
        await connection.send(peer.written("GET queues"))
    probe = await peer.connect()
    assert (await probe.receive()).status == 503
    for connection in held:
        await connection.close()
    assert (await peer.raw(b"")).status == 503


async def test_conflicts_are_no_junk(door: Door) -> None:
    peer = await door(refused=3)
    push = ("POST queues/q/items", *WAITING, "x-lq-key: k", "x-lq-if-exists: reject")
    assert (await peer.ask(*push)).status == 201
    for _ in range(5):
        assert (await peer.ask(*push)).status == 409


# Connections


async def connections_of(peer: Peer, count: int) -> list[Connection]:
    return [await peer.connect() for _ in range(count)]


async def turned_away(peer: Peer) -> bool:
    """Whether one more connection is answered 503 before it has said anything, and closed."""
    connection = await peer.connect()
    answer = await connection.receive()
    assert (answer.status, answer.json["type"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"] == answer.json["instance"]
    return await connection.ended()


async def test_sixty_four_connections_of_one_address(api: Peer) -> None:
    silent = await connections_of(api.at(ELSEWHERE), 64)
    assert await turned_away(api.at(ELSEWHERE))
    assert (await api.ask("GET queues")).status == 200
    await silent[0].send(api.written("GET queues"))
    assert (await silent[0].receive()).status == 200
    await silent[1].close()
    await silent[2].send(b"GET / HTTP/1.1\r\n\r\n")  # no Host: refused and closed
    assert (await silent[2].receive()).status == 400
    assert await silent[2].ended()
    assert (await api.at(ELSEWHERE).ask("GET queues")).status == 200


async def test_so_many_connections_in_all(door: Door) -> None:
    peer = await door(connections=4, connections_per_address=3)
    await connections_of(peer, 3)
    await connections_of(peer.at(ELSEWHERE), 1)
    assert await turned_away(peer.at("127.0.0.3"))


async def test_an_idle_connection_makes_room_for_a_new_one(door: Door) -> None:
    peer = await door(connections_per_address=2)
    idle = await peer.connect()
    await idle.send(peer.written("GET queues"))
    assert (await idle.receive()).status == 200
    for _ in range(5):
        assert (await peer.ask("GET queues")).status == 200
    assert await idle.ended()


async def test_a_proxy_may_have_more_connections_than_one_client(door: Door) -> None:
    peer = await door("127.0.0.1", connections_per_address=1)
    await connections_of(peer, 5)
    assert (await peer.ask("GET queues")).status == 200
    await connections_of(peer.at(ELSEWHERE), 1)
    assert await turned_away(peer.at(ELSEWHERE))


# Time


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("dripping", [False, True])
async def test_a_head_that_does_not_come_in_time_closes_the_connection(
    door: Door, *, dripping: bool, first: bool
) -> None:
    peer = await door(header_timeout_ms=200)
    connection = await peer.connect()
    if not first:
        await connection.send(peer.written("GET queues"))
        assert (await connection.receive()).status == 200
    over = asyncio.create_task(connection.ended())  # gives up before the 15 s of the default
    if dripping:
        await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        with suppress(ConnectionError):
            while not over.done():
                await connection.send(b"x-a: 1\r\n")
                await asyncio.wait([over], timeout=0.02)
    assert await over


async def test_a_hundred_slow_heads_leave_room_for_others(api: Peer) -> None:
    slow = api.at(ELSEWHERE)
    for connection in await connections_of(slow, 64):
        await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-a: ")
    # Whoever asks gives up before the 15 s that the slow ones have.
    assert (await api.ask("POST queues/q/items", *WAITING)).status == 201


@pytest.mark.parametrize("lively", [False, True])
async def test_who_never_reads_its_answers_is_given_up(door: Door, *, lively: bool) -> None:
    """Whether it waits with 6 MiB of answers unread, or goes on asking."""
    peer = await door(body_timeout_ms=50, connections_per_address=1)
    rude = peer.at(ELSEWHERE)
    pushed = await peer.ask("POST queues/q/items", *WAITING, body=b"x" * 16_384)
    request = rude.written(f"GET items/{pushed.json['id']}")
    loop = asyncio.get_running_loop()
    with socket.socket() as never_reads:
        never_reads.setblocking(False)
        never_reads.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        never_reads.bind((ELSEWHERE, 0))
        await loop.sock_connect(never_reads, ("127.0.0.1", peer.port))
        with suppress(ConnectionError):
            async with asyncio.timeout(GIVE_UP_S):
                await loop.sock_sendall(never_reads, request * 400)  # more than the kernel takes
                while lively:
                    await loop.sock_sendall(never_reads, request)
        async with asyncio.timeout(GIVE_UP_S):
            while (await rude.raw(rude.written("GET queues"))).status != 200:
                pass


async def test_a_body_that_keeps_dripping_is_given_up(hasty: Peer) -> None:
    connection = await hasty.connect()
    await connection.send(hasty.written("POST queues/q/items", *WAITING, "Content-Length: 1000"))
    answered = asyncio.create_task(connection.receive())
    while not answered.done():
        await connection.send(b"x")
        await asyncio.wait([answered], timeout=0.01)
    assert (await answered).status == 408
