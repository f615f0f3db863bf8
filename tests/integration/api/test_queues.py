"""Queues over HTTP: counts, settings, pause, deletion."""

from __future__ import annotations

import pytest

from .raw import WAITING, Peer


async def test_a_queue_comes_into_being_with_its_first_push(api: Peer) -> None:
    assert (await api.ask("GET queues/q")).status == 404
    await api.ask("POST queues/q/items", *WAITING)
    queue = (await api.ask("GET queues/q")).json
    assert (queue["name"], queue["pending"], queue["paused"]) == ("q", 1, False)
    assert (queue["running"], queue["retry"], queue["failed"]) == (0, 0, 0)
    assert "oldestDue" in queue
    listed = await api.ask("GET queues")
    assert listed.json == [queue]
    assert (await api.ask("GET queues/")).json == [queue]


async def test_settings_are_set_and_taken_away(api: Peer) -> None:
    before = (await api.ask("PATCH queues/q", body=b"{}")).json
    body = (
        b'{"target": "https://example.com/hook", "method": "PUT", "concurrency": 3,'
        b' "retry": "1s,1m", "timeout": "90s", "headers": {"x-api-key": "k", "x-a": "b"}}'
    )
    edited = (await api.ask("PATCH queues/q", body=body)).json
    assert edited["target"] == "https://example.com/hook"
    assert (edited["method"], edited["concurrency"]) == ("PUT", 3)
    assert (edited["retryPolicy"], edited["timeout"]) == ("1s,1m", "1m30s")
    assert edited["headers"] == {"x-api-key": "[redacted]", "x-a": "b"}
    pushed = (await api.ask("POST queues/q/items", "x-lq-delay: 1h")).json
    assert pushed["target"] == {"url": "https://example.com/hook", "method": "PUT"}
    assert pushed["maxAttempts"] == 3
    cleared = b'{"target": null, "method": null, "concurrency": null, "retry": null, \
"timeout": null, "headers": null}'
    after = (await api.ask("PATCH queues/q", body=cleared)).json
    assert {**after, "pending": 0, "oldestDue": ""} == {**before, "oldestDue": ""}


async def test_a_queue_is_paused_and_resumed(api: Peer) -> None:
    paused = await api.ask("POST queues/lq/queue/pause")
    assert (paused.status, paused.json["name"], paused.json["paused"]) == (200, "lq/queue", True)
    until = (await api.ask("POST queues/lq/queue/pause?until=30m")).json
    assert "pausedUntil" in until
    exact = "2027-01-01T00:00:00%2B01:00"
    until = (await api.ask(f"POST queues/lq/queue/pause?until={exact}")).json
    assert until["pausedUntil"] == "2026-12-31T23:00:00.000Z"
    resumed = (await api.ask("POST queues/lq/queue/resume")).json
    assert resumed["paused"] is False
    assert "pausedUntil" not in resumed
    again = (await api.ask("PATCH queues/lq/queue", body=b'{"pausedUntil": "5m"}')).json
    assert again["paused"] is True
    once_more = (await api.ask("PATCH queues/lq/queue", body=b'{"paused": false}')).json
    assert once_more["paused"] is False
    assert "pausedUntil" not in once_more


@pytest.mark.parametrize("query", ["until=yesterday", "until=2020-01-01T00:00:00Z", "for=5m"])
async def test_a_pause_that_is_refused(api: Peer, query: str) -> None:
    assert (await api.ask(f"POST queues/q/pause?{query}")).issues == [query.partition("=")[0]]


async def test_resuming_brings_no_queue_into_being(api: Peer) -> None:
    assert (await api.ask("POST queues/q/resume")).status == 404
    assert (await api.ask("GET queues")).json == []


async def test_a_queue_with_items_is_deleted_only_by_force(api: Peer) -> None:
    pushed = await api.ask("POST queues/q/items", *WAITING)
    refused = await api.ask("DELETE queues/q")
    assert (refused.status, refused.json["type"]) == (409, "CONFLICT")
    assert (await api.ask("DELETE queues/q?force=0")).status == 409
    deleted = await api.ask("DELETE queues/q?force=1")
    assert (deleted.status, deleted.json) == (200, {"cancelled": 1})
    assert (await api.ask("GET queues/q")).status == 404
    assert (await api.ask(f"GET items/{pushed.json['id']}")).json["state"] == "CANCELLED"
    assert (await api.ask("DELETE queues/q")).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{", "body"),
        (b'{"a": ' * 10_000, "body"),
        (b"[" * 60_000, "body"),
        (b'{"concurrency": NaN}', "body"),
        (b'{"concurrency": 1, "concurrency": 2}', "body"),
        (b'{"target": "\\ud800"}', "body"),
        (b'{"target": "\xff"}', "body"),
        (b'{"concurrency": ' + b"9" * 5000 + b"}", "body"),
        (b'{"concurrency": -1}', "concurrency"),
        (b'{"rate": "10"}', "rate"),
        (b'{"unknown": 1}', "unknown"),
        (b'{"retry": 1.5}', "retry"),
        (b'{"timeout": 30}', "timeout"),
        (b'{"headers": {"Host": "x"}}', "headers"),
        (b'{"target": "ftp://example.com/"}', "target"),
    ],
)
async def test_settings_that_are_refused_name_the_member(
    api: Peer, body: bytes, field: str
) -> None:
    assert (await api.ask("PATCH queues/q", body=body)).issues == [field]
    assert (await api.ask("GET queues")).json == []


async def test_a_target_that_lq_may_not_call_is_no_setting(api: Peer) -> None:
    answer = await api.ask("PATCH queues/q", body=b'{"target": "https://127.0.0.1/"}')
    assert answer.status == 422
