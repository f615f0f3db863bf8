"""Bodies: opaque bytes, bounded in size and time."""

from __future__ import annotations

import base64
import gzip

from .raw import WAITING, Answer, Peer

MAX_PAYLOAD = 1 << 20


async def payload_of(api: Peer, pushed: Answer) -> bytes:
    """What was stored, as a GET shows it."""
    assert pushed.status == 201
    item = (await api.ask(f"GET items/{pushed.json['id']}")).json
    if item.get("payloadEncoding") == "base64":
        return base64.b64decode(item["payload"])
    return str(item.get("payload", "")).encode()


async def test_an_empty_body(api: Peer) -> None:
    for headers in ((), ("Content-Length: 0",), ("Transfer-Encoding: chunked",)):
        connection = await api.connect()
        tail = b"0\r\n\r\n" if "Transfer-Encoding: chunked" in headers else b""
        await connection.send(api.written("POST queues/q/items", *WAITING, *headers) + tail)
        assert await payload_of(api, await connection.receive()) == b""


async def test_a_mebibyte_of_all_byte_values(api: Peer) -> None:
    body = bytes(range(256)) * (MAX_PAYLOAD // 256)
    pushed = await api.ask("POST queues/q/items", *WAITING, body=body)
    assert await payload_of(api, pushed) == body


async def test_one_byte_too_many(api: Peer) -> None:
    answer = await api.ask("POST queues/q/items", *WAITING, body=b"x" * (MAX_PAYLOAD + 1))
    assert (answer.status, answer.json["type"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_hundred_megabytes_are_refused_before_they_are_read(api: Peer) -> None:
    connection = await api.connect()
    head = api.written("POST queues/q/items", *WAITING, "Content-Length: 100000000")
    await connection.send(head)
    answer = await connection.receive()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert await connection.ended()


async def test_a_chunked_body_is_cut_one_byte_past_the_limit(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(
        api.written("POST queues/q/items", *WAITING, "Transfer-Encoding: chunked")
    )
    await connection.send(b"100000\r\n" + b"x" * MAX_PAYLOAD + b"\r\n")
    await connection.send(b"1\r\nx\r\n")  # and no end
    assert (await connection.receive()).status == 413
    assert await connection.ended()


async def test_a_chunked_body_in_pieces(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(
        api.written("POST queues/q/items", *WAITING, "Transfer-Encoding: chunked")
    )
    for piece in (b"5;name=value\r\nhel", b"lo\r", b"\n1\r\n!\r\n0\r\n", b"Trailer: 1\r\n\r\n"):
        await connection.send(piece)
    assert await payload_of(api, await connection.receive()) == b"hello!"


async def test_a_compressed_body_is_bytes_like_any_other(api: Peer) -> None:
    body = gzip.compress(b"x" * 50_000_000)
    pushed = await api.ask("POST queues/q/items", *WAITING, "Content-Encoding: gzip", body=body)
    assert await payload_of(api, pushed) == body


async def test_a_body_that_is_no_gzip_though_it_says_so(api: Peer) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, "Content-Encoding: gzip", body=b"plain")
    assert await payload_of(api, pushed) == b"plain"


async def test_a_body_that_does_not_come(hasty: Peer) -> None:
    connection = await hasty.connect()
    await connection.send(
        hasty.written("POST queues/q/items", *WAITING, "Content-Length: 10") + b"1"
    )
    answer = await connection.receive()
    assert (answer.status, answer.json["type"]) == (408, "REQUEST_TIMEOUT")
    assert await connection.ended()


async def test_a_body_that_ends_early_stores_nothing(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(api.written("POST queues/q/items", *WAITING, "Content-Length: 10") + b"1")
    await connection.close()
    assert (await api.ask("GET queues")).json == []


async def test_a_badly_framed_chunk(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(
        api.written("POST queues/q/items", *WAITING, "Transfer-Encoding: chunked")
    )
    await connection.send(b"5\r\nhello\r\nzz\r\n")
    assert (await connection.receive()).status == 400
    assert await connection.ended()
    assert (await api.ask("GET queues")).json == []


async def test_a_client_that_waits_to_be_told_to_continue(api: Peer) -> None:
    connection = await api.connect()
    expecting = ("Expect: 100-continue", "Content-Length: 5")
    await connection.send(api.written("POST queues/q/items", *WAITING, *expecting))
    assert (await connection.receive()).status == 100
    await connection.send(b"hello")
    assert await payload_of(api, await connection.receive()) == b"hello"


async def test_a_client_that_waits_is_refused_before_it_sends(api: Peer) -> None:
    connection = await api.connect()
    expecting = ("Expect: 100-continue", "Content-Length: 5000000")
    await connection.send(api.written("POST queues/q/items", *WAITING, *expecting))
    assert (await connection.receive()).status == 413


async def test_a_content_type_is_kept_byte_for_byte(api: Peer) -> None:
    written = 'Text/Plain;charset = "UTF-8" ;  x=1'
    pushed = await api.ask("POST queues/q/items", *WAITING, f"CONTENT-TYPE: {written}", body=b"a")
    assert (await api.ask(f"GET items/{pushed.json['id']}")).json["payloadType"] == written


async def test_a_document_has_a_limit_of_its_own(api: Peer) -> None:
    body = b'{"target": "' + b"x" * 70_000 + b'"}'
    refused = await api.ask("PATCH queues/q", body=body)
    assert refused.status == 413
    assert "max_payload" not in refused.json["hint"]
