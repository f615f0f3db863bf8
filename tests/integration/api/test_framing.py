"""HTTP itself: what is malformed, which methods there are, and how answers are framed."""

from __future__ import annotations

import pytest

from .raw import WAITING, Peer

PUSH = b"POST /api/v1/queues/q/items HTTP/1.1\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CHUNKED = PUSH + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_BODY = b"\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        PUSH + b"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PUSH + b"Host: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        PUSH + b"Host: x\r\nContent-Length: +3\r\n\r\nabc",
        PUSH + b"Host: x\r\nContent-Length: 0x3\r\n\r\nabc",
        PUSH + b"Host: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        PUSH + b"Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        PUSH + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"GET /healthz HTTP/1.1\nHost: x\n\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-a: \0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-a: 1\r\n folded\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-a: " + b"x" * 10_000 + b"\r\n\r\n",
        b"FETCH /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        PUSH + b"Host: x\r\nContent-Length: 3, 3\r\n\r\nabc",
        PUSH + b"Host: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        PUSH + b"Host: x\r\nContent-Length: -1\r\n\r\n",
        PUSH + b"Host: x\r\nContent-Length:\r\n\r\n",
        PUSH + b"Host: x\r\nContent-Length: 1_0\r\n\r\n0123456789",
        PUSH + b"Host: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        PUSH + b"Host: x\r\nContent-Length: \xd9\xa3\r\n\r\nabc",
        PUSH + b"Host: x\r\nContent-Length : 3\r\n\r\nabc",
        PUSH + b"Host: x\r\nTransfer-Encoding: chunked, identity" + NO_BODY,
        PUSH + b"Host: x\r\nTransfer-Encoding: identity\r\n\r\n",
        PUSH + b"Host: x\r\nTransfer-Encoding: gzip, chunked" + NO_BODY,
        PUSH + b"Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked" + NO_BODY,
        PUSH + b"Host: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked" + NO_BODY,
        PUSH + b"Host: x\r\nTransfer-Encoding:\x0bchunked" + NO_BODY,
        PUSH + b'Host: x\r\nTransfer-Encoding: "chunked"' + NO_BODY,
        PUSH.replace(b"1.1", b"1.0") + b"Host: x\r\nTransfer-Encoding: chunked" + NO_BODY,
        HEALTH + b"x-a\r\n\r\n",
        HEALTH + b": 1\r\n\r\n",
        HEALTH + b"x a: 1\r\n\r\n",
        HEALTH + b"x-a : 1\r\n\r\n",
        HEALTH + b"x\xff: 1\r\n\r\n",
        HEALTH + b"x-a: 1\rx-b: 2\r\n\r\n",
        HEALTH + b"x-a: \x01\r\n\r\n",
        HEALTH + b"x-a: \x7f\r\n\r\n",
        HEALTH + b"x-a: " + b"x" * 65_536 + b"\r\n\r\n",
        HEALTH + b"".join(b"x-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        b"GET /health\0z HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health z HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /healthz http/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_in_json_and_closed(
    api: Peer, request_bytes: bytes
) -> None:
    connection = await api.connect()
    named = f"Host: x\r\nAuthorization: Bearer {api.token}\r\n".encode()
    await connection.send(request_bytes.replace(b"Host: x\r\n", named, 1))
    answer = await connection.receive()
    assert answer.issues == ["request"]
    assert answer.headers["x-request-id"] == answer.json["instance"]
    assert await connection.ended()


@pytest.mark.parametrize(
    "chunks",
    [
        b"-1\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1\na\n0\n\n",
        b"1;\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"g\r\n",
    ],
)
async def test_chunks_that_are_none_store_nothing(api: Peer, chunks: bytes) -> None:
    connection = await api.connect()
    named = (
        b"Host: x\r\n" + "\r\n".join((f"Authorization: Bearer {api.token}", *WAITING, "")).encode()
    )
    await connection.send(CHUNKED.replace(b"Host: x\r\n", named) + chunks)
    assert (await connection.receive()).status == 400
    assert await connection.ended()
    assert (await api.ask("GET queues")).json == []


async def test_what_follows_a_request_on_its_connection_is_judged_by_itself(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(HEALTH + b"\r\n")
    assert (await connection.receive()).status == 200
    await connection.send(b"smuggled GET /api/v1/queues HTTP/1.1\r\n\r\n")
    assert (await connection.receive()).status == 400
    assert await connection.ended()


@pytest.mark.parametrize("target", ["*", "evil.example:443", "/"])
async def test_lq_is_no_proxy(api: Peer, target: str) -> None:
    for method in ("CONNECT", "OPTIONS", "TRACE"):
        answer = await api.raw(api.written(f"{method} /").replace(b" / ", f" {target} ".encode()))
        assert answer.status in {400, 404, 405}


async def test_the_authority_of_an_absolute_target_decides_nothing(api: Peer) -> None:
    pushed = await api.ask("POST http://evil.example/api/v1/queues/q/items", *WAITING)
    assert pushed.status == 201
    assert (await api.ask("GET http://evil.example/healthz?x=/api/v1/queues")).json == {
        "status": "ok"
    }


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("queues/q/items", "DELETE, GET, HEAD, POST"),
        ("queues/q/items/byKey/k", "DELETE, GET, HEAD, PATCH"),
        ("items", "DELETE, GET, HEAD"),
        ("items/x", "DELETE, GET, HEAD, PATCH"),
        ("history", "GET, HEAD"),
        ("queues", "GET, HEAD"),
        ("queues/q", "DELETE, GET, HEAD, PATCH"),
        ("tokens", "GET, HEAD, POST"),
        ("/healthz", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "LOCK"])
async def test_a_method_that_a_path_does_not_know(
    api: Peer, method: str, path: str, allow: str
) -> None:
    answer = await api.ask(f"{method} {path}", "x-secret: do not echo")
    assert (answer.status, answer.json["type"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allow
    assert b"do not echo" not in answer.body


@pytest.mark.parametrize("path", ["/healthz", "queues", "queues/q/items", "history", "info"])
async def test_head_is_get_without_its_body(api: Peer, path: str) -> None:
    await api.ask("POST queues/q/items", *WAITING)
    connection = await api.connect()
    await connection.send(api.written(f"HEAD {path}") + api.written(f"GET {path}"))
    head = await connection.receive(to_head=True)
    get = await connection.receive()
    assert head.status == get.status == 200
    assert int(head.headers["content-length"]) > 0
    assert head.headers.keys() == get.headers.keys()


async def test_a_connection_serves_many_requests_in_order(api: Peer) -> None:
    connection = await api.connect()
    names = [f"q{n}" for n in range(20)]
    await connection.send(
        b"".join(api.written(f"POST queues/{name}/items", *WAITING, body=b"x") for name in names)
    )
    answers = [await connection.receive() for _ in names]
    assert [answer.json["queue"] for answer in answers] == names


async def test_an_error_keeps_the_connection(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(api.written("POST queues/q/items", "x-lq-dealy: 5m", body=b"x"))
    assert (await connection.receive()).status == 400
    await connection.send(api.written("GET queues"))
    assert (await connection.receive()).status == 200


async def test_http_10_closes_unless_asked_to_stay(api: Peer) -> None:
    connection = await api.connect()
    request = b"GET /healthz HTTP/1.0\r\n"
    await connection.send(request + b"Connection: keep-alive\r\n\r\n")
    assert (await connection.receive()).headers["connection"] == "keep-alive"
    await connection.send(request + b"\r\n")
    assert (await connection.receive()).headers["connection"] == "close"
    assert await connection.ended()


async def test_an_offer_to_upgrade_is_declined(api: Peer) -> None:
    # curl --http2 on a plain connection
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    assert (await api.ask("POST queues/q/items", *WAITING, *offer, body=b"x")).status == 201


async def test_answers_are_dated_and_numbered(api: Peer) -> None:
    first, second = await api.ask("GET queues"), await api.ask("GET queues")
    assert first.headers["date"].endswith(" GMT")
    assert first.headers["server"] == "lq"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_problem_details_for_those_who_ask(api: Peer) -> None:
    plain = await api.ask("GET items/x", "Accept: application/json")
    problem = await api.ask("GET items/x", "Accept: text/html, application/PROBLEM+json;q=0.9")
    assert plain.headers["content-type"] == "application/json"
    assert problem.headers["content-type"] == "application/problem+json"
    assert (await api.ask("GET queues", "Accept: application/problem+json")).json == []
