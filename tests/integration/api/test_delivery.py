"""From a push to the handler and back: what is called, and what is told about it."""

from __future__ import annotations

import gzip

import pytest

from lq.daemon.main import Daemon
from lq.model import State

from .handler import Handler, Recorded
from .raw import Answer, Peer


async def push(api: Peer, handler: Handler, *headers: str, body: bytes = b"x") -> Answer:
    pushed = await api.ask(
        "POST queues/q/items", f"x-lq-target: {handler.url}", *headers, body=body
    )
    assert pushed.status == 201
    return pushed


async def called(api: Peer, handler: Handler, *headers: str, body: bytes) -> Recorded:
    """What the handler gets of a push."""
    await push(api, handler, *headers, body=body)
    return await handler.calls.get()


@pytest.mark.parametrize(
    "body",
    [b"", bytes(range(256)) * 4096, gzip.compress(b"x" * 1000), b'{"a": 1.50,  "a": "\\u00e9"}'],
    ids=["empty", "binary", "gzip", "json"],
)
async def test_a_handler_gets_the_bytes_that_were_pushed(
    api: Peer, handler: Handler, body: bytes
) -> None:
    call = await called(api, handler, "Content-Encoding: gzip", body=body)
    assert call.body == body
    assert call.headers["content-length"] == b"%d" % len(body)


async def test_a_handler_gets_the_type_as_it_was_written(api: Peer, handler: Handler) -> None:
    written = 'Text/Plain;charset = "UTF-8" ;  x=1'
    call = await called(api, handler, f"Content-Type: {written}", body=b"a")
    assert call.headers["content-type"] == written.encode()


async def test_a_handler_gets_the_items_headers(api: Peer, handler: Handler) -> None:
    headers = 'x-lq-headers: {"X-Team": "größe", "Authorization": "Bearer t"}'
    call = await called(api, handler, headers, "x-lq-method: PUT", body=b"a")
    assert call.method == "PUT"
    assert call.headers["x-team"] == "größe".encode()
    assert call.headers["authorization"] == b"Bearer t"


async def test_attempts_tell_what_the_handler_answered(
    api: Peer, running: Daemon, handler: Handler
) -> None:
    handler.answers = [(500, b"\xff\x00"), (200, "größe".encode())]
    with running.events.subscribe() as events:
        pushed = await push(api, handler, "x-lq-retry: 1ms")
        async for event in events:
            if event.state is State.COMPLETED:
                break
    item = (await api.ask(f"GET items/{pushed.json['id']}")).json
    assert (item["state"], item["attempts"], item["lastStatus"]) == ("COMPLETED", 2, 200)
    assert "finished" in item
    first, second = (await api.ask(f"GET items/{pushed.json['id']}/attempts")).json["attempts"]
    assert (first["n"], first["outcome"], first["status"]) == (1, "failed", 500)
    assert (first["responseBody"], first["responseBodyEncoding"]) == ("/wA=", "base64")
    assert (second["n"], second["outcome"], second["responseBody"]) == (2, "succeeded", "größe")
    assert second["ms"] >= 0
    listed = (await api.ask("GET history?state=COMPLETED")).json["items"]
    assert [entry["id"] for entry in listed] == [item["id"]]


async def test_a_running_item_can_be_seen_and_its_retry_cancelled(
    api: Peer, running: Daemon, handler: Handler
) -> None:
    handler.hold.clear()
    handler.answers = [(500, b"")]
    pushed = await push(api, handler, "x-lq-key: k")
    await handler.calls.get()
    item = (await api.ask("GET queues/q/items/byKey/k")).json
    assert (item["state"], item["attempts"]) == ("RUNNING", 1)
    assert "nextAttempt" not in item
    assert (await api.ask("GET queues/q/items?state=RUNNING")).json["items"][0]["id"] == item["id"]
    refused = await api.ask(f"PATCH items/{item['id']}", "x-lq-delay: 5m")
    assert (refused.status, refused.json["type"]) == (409, "CONFLICT")
    (attempt,) = (await api.ask(f"GET items/{item['id']}/attempts")).json["attempts"]
    assert {"n", "started"} == set(attempt)
    cancelled = await api.ask("DELETE queues/q/items/byKey/k")
    assert (cancelled.status, cancelled.json["state"]) == (200, "CANCELLED")
    handler.hold.set()
    again = await called(api, handler, "x-lq-key: k", body=b"next")
    assert again.body == b"next"
    assert (await api.ask(f"GET items/{pushed.json['id']}")).json["state"] == "CANCELLED"


async def test_a_push_while_its_key_runs_makes_one_successor(api: Peer, handler: Handler) -> None:
    handler.hold.clear()
    first = await push(api, handler, "x-lq-key: k", body=b"first")
    await handler.calls.get()
    second = await push(api, handler, "x-lq-key: k", body=b"second")
    third = await api.ask(
        "POST queues/q/items", f"x-lq-target: {handler.url}", "x-lq-key: k", body=b"third"
    )
    assert second.json["id"] != first.json["id"]
    assert (third.status, third.json["id"]) == (200, second.json["id"])
    handler.hold.set()
    assert (await handler.calls.get()).body == b"third"


async def test_a_paused_queue_starts_nothing_and_goes_on_when_resumed(
    api: Peer, handler: Handler
) -> None:
    await api.ask("POST queues/q/pause")
    pushed = await push(api, handler)
    assert (await api.ask(f"GET items/{pushed.json['id']}")).json["state"] == "PENDING"
    await api.ask("POST queues/q/resume")
    assert (await handler.calls.get()).headers["x-lq-id"] == pushed.json["id"].encode()
