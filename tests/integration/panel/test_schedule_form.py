"""The form of a schedule: making one, changing one, and what is told while one types."""

from __future__ import annotations

import re

import pytest

from lq.daemon.main import Daemon
from lq.model import ById
from tests.integration.api.raw import Peer
from tests.support.pages import Browser, Page

from .schedules import BERLIN, ODD, TYPED, made, stored


async def test_every_field_of_the_form_arrives(api: Peer, panel: Browser) -> None:
    page = await panel.follow(await panel.post("/schedules/new", **TYPED))
    assert f"Schedule {ODD} was made." in page.text
    (listed,) = (await api.ask("GET schedules")).json["items"]
    schedule = await stored(api, listed["id"])
    assert schedule["schedule"] == "E=1m30s"
    assert schedule["start"] == "2029-01-01T08:00:00.000Z"
    assert schedule["until"] == "2029-01-31T23:00:00.000Z"
    assert schedule["headers"] == {"X-Team": "mail", "X-Umlaut": "ä: b"}
    assert schedule["payload"] == {"a": 1.1, "b": "ä"}
    assert schedule["payloadType"] == "application/json"
    assert schedule["labels"] == ["eu", "report"]
    said = ("queue", "key", "times", "jitter", "misfire", "overlap", "retry", "timeout", "expires",
            "validate")  # fmt: skip
    assert {name: str(schedule[name]) for name in said} == {
        name: TYPED[f"x-lq-{name}"] for name in said
    }
    assert schedule["target"] == {"url": "https://example.com/hook", "method": "PUT"}


async def test_what_is_wrong_is_told_beside_its_field_and_what_was_typed_stays(
    panel: Browser,
) -> None:
    typed = {**TYPED, "x-lq-schedule": "0 25 * * *", "x-lq-jitter": "25h", "payload": "\nx<"}
    page = await panel.post("/schedules/new", **typed)
    assert page.status == 400
    fields = page.form("/schedules/new").fields
    assert {name: fields[name] for name in ("x-lq-schedule", "x-lq-jitter", "payload")} == {
        "x-lq-schedule": "0 25 * * *", "x-lq-jitter": "25h", "payload": "\nx<",
    }  # fmt: skip
    told = {given["id"] for _, given in page.tags if given.get("class") == "wrong"}
    assert told == {"wrong-x-lq-schedule", "wrong-x-lq-jitter"}
    assert page.links["Jitter"] == "#field-x-lq-jitter"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"x-lq-schedule": ""}, "x-lq-schedule"),
        ({"x-lq-queue": ""}, "x-lq-queue"),
        ({"x-lq-tz": "Mars/Base"}, "x-lq-tz"),
        ({"x-lq-start": "whenever"}, "x-lq-start"),
        ({"x-lq-until": "2001-01-01T00:00:00Z"}, "x-lq-until"),
        ({"x-lq-headers": "no colon"}, "x-lq-headers"),
        ({"x-lq-headers": "A: 1\na: 2"}, "x-lq-headers"),
        ({"x-lq-headers": "Authorization: [redacted]"}, "x-lq-headers"),
        ({"x-lq-label": "two words"}, "x-lq-label"),
        ({"x-lq-queue": "a\x00b"}, "x-lq-queue"),
        ({"content-type": "té"}, "content-type"),
        ({"x-lq-times": "0"}, "x-lq-times"),
        ({"x-lq-completion": "callback"}, "x-lq-completion"),  # nobody could reach this daemon
    ],
)
async def test_a_field_that_is_wrong(
    api: Peer, panel: Browser, fields: dict[str, str], field: str
) -> None:
    page = await panel.post("/schedules/new", **{**TYPED, **fields})
    assert page.status == 400
    assert f"wrong-{field}" in {given.get("id") for _, given in page.tags}
    assert (await api.ask("GET schedules")).json == {"items": []}


async def test_a_key_that_is_taken_updates_nothing(api: Peer, panel: Browser) -> None:
    before = await stored(api, (await made(api, f"x-lq-key: {ODD}"))["id"])
    page = await panel.post("/schedules/new", **TYPED)
    assert page.status == 400
    assert "there is a schedule with this key" in page.text
    assert await stored(api, before["id"]) == before


async def test_a_target_that_may_not_be_called_is_refused(panel: Browser) -> None:
    page = await panel.post("/schedules/new", **{**TYPED, "x-lq-target": "http://169.254.169.254"})
    assert page.status == 422
    assert page.form("/schedules/new").fields["x-lq-target"] == "http://169.254.169.254"


async def test_an_edit_changes_what_was_changed_and_nothing_else(api: Peer, panel: Browser) -> None:
    schedule = await made(
        api, BERLIN, 'x-lq-headers: {"Authorization": "secret-canary"}', "x-lq-retry: 3",
        "content-type: application/json", body=b'{"n": 12345678901234567890}',
    )  # fmt: skip
    at = f"/schedules/{schedule['id']}/edit"
    fields = (await panel.get(at)).form(at).fields
    assert fields["payload"] == '{"n": 12345678901234567890}'
    assert fields["x-lq-headers"] == "Authorization: [redacted]"
    assert "x-lq-key" not in fields
    page = await panel.follow(await panel.post(at, **fields))
    assert "Nothing was different." in page.text
    changes = {"x-lq-schedule": "15 3 * * *", "x-lq-retry": "", "x-lq-tz": ""}
    page = await panel.follow(await panel.post(at, **{**fields, **changes}))
    assert "At 03:15 every day , UTC" in page.text
    after = await api.ask(f"GET schedules/{schedule['id']}")
    assert b'"payload":{"n": 12345678901234567890}' in after.body
    assert "retry" not in after.json
    assert after.json["headers"] == {"Authorization": "[redacted]"}


async def test_a_credential_stays_when_something_else_is_edited(
    api: Peer, panel: Browser, running: Daemon
) -> None:
    schedule = await made(api, 'x-lq-headers: {"Authorization": "secret-canary"}')
    at = f"/schedules/{schedule['id']}/edit"
    fields = (await panel.get(at)).form(at).fields
    await panel.post(at, **{**fields, "x-lq-timeout": "5s"})
    assert await secret(running, schedule["id"]) == {"Authorization": "secret-canary"}
    changed = "Authorization: [redacted]\nX-Team: mail"
    page = await panel.post(at, **{**fields, "x-lq-timeout": "5s", "x-lq-headers": changed})
    assert page.status == 409  # it has a time-out by now, which this form has not seen
    again = page.form(at).fields
    page = await panel.post(at, **again)
    assert page.status == 400
    assert "is what lq shows in place of a credential" in page.text
    assert await secret(running, schedule["id"]) == {"Authorization": "secret-canary"}


async def secret(running: Daemon, schedule_id: str) -> dict[str, str]:
    """The headers of a schedule as its calls have them."""
    found = await running.engine.schedules.get(ById(schedule_id))
    return dict(found.spec.push.headers)


async def test_an_edit_does_not_undo_that_of_somebody_else(api: Peer, panel: Browser) -> None:
    schedule = await made(api)
    at = f"/schedules/{schedule['id']}/edit"
    fields = (await panel.get(at)).form(at).fields
    await api.ask(f"PATCH schedules/{schedule['id']}", "x-lq-jitter: 7m")
    page = await panel.post(at, **{**fields, "x-lq-timeout": "5s"})
    assert page.status == 409
    assert "somebody has changed this schedule" in page.text.lower()
    assert (await stored(api, schedule["id"]))["jitter"] == "7m"
    page = await panel.post(at, **page.form(at).fields)
    assert page.status == 303
    assert "jitter" not in await stored(api, schedule["id"])


@pytest.mark.parametrize("body", [b"\x00\xff", b"x" * 100_001])
async def test_a_payload_that_no_form_shows_stays(api: Peer, panel: Browser, body: bytes) -> None:
    schedule = await made(api, "content-type: text/plain", body=body)
    at = f"/schedules/{schedule['id']}/edit"
    page = await panel.get(at)
    assert "It stays unless another is typed." in page.text
    fields = page.form(at).fields
    assert fields["payload"] == ""
    assert (await panel.post(at, **{**fields, "x-lq-timeout": "5s"})).status == 303
    assert (await stored(api, schedule["id"]))["payload"]
    refused = await panel.post(at, **{**fields, "content-type": "text/html"})
    assert refused.status == 409
    fields = refused.form(at).fields
    assert (await panel.post(at, **fields)).status == 400
    assert (await panel.post(at, **{**fields, "payload": "new"})).status == 303
    after = await stored(api, schedule["id"])
    assert (after["payload"], after["payloadType"]) == ("new", "text/html")


async def test_a_payload_is_not_taken_away(api: Peer, panel: Browser) -> None:
    schedule = await made(api, "content-type: text/plain", body=b"text")
    at = f"/schedules/{schedule['id']}/edit"
    fields = (await panel.get(at)).form(at).fields
    page = await panel.post(at, **{**fields, "payload": ""})
    assert page.status == 400
    assert "can be replaced, but not taken away" in page.text


async def test_a_preview_explains_and_saves_nothing(api: Peer, panel: Browser) -> None:
    page = await panel.post("/schedules/new", **{**TYPED, "preview": "1"})
    assert page.status == 200
    assert "Every 90 seconds." in page.text
    assert page.form("/schedules/new").fields["payload"] == '\n{"a": 1.10,\n "b": "ä"}'
    assert (await api.ask("GET schedules")).json == {"items": []}


async def explained(panel: Browser, **typed: str) -> Page:
    """What is told of what was typed, as the page asks for it."""
    query = "&".join(f"x-lq-{name}={text.replace(' ', '+')}" for name, text in typed.items())
    page = await panel.get(f"/schedules/explain?{query}")
    assert page.status == 200
    assert [given["id"] for _, given in page.tags if "id" in given] == ["explanation"]
    return page


async def test_a_rule_is_explained_while_it_is_typed(panel: Browser) -> None:
    assert "appears here" in (await explained(panel)).text
    page = await explained(panel, schedule="30 2 * * *", tz="Europe/Berlin", start="2030-03-30")
    assert "Start: expected an instant" in page.text
    page = await explained(
        panel, schedule="30 2 * * *", tz="Europe/Berlin", start="2030-03-30 00:00"
    )
    assert "At 02:30 every day." in page.text
    assert page.text.count("+02:00") == 4
    assert "02:30 is skipped by the clocks on this day" in page.text
    wrong = await explained(panel, schedule="30 2 * *", tz="Nowhere")
    assert re.search(r"Rule: .*\(at position", wrong.text)
    assert "Time zone: there is no time zone" in wrong.text
    assert "A rule is a cron expression" in wrong.text
    hostile = await explained(panel, schedule="%3Cscript%3E * * * *")
    assert "<script>" in hostile.text
    assert b"<script>" not in hostile.body


def told(page: Page) -> list[str]:
    return [given["datetime"] for tag, given in page.tags if "data-form" in given]


async def test_start_end_and_times_bound_what_is_foretold(panel: Browser) -> None:
    soon = {"schedule": "every 1h", "start": "2030-01-01T00:30:00Z"}
    page = await explained(panel, **soon)
    assert told(page) == [f"2030-01-01T0{hour}:30:00.000Z" for hour in range(5)]
    assert len(told(await explained(panel, **soon, times="2"))) == 2
    assert len(told(await explained(panel, **soon, until="2030-01-01T02:30:00Z"))) == 3
    page = await explained(panel, **soon, until="2029-01-01T00:00:00Z")
    assert "no time to fire" in page.text
    past = await explained(panel, schedule="every 1h", start="2020-01-01T00:30:00Z")
    assert {text[13:] for text in told(past)} == {":30:00.000Z"}
    assert len(told(await explained(panel, schedule="every hour"))) == 5
