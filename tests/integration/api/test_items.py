"""Items over HTTP: push, look, change, cancel, list."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from .raw import WAITING, Peer

HOOK = "x-lq-target: https://example.com/hook"


async def test_a_push_says_where_the_item_is(api: Peer) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, "x-lq-label: a,b", body=b"x")
    assert pushed.status == 201
    assert pushed.headers["location"] == f"/api/v1/items/{pushed.json['id']}"
    found = await api.ask(f"GET {pushed.headers['location']}")
    assert found.json["payload"] == "x"
    assert found.json["labels"] == ["a", "b"]
    assert {**pushed.json, **found.json} == {**found.json, "outcome": "created"}


@pytest.mark.parametrize("payload", [b' {"a": 1}\n', b"text", b"\xff\0"])
async def test_a_payload_to_the_byte(api: Peer, payload: bytes) -> None:
    typed = "Content-Type: application/json"
    pushed = await api.ask("POST queues/q/items", *WAITING, typed, body=payload)
    shown = (await api.ask(f"GET items/{pushed.json['id']}?payload=base64")).json
    assert base64.b64decode(shown["payload"]) == payload
    assert shown["payloadEncoding"] == "base64"
    refused = await api.ask(f"GET items/{pushed.json['id']}?payload=hex")
    assert refused.issues == ["payload"]


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (("x-lq-dealy: 5m",), ["x-lq-dealy"]),
        (("x-lq-delay: 5 parsecs", "x-lq-on: 2026-12-01 09:00"), ["x-lq-delay", "x-lq-on"]),
        (("x-lq-delay: 1e+21",), ["x-lq-delay"]),
        (("x-lq-on: 2126-12-01T09:00:00Z",), ["x-lq-on"]),
        (("x-lq-key: a", "X-Lq-Key: b"), ["x-lq-key"]),
        (("x-lq-key:",), ["x-lq-key"]),
        ((f"x-lq-key: {'k' * 513}",), ["x-lq-key"]),
        (('x-lq-headers: {"x-a": "b\\r\\nx-evil: 1"}',), ["x-lq-headers"]),
        (('x-lq-headers: {"X A": "b"}',), ["x-lq-headers"]),
        (('x-lq-headers: {"": "b"}',), ["x-lq-headers"]),
        (('x-lq-headers: {"transfer-encoding": "chunked"}',), ["x-lq-headers"]),
        (('x-lq-headers: {"x-a": "1", "X-A": "2"}',), ["x-lq-headers"]),
        ((f"x-lq-headers: {json.dumps({f'x-{n}': '' for n in range(33)})}",), ["x-lq-headers"]),
        (("x-lq-completion: promise",), ["x-lq-completion"]),
        (("x-lq-completion: callback",), ["x-lq-completion"]),  # without public_url
        (("x-lq-retry: many",), ["x-lq-retry"]),
        (("x-lq-timeout: 0s",), ["x-lq-timeout"]),
        (("x-lq-expires:",), ["x-lq-expires"]),
        (("Idempotency-Key: not one",), ["Idempotency-Key"]),
    ],
)
async def test_a_push_that_is_refused_names_the_fields(
    api: Peer, headers: tuple[str, ...], fields: list[str]
) -> None:
    answer = await api.ask("POST queues/q/items", HOOK, *headers, body=b"x")
    assert answer.issues == fields
    assert (await api.ask("GET queues")).json == []


async def test_an_empty_expiry_is_taken_away(api: Peer) -> None:
    pushed = (await api.ask("POST queues/q/items", *WAITING, "x-lq-expires: 2d")).json
    kept = await api.ask(f"PATCH items/{pushed['id']}", "x-lq-delay: 2h")
    assert kept.json["expires"] == pushed["expires"]
    edited = await api.ask(f"PATCH items/{pushed['id']}", "x-lq-expires:")
    assert "expires" not in edited.json


@pytest.mark.parametrize("route", ["queues/q/items", "items/{id}/run", "queues/q/resume"])
async def test_a_parameter_that_means_nothing_is_refused(api: Peer, route: str) -> None:
    pushed = (await api.ask("POST queues/q/items", *WAITING)).json
    assert (await api.ask(f"POST {route.format(**pushed)}?delay=5m")).issues == ["delay"]


async def test_a_push_without_target_says_both_ways_to_give_one(api: Peer) -> None:
    answer = await api.ask("POST queues/q/items", body=b"x")
    assert answer.issues in (["x-lq-target"], ["target"])


@pytest.mark.parametrize("target", ["https://127.0.0.1/", "https://169.254.169.254/latest"])
async def test_a_target_that_lq_may_not_call(api: Peer, target: str) -> None:
    answer = await api.ask("POST queues/q/items", f"x-lq-target: {target}", body=b"x")
    assert (answer.status, answer.json["type"]) == (422, "TARGET_NOT_ALLOWED")
    assert "issues" not in answer.json


@pytest.mark.parametrize(
    "header", ["x-lq-delay: -5", "x-lq-delay: 0", "x-lq-on: 1970-01-01T00:00:00Z"]
)
async def test_the_past_means_now(api: Peer, header: str) -> None:
    # Paused, so that it is still there to be looked at.
    await api.ask("POST queues/q/pause")
    pushed = (await api.ask("POST queues/q/items", HOOK, header, body=b"x")).json
    assert pushed["state"] == "PENDING"
    assert pushed["nextAttempt"] == pushed["created"]


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE jobs; --", "%", "_", "\\", "' OR 1=1", "a\u0301", "\U0001f4ec", "שלום"]
)
async def test_odd_text_is_stored_literally(api: Peer, text: str) -> None:
    await api.ask("POST queues/q/items", *WAITING, "x-lq-key: other", "x-lq-label: other")
    path = "".join(f"%{byte:02X}" for byte in text.encode())
    label = text.replace(" ", "_")
    pushed = await api.ask(
        f"POST queues/{path}/items", *WAITING, f"x-lq-key: {text}", f"x-lq-label: {label}",
        "content-type: text/plain", 'x-lq-headers: {"x-a": ' + json.dumps(text) + "}",
        body=text.encode(),
    )  # fmt: skip
    item = (await api.ask(f"GET queues/{path}/items/byKey/{path}")).json
    assert (item["queue"], item["key"], item["payload"]) == (text, text, text)
    assert (item["labels"], item["headers"]) == ([label], {"x-a": text})
    escaped = "".join(f"%{byte:02X}" for byte in label.encode())
    listed = (await api.ask(f"GET items?label={escaped}&key={path}")).json["items"]
    assert [entry["id"] for entry in listed] == [pushed.json["id"]]


async def test_keys_are_bytes_and_not_normalised(api: Peer) -> None:
    composed = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: é")
    combining = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: e\u0301")
    assert composed.json["id"] != combining.json["id"]


async def test_fifty_clients_push_one_key(api: Peer) -> None:
    async def push(n: int) -> tuple[int, str]:
        answer = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"%d" % n)
        return answer.status, answer.json["id"]

    answers = await asyncio.gather(*map(push, range(50)))
    assert sorted(status for status, _ in answers) == [200] * 49 + [201]
    assert len({item_id for _, item_id in answers}) == 1
    listed = (await api.ask("GET queues/q/items")).json["items"]
    assert len(listed) == 1


async def test_a_repeated_push_after_a_timeout_is_one_item(api: Peer) -> None:
    connection = await api.connect()
    await connection.send(api.written("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"x"))
    await connection.close()  # gone before the answer
    again = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"x")
    assert again.status in {200, 201}
    assert len((await api.ask("GET items")).json["items"]) == 1


async def test_a_waiting_key_can_be_kept_or_refused(api: Peer) -> None:
    await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"first")
    kept = await api.ask(
        "POST queues/q/items", *WAITING, "x-lq-key: k", "x-lq-if-exists: keep", body=b"x"
    )
    assert (kept.status, kept.json["outcome"]) == (200, "kept")
    refused = await api.ask(
        "POST queues/q/items", *WAITING, "x-lq-key: k", "x-lq-if-exists: reject", body=b"x"
    )
    assert (refused.status, refused.json["type"]) == (409, "KEY_EXISTS")
    assert (await api.ask("GET queues/q/items/byKey/k")).json["payload"] == "first"


@pytest.mark.parametrize("path", ["items/{id}", "queues/q/items/byKey/k"])
async def test_an_item_is_changed_by_id_or_by_key(api: Peer, path: str) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"old")
    where = path.format(id=pushed.json["id"])
    edited = await api.ask(
        f"PATCH {where}", "x-lq-on: 2026-12-31T00:00:00Z", "x-lq-method: PUT",
        "Content-Type: application/json", body=b'{"new": true}',
    )  # fmt: skip
    assert (edited.status, edited.json["id"]) == (200, pushed.json["id"])
    assert edited.json["notBefore"] == "2026-12-31T00:00:00.000Z"
    item = (await api.ask(f"GET {where}")).json
    assert (item["payload"], item["target"]["method"]) == ({"new": True}, "PUT")
    untouched = await api.ask(f"PATCH {where}", "Content-Type: text/plain")
    assert untouched.status == 200
    assert (await api.ask(f"GET {where}")).json == item


async def test_a_change_that_is_refused(api: Peer) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k")
    where = f"PATCH items/{pushed.json['id']}"
    assert (await api.ask(where, "x-lq-key: other")).issues == ["x-lq-key"]
    assert (await api.ask(where, "x-lq-delay: soon")).issues == ["x-lq-delay"]
    assert (await api.ask("PATCH items/unknown", "x-lq-delay: 5m")).status == 404
    assert (await api.ask("PATCH queues/q/items/byKey/unknown", "x-lq-delay: 5m")).status == 404
    await api.ask("DELETE queues/q/items/byKey/k")
    finished = await api.ask(where, "x-lq-delay: 5m")
    assert (finished.status, finished.json["type"]) == (409, "CONFLICT")


async def test_an_item_is_cancelled_once(api: Peer) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k")
    cancelled = await api.ask("DELETE queues/q/items/byKey/k")
    assert (cancelled.status, cancelled.json["state"]) == (200, "CANCELLED")
    assert "finished" in cancelled.json
    assert (await api.ask("DELETE queues/q/items/byKey/k")).status == 404
    assert (await api.ask(f"DELETE items/{pushed.json['id']}")).status == 409


async def test_a_finished_item_waits_again(api: Peer) -> None:
    await api.ask("POST queues/q/pause")
    pushed = await api.ask("POST queues/q/items", *WAITING)
    where = f"items/{pushed.json['id']}"
    assert (await api.ask(f"POST {where}/retry")).status == 409
    await api.ask(f"DELETE {where}")
    revived = await api.ask(f"POST {where}/retry")
    assert (revived.status, revived.json["state"]) == (200, "PENDING")
    assert (await api.ask("POST items/unknown/retry")).status == 404


async def test_an_item_is_due_now_when_asked_to_run(api: Peer) -> None:
    await api.ask("POST queues/q/pause")
    pushed = await api.ask("POST queues/q/items", *WAITING)
    run = await api.ask(f"POST items/{pushed.json['id']}/run")
    assert run.status == 200
    assert run.json["nextAttempt"] < pushed.json["nextAttempt"]
    assert (await api.ask("POST items/unknown/run")).status == 404


async def test_attempts_of_an_item_that_was_never_called(api: Peer) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING)
    where = f"items/{pushed.json['id']}/attempts"
    assert (await api.ask(f"GET {where}")).json == {"attempts": []}
    assert (await api.ask("GET items/unknown/attempts")).status == 404


async def test_listings_come_in_pages(api: Peer) -> None:
    ids = []
    for n in range(5):
        queue = "a" if n % 2 else "b"
        ids.append((await api.ask(f"POST queues/{queue}/items", *WAITING)).json["id"])
    found, query = [], "limit=2"
    for _ in range(3):
        page = (await api.ask(f"GET items?{query}")).json
        found += [entry["id"] for entry in page["items"]]
        query = f"limit=2&cursor={page.get('cursor')}"
    assert sorted(found) == sorted(ids)
    assert "cursor" not in page
    assert len((await api.ask("GET queues/a/items")).json["items"]) == 2
    assert (await api.ask("GET queues/unknown/items")).json == {"items": []}


async def test_listings_narrow_down(api: Peer) -> None:
    await api.ask("POST queues/q/items", *WAITING, "x-lq-label: eu,mail")
    await api.ask("POST queues/q/items", *WAITING, "x-lq-label: us")
    await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k")
    await api.ask("DELETE queues/q/items/byKey/k")

    async def count(query: str) -> int:
        return len((await api.ask(f"GET {query}")).json["items"])

    assert await count("queues/q/items") == 2
    assert await count("queues/q/items?label=eu") == 1
    assert await count("queues/q/items?state=RETRY") == 0
    assert await count("queues/q/items?state=pending") == 2
    assert await count("history") == 1
    assert await count("history?state=CANCELLED&key=k&queue=q") == 1
    assert await count("history?state=FAILED") == 0
    assert await count("history?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z") == 0


@pytest.mark.parametrize("listing", ["items", "queues/q/items", "history"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=-1", "limit"),
        ("limit=0", "limit"),
        ("limit=1000000000", "limit"),
        ("limit=many", "limit"),
        ("cursor=garbage", "cursor"),
        ("cursor=p.1.2", "cursor"),
        ("cursor=f.99999999999999999999.1", "cursor"),
        ("stat=FAILED", "stat"),
        ("state=DONE", "state"),
        ("key=%FF", "query"),
    ],
)
async def test_a_listing_that_is_refused_names_the_parameter(
    api: Peer, listing: str, query: str, field: str
) -> None:
    await api.ask("POST queues/q/items", *WAITING)
    assert (await api.ask(f"GET {listing}?{query}")).issues == [field]
