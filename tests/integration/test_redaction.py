"""What a queue's `redact` hides: from the API and the log, and never from the handler."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lq.config import Validate
from lq.daemon.main import Daemon
from lq.model import QueueSettings, RetryPolicy
from tests.integration.api.raw import Answer, Peer
from tests.support.handler import answers
from tests.support.home import Home, heard

CANARIES = (b"body-canary", b"header-canary", b"said-canary", b"cookie-canary", b"place-canary")
REDACT = ("body", "header:x-customer", "response")
HEADERS = {"X-Customer": "header-canary", "X-Open": "shown", "Authorization": "header-canary"}


@pytest.fixture
async def shy(home: Home) -> AsyncIterator[Daemon]:
    """A daemon whose queue `shy` hides all that it can."""
    queues = {
        "shy": QueueSettings(redact=REDACT, headers={"x-customer": "header-canary"}),
        "shier": QueueSettings(redact=(*REDACT, "header:x-more")),
        "half": QueueSettings(redact=("body", "response")),
    }
    async with home.daemon(queues=queues, validate=Validate(default="none")) as daemon:
        yield daemon


@pytest.fixture
async def owner(home: Home, shy: Daemon) -> AsyncIterator[Peer]:
    peer = Peer(socket_path=str(home.config.socket))
    yield peer
    await peer.close()


async def asked(owner: Peer, *requests: str) -> list[Answer]:
    """The answers, none of which says what is not to be said."""
    found = [await owner.ask(request) for request in requests]
    for answer in found:
        assert 200 <= answer.status < 300
        assert [canary for canary in CANARIES if canary in answer.body] == []
    return found


async def test_the_handler_gets_what_nobody_else_sees(
    home: Home, shy: Daemon, owner: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "lq")
    home.handler.on(
        "/", answers(500, b"said-canary", {"Location": "https://place-canary/", "x-a": "b"})
    )
    with shy.events.subscribe() as events:
        pushed = await shy.engine.push(
            home.push(
                queue="shy", key="k", payload=b'{"a": "body-canary"}', retry=RetryPolicy(0),
                headers=HEADERS, content_type="application/json",
            )
        )  # fmt: skip
        await heard(events, "bury", pushed.job.id)
    call = await home.handler.next()
    assert call.body == b'{"a": "body-canary"}'
    assert call.headers["x-customer"] == "header-canary"
    item = f"items/{pushed.job.id}"
    full, attempts, *_ = await asked(
        owner,
        f"GET {item}",
        f"GET {item}/attempts",
        "GET history",
        "GET queues/shy/items?state=FAILED",
        "GET queues",
        "GET queues/shy",
        f"POST {item}/retry",
    )
    shown = full.json
    assert shown["payload"] == "[redacted]"
    assert shown["payloadType"] == "application/json"
    assert shown["redacted"] == list(REDACT)
    assert shown["error"] == "status 500: [redacted]"
    assert shown["lastStatus"] == 500
    assert shown["headers"] == {
        "X-Customer": "[redacted]", "X-Open": "shown", "Authorization": "[redacted]",
    }  # fmt: skip
    [attempt] = attempts.json["attempts"]
    assert (attempt["status"], attempt["responseBody"]) == (500, "[redacted]")
    assert set(attempt["responseHeaders"].values()) == {"[redacted]"}
    assert "canary" not in caplog.text


async def test_changes_and_schedules_hide_it_too(home: Home, shy: Daemon, owner: Peer) -> None:
    target = f"x-lq-target: {home.handler.url()}"
    waiting = ("x-lq-delay: 1h", 'x-lq-headers: {"x-customer": "header-canary"}', target)
    pushed = await owner.ask("POST queues/shy/items", *waiting, body=b"body-canary")
    schedule = await owner.ask(
        "POST schedules", "x-lq-schedule: @daily", "x-lq-queue: shy", *waiting[1:],
        body=b"body-canary",
    )  # fmt: skip
    item, rule = f"items/{pushed.json['id']}", f"schedules/{schedule.json['id']}"
    full, planned, *_ = await asked(
        owner, f"GET {item}", f"GET {rule}", f"PATCH {item}", "GET items", f"POST {rule}/pause",
        f"POST {rule}/run", "GET schedules", f"POST {item}/run", f"DELETE {rule}",
    )  # fmt: skip
    for shown in (full.json, planned.json):
        assert shown["payload"] == "[redacted]"
        assert shown["headers"] == {"x-customer": "[redacted]"}
        assert shown["redacted"] == list(REDACT)
    calls = await home.handler.take(2)
    assert {call.body for call in calls} == {b"body-canary"}


async def scheduled(home: Home, owner: Peer, key: str, queue: str = "shy") -> str:
    """The id of a schedule that has this key and queue from now on."""
    made = await owner.ask(
        "POST schedules", "x-lq-schedule: @daily", f"x-lq-queue: {queue}", f"x-lq-key: {key}",
        f"x-lq-target: {home.handler.url()}", "x-lq-retry: 0",
        'x-lq-headers: {"x-customer": "header-canary"}', body=b"body-canary",
    )  # fmt: skip
    assert made.status in {200, 201}
    return str(made.json["id"])


@pytest.mark.parametrize(("queue", "missing"), [("open", "body, header:x-customer, response"),
                                                ("half", "header:x-customer")])  # fmt: skip
async def test_a_schedule_does_not_move_to_where_it_would_be_seen(
    home: Home, owner: Peer, queue: str, missing: str
) -> None:
    await scheduled(home, owner, "k")
    refused = await owner.ask("PATCH schedules/byKey/k", f"x-lq-queue: {queue}")
    assert (refused.status, refused.json["type"]) == (409, "CONFLICT")
    assert refused.json["message"] == (
        f"queue '{queue}' would show what queue 'shy' hides: {missing}"
    )
    await asked(owner, "GET schedules/byKey/k")
    assert (await owner.ask("PATCH schedules/byKey/k", "x-lq-queue: shier")).status == 200
    await asked(owner, "GET schedules/byKey/k")


async def test_what_became_of_its_last_item_stays_hidden_when_it_is_made_anew_elsewhere(
    home: Home, shy: Daemon, owner: Peer
) -> None:
    home.handler.on("/", answers(500, b"said-canary"))
    schedule = await scheduled(home, owner, "k")
    with shy.events.subscribe() as events:
        ran = await owner.ask(f"POST schedules/{schedule}/run")
        await heard(events, "bury", ran.json["id"])
    await scheduled(home, owner, "k", queue="open")
    shown = (await owner.ask("GET schedules/byKey/k")).json
    assert (shown["queue"], shown["payload"]) == ("open", "body-canary")
    assert shown["lastItem"]["error"] == "status 500: [redacted]"


async def test_a_redirect_does_not_tell_where_to(home: Home, shy: Daemon, owner: Peer) -> None:
    home.handler.on("/", answers(302, headers={"Location": "https://place-canary/"}))
    with shy.events.subscribe() as events:
        pushed = await shy.engine.push(home.push(queue="shy"))
        await heard(events, "fail", pushed.job.id)
    [full] = await asked(owner, f"GET items/{pushed.job.id}")
    assert full.json["error"] == "redirect 302 -> [redacted]"


async def test_a_queue_hides_nothing_that_it_was_not_told_to(
    home: Home, shy: Daemon, owner: Peer
) -> None:
    home.handler.on("/", answers(500, b"said"))
    with shy.events.subscribe() as events:
        pushed = await shy.engine.push(home.push(headers={"x-customer": "ada"}))
        await heard(events, "fail", pushed.job.id)
    shown = (await owner.ask(f"GET items/{pushed.job.id}")).json
    assert (shown["payload"], shown["error"]) == ("payload-canary", "status 500: said")
    assert shown["headers"] == {"x-customer": "ada"}
    assert "redacted" not in shown


async def test_what_is_hidden_cannot_be_searched_for(home: Home, shy: Daemon, owner: Peer) -> None:
    home.handler.on("/", answers(500, b"said-canary"))
    with shy.events.subscribe() as events:
        for queue in ("shy", "open"):
            pushed = await shy.engine.push(home.push(queue=queue, retry=RetryPolicy(0)))
            await heard(events, "bury", pushed.job.id)
    for path in ("GET history?error=said", "GET queues/shy/items?state=FAILED&error=said"):
        items = (await owner.ask(path)).json["items"]
        assert {item["queue"] for item in items} <= {"open"}
    [kind] = (await owner.ask("GET failures?error=said")).json["failures"]
    assert kind["queues"] == ["open"]
    [found] = (await owner.ask("GET history?error=said")).json["items"]
    assert found["queue"] == "open"
    assert (await owner.ask("POST history/replay?error=said&dry=1")).json["matched"] == 1
