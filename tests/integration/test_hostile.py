"""What handlers can do to a connection, at the seam where calls are made.

Silence, too much, and broken connections: D1 to D6, D8, D14 and D25 in the catalogue of
faults, over real sockets. What they can answer is in test_answers.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from lq.daemon.targets.http import MAX_BODY, HttpTarget
from lq.model import OutcomeKind
from tests.support.calls import call, failed, request, run_of, says
from tests.support.handler import Wire, listening

SHORT_MS = 80


# -- D1, D2, D8: silence, drips, and talk without end ------------------------------------------


async def silent(wire: Wire) -> None:
    await wire.gone()


async def drips_its_head(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nx-")
    while not wire.closed:
        await wire.send(b"a")
        await asyncio.sleep(0.01)


async def drips_its_body(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not wire.closed:
        await wire.send(b"a")
        await asyncio.sleep(0.01)


async def stops_in_its_body(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    await wire.gone()


async def only_ever_continues(wire: Wire) -> None:
    while not wire.closed:
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await asyncio.sleep(0.005)


async def gives_early_hints_for_ever(wire: Wire) -> None:
    while not wire.closed:
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "serve",
    [
        silent,
        drips_its_head,
        drips_its_body,
        stops_in_its_body,
        only_ever_continues,
        gives_early_hints_for_ever,
    ],
)
async def test_only_the_total_time_counts(
    target: HttpTarget, serve: Callable[[Wire], Awaitable[None]]
) -> None:
    outcome = await call(target, serve, timeout_ms=SHORT_MS)
    failed(outcome, "timeout: no complete answer within 80ms")


async def test_an_answer_after_100_continue_counts(target: HttpTarget) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    outcome = await call(target, says(answer))
    assert (outcome.kind, outcome.status) == (OutcomeKind.SUCCEEDED, 200)


# -- D3, D4: too much of an answer ---------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("headers", "chunk"),
    [
        (b"Content-Length: 10000000000", b"x" * 65_536),
        (b"Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        (b"Connection: close", b"x" * 65_536),
    ],
)
async def test_an_endless_body_is_read_no_further_than_it_is_kept(
    target: HttpTarget, headers: bytes, chunk: bytes, status: int
) -> None:
    sent = []

    async def serve(wire: Wire) -> None:
        await request(wire)
        await wire.send(b"HTTP/1.1 %d Whatever\r\n%s\r\n\r\n" % (status, headers))
        try:
            while True:
                await wire.send(chunk)
        finally:
            sent.append(wire.sent)

    async with listening(serve) as port:
        outcome = await target.deliver(run_of(port))
        assert outcome.status == status
        assert outcome.body == b"x" * MAX_BODY
        assert outcome.truncated
    # What the server got rid of is in the buffers of the kernel and one of ours.
    assert sent[0] < 16 << 20


@pytest.mark.parametrize("size", [0, 1, MAX_BODY - 1, MAX_BODY, MAX_BODY + 1])
@pytest.mark.parametrize("how", ["length", "chunked", "close"])
async def test_the_first_64_kib_of_an_answer_are_kept(
    target: HttpTarget, size: int, how: str
) -> None:
    body = bytes(n % 251 for n in range(size))
    head = {
        "length": b"Content-Length: %d\r\n\r\n" % size,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
        "close": b"Connection: close\r\n\r\n",
    }[how]
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\n" + head + (chunks if how == "chunked" else body)
    outcome = await call(target, says(answer))
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.body == body[:MAX_BODY]
    assert outcome.truncated == (size > MAX_BODY)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
async def test_a_compressed_answer_is_opaque(target: HttpTarget, encoding: str) -> None:
    bomb = gzip.compress(bytes(10 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    outcome = await call(target, says(head % (encoding.encode(), len(bomb)) + bomb))
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.body == bomb[:MAX_BODY]


# -- D5, D6: broken connections ------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [b"", b"\r\n\r\n", b"H", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"],
)
async def test_closed_before_the_answer_is_there(target: HttpTarget, answer: bytes) -> None:
    failed(await call(target, says(answer)), "closed: ")


async def test_closed_before_the_request_is_read(target: HttpTarget) -> None:
    async def serve(wire: Wire) -> None:
        wire.close()

    failed(await call(target, serve, payload=bytes(1 << 20)), "closed: ")


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 10\r\n\r\nabc",
        b"Content-Length: 100000\r\n\r\n" + b"x" * 5000,
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    ],
)
@pytest.mark.parametrize("status", [b"200 OK", b"500 No"])
async def test_closed_in_the_middle_of_the_body(
    target: HttpTarget, answer: bytes, status: bytes
) -> None:
    outcome = await call(target, says(b"HTTP/1.1 " + status + b"\r\n" + answer))
    failed(outcome, "incomplete_response: ")


async def test_nobody_listens(target: HttpTarget) -> None:
    async with listening(silent) as port:
        pass
    outcome = await target.deliver(run_of(port))
    failed(outcome, "connect_error: Connect")


# -- D14, D25 ------------------------------------------------------------------------------------


async def test_a_success_before_the_body_was_read(target: HttpTarget) -> None:
    async def serve(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await wire.gone()

    outcome = await call(target, serve, payload=bytes(20 << 20))
    assert (outcome.kind, outcome.status) == (OutcomeKind.SUCCEEDED, 200)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_cookies_are_forgotten(target: HttpTarget, method: str) -> None:
    seen = []

    async def serve(wire: Wire) -> None:
        while True:
            seen.append(await request(wire))
            await wire.send(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
            )

    async with listening(serve) as port:
        for _ in range(2):
            # By its name: cookies of bare addresses are kept by nobody.
            named = run_of(port, method=method, target=f"http://localhost:{port}/")
            assert (await target.deliver(named)).kind is OutcomeKind.SUCCEEDED
    assert len(seen) == 2
    assert not any(b"cookie" in one.lower() for one in seen)


# -- one attempt is one request ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
async def test_an_attempt_is_one_request_whatever_becomes_of_the_connection(
    target: HttpTarget, method: str
) -> None:
    """A server that closes a kept connection just as the next request comes in."""
    requests = 0

    async def serve(wire: Wire) -> None:
        nonlocal requests
        await request(wire)
        requests += 1
        if requests == 1:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await request(wire)
            requests += 1

    async with listening(serve) as port:
        first = await target.deliver(run_of(port, method=method))
        assert first.kind is OutcomeKind.SUCCEEDED
        second = await target.deliver(run_of(port, method=method))
        failed(second, "closed: ")
    assert requests == 2
