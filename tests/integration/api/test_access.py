"""Who may do what: tokens, scopes, queue patterns, the unix socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .given import token, without_id
from .raw import WAITING, Peer


async def item(api: Peer, queue: str) -> str:
    """The id of a new waiting item with the key `k`."""
    pushed = await api.ask(f"POST queues/{queue}/items", *WAITING, "x-lq-key: k")
    assert pushed.status == 201
    return str(pushed.json["id"])


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Authorization:",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Basic YTpi",
        "Authorization: {token}",
        "Authorization: Bearer {token} x",
        "Authorization: Bearer {token}x",
        "Authorization: Bearer lq_unknown",
        "Authorization: Bearer\u00e9",
        "Authorization: Bearer t\u00e9st",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer {token}",
        "Cookie: token={token}",
        "x-lq-token: {token}",
    ],
)
async def test_without_a_valid_token_all_get_the_same_answer(api: Peer, header: str) -> None:
    anonymous = api.having("")
    plain = await anonymous.ask("GET queues")
    assert (plain.status, plain.json["type"]) == (401, "UNAUTHORIZED")
    assert plain.headers["www-authenticate"] == "Bearer"
    lines = [header.format(token=api.token).encode("latin-1")] if header else []
    assert without_id(await anonymous.ask("GET queues", *lines)) == without_id(plain)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET queues?token={token}",
        "GET queues?access_token={token}",
        "GET items/x",
        "GET nothing",
        "GET /",
        "PUT queues",
        "GET /metrics",
        "GET info",
        "POST queues/q/items",
        "GET /healthz/",
        "GET /healthz%2f",
    ],
)
async def test_everything_but_health_is_closed(api: Peer, request_line: str) -> None:
    answer = await api.having("").ask(request_line.format(token=api.token))
    assert answer.status == 401


async def test_health_is_open_to_all(api: Peer) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await api.having("").ask(f"GET {path}")).json == {"status": "ok"}
        assert (await api.having("wrong").ask(f"GET {path}")).status == 200


async def test_a_revoked_token_is_no_token(api: Peer) -> None:
    pusher = await token(api, "push")
    assert (await pusher.ask("GET info")).status == 200
    assert (await api.ask("DELETE tokens/push-token")).json["revoked"]
    assert (await pusher.ask("GET info")).status == 401


async def test_a_token_revoked_while_its_request_runs_ends_with_that(api: Peer) -> None:
    pusher = await token(api, "push")
    connection = await pusher.connect()
    slow = pusher.written("POST queues/q/items", *WAITING, "Expect: 100-continue", body=b"slow")
    await connection.send(slow[:-4])
    assert (await connection.receive()).status == 100
    assert (await api.ask("DELETE tokens/push-token")).status == 200
    await connection.send(b"slow")
    assert (await connection.receive()).status == 201
    await connection.send(pusher.written("POST queues/q/items", *WAITING))
    assert (await connection.receive()).status == 401


async def test_an_expired_token_is_no_token(api: Peer, pass_time: Callable[[int], None]) -> None:
    body = b'{"name": "short", "scopes": ["read"], "expires": "1h"}'
    reader = api.having((await api.ask("POST tokens", body=body)).json["token"])
    assert (await reader.ask("GET queues")).status == 200
    pass_time(3_600_000)
    assert (await reader.ask("GET queues")).status == 401


PUSH = ["GET queues/q/items/byKey/k", "PATCH queues/q/items/byKey/k", "GET items/{id}",
        "PATCH items/{id}", "POST items/{id}/run", "DELETE items/{id}"]  # fmt: skip
READ = ["GET queues/q/items/byKey/k", "GET items/{id}", "GET items/{id}/attempts", "GET items",
        "GET queues/q/items", "GET history", "GET queues", "GET queues/q"]  # fmt: skip
ADMIN = ["PATCH queues/q", "DELETE queues/q", "POST queues/q/pause", "POST queues/q/resume",
         "GET tokens", "POST tokens", "DELETE tokens/x", "GET secret"]  # fmt: skip
EVERYTHING = sorted({*PUSH, *READ, *ADMIN, "POST items/{id}/retry", "POST queues/q/items"})


@pytest.mark.parametrize(
    ("scope", "reaches"),
    [
        ("push", {*PUSH, "POST items/{id}/retry", "POST queues/q/items"}),
        ("read", {*READ}),
        ("admin", {*EVERYTHING}),
    ],
)
async def test_how_far_a_scope_reaches(api: Peer, scope: str, reaches: set[str]) -> None:
    somebody = await token(api, scope)
    for request_line in EVERYTHING:
        await api.ask("DELETE queues/q/items/byKey/k")
        item_id = await item(api, "q")
        body = b"{}" if "PATCH" in request_line or "tokens" in request_line else b""
        headers = WAITING if request_line == "POST queues/q/items" else ()
        answer = await somebody.ask(request_line.format(id=item_id), *headers, body=body)
        if request_line in reaches:
            assert answer.status not in {401, 403}, request_line
        else:
            assert (answer.status, answer.json["type"]) == (403, "FORBIDDEN"), request_line


async def test_a_limited_admin_is_told_that_it_is_limited(api: Peer) -> None:
    limited = await token(api, "admin", queues=("mail-*",))
    for request in ("GET tokens", "POST queues/shop/pause", "GET queues/shop"):
        refused = await limited.ask(request)
        assert refused.status == 403
        assert "is limited to its queues" in refused.json["message"]


@pytest.mark.parametrize("queue", ["known", "unknown"])
async def test_a_limited_token_cannot_tell_whether_a_queue_exists(api: Peer, queue: str) -> None:
    await item(api, "known")
    limited = await token(api, "push", "read", queues=("mail-*",))
    refusals = [
        await limited.ask(f"POST queues/{queue}/items", *WAITING),
        await limited.ask(f"GET queues/{queue}/items"),
        await limited.ask(f"GET queues/{queue}/items/byKey/k"),
        await limited.ask(f"GET queues/{queue}"),
        await limited.ask(f"GET items?queue={queue}"),
        await limited.ask(f"GET history?queue={queue}"),
    ]
    other = [
        await limited.ask("POST queues/never-heard-of/items", *WAITING),
        await limited.ask("GET queues/never-heard-of/items"),
        await limited.ask("GET queues/never-heard-of/items/byKey/k"),
        await limited.ask("GET queues/never-heard-of"),
        await limited.ask("GET items?queue=never-heard-of"),
        await limited.ask("GET history?queue=never-heard-of"),
    ]
    assert {answer.status for answer in refusals} == {403}
    assert list(map(without_id, refusals)) == list(map(without_id, other))


@pytest.mark.parametrize("request_line", ["GET items/{}", "DELETE items/{}", "PATCH items/{}",
                                          "POST items/{}/run", "POST items/{}/retry",
                                          "GET items/{}/attempts"])  # fmt: skip
async def test_a_limited_token_cannot_tell_whether_an_item_exists(
    api: Peer, request_line: str
) -> None:
    foreign = await item(api, "other")
    limited = await token(api, "push", "read", queues=("mail-*",))
    hidden = await limited.ask(request_line.format(foreign))
    unknown = await limited.ask(request_line.format("unknown"))
    assert hidden.status == 404
    assert without_id(hidden) == without_id(unknown)
    assert (await api.ask(f"GET items/{foreign}")).json["state"] == "PENDING"


async def test_a_limited_token_works_within_its_queues(api: Peer) -> None:
    limited = await token(api, "push", "read", queues=("mail-*", "sms"))
    mine, sms = await item(limited, "mail-out"), await item(limited, "sms")
    await item(api, "other")
    assert (await limited.ask(f"GET items/{mine}")).status == 200
    listed = (await limited.ask("GET items")).json["items"]
    assert {entry["id"] for entry in listed} == {mine, sms}
    assert [q["name"] for q in (await limited.ask("GET queues")).json] == ["mail-out", "sms"]
    assert (await limited.ask(f"DELETE items/{mine}")).json["state"] == "CANCELLED"
    history = (await limited.ask("GET history")).json["items"]
    assert [entry["id"] for entry in history] == [mine]


async def test_a_limited_admin_stays_in_its_queues(api: Peer) -> None:
    limited = await token(api, "admin", queues=("mail",))
    assert (await limited.ask("POST queues/mail/pause")).json["paused"] is True
    assert (await limited.ask("POST queues/other/pause")).status == 403
    escalation = b'{"name": "x", "scopes": ["admin"]}'
    assert (await limited.ask("POST tokens", body=escalation)).status == 403
    assert (await limited.ask("GET secret")).status == 403
    assert "pid" not in (await limited.ask("GET info")).json


async def test_only_an_admin_may_skip_validation(api: Peer) -> None:
    pusher = await token(api, "push")
    refused = await pusher.ask("POST queues/q/items", *WAITING, "x-lq-validate: none")
    assert (refused.status, refused.json["type"]) == (403, "FORBIDDEN")
    assert (await pusher.ask("POST queues/q/items", *WAITING, "x-lq-validate: head")).status == 201
    assert (await api.ask("POST queues/q/items", *WAITING, "x-lq-validate: none")).status == 201


async def test_only_an_admin_may_send_an_unproven_item_elsewhere(api: Peer) -> None:
    pusher = await token(api, "push")
    pushed = await api.ask("POST queues/q/items", *WAITING, "x-lq-validate: none")
    item = f"items/{pushed.json['id']}"
    elsewhere = "x-lq-target: https://example.com/elsewhere"
    assert (await pusher.ask(f"PATCH {item}", elsewhere)).status == 403
    assert (await pusher.ask(f"PATCH {item}", "x-lq-delay: 2h")).status == 200
    assert (await api.ask(f"PATCH {item}", elsewhere)).status == 200


async def test_the_owner_on_the_unix_socket_needs_no_token(owner: Peer) -> None:
    assert owner.token == ""
    assert (await owner.ask("GET secret")).status == 200
    assert (await owner.ask("GET secret", "Authorization: Bearer wrong")).status == 200
    assert (await owner.ask("POST queues/q/items", *WAITING, "x-lq-validate: none")).status == 201
