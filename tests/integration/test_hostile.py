"""What handlers can do to a call, at the seam where it is made: one Outcome comes of each.

The rows of D1 to D14, D21 and D25 in the catalogue of faults, over real sockets.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from lq.clock import SystemClock
from lq.daemon.egress import Egress
from lq.daemon.targets.http import MAX_BODY, HttpTarget
from lq.daemon.targets.request import Signer
from lq.model import HeadAnswer, Job, Outcome, OutcomeKind, RetryPolicy, Run, State
from tests.clock import START
from tests.support.handler import GIVE_UP_S, Wire, listening

SECRET = "lqs_" + "5" * 64
PATIENT_MS = GIVE_UP_S * 1000
SHORT_MS = 80

Deliver = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def target() -> AsyncIterator[HttpTarget]:
    anywhere = Egress("public", ["127.0.0.1:1-65535", "[::1]:1-65535"])
    async with HttpTarget(Signer(SECRET), anywhere, SystemClock()) as target:
        yield target


def run_of(port: int, **members: Any) -> Run:
    """The right to call what listens on a port."""
    plain = Job(
        seq=1,
        id="job_1",
        queue="q",
        state=State.RUNNING,
        created_at=START,
        not_before=START,
        due_at=START,
        target=f"http://127.0.0.1:{port}/",
        method="POST",
        retry=RetryPolicy(3),
        timeout_ms=PATIENT_MS,
        run_id=1,
        payload=b"payload",
    )
    return Run(1, replace(plain, **members), START)


async def call(target: HttpTarget, serve: Callable[[Wire], Awaitable[None]], **job: Any) -> Outcome:
    """What comes of calling a server that serves like this."""
    async with listening(serve) as port, asyncio.timeout(GIVE_UP_S):
        return await target.deliver(run_of(port, **job))


async def request(wire: Wire) -> bytes:
    """Read the request, which is small."""
    head = await wire.reader.readuntil(b"\r\n\r\n")
    return head + await wire.reader.readexactly(len(b"payload"))


def says(answer: bytes, *, then: str = "close") -> Callable[[Wire], Awaitable[None]]:
    """Read the request, say this, and close, or `wait` until the caller does."""

    async def serve(wire: Wire) -> None:
        await request(wire)
        await wire.send(answer)
        if then == "wait":
            await wire.gone()

    return serve


def failed(outcome: Outcome, error: str, status: int | None = None) -> None:
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.status == status
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert outcome.error.isprintable()
    assert len(outcome.error) < 500


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


# -- D7, D9: answers that are none ---------------------------------------------------------------

GARBAGE = {
    "text": b"Hello, who is there?\r\n\r\n",
    "binary": bytes(range(256)) * 4,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length of letters": b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 50 + b"\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunk size of letters": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
    "huge chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40,
    "chunk without its end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"
    ),
    "long header": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
    "long reason": b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n",
    "20,000 headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
    "header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_a_protocol_error_and_no_status_400(
    target: HttpTarget, answer: bytes
) -> None:
    outcome = await call(target, says(answer))
    failed(outcome, "protocol_error: ")
    assert "400" not in str(outcome.error)
    assert not re.search(r"\^|b'", str(outcome.error))  # of a library's drawing
    head = await asked_by_head(target, answer)
    assert head.status is None or head.signatures == ()
    assert head.error is None or head.error.isprintable()


async def asked_by_head(target: HttpTarget, answer: bytes) -> HeadAnswer:
    """What the same answer to a HEAD brings."""

    async def serve(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(answer)

    async with listening(serve) as port:
        return await target.head(f"http://127.0.0.1:{port}/", {}, PATIENT_MS)


async def test_whatever_is_answered_one_outcome_comes_of_it(target: HttpTarget) -> None:
    """Answers with random faults: never an exception, and nothing that cannot be stored."""
    chance = random.Random(11)
    heads = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 302 Found\r\nLocation: https://example.com/\xc3\xbc\r\n\r\n",
        b"HTTP/1.1 410 Gone\r\nx-lq-retry: no\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    )
    odd = (
        b"\x00",
        b"\xff",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b":",
        b" ",
        b"9" * 30,
        b"-",
        b"\xed\xa0\x80",
    )

    async def serve(wire: Wire) -> None:
        await request(wire)
        answer = bytearray(chance.choice(heads))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(answer))
            answer[at : at + chance.randrange(3)] = chance.choice(odd)
        await wire.send(bytes(answer))

    async with listening(serve) as port:
        for _ in range(300):
            outcome = await target.deliver(run_of(port, timeout_ms=1000))
            assert outcome.status != 400
            assert (outcome.error is None) == (outcome.kind is OutcomeKind.SUCCEEDED)
            for text in (outcome.error or "", *outcome.headers.values()):
                text.encode("utf-8")
            assert outcome.error is None or outcome.error.isprintable()


async def test_an_answer_of_an_old_server(target: HttpTarget) -> None:
    outcome = await call(target, says(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"))
    assert (outcome.kind, outcome.body) == (OutcomeKind.SUCCEEDED, b"until the end")


async def test_a_server_that_does_not_speak_tls(target: HttpTarget) -> None:
    async def serve(wire: Wire) -> None:
        await wire.reader.read(100)
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(serve) as port:
        outcome = await target.deliver(run_of(port, target=f"https://127.0.0.1:{port}/"))
    failed(outcome, "tls_error: ")


@pytest.mark.parametrize("status", [0, 1, 99, 600, 999])
async def test_a_status_outside_http(target: HttpTarget, status: int) -> None:
    answer = b"HTTP/1.1 %03d Odd\r\nContent-Length: 0\r\n\r\n" % status
    failed(await call(target, says(answer)), f"bad_status {status}", status)


async def test_switching_protocols_is_no_answer(target: HttpTarget) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    outcome = await call(target, says(answer, then="wait"))
    failed(outcome, "bad_status 101", 101)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 206, 207, 226, 299])
async def test_every_2xx_is_a_success(target: HttpTarget, status: int) -> None:
    body = b"" if status in {204, 205} else b"ok"
    answer = b"HTTP/1.1 %d Fine\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    outcome = await call(target, says(answer))
    assert (outcome.kind, outcome.status, outcome.body) == (OutcomeKind.SUCCEEDED, status, body)
    assert (outcome.error, outcome.truncated) == (None, False)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 418, 422, 429, 500, 502, 503, 599])
async def test_every_other_status_is_a_failure_that_quotes_the_handler(
    target: HttpTarget, status: int
) -> None:
    body = b'{"error": "no \xc3\xbcse"}'
    answer = b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    outcome = await call(target, says(answer))
    failed(outcome, f'status {status}: {{"error": "no üse"}}', status)
    assert outcome.body == body


# -- D10, D12: redirects and the end -------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_named_and_never_followed(target: HttpTarget, status: int) -> None:
    seen = []

    async def serve(wire: Wire) -> None:
        seen.append(await request(wire))
        location = b"Location: http://127.0.0.1:1/evil?a=b\r\n"
        await wire.send(b"HTTP/1.1 %d Away\r\n%sContent-Length: 0\r\n\r\n" % (status, location))

    outcome = await call(target, serve)
    failed(outcome, f"redirect {status} -> http://127.0.0.1:1/evil?a=b", status)
    assert outcome.headers["Location"] == "http://127.0.0.1:1/evil?a=b"
    assert len(seen) == 1


async def test_a_redirect_to_nowhere(target: HttpTarget) -> None:
    outcome = await call(target, says(b"HTTP/1.1 302 Away\r\nContent-Length: 0\r\n\r\n"))
    failed(outcome, "redirect 302 -> nowhere", 302)


@pytest.mark.parametrize(
    ("status", "header", "kind"),
    [
        (410, b"x: y", OutcomeKind.REJECTED),
        (500, b"x-lq-retry: no", OutcomeKind.REJECTED),
        (302, b"X-LQ-Retry:  NO ", OutcomeKind.REJECTED),
        (429, b"x-lq-retry: no", OutcomeKind.REJECTED),
        (500, b"x-lq-retry: yes", OutcomeKind.FAILED),
        (500, b"x-lq-retry: no, really", OutcomeKind.FAILED),
        (200, b"x-lq-retry: no", OutcomeKind.SUCCEEDED),
    ],
)
async def test_a_permanent_answer(
    target: HttpTarget, status: int, header: bytes, kind: OutcomeKind
) -> None:
    answer = b"HTTP/1.1 %d X\r\n%s\r\nContent-Length: 0\r\n\r\n" % (status, header)
    outcome = await call(target, says(answer))
    assert (outcome.kind, outcome.status) == (kind, status)


# -- D13: text that is meant for a terminal, a page, or nobody -------------------------------------


@pytest.mark.parametrize(
    "evil",
    [
        b"\x1b[31m<script>alert(1)</script>",
        "\u202etxt.exe\u2066\u200b".encode(),
        b"\xff\xfe\x80 not utf-8",
        "\x85\u2028\ufeff".encode(),
        b"\xed\xa0\x80",
    ],
)
async def test_a_handlers_text_is_kept_as_bytes_and_shown_without_tricks(
    target: HttpTarget, evil: bytes
) -> None:
    plain = evil.replace(b"\x1b", b"")  # not allowed in a header by any parser
    head = b"HTTP/1.1 500 %s\r\nContent-Type: text/%s\r\nx-request-id: %s\r\n" % ((plain,) * 3)
    answer = head + b"Content-Length: %d\r\n\r\n%s" % (len(evil), evil)
    outcome = await call(target, says(answer))
    failed(outcome, "status 500", 500)
    assert outcome.body == evil
    for text in outcome.headers.values():
        text.encode("utf-8")  # can be stored, sent and shown


async def test_a_redirect_whose_location_is_no_text(target: HttpTarget) -> None:
    answer = b"HTTP/1.1 302 Away\r\nLocation: http://e.com/\xff\xfe\r\nContent-Length: 0\r\n\r\n"
    outcome = await call(target, says(answer))
    failed(outcome, "redirect 302 -> http://e.com/", 302)
    assert outcome.error is not None
    for text in (outcome.error, *outcome.headers.values()):
        text.encode("utf-8")


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
