"""What handlers can do to a connection, at the seam where calls are made.

Silence, too much, and broken connections: D1 to D6, D8, D14 and D25 in the catalogue of
faults, over real sockets. What they can answer is in test_answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import Awaitable, Callable, Sized
from functools import partial

import pytest

from lq.daemon.targets.http import MAX_BODY, HttpTarget
from lq.model import OutcomeKind, Run
from tests.support.calls import PATIENT_MS, call, failed, request, run_of, says
from tests.support.handler import Wire, listening
from tests.support.home import eventually
from tests.support.out import LOOPBACK, answers_ok, way_out

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


async def gives_early_hints_for_ever(wire: Wire) -> None:
    while not wire.closed:
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(SHORT_MS / 5000)


@pytest.mark.parametrize(
    "serve",
    [
        silent,
        drips_its_head,
        drips_its_body,
        stops_in_its_body,
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


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\na: b\r\n\r\n"])
async def test_interim_answers_have_an_end(target: HttpTarget, interim: bytes, method: str) -> None:
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    outcome = await call(target, says(interim * 16 + final), method=method)
    assert (outcome.kind, outcome.status) == (OutcomeKind.SUCCEEDED, 200)
    outcome = await call(target, says(interim * 17 + final), method=method)
    failed(outcome, "protocol_error: the answer is not HTTP: too many interim answers")


async def test_interim_answers_are_counted_for_each_call(target: HttpTarget) -> None:
    """Of a connection that is used again."""
    answer = b"HTTP/1.1 103 E\r\n\r\n" * 10 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    connections = 0

    async def serve(wire: Wire) -> None:
        nonlocal connections
        connections += 1
        while True:
            await request(wire)
            await wire.send(answer)

    async with listening(serve) as port:
        for _ in range(3):
            assert (await target.deliver(run_of(port))).status == 200
    assert connections == 1


def floods(listener: socket.socket, sent: list[int]) -> None:
    """Answer one connection with interim answers for as long as it takes them."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(65_536)
        while True:
            sent.append(connection.send(b"HTTP/1.1 100 C\r\n\r\n" * 4_000))


@pytest.mark.parametrize("how", ["POST", "PUT", "validation"])
async def test_a_flood_of_interim_answers_ends_at_once(target: HttpTarget, how: str) -> None:
    """And meanwhile other calls are made."""
    sent: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flood = asyncio.create_task(asyncio.to_thread(floods, listener, sent))
        port = listener.getsockname()[1]
        async with asyncio.TaskGroup() as calls, listening(answers_ok) as calm:
            if how == "validation":
                url = f"http://127.0.0.1:{port}/"
                flooded = calls.create_task(error_of_head(target, url))
            else:
                flooded = calls.create_task(error_of_call(target, run_of(port, method=how)))
            while not sent:
                assert (await target.deliver(run_of(calm))).status == 200
            assert (await target.deliver(run_of(calm))).status == 200
            error = await flooded
        await flood
    assert error == "protocol_error: the answer is not HTTP: too many interim answers"
    assert sum(sent) < 16 << 20


async def error_of_call(target: HttpTarget, run: Run) -> str | None:
    return (await target.deliver(run)).error


async def error_of_head(target: HttpTarget, url: str) -> str | None:
    return (await target.head(url, {}, PATIENT_MS)).error


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


# -- what is kept of connections ------------------------------------------------------------------


async def test_connections_are_kept_up_to_a_number() -> None:
    """The oldest makes room; what is called all the time keeps its own."""
    made: dict[int, int] = {}
    open_now: set[int] = set()

    def serve_as(name: int) -> Callable[[Wire], Awaitable[None]]:
        async def serve(wire: Wire) -> None:
            made[name] = made.get(name, 0) + 1
            open_now.add(name)
            try:
                await answers_ok(wire)
            finally:
                open_now.discard(name)

        return serve

    async with contextlib.AsyncExitStack() as servers, way_out(LOOPBACK, most_idle=3) as target:
        ports = [await servers.enter_async_context(listening(serve_as(n))) for n in range(8)]
        for port in ports[1:]:
            for used in (port, ports[0]):
                assert (await target.deliver(run_of(used))).status == 200
        await eventually(partial(_at_most, 3, open_now))
        assert open_now == {0, 6, 7}
    assert made[0] == 1


async def test_one_host_keeps_no_more_connections_than_all_may() -> None:
    open_now: set[Wire] = set()
    arrived = asyncio.Barrier(6)

    async def serve(wire: Wire) -> None:
        open_now.add(wire)
        try:
            await request(wire)
            await arrived.wait()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await wire.gone()
        finally:
            open_now.discard(wire)

    async with listening(serve) as port, way_out(LOOPBACK, most_idle=2) as target:
        await asyncio.gather(*(target.deliver(run_of(port)) for _ in range(6)))
        await eventually(partial(_at_most, 2, open_now))
        assert len(open_now) == 2


async def _at_most(number: int, connections: Sized) -> bool:
    await asyncio.sleep(0)
    return len(connections) <= number


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
