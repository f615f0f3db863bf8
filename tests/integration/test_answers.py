"""What handlers can answer, at the seam where calls are made: one Outcome comes of each.

D7, D9, D10, D12 and D13 in the catalogue of faults, over real sockets.
"""

from __future__ import annotations

import random
import re

import pytest

from lq.daemon.targets.http import HttpTarget
from lq.model import HeadAnswer, OutcomeKind
from tests.support.calls import PATIENT_MS, call, failed, request, run_of, says
from tests.support.handler import Wire, listening

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
