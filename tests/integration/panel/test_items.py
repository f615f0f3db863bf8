"""The page of an item: what it shows, and what can be done there."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lq.config import Config, EgressConfig, Validate
from lq.daemon.main import Daemon, daemon
from lq.daemon.panel.items import MOST_ATTEMPTS
from lq.model import QueueSettings, Scope
from lq.scriptlets import Scriptlet
from tests.integration.api.handler import Handler
from tests.integration.api.raw import WAITING, Peer
from tests.support.handler import Wire, listening, response
from tests.support.pages import Browser, Page

from .conftest import SteppedClock, logged_in

JSON = "Content-Type: application/json"
SEALED = 'application/vnd.lq.encrypted; v=1; kid=0123456789abcdef; type="application/json"'


async def pushed(api: Peer, *headers: str, body: bytes = b"x", queue: str = "q") -> Any:
    """The item of a push."""
    answer = await api.ask(f"POST queues/{queue}/items", *headers, body=body)
    assert answer.status == 201, answer.body
    return answer.json


async def shown(api: Peer, item: Any) -> Any:
    return (await api.ask(f"GET items/{item['id']}?payload=base64")).json


async def ended(api: Peer, item: Any) -> Any:
    """The item, once it is finished."""
    async with asyncio.timeout(10):
        while "finished" not in (found := await shown(api, item)):
            pass
    return found


def block(page: Page, name: str) -> str:
    """The text of the <pre> with this id."""
    found = re.search(rf'<pre id="{name}"[^>]*>(.*?)</pre>', page.html, re.DOTALL)
    assert found, page.html
    return html.unescape(found[1])


def controls(page: Page) -> set[str]:
    """Where forms and links lead that would change the item."""
    paths = [form.action for form in page.forms] + list(page.links.values())
    verbs = ("run", "retry", "cancel", "edit", "reschedule")
    return {verb for verb in verbs for path in paths if path.endswith(f"/{verb}")}


@pytest.fixture
async def special(
    tmp_path_factory: pytest.TempPathFactory, clock: SteppedClock
) -> AsyncIterator[Daemon]:
    """A daemon with a queue that keeps all to itself, and a scriptlet."""
    folder = tmp_path_factory.mktemp("lq")
    script = "echo begun; read line < go; printf '\\303\\244 %s\\n' \"$line\"; echo 2 >&2"
    config = Config(
        data_dir=folder,
        socket=folder / "socket",
        listen="127.0.0.1:0",
        egress=EgressConfig(allow=("127.0.0.1:1-65535",)),
        validate=Validate(default="none"),
        queues={"shy": QueueSettings(redact=("body", "response", "header:x-who"))},
        scriptlets={
            "slow": Scriptlet(
                name="slow", command=("/bin/sh", "-c", script), where="lq.toml:1", cwd=str(folder)
            )
        },
    )
    async with daemon(config, clock) as running:
        yield running


async def test_an_item_that_waits(api: Peer, panel: Browser) -> None:
    item = await pushed(
        api, *WAITING, JSON, "x-lq-key: k&1", "x-lq-label: a,b",
        'x-lq-headers: {"X-Team": "mail", "Authorization": "Bearer canary"}',
        body=b'{"b":1.10,"a":12345678901234567890,"a":[],"c":{}}',
    )  # fmt: skip
    page = await panel.get(f"/items/{item['id']}")
    assert page.status == 200
    assert '{ "b": 1.10, "a": 12345678901234567890, "a": [], "c": {} }' in page.text
    assert '{"b":1.10,"a":12345678901234567890,"a":[],"c":{}}' in page.text
    assert "7b 22 62 22 3a 31" in page.text
    for told in ("k&1", "pending", "0 of 6", "https://example.com/hook", "X-Team mail", "its time"):
        assert told in page.text
    assert "canary" not in page.html
    assert "Authorization redacted" in page.text
    assert page.links["a"] == "/items?label=a"
    assert controls(page) == {"run", "cancel", "edit", "reschedule"}


async def test_what_a_schedule_has_made(api: Peer, panel: Browser, handler: Handler) -> None:
    made = await api.ask(
        "POST schedules", "x-lq-schedule: @yearly", "x-lq-queue: q", "x-lq-key: yearly report",
        f"x-lq-target: {handler.url}",
    )  # fmt: skip
    item = (await api.ask(f"POST schedules/{made.json['id']}/run")).json
    page = await panel.get(f"/items/{item['id']}")
    assert page.links["yearly report"] == f"/schedules/{made.json['id']}"
    await api.ask(f"DELETE schedules/{made.json['id']}")
    page = await panel.get(f"/items/{item['id']}")
    assert page.links[made.json["id"]] == f"/schedules/{made.json['id']}"


async def test_attempts_on_a_timeline(api: Peer, panel: Browser, handler: Handler) -> None:
    handler.answers += [(503, b'{"code":1.0}'), (200, b"\xff\x00"), (200, b"")]
    item = await pushed(api, f"x-lq-target: {handler.url}", "x-lq-retry: 0s")
    await ended(api, item)
    page = await panel.get(f"/items/{item['id']}")
    assert "completed" in page.text
    first = r"Attempt 1 failed status 503 .* took .* status 503: .* Content-Type application/octet"
    assert re.search(first, page.text)
    assert '{ "code": 1.0 }' in page.text
    assert re.search(r"Attempt 2 succeeded status 200 .* The answer 2 bytes", page.text)
    bars = [float(given["value"]) for tag, given in page.tags if tag == "progress"]
    longest = {given["max"] for tag, given in page.tags if tag == "progress"}
    assert len(longest) == 1
    assert max(bars) == float(longest.pop())
    second = await panel.get(page.links["Attempt 2"])
    assert "ff 00" in second.text
    kept = await panel.get(second.links["Download"])
    assert kept.body == b"\xff\x00"
    assert (await panel.get(f"/items/{item['id']}/attempts/3")).status == 404
    assert controls(page) == {"retry", "edit"}


async def test_who_may_only_look(api: Peer, reader: Browser) -> None:
    item = await pushed(api, *WAITING)
    before = await shown(api, item)
    page = await reader.get(f"/items/{item['id']}")
    assert page.status == 200
    assert controls(page) == set()
    for verb in ("run", "retry", "cancel", "reschedule", "edit"):
        said = {"when": "5m", "target": "https://example.com/other"}
        refused = await reader.post(f"/items/{item['id']}/{verb}", **said)
        assert refused.status == 403, verb
    assert await shown(api, item) == before


async def test_items_of_other_queues_are_not_there(
    api: Peer, limited: Browser, panel: Browser
) -> None:
    other, own = await pushed(api, *WAITING), await pushed(api, *WAITING, queue="mail-1")
    missing = await limited.get(f"/items/{other['id']}")
    assert missing.status == 404
    assert f"There is no item {other['id']}" in missing.text
    assert missing.links["Search the history"] == "/history"
    assert (await limited.post(f"/items/{other['id']}/run")).status == 404
    assert controls(await limited.get(f"/items/{own['id']}")) == {
        *("run", "cancel", "edit", "reschedule")
    }
    for path in ("nope", "%3Cb%3E", "%00", "a%2Fb"):
        assert (await panel.get(f"/items/{path}")).status == 404
        assert (await panel.get(f"/items/{path}/payload")).status == 404


async def test_run_now_and_cancel(api: Peer, panel: Browser, handler: Handler) -> None:
    item = await pushed(api, f"x-lq-target: {handler.url}", "x-lq-delay: 1h")
    path = f"/items/{item['id']}"
    told = await panel.follow(await panel.post(f"{path}/run"))
    assert "It is due now." in told.text
    assert (await ended(api, item))["state"] == "COMPLETED"
    late = await panel.follow(await panel.post(f"{path}/cancel"))
    assert "That was not possible" in late.text
    asked = await panel.get(f"{path}/cancel")
    assert (asked.status, asked.location) == (303, path)
    waiting = await pushed(api, *WAITING)
    asked = await panel.get(f"/items/{waiting['id']}/cancel")
    assert "Cancel this item?" in asked.text
    assert (await shown(api, waiting))["state"] == "PENDING"
    await panel.post(asked.form(f"/items/{waiting['id']}/cancel").action)
    assert (await shown(api, waiting))["state"] == "CANCELLED"
    await panel.post(f"/items/{waiting['id']}/retry")
    assert (await shown(api, waiting))["state"] != "CANCELLED"


@pytest.mark.parametrize(
    ("when", "zone", "told"),
    [
        ("5m", "", None),
        ("1 day 12 hours", "Nowhere", None),
        ("in 2h", "", None),
        ("2026-12-01T09:00:00+01:00", "", "2026-12-01T08:00:00.000Z"),
        ("2026-12-24 09:00", "Asia/Tokyo", "2026-12-24T00:00:00.000Z"),
        ("2026-12-24 09:00", "", "2026-12-24T09:00:00.000Z"),
        ("tomorrow 09:00", "Europe/Berlin", "T08:00:00.000Z"),
    ],
)
async def test_another_time(
    api: Peer, panel: Browser, when: str, zone: str, told: str | None
) -> None:
    item = await pushed(api, *WAITING)
    form = (await panel.get(f"/items/{item['id']}/reschedule")).form(
        f"/items/{item['id']}/reschedule"
    )
    assert set(form.fields) == {"when", "zone"}
    done = await panel.follow(await panel.post(form.action, when=when, zone=zone))
    assert "Rescheduled." in done.text
    at = (await shown(api, item))["notBefore"]
    assert at != item["notBefore"]
    assert told is None or at.endswith(told)


@pytest.mark.parametrize(
    ("when", "zone", "wrong"),
    [
        ("", "", "when"),
        ("soon", "", "when"),
        ("5", "", "when"),
        ("5 parsecs", "", "when"),
        ("20y", "", "when"),
        ("tomorrow 25:00", "UTC", "when"),
        ("tomorrow 09:00", "Mars/Olympus", "zone"),
        ("9999-01-01T00:00:00Z", "", "when"),
        ("<script>", "", "when"),
    ],
)
async def test_what_is_no_time(api: Peer, panel: Browser, when: str, zone: str, wrong: str) -> None:
    item = await pushed(api, *WAITING)
    path = f"/items/{item['id']}/reschedule"
    page = await panel.post(path, when=when, zone=zone)
    assert page.status == 400
    assert page.form(path).fields["when"] == when
    assert f'id="wrong-{wrong}"' in page.html
    assert "<script>" not in page.html
    assert (await shown(api, item))["nextAttempt"] == item["nextAttempt"]


async def test_a_change_is_of_what_was_changed(api: Peer, panel: Browser) -> None:
    """What a text field cannot hold, and what is not shown, stays."""
    payload = b'\n{"a":1}\r\n'
    item = await pushed(
        api, *WAITING, JSON, 'x-lq-headers: {"X-A": "1", "Cookie": "canary"}', body=payload
    )
    path = f"/items/{item['id']}/edit"
    form = (await panel.get(path)).form(path)
    assert form.fields["payload"] == '\n{"a":1}\n'
    same = await panel.follow(await panel.post(path, **form.fields))
    assert "Nothing was changed." in same.text
    fields = form.fields | {"labels": "x, y", "target": " https://example.com/other "}
    await panel.post(path, **fields)
    found = await shown(api, item)
    assert found["labels"] == ["x", "y"]
    assert found["target"]["url"] == "https://example.com/other"
    assert base64.b64decode(found["payload"]) == payload
    assert found["headers"] == {"X-A": "1", "Cookie": "[redacted]"}
    fields = (await panel.get(path)).form(path).fields | {"type": "application/problem+json"}
    await panel.post(path, **fields)
    found = await shown(api, item)
    assert base64.b64decode(found["payload"]) == payload
    assert found["payloadType"] == "application/problem+json"
    fields = (await panel.get(path)).form(path).fields
    refused = await panel.post(path, **{**fields, "headers": "X-A: 2\nCookie: [redacted]"})
    assert refused.status == 400
    assert 'id="wrong-headers"' in refused.html
    await panel.post(path, **{**fields, "headers": "X-A: 2", "payload": '{"a":2}', "labels": ""})
    found = await shown(api, item)
    assert found["headers"] == {"X-A": "2"}
    assert base64.b64decode(found["payload"]) == b'{"a":2}'
    assert "labels" not in found


@pytest.mark.parametrize(
    ("field", "text", "status"),
    [
        ("payload", '{"a":', 400),
        ("payload", "", 400),
        ("headers", "no colon", 400),
        ("headers", "X-A: 1\nX-A: 2", 400),
        ("headers", "Host: x", 400),
        ("target", "not a url", 400),
        ("retry", "often", 400),
        ("timeout", "0s", 400),
        ("labels", "two words", 400),
        ("target", "http://169.254.169.254/", 422),
        ("target", "scriptlet:<b>", 400),
    ],
)
async def test_what_cannot_be_is_shown_beside_its_field(
    api: Peer, panel: Browser, field: str, text: str, status: int
) -> None:
    item = await pushed(api, *WAITING, JSON, body=b"{}")
    before = await shown(api, item)
    path = f"/items/{item['id']}/edit"
    form = (await panel.get(path)).form(path)
    page = await panel.post(path, **{**form.fields, field: text})
    assert page.status == status
    beside = f'id="wrong-{field}"' in page.html
    assert beside == (status == 400)
    assert page.form(path).fields[field] == text
    assert await shown(api, item) == before


async def test_edit_and_retry(api: Peer, panel: Browser, handler: Handler) -> None:
    handler.answers.append((410, b"gone"))
    item = await pushed(api, f"x-lq-target: {handler.url}", JSON, body=b'{"n":1}')
    assert (await ended(api, item))["state"] == "FAILED"
    path = f"/items/{item['id']}/edit"
    form = (await panel.get(path)).form(path)
    assert form.fields["again"] == "1"
    handler.calls.get_nowait()
    done = await panel.follow(await panel.post(path, **{**form.fields, "payload": '{"n":2}'}))
    assert "It waits again, as you changed it." in done.text
    assert (await handler.calls.get()).body == b'{"n":2}'
    assert (await ended(api, item))["state"] == "COMPLETED"
    page = await panel.get(f"/items/{item['id']}")
    assert re.search("Attempt 1 rejected .* Retried by hand.* Attempt 1 succeeded", page.text)
    moved_on = await panel.post(path, **{**form.fields, "again": "", "payload": '{"n":3}'})
    assert moved_on.status == 409
    assert (await shown(api, item))["state"] == "COMPLETED"


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        (b"<script>alert(1)</script>", "text/plain; charset=utf-8", "txt"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>\n", "text/plain", "txt"),
        (b"\x89PNG\r\n\0<script>", "application/octet-stream", "bin"),
        (b"", "text/plain; charset=utf-8", "txt"),
    ],
)
async def test_a_download_is_never_a_page(
    api: Peer, panel: Browser, body: bytes, kind: str, name: str
) -> None:
    item = await pushed(api, *WAITING, "Content-Type: text/html", body=body)
    kept = await panel.get(f"/items/{item['id']}/payload")
    assert kept.body == body
    assert kept.headers["Content-Type"].startswith(kind)
    assert kept.headers["X-Content-Type-Options"] == "nosniff"
    assert kept.headers["Cache-Control"] == "no-store"
    disposition = f'attachment; filename="{item["id"]}-payload.{name}"'
    assert kept.headers["Content-Disposition"] == disposition


async def test_nothing_from_outside_is_html(api: Peer, panel: Browser, handler: Handler) -> None:
    evil = "</title></pre></textarea><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    handler.answers.append((500, evil.encode()))
    item = await pushed(
        api, f"x-lq-target: {handler.url}?<script>", f"x-lq-key: {evil}", "x-lq-retry: 0",
        f"x-lq-headers: {json.dumps({'X-A': evil})}", "x-lq-label: <script>",
        f"Content-Type: {evil}", body=evil.encode(), queue="%3Cscript%3E",
    )  # fmt: skip
    await ended(api, item)
    path = f"/items/{item['id']}"
    for page in [
        *[await panel.get(f"{path}{rest}") for rest in ("", "/edit", "/attempts/1")],
        await panel.post(f"{path}/edit", target=evil, payload=evil, headers=evil, again="1"),
    ]:
        assert "alert(1)" in page.text or "alert(1)" in str([f.fields for f in page.forms])
        assert [given for tag, given in page.tags if tag == "script" and "src" not in given] == []
        assert [tag for tag, _ in page.tags if tag == "img"] == []
        assert [given for _, given in page.tags if any(n.startswith("on") for n in given)] == []


async def test_what_is_encrypted(api: Peer, panel: Browser, handler: Handler) -> None:
    body = bytes(range(60))
    item = await pushed(api, *WAITING, f"Content-Type: {SEALED}", body=body, queue="a%2Fb")
    page = await panel.get(f"/items/{item['id']}")
    sealed = next(given for tag, given in page.tags if "data-sealed" in given)
    assert base64.b64decode(sealed["data-body"]) == body
    assert (sealed["data-queue"], sealed["data-purpose"]) == ("a/b", "payload")
    assert sealed["data-type"] == SEALED
    key = next(given for tag, given in page.tags if given.get("type") == "password")
    assert "name" not in key
    long = await pushed(api, *WAITING, f"Content-Type: {SEALED}", body=body * 2000)
    page = await panel.get(f"/items/{long['id']}")
    assert "data-sealed" not in page.html
    whole = await panel.get(page.links["Load all of it, to decrypt it here."])
    sealed = next(given for tag, given in whole.tags if "data-sealed" in given)
    assert base64.b64decode(sealed["data-body"]) == body * 2000


async def test_an_answer_that_is_encrypted(special: Daemon) -> None:
    owner = Peer(socket_path=str(special.engine.data_dir / "socket"))
    body = bytes(range(60))

    async def serve(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(response(200, body, {"Content-Type": SEALED}))
        wire.close()

    async with listening(serve) as port, await logged_in(special, "rob", Scope.READ) as panel:
        item = await pushed(owner, f"x-lq-target: http://127.0.0.1:{port}/", queue="a%2Fb")
        assert (await ended(owner, item))["state"] == "COMPLETED"
        page = await panel.get(f"/items/{item['id']}")
        answer = await panel.get(page.links["Decrypt the answer"])
        sealed = next(given for tag, given in answer.tags if "data-sealed" in given)
        assert base64.b64decode(sealed["data-body"]) == body
        assert (sealed["data-queue"], sealed["data-purpose"]) == ("a/b", "result")
        assert sealed["data-type"] == SEALED
    await owner.close()


async def test_what_is_redacted(special: Daemon, handler: Handler) -> None:
    owner = Peer(socket_path=str(special.engine.data_dir / "socket"))
    handler.answers.append((500, b"canary"))
    item = await pushed(
        owner, f"x-lq-target: {handler.url}", 'x-lq-headers: {"X-Who": "canary", "X-B": "b"}',
        "x-lq-retry: 0", JSON, body=b'{"a":"canary"}', queue="shy",
    )  # fmt: skip
    await ended(owner, item)
    async with await logged_in(special, "ada", Scope.ADMIN) as panel:
        path = f"/items/{item['id']}"
        pages = [await panel.get(f"{path}{rest}") for rest in ("", "/edit", "/attempts/1")]
        assert (await panel.get(f"{path}/payload")).status == 409
        assert [page for page in pages if "canary" in page.html] == []
        assert "Its queue keeps payloads to itself" in pages[0].text
        assert "X-Who redacted" in pages[0].text
        assert "Its queue keeps answers to itself" in pages[2].text
        assert "payload" not in pages[1].form(f"{path}/edit").fields
        assert "x-who" not in block(pages[0], "curl").lower()
        assert "X-B" in block(pages[0], "curl")
        handler.calls.get_nowait()
        await panel.post(f"{path}/edit", **pages[1].form(f"{path}/edit").fields)
        assert (await handler.calls.get()).body == b'{"a":"canary"}'
    await owner.close()


async def test_a_scriptlet_says_what_it_does(special: Daemon) -> None:
    owner = Peer(socket_path=str(special.engine.data_dir / "socket"))
    gate = special.engine.data_dir / "go"
    os.mkfifo(gate)
    item = await pushed(owner, "x-lq-target: scriptlet:slow", body=b"")
    async with await logged_in(special, "rob", Scope.READ) as panel:
        log = f"/items/{item['id']}/log?attempt=1"
        async with asyncio.timeout(10):
            while "data-log" not in (page := await panel.get(f"/items/{item['id']}")).html:
                pass
        live = next(given for _, given in page.tags if "data-log" in given)
        assert (live["data-log"], live["data-offset"]) == (log, "0")
        first = json.loads((await panel.get(log)).body)
        assert (first["data"], first["running"]) == ("begun\n", True)
        await asyncio.to_thread(gate.write_text, "on\n")
        said, offset, running = "", first["offset"], True
        while running:
            part = json.loads((await panel.get(f"{log}&offset={offset}")).body)
            said, offset, running = said + part["data"], part["offset"], part["running"]
        assert sorted(said.splitlines()) == ["2", "\u00e4 on"]
        await ended(owner, item)
        page = await panel.get(f"/items/{item['id']}")
        assert "data-log" not in page.html
        assert "exit code 0" in page.text
        assert "\u00e4 on" in page.text
        assert (await panel.get(f"/items/{item['id']}/log?attempt=9")).status == 404
        assert (await panel.get(f"/items/{item['id']}/log?offset=x")).status == 400
    await owner.close()


async def test_of_many_attempts_the_last_ones_are_shown(
    api: Peer, panel: Browser, handler: Handler
) -> None:
    rows = json.dumps([{"row": number} for number in range(5000)]).encode()
    handler.answers += [(500, rows)] * 30
    item = await pushed(api, f"x-lq-target: {handler.url}", f"x-lq-retry: {','.join(['0s'] * 29)}")
    async with asyncio.timeout(30):
        while "finished" not in (found := await shown(api, item)):
            if found["state"] == "RETRY":  # the breaker spares what keeps failing
                await api.ask(f"POST items/{item['id']}/run")
    page = await panel.get(f"/items/{item['id']}")
    assert page.text.count("took") == MOST_ATTEMPTS
    assert page.text.count("All of it") == MOST_ATTEMPTS
    assert len(page.body) < 400_000
    assert "/attempts/30" in page.links["All of it"]
    every = await panel.get(page.links["Show the 5 attempts before these"])
    assert every.text.count("took") == 30
