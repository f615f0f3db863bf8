"""The pages of schedules: what they show, and what is done to schedules there."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lq.config import load
from lq.daemon.main import Daemon, daemon
from lq.model import ById, QueueSettings, ScheduleFilter, Scope
from tests.integration.api.given import TARGET
from tests.integration.api.raw import Peer
from tests.support.home import Home
from tests.support.pages import Browser, Page

from .schedules import BERLIN, ODD, TYPED, made, stored


def actions(page: Page) -> set[str]:
    """What the forms of a page do, the way out aside."""
    return {form.action for form in page.forms} - {"/logout", ""}


async def test_without_a_schedule_the_list_says_how_to_make_one(panel: Browser) -> None:
    page = await panel.get("/schedules")
    assert page.status == 200
    assert "lq schedules add" in page.text
    assert page.links["New schedule"] == "/schedules/new"


async def test_the_list_tells_rules_in_words_and_what_is_paused(api: Peer, panel: Browser) -> None:
    first = await made(api, BERLIN, f"x-lq-key: {ODD}")
    second = await made(api, "x-lq-key: second")
    await api.ask(f"PATCH schedules/{second['id']}", "x-lq-schedule: E=90m")
    await api.ask(f"POST schedules/{second['id']}/pause")
    page = await panel.get("/schedules")
    assert page.links[ODD] == f"/schedules/{first['id']}"
    assert ODD.encode() not in page.body
    assert "at 02:30 every day , Europe/Berlin" in page.text
    assert "every 90 minutes ops paused" in page.text


async def test_the_list_is_narrowed_down_by_queue_and_comes_in_pages(
    api: Peer, panel: Browser
) -> None:
    for number in range(52):
        await made(api, f"x-lq-key: k{number:02}")
    await api.ask(
        "POST schedules", "x-lq-schedule: @daily", "x-lq-queue: mail", TARGET, "x-lq-key: post"
    )
    first = await panel.get("/schedules?queue=ops")
    second = await panel.get(first.links["More"])
    names = [name for page in (first, second) for name in page.links if name.startswith("k")]
    assert names == [f"k{number:02}" for number in range(52)]
    assert "More" not in second.links
    assert "post" not in {*first.links, *second.links}
    assert "post" in (await panel.get("/schedules?queue=mail")).links
    assert "No schedule pushes to queue none" in (await panel.get("/schedules?queue=none")).text
    assert (await panel.get("/schedules?cursor=x")).status == 400


async def test_a_schedule_shows_its_rule_its_next_runs_and_its_settings(
    api: Peer, panel: Browser
) -> None:
    headers = '{"x-team": "mail", "Authorization": "secret-canary"}'
    schedule = await made(
        api, BERLIN, "x-lq-start: 2030-03-30T00:00:00Z", f"x-lq-headers: {headers}",
        "x-lq-label: eu,report", "content-type: application/json",
        body=b'{"n":12345678901234567890,"x":"<i>"}',
    )  # fmt: skip
    page = await panel.get(f"/schedules/{schedule['id']}?month=2030-03")
    assert page.status == 200
    assert "At 02:30 every day , Europe/Berlin" in page.text
    assert "Sun 2030-03-31 03:00 +02:00" in page.text
    assert "02:30 is skipped by the clocks on this day; runs at 03:00" in page.text
    assert "12345678901234567890" in page.text
    assert "<i>" in page.text
    assert b"<i>" not in page.body
    assert "x-team: mail" in page.text
    assert "secret-canary" not in page.html
    assert "It has made no item yet" in page.text


async def test_a_month_counts_what_fires_on_each_day(api: Peer, panel: Browser) -> None:
    schedule = await made(api, BERLIN)
    await api.ask(f"PATCH schedules/{schedule['id']}", "x-lq-schedule: * * * * * *")
    await api.ask(f"POST schedules/{schedule['id']}/pause")
    page = await panel.get(f"/schedules/{schedule['id']}?month=2030-03")
    assert "March 2030 2 674 800 times, Europe/Berlin" in page.text
    assert page.text.count("86 400 times 00:00:00, 00:00:01, 00:00:02, …") == 30
    assert page.text.count("82 800 times") == 1
    assert page.links["Previous"].endswith("?month=2030-02#month")
    assert page.links["Next"].endswith("?month=2030-04#month")
    assert page.links["This month"] == f"/schedules/{schedule['id']}#month"
    present = await panel.get(f"/schedules/{schedule['id']}")
    assert "This month" not in present.links
    assert [tag for tag, given in present.tags if given.get("aria-current") == "date"] == ["td"]


@pytest.mark.parametrize("month", ["2030-13", "soon", "1969-12", "9998-12", "2030-3"])
async def test_a_month_that_is_none_says_so(api: Peer, panel: Browser, month: str) -> None:
    schedule = await made(api)
    page = await panel.get(f"/schedules/{schedule['id']}?month={month}")
    assert page.status == 400
    assert "Month: " in page.text


async def test_a_schedule_that_is_not_there(panel: Browser) -> None:
    for path in ("sch_none", "sch_none/edit", "sch_none/delete", "%2F..%2Fitems"):
        assert (await panel.get(f"/schedules/{path}")).status == 404, path
    for path in ("run", "pause", "resume", "delete"):
        assert (await panel.post(f"/schedules/sch_none/{path}")).status == 404


async def test_it_is_run_paused_and_resumed(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/ops/pause")
    schedule = await made(api, "x-lq-overlap: skip")
    at = f"/schedules/{schedule['id']}"
    ran = await panel.follow(await panel.post(f"{at}/run"))
    (item,) = (await api.ask("GET items")).json["items"]
    assert f"An item was made: {item['id']}." in ran.text
    assert ran.links[item["id"]] == f"/items/{item['id']}"
    again = await panel.follow(await panel.post(f"{at}/run"))
    assert "a job of this schedule is unfinished" in again.text
    paused = await panel.follow(await panel.post(f"{at}/pause"))
    assert (await stored(api, schedule["id"]))["paused"]
    assert "Next runs, were it not paused" in paused.text
    assert {f"{at}/run", f"{at}/resume"} == actions(paused)
    await panel.post(f"{at}/resume")
    assert not (await stored(api, schedule["id"]))["paused"]


async def test_its_deletion_is_asked_first_and_says_what_stays(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/ops/pause")
    schedule = await made(api, "x-lq-key: k")
    at = f"/schedules/{schedule['id']}"
    assert "No item of it waits or runs." in (await panel.get(f"{at}/delete")).text
    await panel.post(f"{at}/run")
    page = await panel.get(f"{at}/delete")
    assert "1 item that it has made is not finished. They stay" in page.text
    assert (await stored(api, schedule["id"]))["key"] == "k"
    gone = await panel.follow(await panel.post(f"{at}/delete"))
    assert "Schedule k was deleted." in gone.text
    assert (await api.ask(f"GET schedules/{schedule['id']}")).status == 404
    assert len((await api.ask("GET items")).json["items"]) == 1


@pytest.mark.parametrize("body", [b"\x00\xff", b'{"n":1.10}', b"text\r\n"])
async def test_a_payload_is_downloaded_to_the_byte(api: Peer, panel: Browser, body: bytes) -> None:
    schedule = await made(api, "content-type: application/json", body=body)
    page = await panel.get(f"/schedules/{schedule['id']}/payload")
    assert (page.status, page.body) == (200, body)
    assert page.headers["Content-Disposition"].startswith("attachment; ")


@pytest.mark.parametrize("depth", [500, 900, 990, 1000, 30_000])
async def test_a_payload_nested_deep_is_shown(api: Peer, panel: Browser, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    schedule = await made(api, "content-type: application/json", body=deep)
    page = await panel.get(f"/schedules/{schedule['id']}")
    assert page.status == 200
    assert len(page.body) < 150_000
    assert (await panel.get(f"/schedules/{schedule['id']}/edit")).status == 200


async def test_who_may_look_changes_nothing(api: Peer, reader: Browser) -> None:
    schedule = await made(api)
    (before,) = (await api.ask("GET schedules")).json["items"]
    at = f"/schedules/{schedule['id']}"
    page = await reader.get(at)
    assert page.status == 200
    assert actions(page) == set()
    assert {"Edit", "Delete"}.isdisjoint(page.links)
    assert "New schedule" not in (await reader.get("/schedules")).links
    for path in ("/schedules/new", f"{at}/edit"):
        assert (await reader.get(path)).status == 403, path
    for path in ("/schedules/new", f"{at}/edit", f"{at}/run", f"{at}/pause", f"{at}/resume",
                 f"{at}/delete"):  # fmt: skip
        assert (await reader.post(path, **TYPED)).status == 403, path
    assert (await api.ask("GET schedules")).json["items"] == [before]


async def test_a_limited_token_has_its_own_schedules(api: Peer, limited: Browser) -> None:
    theirs = await made(api, f"x-lq-key: {ODD}")
    assert (await limited.get(f"/schedules/{theirs['id']}")).status == 404
    assert (await limited.get(f"/schedules/{theirs['id']}/edit")).status == 404
    mine = {"x-lq-schedule": "@daily", "x-lq-queue": "mail-out",
            "x-lq-target": "https://example.com/hook"}  # fmt: skip
    page = await limited.follow(await limited.post("/schedules/new", **mine))
    assert page.status == 200
    assert "Edit" in page.links
    assert (await limited.post("/schedules/new", **{**mine, "x-lq-queue": "ops"})).status == 403
    taken = await limited.post("/schedules/new", **{**mine, "x-lq-key": ODD})
    assert taken.status == 409
    listed = await limited.get("/schedules")
    assert ODD not in listed.text


async def test_a_rule_that_is_understood_no_more_is_shown_with_what_is_wrong(
    running: Daemon, api: Peer, panel: Browser
) -> None:
    """As an older lq might have stored it; or its zone is gone from this machine."""
    schedule = await made(api, "x-lq-key: stale")
    rewrite(running, schedule["id"], rule="30 25 * * *")
    listed = await panel.get("/schedules")
    assert "30 25 * * *" in listed.text
    page = await panel.get(f"/schedules/{schedule['id']}")
    assert page.status == 200
    assert "Its times cannot be told:" in page.text
    assert "25 is out of range" in page.text
    at = f"/schedules/{schedule['id']}/edit"
    fields = (await panel.get(at)).form(at).fields
    assert fields["x-lq-schedule"] == "30 25 * * *"
    page = await panel.follow(await panel.post(at, **{**fields, "x-lq-schedule": "30 5 * * *"}))
    assert "At 05:30 every day" in page.text


async def test_what_is_overdue_or_paused_by_lq_says_so(
    running: Daemon, api: Peer, panel: Browser
) -> None:
    late = await made(api, "x-lq-key: late")
    rewrite(running, late["id"], next_at=1_700_000_000_000)
    held = await made(api, "x-lq-key: held")
    rewrite(running, held["id"], paused=1, next_at=None, reason="it names no <target>")
    over = await made(api, "x-lq-key: over", "x-lq-times: 1")
    rewrite(running, over["id"], next_at=None, fired=1)
    listed = await panel.get("/schedules")
    assert "UTC overdue" in listed.text
    assert "paused by lq: it names no <target>" in listed.text
    assert "ended" in listed.text
    assert "overdue its next run should have been" in await text_of(panel, late)
    assert "paused by lq: it names no <target>" in await text_of(panel, held)
    ended = await text_of(panel, over)
    assert "ended it does not fire any more" in ended
    assert "1 time of 1" in ended
    assert "Next runs None." in ended


async def text_of(panel: Browser, schedule: dict[str, Any]) -> str:
    """What the page of a schedule says."""
    return (await panel.get(f"/schedules/{schedule['id']}")).text


def rewrite(running: Daemon, schedule_id: str, **columns: Any) -> None:
    """Make a schedule in the database what it becomes only when something has gone wrong."""
    named = ", ".join(f"{name} = :{name}" for name in columns)
    path = running.engine.data_dir / "lq.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            f"UPDATE schedules SET {named} WHERE id = :id", {**columns, "id": schedule_id}
        )


FILE = """
[[schedules]]
key = "free"
schedule = "30 2 * * *"
queue = "q"
target = "https://example.com/hook"

[[schedules]]
key = "held"
schedule = "@daily"
queue = "q"
target = "https://example.com/hook"
paused = true
"""


async def test_a_payload_that_its_queue_hides_stays_hidden(home: Home) -> None:
    hidden = {"mail": QueueSettings(redact=("body", "header:x-team"))}
    async with home.daemon(queues=hidden) as running, Browser(running.port) as browser:
        _, token = await running.engine.create_token("ada", frozenset({Scope.ADMIN}), (), None)
        await browser.log_in(token)
        typed = {**TYPED, "x-lq-queue": "mail", "x-lq-target": "https://example.com/"}
        page = await browser.follow(await browser.post("/schedules/new", **typed))
        assert "redacted Its queue keeps payloads to itself" in page.text
        at = page.links["Edit"]
        form = await browser.get(at)
        assert "It stays unless another is typed." in form.text
        for shown in (page, form):
            assert "1.10" not in shown.html
            assert "mail: mail" not in shown.html
        assert (await browser.get(at.replace("/edit", "/payload"))).status == 409
        fields = {**form.form(at).fields, "x-lq-timeout": "7s"}
        assert (await browser.post(at, **fields)).status == 303
        (kept,) = (await running.engine.schedules.list(ScheduleFilter())).items
        kept = await running.engine.schedules.get(ById(kept.id))
        assert kept.spec.push.payload == b'\n{"a": 1.10,\n "b": "\xc3\xa4"}'
        assert kept.spec.push.headers["X-Team"] == "mail"


@pytest.fixture
async def of_file(home: Home) -> AsyncIterator[Browser]:
    """An admin at a daemon with schedules of lq.toml."""
    path = home.folder / "lq.toml"
    path.write_text(
        f'listen = "127.0.0.1:0"\ndata_dir = "{home.folder}"\nsocket = "{home.folder}/s"\n{FILE}'
    )
    async with daemon(load(str(path), {}), home.clock) as running:
        _, token = await running.engine.create_token("ada", frozenset({Scope.ADMIN}), (), None)
        async with Browser(running.port) as browser:
            await browser.log_in(token)
            yield browser


async def test_what_lq_toml_sets_is_changed_there(of_file: Browser) -> None:
    listed = await of_file.get("/schedules")
    free, held = (listed.links[name] for name in ("free", "held"))
    page = await of_file.get(free)
    assert "lq.toml:5 . Change it there, and run lq apply" in page.text
    assert {f"{free}/run", f"{free}/pause"} == actions(page)
    assert {"Edit", "Delete"}.isdisjoint(page.links)
    assert (await of_file.get(f"{free}/edit")).status == 409
    assert (await of_file.post(f"{free}/edit")).status == 409
    refused = await of_file.follow(await of_file.post(f"{free}/delete"))
    assert "is set by" in refused.text
    paused = await of_file.follow(await of_file.post(f"{free}/pause"))
    assert f"{free}/resume" in actions(paused)
    page = await of_file.get(held)
    assert "which also says that it is paused" in page.text
    assert {f"{held}/run"} == actions(page)
    refused = await of_file.follow(await of_file.post(f"{held}/resume"))
    assert "has paused = true" in refused.text
