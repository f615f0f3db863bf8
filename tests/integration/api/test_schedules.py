"""Schedules over HTTP: make, look, change, pause, run, delete, list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from lq.daemon.main import Daemon
from lq.model import State

from .given import NIGHTLY, TARGET, make
from .handler import Handler
from .raw import Peer

HOUR_MS = 3_600_000


# Making one


async def test_a_schedule_is_made_once_and_then_brought_up_to_date(api: Peer) -> None:
    created = await make(api, "x-lq-key: nightly", "x-lq-tz: Europe/Berlin", body=b"x")
    assert (created.status, created.json["outcome"]) == (201, "created")
    assert created.headers["location"] == f"/api/v1/schedules/{created.json['id']}"
    kept = await make(api, "x-lq-key: nightly", "x-lq-tz: Europe/Berlin", body=b"x")
    assert kept.status == 200
    assert kept.json == {**created.json, "outcome": "kept"}
    assert kept.headers["location"] == created.headers["location"]
    replaced = await make(api, "x-lq-key: nightly", "x-lq-tz: Asia/Tokyo", body=b"y")
    assert (replaced.status, replaced.json["outcome"]) == (200, "replaced")
    assert replaced.json["id"] == created.json["id"]
    assert replaced.json["nextRun"] != created.json["nextRun"]


async def test_fifty_clients_make_one_schedule(api: Peer) -> None:
    answers = await asyncio.gather(*(make(api, "x-lq-key: k") for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len((await api.ask("GET schedules")).json["items"]) == 1


async def test_a_schedule_shows_what_it_is(api: Peer) -> None:
    made = await make(
        api, "x-lq-key: nightly", "x-lq-retry: 10s,1m", "x-lq-timeout: 90s", "x-lq-label: a,b",
        "x-lq-expires: 2h", "x-lq-times: 5", "x-lq-jitter: 5m", "x-lq-misfire: skip",
        "x-lq-overlap: skip", "x-lq-until: 9999-12-31T00:00:00Z", "x-lq-method: PUT",
        'x-lq-headers: {"Authorization": "s3cret", "x-a": "ü"}', "Content-Type: application/json",
        body=b'{"a": 1}',
    )  # fmt: skip
    shown = (await api.ask(f"GET schedules/{made.json['id']}")).json
    listed = {**made.json}
    del listed["outcome"]
    assert shown == {
        **listed,
        "retry": "10s,1m",
        "timeout": "1m30s",
        "expires": "2h",
        "labels": ["a", "b"],
        "headers": {"Authorization": "[redacted]", "x-a": "ü"},
        "payload": {"a": 1},
        "payloadType": "application/json",
    }
    assert listed["nextRun"].endswith("T02:30:00.000Z")
    assert {name: listed[name] for name in ("schedule", "explanation", "timezone", "queue")} == {
        "schedule": "30 2 * * *",
        "explanation": "at 02:30 every day",
        "timezone": "UTC",
        "queue": "ops",
    }
    assert listed["target"] == {"url": "https://example.com/hook", "method": "PUT"}
    assert (listed["fired"], listed["times"], listed["origin"]) == (0, 5, "api")
    assert (listed["jitter"], listed["misfire"], listed["overlap"]) == ("5m", "skip", "skip")
    assert (await api.ask("GET schedules")).json == {"items": [listed]}
    assert (await api.ask("GET schedules/byKey/nightly")).json == shown


async def test_without_a_target_of_its_own_a_schedule_shows_that_of_its_queue(api: Peer) -> None:
    headers = ("x-lq-schedule: @daily", "x-lq-queue: ops", "x-lq-key: k")
    assert (await api.ask("POST schedules", *headers)).issues == ["x-lq-target"]
    await api.ask("PATCH queues/ops", body=b'{"target": "https://example.com/queue"}')
    made = await api.ask("POST schedules", *headers)
    assert (made.status, made.json["target"]["url"]) == (201, "https://example.com/queue")


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ((), ["x-lq-schedule", "x-lq-queue"]),
        (("x-lq-schedule: @daily",), ["x-lq-queue"]),
        (("x-lq-schedule: 0 24 * * *", "x-lq-queue: q"), ["x-lq-schedule"]),
        (("x-lq-schedule: 0 0 30 2 *", "x-lq-queue: q"), ["x-lq-schedule"]),
        ((f"x-lq-schedule: {'*' * 8000}", "x-lq-queue: q"), ["x-lq-schedule"]),
        (("x-lq-schedule: E=1ms", "x-lq-queue: q"), ["x-lq-schedule"]),
        ((*NIGHTLY, "x-lq-tz: ../etc/passwd"), ["x-lq-tz"]),
        ((*NIGHTLY, "x-lq-tz: localtime"), ["x-lq-tz"]),
        ((*NIGHTLY, "x-lq-tz: posix/Europe/Berlin"), ["x-lq-tz"]),
        ((*NIGHTLY, "x-lq-tz:"), ["x-lq-tz"]),
        ((*NIGHTLY, "x-lq-delay: 5m"), ["x-lq-delay"]),
        ((*NIGHTLY, "x-lq-on: 2030-01-01T00:00:00Z"), ["x-lq-on"]),
        ((*NIGHTLY, "x-lq-if-exists: keep"), ["x-lq-if-exists"]),
        ((*NIGHTLY, "x-lq-until: 2020-01-01T00:00:00Z"), ["x-lq-until"]),
        ((*NIGHTLY, "x-lq-times: 1000000001"), ["x-lq-times"]),
        ((*NIGHTLY, "x-lq-queue: other"), ["x-lq-queue"]),
        ((*NIGHTLY, "x-lq-sched: x"), ["x-lq-sched"]),
        (("x-lq-schedule: @daily", "x-lq-queue: q", "x-lq-target: nowhere"), ["x-lq-target"]),
    ],
)
async def test_a_schedule_that_is_refused_names_the_fields(
    api: Peer, headers: tuple[str, ...], fields: list[str]
) -> None:
    assert (await api.ask("POST schedules", *headers)).issues == fields
    assert (await api.ask("GET schedules")).json == {"items": []}


async def test_a_bad_rule_says_where(api: Peer) -> None:
    answer = await api.ask("POST schedules", "x-lq-schedule: C=0 24 * * *", "x-lq-queue: q", TARGET)
    (issue,) = answer.json["issues"]
    assert "hour field" in issue["message"]
    assert "position 3" in issue["message"]


async def test_a_zone_that_is_unknown_has_its_own_code(api: Peer) -> None:
    answer = await api.ask("POST schedules", *NIGHTLY, "x-lq-tz: Mars/Olympus")
    assert answer.json["issues"][0]["code"] == "unknown_timezone"


@pytest.mark.parametrize("target", ["https://127.0.0.1/", "https://169.254.169.254/latest"])
async def test_a_target_that_lq_may_not_call(api: Peer, target: str) -> None:
    headers = ("x-lq-schedule: @daily", "x-lq-queue: q", f"x-lq-target: {target}")
    answer = await api.ask("POST schedules", *headers)
    assert (answer.status, answer.json["type"]) == (422, "TARGET_NOT_ALLOWED")


async def test_a_schedule_whose_end_comes_before_its_first_time(api: Peer) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    rarer = ("x-lq-schedule: E=2d", "x-lq-queue: q", TARGET)
    answer = await api.ask("POST schedules", *rarer, f"x-lq-until: {tomorrow}")
    assert answer.issues == ["x-lq-until"]


async def test_the_bytes_of_fetch_and_of_curl(api: Peer) -> None:
    for raw in ("größe".encode(), "größe".encode("latin-1")):
        made = await api.ask(
            "POST schedules", "x-lq-schedule: @daily", b"x-lq-queue: " + raw, b"x-lq-key: " + raw,
            TARGET,
        )  # fmt: skip
        assert (made.json["key"], made.json["queue"]) == ("größe", "größe")
    found = await api.ask("GET schedules/byKey/gr%C3%B6%C3%9Fe")
    assert found.json["id"] == made.json["id"]


# Finding one


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("plain", "plain"),
        ("a/b", "a/b"),
        ("a/b", "a%2Fb"),
        ("a?b=c&d", "a?b=c&d"),
        ("a b", "a%20b"),
        ("100%", "100%"),
        ("nightly/run", "nightly/run"),
        ("nightly/next", "nightly/next"),
        ("byKey/x", "byKey/x"),
        ("sch_1", "sch_1"),
    ],
)
async def test_keys_are_not_encoded_in_by_key_paths(api: Peer, key: str, path: str) -> None:
    made = await make(api, f"x-lq-key: {key}")
    assert (await api.ask(f"GET schedules/byKey/{path}")).json["id"] == made.json["id"]
    renamed = await api.ask(f"PATCH schedules/byKey/{path}", "x-lq-tz: Asia/Tokyo")
    assert renamed.json["timezone"] == "Asia/Tokyo"
    assert (await api.ask(f"DELETE schedules/byKey/{path}")).json["id"] == made.json["id"]
    assert (await api.ask(f"GET schedules/byKey/{path}")).status == 404


@pytest.mark.parametrize("key", ["", "%00", "a%0Ab", "k" * 513, "%FF"])
async def test_keys_that_could_not_have_been_given_are_refused(api: Peer, key: str) -> None:
    assert (await api.ask(f"GET schedules/byKey/{key}")).issues == ["key"]


@pytest.mark.parametrize(
    "request_line",
    [
        "GET schedules/{}",
        "DELETE schedules/{}",
        "PATCH schedules/{}",
        "POST schedules/{}/run",
        "POST schedules/{}/pause",
        "POST schedules/{}/resume",
        "GET schedules/{}/next",
        "GET schedules/byKey/{}",
        "DELETE schedules/byKey/{}",
        "PATCH schedules/byKey/{}",
    ],
)
@pytest.mark.parametrize("name", ["sch_none", "nightly", "%C3%A9", "job_1", "x" * 500])
async def test_a_schedule_that_is_not_there(api: Peer, request_line: str, name: str) -> None:
    await make(api, "x-lq-key: other")
    answer = await api.ask(request_line.format(name))
    assert (answer.status, answer.json["type"]) == (404, "NOT_FOUND")


async def test_what_the_sdk_sends(api: Peer) -> None:
    anonymous = api.having("")
    bearer = f"authorization: Bearer: {api.token}"
    made = await anonymous.ask(
        "POST //api/v1/schedules", f"authorization: Bearer {api.token}", "accept: application/json",
        "content-type: application/json", "x-lq-key: nightly", "x-lq-schedule: C=30 2 * * *",
        "x-lq-queue: api/mail", TARGET, "x-lq-tz: Europe/Rome", 'x-lq-headers: {"x-a":"b"}',
        body=b'{"to":"ada"}',
    )  # fmt: skip
    assert (made.status, made.json["schedule"]) == (201, "30 2 * * *")
    assert (await anonymous.ask("GET schedules/byKey/nightly", bearer)).status == 200
    assert (await anonymous.ask(f"DELETE schedules/{made.json['id']}", bearer)).status == 200
    gone = await anonymous.ask(f"GET schedules/{made.json['id']}", bearer)
    assert (gone.status, gone.json["type"]) == (404, "NOT_FOUND")


async def test_listings_come_in_pages_and_narrow_down(api: Peer) -> None:
    for key in ("c", "a", "b"):
        await make(api, f"x-lq-key: {key}")
    await api.ask("POST schedules", "x-lq-schedule: E=1h", "x-lq-queue: mail", TARGET)
    first = (await api.ask("GET schedules?limit=2")).json
    assert [entry["key"] for entry in first["items"]] == ["a", "b"]
    rest = (await api.ask(f"GET schedules?limit=2&cursor={first['cursor']}")).json
    assert [entry.get("key") for entry in rest["items"]] == ["c", None]
    assert "cursor" not in rest
    (mail,) = (await api.ask("GET schedules/?queue=mail")).json["items"]
    assert (mail["schedule"], mail["explanation"]) == ("E=1h", "every hour")
    assert (await api.ask("GET schedules?queue=none")).json == {"items": []}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1000000000", "limit"),
        ("cursor=garbage", "cursor"),
        ("state=PENDING", "state"),
        ("queue=", "queue"),
        ("queue=%FF", "query"),
    ],
)
async def test_a_listing_that_is_refused_names_the_parameter(
    api: Peer, query: str, field: str
) -> None:
    await make(api)
    assert (await api.ask(f"GET schedules?{query}")).issues == [field]


# Changing one


async def test_what_a_change_leaves_alone_stays(api: Peer) -> None:
    made = await make(api, "x-lq-key: k", "x-lq-until: 9999-12-31T00:00:00Z", body=b"old")
    where = f"schedules/{made.json['id']}"
    before = (await api.ask(f"GET {where}")).json
    assert (await api.ask(f"PATCH {where}", "Content-Type: text/plain")).status == 200
    assert (await api.ask(f"GET {where}")).json == before
    edited = await api.ask(
        f"PATCH {where}", "x-lq-schedule: @yearly", "x-lq-until:", "x-lq-queue: reports",
        "x-lq-method: PUT", "Content-Type: application/json", body=b'{"new": true}',
    )  # fmt: skip
    assert edited.status == 200
    after = (await api.ask(f"GET {where}")).json
    assert "until" not in after
    assert (after["schedule"], after["queue"]) == ("@yearly", "reports")
    assert (after["payload"], after["target"]["method"]) == ({"new": True}, "PUT")
    assert {name: after[name] for name in ("id", "key", "created")} == {
        name: before[name] for name in ("id", "key", "created")
    }


async def test_a_change_that_is_refused(api: Peer) -> None:
    made = await make(api, "x-lq-key: k", "x-lq-start: 2035-01-01T00:00:00Z")
    where = f"PATCH schedules/{made.json['id']}"
    assert (await api.ask(where, "x-lq-key: other")).issues == ["x-lq-key"]
    assert (await api.ask(where, "x-lq-schedule: nonsense")).issues == ["x-lq-schedule"]
    assert (await api.ask(where, "x-lq-tz: Mars")).issues == ["x-lq-tz"]
    assert (await api.ask(where, "x-lq-until: 2020-01-01T00:00:00Z")).issues == ["x-lq-until"]
    assert (await api.ask(where, "x-lq-target: https://10.0.0.1/")).status == 422
    shown = (await api.ask("GET schedules/byKey/k")).json
    assert {**shown, **made.json} == {**shown, "outcome": "created"}


async def test_a_deleted_schedule_is_gone_and_its_items_stay(api: Peer) -> None:
    await api.ask("POST queues/ops/pause")
    made = await make(api, "x-lq-key: k")
    item = (await api.ask(f"POST schedules/{made.json['id']}/run")).json
    deleted = await api.ask("DELETE schedules/byKey/k")
    assert (deleted.status, deleted.json["id"]) == (200, made.json["id"])
    assert (await api.ask("DELETE schedules/byKey/k")).status == 404
    assert (await api.ask(f"GET items/{item['id']}")).json["schedule"] == made.json["id"]
    again = await make(api, "x-lq-key: k")
    assert (again.status, again.json["id"] != made.json["id"]) == (201, True)


async def test_a_paused_schedule_has_no_next_run(api: Peer) -> None:
    made = await make(api)
    where = f"schedules/{made.json['id']}"
    for _ in range(2):
        paused = await api.ask(f"POST {where}/pause")
        assert (paused.status, paused.json["paused"]) == (200, True)
        assert "nextRun" not in paused.json
    for _ in range(2):
        resumed = await api.ask(f"POST {where}/resume")
        assert resumed.json["paused"] is False
        assert resumed.json["nextRun"] == made.json["nextRun"]


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
async def test_a_parameter_that_means_nothing_is_refused(api: Peer, verb: str) -> None:
    made = await make(api)
    assert (await api.ask(f"POST schedules/{made.json['id']}/{verb}?dry=1")).issues == ["dry"]
    assert (await api.ask("POST schedules?dry=1", *NIGHTLY)).issues == ["dry"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_what_is_named_by_id_takes_no_parameter(api: Peer, method: str) -> None:
    made = await make(api, "x-lq-key: k?dry=1")
    assert (await api.ask(f"{method} schedules/{made.json['id']}?dry=1")).issues == ["dry"]
    assert (await api.ask(f"{method} schedules/byKey/k?dry=1")).status == 200
    await api.ask("POST queues/ops/pause")
    item = await api.ask("POST queues/ops/items", TARGET, "x-lq-key: k?dry=1")
    assert (await api.ask(f"{method} items/{item.json['id']}?dry=1")).issues == ["dry"]
    assert (await api.ask(f"GET items/{item.json['id']}/attempts?dry=1")).issues == ["dry"]
    assert (await api.ask(f"{method} queues/ops/items/byKey/k?dry=1")).status == 200


async def test_an_endpoint_that_need_not_prove_itself_is_told(api: Peer) -> None:
    made = await make(api, "x-lq-key: k", "x-lq-validate: none")
    assert (await api.ask("GET schedules/byKey/k")).json["validate"] == "none"
    assert "validate" not in made.json
    await api.ask("PATCH schedules/byKey/k", "x-lq-validate: head")
    assert "validate" not in (await api.ask("GET schedules/byKey/k")).json


async def test_without_any_target_there_is_nothing_to_run(api: Peer) -> None:
    await api.ask("PATCH queues/q", body=b'{"target": "https://example.com/queue"}')
    made = await api.ask("POST schedules", "x-lq-schedule: @daily", "x-lq-queue: q")
    await api.ask("PATCH queues/q", body=b'{"target": null}')
    refused = await api.ask(f"POST schedules/{made.json['id']}/run")
    assert (refused.status, refused.json["type"]) == (409, "CONFLICT")
    assert refused.json["message"] == "it names no target, and queue 'q' has no default target"


# Its items


async def test_an_item_made_by_hand(api: Peer) -> None:
    await api.ask("POST queues/ops/pause")
    made = await make(api, "x-lq-label: a", body=b"x")
    where = f"schedules/{made.json['id']}"
    run = await api.ask(f"POST {where}/run")
    assert run.status == 201
    assert run.headers["location"] == f"/api/v1/items/{run.json['id']}"
    item = (await api.ask(f"GET items/{run.json['id']}")).json
    assert (item["payload"], item["labels"], item["queue"]) == ("x", ["a"], "ops")
    assert (item["schedule"], item["fireTime"]) == (made.json["id"], item["created"])
    assert "missed" not in item
    await api.ask("POST queues/ops/items", TARGET)
    listed = (await api.ask(f"GET items?schedule={made.json['id']}")).json["items"]
    assert [entry["id"] for entry in listed] == [item["id"]]
    assert (await api.ask(f"GET history?schedule={made.json['id']}")).json == {"items": []}
    shown = (await api.ask(f"GET {where}")).json
    assert shown["lastItem"] == {"id": item["id"], "state": "PENDING"}
    assert shown["nextRun"] == made.json["nextRun"]
    assert "lastRun" not in shown


async def test_a_schedule_fires_and_says_what_became_of_it(
    api: Peer, running: Daemon, handler: Handler, pass_time: Callable[[int], None]
) -> None:
    made = await api.ask(
        "POST schedules", "x-lq-schedule: E=1h", "x-lq-queue: ops", f"x-lq-target: {handler.url}",
        "x-lq-key: k", body=b"payload",
    )  # fmt: skip
    nominal = made.json["nextRun"]
    with running.events.subscribe() as events:
        pass_time(HOUR_MS)
        async for event in events:
            if event.state is State.COMPLETED:
                break
    call = await handler.calls.get()
    assert call.body == b"payload"
    assert call.headers["x-lq-schedule"].decode() == made.json["id"]
    assert call.headers["x-lq-fire-time"].decode() == nominal
    assert "x-lq-missed" not in call.headers
    shown = (await api.ask("GET schedules/byKey/k")).json
    assert (shown["lastRun"], shown["fired"]) == (nominal, 1)
    assert shown["lastItem"]["state"] == "COMPLETED"
    (item,) = (await api.ask(f"GET history?schedule={shown['id']}")).json["items"]
    assert (item["fireTime"], item["id"]) == (nominal, shown["lastItem"]["id"])


async def test_what_was_missed_is_marked_as_made_up_for(
    api: Peer, running: Daemon, handler: Handler, pass_time: Callable[[int], None]
) -> None:
    made = await api.ask(
        "POST schedules", "x-lq-schedule: E=1h", "x-lq-queue: ops", f"x-lq-target: {handler.url}"
    )
    with running.events.subscribe() as events:
        pass_time(3 * HOUR_MS + HOUR_MS // 2)
        async for event in events:
            if event.state is State.COMPLETED:
                break
    call = await handler.calls.get()
    assert call.headers["x-lq-missed"] == b"3"
    (item,) = (await api.ask(f"GET history?schedule={made.json['id']}")).json["items"]
    assert item["missed"] == 3


# The rest


async def test_a_daemon_that_stops_changes_no_schedule(api: Peer, running: Daemon) -> None:
    made = await make(api, "x-lq-key: k")
    where = f"schedules/{made.json['id']}"
    running.engine.stop()
    for request_line in (
        "POST schedules", f"PATCH {where}", f"DELETE {where}", f"POST {where}/run",
        f"POST {where}/pause", f"POST {where}/resume", "POST reload",
    ):  # fmt: skip
        headers = NIGHTLY if request_line == "POST schedules" else ()
        refused = await api.ask(request_line, *headers)
        assert (refused.status, refused.json["type"]) == (503, "UNAVAILABLE"), request_line
    assert (await api.ask(f"GET {where}")).json["paused"] is False


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "schedules", "GET, HEAD, POST"),
        ("POST", "schedules/sch_1", "DELETE, GET, HEAD, PATCH"),
        ("POST", "schedules/byKey/k", "DELETE, GET, HEAD, PATCH"),
        ("POST", "cron", "GET, HEAD"),
        ("GET", "reload", "POST"),
    ],
)
async def test_a_method_that_a_path_does_not_know(
    api: Peer, method: str, path: str, allowed: str
) -> None:
    answer = await api.ask(f"{method} {path}")
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


async def test_head_is_the_head_of_a_get(api: Peer) -> None:
    made = await make(api)
    for path in (f"schedules/{made.json['id']}", "schedules", "cron?expr=@daily"):
        answer = await api.ask(f"HEAD {path}")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 20


async def test_a_payload_that_is_too_large(api: Peer) -> None:
    answer = await api.ask("POST schedules", *NIGHTLY, "Content-Length: 99999999")
    assert (answer.status, answer.json["type"]) == (413, "PAYLOAD_TOO_LARGE")
