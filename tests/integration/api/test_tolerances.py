"""What the published SDKs need of the wire, each as the bytes they send."""

from __future__ import annotations

import pytest

from .raw import WAITING, Peer


@pytest.mark.parametrize(
    "scheme", ["Bearer", "Bearer:", "bearer", "BEARER:", "Bearer  ", "Bearer:\t"]
)
async def test_the_sdk_writes_bearer_with_a_colon(api: Peer, scheme: str) -> None:
    anonymous = api.having("")
    answer = await anonymous.ask("GET queues", f"Authorization: {scheme} {api.token}")
    assert answer.status == 200


async def test_the_sdk_encodes_the_queue_in_a_push_and_not_in_by_key_routes(api: Peer) -> None:
    pushed = await api.ask("POST queues/lq%2Fqueue/items", *WAITING, "x-lq-key: k", body=b"{}")
    assert (pushed.status, pushed.json["queue"]) == (201, "lq/queue")
    for path in ("lq/queue", "lq%2Fqueue", "lq%2fqueue"):
        found = await api.ask(f"GET queues/{path}/items/byKey/k")
        assert found.json["id"] == pushed.json["id"]
    deleted = await api.ask("DELETE queues/lq/queue/items/byKey/k")
    assert (deleted.status, deleted.json["state"]) == (200, "CANCELLED")


@pytest.mark.parametrize(
    "queue", ["/api/mail", "a//b", "mail/", "/", "x/pause", "byKey", "a/byKey/b"]
)
async def test_queues_are_named_after_url_paths(api: Peer, queue: str) -> None:
    encoded = queue.replace("/", "%2F")
    pushed = await api.ask(f"POST queues/{encoded}/items", *WAITING, "x-lq-key: k")
    assert pushed.json["queue"] == queue
    found = await api.ask(f"GET queues/{queue}/items/byKey/k")
    assert found.json["id"] == pushed.json["id"]
    assert (await api.ask(f"GET queues/{encoded}")).json["name"] == queue


@pytest.mark.parametrize("key", ["k", "a/b", "a?b=c", "?", "items/byKey/k", "a?b=/items/byKey/c"])
@pytest.mark.parametrize("queue", ["api/mail?tenant=1", "?", "a?b?c/d", "q?items", "q?force=1"])
async def test_queues_are_named_after_urls_with_a_query(api: Peer, queue: str, key: str) -> None:
    encoded = queue.replace("/", "%2F").replace("?", "%3F")
    pushed = await api.ask(f"POST queues/{encoded}/items", *WAITING, f"x-lq-key: {key}")
    assert pushed.json["queue"] == queue
    found = await api.ask(f"GET queues/{queue}/items/byKey/{key}")
    assert (found.status, found.json["id"]) == (200, pushed.json["id"])
    assert (await api.ask(f"DELETE queues/{queue}/items/byKey/{key}")).json["state"] == "CANCELLED"
    assert (await api.ask(f"GET queues/{queue}/items/byKey/{key}")).status == 404


async def test_a_parameter_may_look_like_a_path_by_key(api: Peer) -> None:
    key = "a/items/byKey/b"
    pushed = await api.ask("POST queues/q/items", *WAITING, f"x-lq-key: {key}")
    for listing in ("queues/q/items", "queues/q/items/", "items"):
        found = await api.ask(f"GET {listing}?key={key}")
        assert [item["id"] for item in found.json["items"]] == [pushed.json["id"]]
    assert (await api.ask(f"DELETE queues/q?force=1&x={key}")).status == 404


@pytest.mark.parametrize(
    "path",
    ["items", "a/items", "a%2Fitems", "items/a", "..", "../a", "a/%2E%2E", ".", "a/./b", "%69tems"],
)
async def test_segments_that_would_be_ambiguous_are_refused(api: Peer, path: str) -> None:
    pushed = await api.ask(f"POST queues/{path}/items", *WAITING)
    assert pushed.issues == ["queue"]


async def test_what_a_path_leaves_empty_is_refused(api: Peer) -> None:
    assert (await api.ask("POST queues//items", *WAITING)).issues == ["queue"]
    assert (await api.ask("GET queues/q/items/byKey/")).issues == ["key"]


@pytest.mark.parametrize("key", ["%00", "a%0Ab", "k" * 513, "%FF", "%ED%A0%80", "%C2%85"])
async def test_keys_that_could_not_have_been_pushed_are_refused(api: Peer, key: str) -> None:
    assert (await api.ask(f"GET queues/q/items/byKey/{key}")).issues == ["key"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("plain", "plain"),
        ("user/7", "user/7"),
        ("user/7", "user%2F7"),
        ("a?b=c&d", "a?b=c&d"),
        ("a?b=c&d", "a%3Fb=c%26d"),
        ("ends?", "ends?"),
        ("a b", "a%20b"),
        ("a?b c", "a?b%20c"),
        ("a+b", "a+b"),
        ("100%", "100%"),
        ("100%zz", "100%zz"),
        ("50%25", "50%2525"),
        ("/lead", "/lead"),
        ("x/items", "x/items"),
        ("x/items/byKey/y", "x/items/byKey/y"),
        ("run", "run"),
        ("a\\b", "a\\b"),
        ('"quoted"', '"quoted"'),
    ],
)
async def test_keys_are_not_encoded_in_by_key_paths(api: Peer, key: str, path: str) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, f"x-lq-key: {key}")
    assert pushed.json["key"] == key
    found = await api.ask(f"GET queues/q/items/byKey/{path}")
    assert found.json["id"] == pushed.json["id"]


async def test_a_path_is_decoded_once(api: Peer) -> None:
    await api.ask("POST queues/a%252Fb/items", *WAITING)
    assert [queue["name"] for queue in (await api.ask("GET queues")).json] == ["a%2Fb"]


@pytest.mark.parametrize("raw", ["größe".encode(), "größe".encode("latin-1")])
async def test_a_key_is_utf8_from_curl_and_latin1_from_fetch(api: Peer, raw: bytes) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING, b"x-lq-key: " + raw)
    assert pushed.json["key"] == "größe"
    found = await api.ask("GET queues/q/items/byKey/gr%C3%B6%C3%9Fe")
    assert found.json["id"] == pushed.json["id"]


async def test_an_api_url_with_a_trailing_slash(api: Peer) -> None:
    assert (await api.ask("POST //api/v1/queues/q/items", *WAITING)).status == 201
    assert (await api.ask("GET ///api/v1/queues/")).status == 200
    assert (await api.ask("GET //healthz")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1",
        "/api/v1/",
        "//",
        "/api/v1/queues/",
        "/api/v1/items/",
        "/panel",
        "/API/V1/queues",
    ],
)
async def test_nothing_is_ever_a_redirect(api: Peer, path: str) -> None:
    answer = await api.ask(f"GET {path}")
    assert answer.status in {200, 404}
    assert "location" not in answer.headers


async def test_every_push_answer_is_a_json_object(api: Peer) -> None:
    created = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k")
    replaced = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", body=b"new")
    kept = await api.ask("POST queues/q/items", *WAITING, "x-lq-key: k", "x-lq-if-exists: keep")
    assert [answer.status for answer in (created, replaced, kept)] == [201, 200, 200]
    outcomes = [answer.json["outcome"] for answer in (created, replaced, kept)]
    assert outcomes == ["created", "replaced", "kept"]
    assert {answer.json["id"] for answer in (created, replaced, kept)} == {created.json["id"]}


@pytest.mark.parametrize(
    "path", ["mail", "lq/queue", "lq%2Fqueue", "x/attempts", "gr%F6%DFe", "%00"]
)
async def test_the_sdk_asks_for_an_item_by_the_name_of_its_queue(api: Peer, path: str) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    for method in ("GET", "DELETE"):
        answer = await api.ask(f"{method} items/{path}")
        allowed = {404, 405} if path == "x/attempts" and method == "DELETE" else {404}
        assert answer.status in allowed
        assert answer.json["type"] in {"NOT_FOUND", "METHOD_NOT_ALLOWED"}


async def test_what_the_sdk_sends_with_a_push(api: Peer) -> None:
    # As undici writes it: lower-case names, no header for what is not set.
    pushed = await api.ask(
        "POST queues/api%2Fmail/items",
        "accept: application/json",
        "content-type: application/json",
        "x-lq-delay: 3600000",
        'x-lq-headers: {"x-vercel-protection-bypass":"s3cret"}',
        "x-lq-key: user-7",
        "x-lq-target: https://example.com/api/mail",
        "accept-language: *",
        "sec-fetch-mode: cors",
        "user-agent: node",
        "accept-encoding: gzip, deflate",
        body=b'{"to":"a@example.com"}',
    )
    assert pushed.status == 201
    item = await api.ask("GET queues/api/mail/items/byKey/user-7", "Accept: application/json")
    assert item.json["payload"] == {"to": "a@example.com"}
    assert item.json["payloadType"] == "application/json"
    assert item.json["state"] in {"PENDING", "RUNNING", "RETRY", "FAILED", "COMPLETED"}


async def test_the_sdk_pushes_undefined_as_no_body_at_all(api: Peer) -> None:
    pushed = await api.ask(
        "POST queues/q/items", *WAITING, "content-type: application/json", "content-length: 0"
    )
    item = await api.ask(f"GET items/{pushed.json['id']}")
    assert "payload" not in item.json
