"""Many items at once over HTTP: failures, replays, cancelling, purging, edit and retry."""

from __future__ import annotations

import asyncio

import pytest

from .given import token
from .handler import Handler
from .raw import WAITING, Peer


async def waiting(api: Peer, queue: str, number: int, *headers: str) -> list[str]:
    """The ids of new items that wait."""
    pushes = [
        await api.ask(f"POST queues/{queue}/items", *WAITING, *headers) for _ in range(number)
    ]
    return [str(one.json["id"]) for one in pushes]


async def failed(api: Peer, handler: Handler, body: bytes) -> str:
    """The id of an item that has failed with this answer."""
    handler.answers.append((500, body))
    pushed = await api.ask("POST queues/bad/items", f"x-lq-target: {handler.url}", "x-lq-retry: 0")
    async with asyncio.timeout(10):
        while True:
            found = await api.ask(f"GET items/{pushed.json['id']}")
            if found.json["state"] == "FAILED":
                return str(pushed.json["id"])


async def test_failures_are_grouped_and_lead_to_their_items(api: Peer, handler: Handler) -> None:
    first = await failed(api, handler, b"order 4711 is unknown")
    last = await failed(api, handler, b"order 12 is unknown")
    await failed(api, handler, b"no more paper")
    answer = await api.ask("GET failures")
    kinds = answer.json["failures"]
    assert [kind["count"] for kind in kinds] == [1, 2]
    assert (kinds[1]["item"], kinds[1]["queues"], kinds[1]["status"]) == (last, ["bad"], 500)
    alike = await api.ask(f"GET history?fingerprint={kinds[1]['fingerprint']}")
    assert [item["id"] for item in alike.json["items"]] == [last, first]
    replay = f"POST history/replay?fingerprint={kinds[1]['fingerprint']}&rate=1/h"
    done = (await api.ask(replay)).json
    assert (done["matched"], done["replayed"]) == (2, 2)
    assert "until" in done
    left = await api.ask("GET failures")
    assert [kind["count"] for kind in left.json["failures"]] == [1]


async def test_a_replay_spreads_its_items_and_skips_keys_that_wait(api: Peer) -> None:
    ids = await waiting(api, "q", 3)
    [keyed] = await waiting(api, "q", 1, "x-lq-key: k")
    assert (await api.ask("DELETE items?queue=q")).json == {"matched": 4, "cancelled": 4}
    await waiting(api, "q", 1, "x-lq-key: k")
    dry = await api.ask("POST history/replay?queue=q&dry=1")
    assert dry.json == {"matched": 4, "replayed": 0}
    done = await api.ask("POST history/replay?queue=q&rate=1/h")
    assert (done.json["matched"], done.json["replayed"]) == (4, 3)
    assert done.json["skipped"] == {"its key waits already": 1}
    assert (await api.ask(f"GET items/{keyed}")).json["state"] == "CANCELLED"
    due = [(await api.ask(f"GET items/{one}")).json["notBefore"] for one in reversed(ids[:2])]
    assert due == sorted(due)
    assert due[-1] == done.json["until"]
    queue = (await api.ask("GET queues/q")).json
    assert (queue["pending"] + queue["running"] + queue["retry"], queue["cancelled"]) == (4, 1)


async def test_a_purge_leaves_other_queues_and_says_what_it_did(api: Peer) -> None:
    await waiting(api, "a", 3, "x-lq-label: x")
    await waiting(api, "a", 1)
    await waiting(api, "b", 1)
    assert (await api.ask("DELETE queues/a/items?dry=1")).json == {"matched": 4, "cancelled": 0}
    assert (await api.ask("DELETE queues/a/items?label=x")).json["cancelled"] == 3
    assert (await api.ask("DELETE queues/a/items")).json["cancelled"] == 1
    left = (await api.ask("GET items")).json["items"]
    assert [item["queue"] for item in left] == ["b"]


async def test_a_sweep_goes_on_from_a_cursor(api: Peer) -> None:
    ids = await waiting(api, "q", 7)
    page = await api.ask("GET items?queue=q&limit=3")
    done = await api.ask(f"DELETE items?queue=q&cursor={page.json['cursor']}")
    assert done.json == {"matched": 4, "cancelled": 4}
    left = (await api.ask("GET items")).json["items"]
    assert [item["id"] for item in left] == ids[:3]


async def test_a_limited_token_changes_its_queues_alone(api: Peer) -> None:
    await waiting(api, "mine", 2)
    await waiting(api, "theirs", 2)
    limited = await token(api, "push", "read", queues=("mine",))
    assert (await limited.ask("DELETE items?queue=theirs")).status == 403
    assert (await limited.ask("DELETE queues/theirs/items")).status == 403
    assert (await limited.ask("DELETE items?all=1")).json == {"matched": 2, "cancelled": 2}
    assert (await limited.ask("POST history/replay?all=1&dry=1")).json["matched"] == 2
    assert len((await api.ask("GET items?queue=theirs")).json["items"]) == 2
    reader = await token(api, "read")
    assert (await reader.ask("DELETE items?all=1")).status == 403
    assert (await limited.ask("GET failures?queue=theirs")).status == 403


async def test_a_retry_can_change_what_it_revives(api: Peer) -> None:
    [one] = await waiting(api, "q", 1)
    await api.ask(f"DELETE items/{one}")
    changed = await api.ask(
        f"POST items/{one}/retry",
        "x-lq-target: https://example.com/other",
        "x-lq-delay: 1h",
        body=b"new",
    )
    assert changed.json["target"]["url"] == "https://example.com/other"
    assert (await api.ask(f"GET items/{one}")).json["payload"] == "new"
    await api.ask(f"DELETE items/{one}")
    refused = await api.ask(f"POST items/{one}/retry", "x-lq-target: ftp://x")
    assert refused.status in {400, 422}
    assert (await api.ask(f"GET items/{one}")).json["state"] == "CANCELLED"


@pytest.mark.parametrize(
    ("request_line", "field"),
    [
        ("GET history?limit=-1", "limit"),
        ("GET history?from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", "to"),
        ("GET history?cursor=f.1.x", "cursor"),
        ("GET history?cursor=k.1.2", "cursor"),
        ("GET history?fingerprint=xyz", "fingerprint"),
        ("GET history?error=", "error"),
        ("GET history?target=*", "target"),
        ("GET items?eror=x", "eror"),
        ("GET failures?cursor=k.1.zz", "cursor"),
        ("GET failures?state=FAILED", "state"),
        ("POST history/replay", "all"),
        ("POST history/replay?dry=1", "all"),
        ("POST history/replay?all=0", "all"),
        ("POST history/replay?all=1&rate=fast", "rate"),
        ("POST history/replay?all=1&cursor=f.1.2", "cursor"),
        ("POST history/replay?all=1&cursor=f.1.2~1.2", "cursor"),
        ("POST history/replay?state=PENDING", "state"),
        ("DELETE items", "all"),
        ("DELETE items?state=FAILED", "state"),
        ("DELETE queues/q/items?state=RUNNING", "state"),
        ("DELETE queues/q/items?queue=r", "queue"),
    ],
)
async def test_what_is_not_understood_is_named(api: Peer, request_line: str, field: str) -> None:
    answer = await api.ask(request_line)
    assert answer.status == 400
    assert [issue["path"] for issue in answer.json["issues"]] == [[field]]


async def test_only_readers_learn_what_there_is(api: Peer) -> None:
    await waiting(api, "q", 2)
    pusher = await token(api, "push")
    for request in (
        "POST history/replay?all=1&dry=1",
        "POST history/replay?error=canary",
        "DELETE items?fingerprint=0123456789abcdef",
        "DELETE queues/q/items?dry=1",
    ):
        assert (await pusher.ask(request)).status == 403
    assert (await pusher.ask("DELETE queues/q/items")).json["cancelled"] == 2
