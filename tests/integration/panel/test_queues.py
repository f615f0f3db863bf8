"""The pages of queues: what they show, and what can be done there."""

from __future__ import annotations

import pytest

from lq.daemon.main import Daemon
from tests.integration.api.raw import WAITING, Peer
from tests.support.pages import Browser

ODD = "a/b c?&<i>é"
ODD_PATH = "/queues/a%2Fb%20c%3F%26%3Ci%3E%C3%A9"


async def opened(panel: Browser) -> dict[str, str]:
    """The form of settings of the queue mail, as it is now."""
    return (await panel.get("/queues/mail/settings")).form("/queues/mail/settings").fields


async def test_queues_are_listed(api: Peer, panel: Browser) -> None:
    assert "No queue yet" in (await panel.get("/queues")).text
    await api.ask(f"POST queues/{ODD_PATH[8:]}/items", *WAITING)
    page = await panel.get("/queues")
    assert page.links[ODD] == ODD_PATH
    shown = await panel.get(ODD_PATH)
    assert shown.status == 200
    assert ODD in shown.text
    assert "1 pending" in shown.text


async def test_many_queues_come_page_by_page(api: Peer, panel: Browser) -> None:
    names = [f"mail-{number:03}" for number in range(105)]
    for name in names:
        await api.ask(f"POST queues/{name}/pause")
    first = await panel.get("/queues")
    second = await panel.get(first.links["More"])
    assert [name for page in (first, second) for name in page.links if name in names] == names
    assert "More" not in second.links
    found = await panel.get("/queues?name=+L-07+")
    assert [name for name in found.links if name in names] == names[70:80]
    assert found.form("/queues").fields == {"name": "L-07"}
    assert "No queue matches" in (await panel.get("/queues?name=none")).text
    assert "No more queues" in (await panel.get("/queues?cursor=105")).text


async def test_a_queue_that_is_not_there(panel: Browser) -> None:
    page = await panel.get("/queues/none")
    assert page.status == 404
    assert "There is no queue 'none'." in page.text


async def test_pausing_and_resuming(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    done = await panel.post(
        "/queues/mail/pause", pauseReason="the printer is out", pausedUntil="30m"
    )
    page = await panel.follow(done)
    assert "mail is paused" in page.text
    assert "Reason: the printer is out" in page.text
    queue = (await api.ask("GET queues/mail")).json
    assert (queue["paused"], queue["pauseReason"]) == (True, "the printer is out")
    page = await panel.follow(await panel.post("/queues/mail/resume"))
    assert "mail goes on" in page.text
    assert not (await api.ask("GET queues/mail")).json["paused"]


async def test_a_pause_until_nonsense_says_what_it_takes(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    page = await panel.post("/queues/mail/pause", pausedUntil="whenever", pauseReason="why")
    assert page.status == 400
    assert page.links["Until"] == "#field-pausedUntil"
    fields = page.form("/queues/mail/pause").fields
    assert fields == {"pausedUntil": "whenever", "pauseReason": "why"}
    assert not (await api.ask("GET queues/mail")).json["paused"]


async def test_a_pause_that_is_refused_keeps_the_settings_beside_it(
    api: Peer, panel: Browser
) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    set_ = {"target": "https://example.com/hook", "rate": "10/s", "fifo": "on"}
    await panel.post("/queues/mail/settings", **await opened(panel) | set_)
    before = (await panel.get("/queues/mail/settings")).form("/queues/mail/settings").fields
    page = await panel.post("/queues/mail/pause", pausedUntil="whenever")
    assert page.form("/queues/mail/settings").fields == before
    assert before.items() >= set_.items()


async def test_settings_that_are_refused_keep_a_tick_that_was_taken_away(
    api: Peer, panel: Browser
) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    await panel.post("/queues/mail/settings", **await opened(panel) | {"fifo": "on"})
    fields = await opened(panel)
    assert fields.pop("fifo") == "on"
    page = await panel.post("/queues/mail/settings", **fields | {"rate": "fast"})
    assert page.status == 400
    form = page.form("/queues/mail/settings").fields
    assert form["rate"] == "fast"
    assert form.get("fifo") != "on"


async def test_settings_are_saved_and_taken_away(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    form = await opened(panel)
    names = ("target", "method", "rate", "retry", "timeout", "concurrency", "burst", "headers")
    assert form == dict.fromkeys(names, "") | {"seen": form["seen"]}
    typed = form | {
        "target": "https://example.com/hook",
        "method": "PUT",
        "concurrency": " 3 ",
        "rate": "10/s",
        "burst": "5",
        "retry": "10s,1m",
        "timeout": "90s",
        "headers": "X-Team: mail\r\n\r\nX-Two:  a: b ",
    }
    page = await panel.follow(await panel.post("/queues/mail/settings", **typed))
    assert "Settings are saved" in page.text
    queue = (await api.ask("GET queues/mail")).json
    assert queue["headers"] == {"X-Team": "mail", "X-Two": "a: b"}
    assert (queue["concurrency"], queue["rate"], queue["burst"]) == (3, "10/s", 5)
    assert (queue["retryPolicy"], queue["timeout"], queue["method"]) == ("10s,1m", "1m30s", "PUT")
    assert "defaults" not in queue
    again = await opened(panel)
    assert again == typed | {
        "concurrency": "3", "timeout": "1m30s", "headers": "X-Team: mail\nX-Two: a: b",
        "seen": again["seen"],
    }  # fmt: skip
    cleared = dict.fromkeys(names, "") | {"seen": again["seen"]}
    await panel.follow(await panel.post("/queues/mail/settings", **cleared))
    queue = (await api.ask("GET queues/mail")).json
    assert set(queue["defaults"]) == {"concurrency", "retry", "timeout"}
    assert not {"target", "method", "rate", "burst", "headers"} & queue.keys()


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("concurrency", "many"),
        ("concurrency", "0"),
        ("burst", "1.5"),
        ("rate", "fast"),
        ("retry", "<script>"),
        ("timeout", "never"),
        ("headers", "no colon"),
        ("headers", "X: a\nX-\x01: b"),
        ("headers", "X: a\nx: b"),
        ("headers", ": a"),
        ("target", "ftp://example.com"),
        ("target", "http://169.254.169.254/"),
    ],
)
async def test_what_cannot_be_set_stays_in_its_field(
    api: Peer, panel: Browser, name: str, typed: str
) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    before = (await api.ask("GET queues/mail")).json
    form = (await panel.get("/queues/mail/settings")).form("/queues/mail/settings").fields
    page = await panel.post("/queues/mail/settings", **form | {name: typed})
    assert page.status in {400, 422}
    assert page.form("/queues/mail/settings").fields[name] == typed
    assert "<script>" not in page.html.replace('<script type="module"', "")
    assert (await api.ask("GET queues/mail")).json == before


async def test_a_header_that_is_not_shown_is_not_lost(api: Peer, panel: Browser) -> None:
    secret = b'{"headers": {"Authorization": "Bearer x", "X-Team": "a"}}'
    await api.ask("PATCH queues/mail", body=secret)
    form = (await panel.get("/queues/mail/settings")).form("/queues/mail/settings").fields
    assert "Bearer x" not in form["headers"]
    saved = await panel.post("/queues/mail/settings", **form | {"concurrency": "2"})
    assert saved.status == 303
    form = await opened(panel)
    changed = form | {"headers": form["headers"] + "\nX-More: b"}
    page = await panel.post("/queues/mail/settings", **changed)
    assert page.status == 400
    assert "Authorization" in page.text


async def test_a_purge_counts_first(api: Peer, panel: Browser) -> None:
    for _ in range(3):
        await api.ask("POST queues/mail/items", *WAITING)
    page = await panel.get("/queues/mail/purge")
    assert "This cancels 3 items that wait in this queue" in page.text
    assert (await api.ask("GET queues/mail")).json["pending"] == 3
    page = await panel.follow(await panel.post("/queues/mail/purge"))
    assert "3 items cancelled" in page.text
    queue = (await api.ask("GET queues/mail")).json
    assert (queue["pending"], queue["cancelled"]) == (0, 3)
    assert "Nothing waits in this queue." in (await panel.get("/queues/mail/purge")).text


async def test_a_test_item_is_pushed(running: Daemon, api: Peer, panel: Browser) -> None:
    page = await panel.post(
        "/queues/new/push",
        **{
            "payload": '{\r\n "n": 12345678901234567890}',
            "content-type": "application/json",
            "x-lq-key": "k",
            "x-lq-delay": "1h",
            "x-lq-target": "https://example.com/hook",
        },
    )
    assert page.status == 303
    item = (await api.ask(f"GET items/{page.location.rpartition('/')[2]}")).json
    assert (item["queue"], item["key"]) == ("new", "k")
    assert item["payload"] == {"n": 12345678901234567890}


@pytest.mark.parametrize(
    ("wrong", "label"),
    [
        ({"payload": "{oops"}, "Payload"),
        ({"x-lq-delay": "soon"}, "Delay"),
        ({"x-lq-target": "nowhere"}, "Target"),
        ({"x-lq-key": "k" * 600}, "Key"),
        ({"x-lq-target": ""}, "Target"),
    ],
)
async def test_a_push_that_is_refused_keeps_what_was_typed(
    panel: Browser, api: Peer, wrong: dict[str, str], label: str
) -> None:
    fields = {
        "payload": '{"a": 1}',
        "content-type": "application/json",
        "x-lq-key": "k",
        "x-lq-delay": "1h",
        "x-lq-target": "https://example.com/hook",
    } | wrong
    page = await panel.post("/queues/mail/push", **fields)
    assert page.status == 400
    assert page.links[label] == f"#field-{next(iter(wrong))}"
    form = page.form("/queues/mail/push").fields
    assert {name: form[name] for name in fields} == fields
    assert (await api.ask("GET items")).json["items"] == []


CHANGES = ["pause", "resume", "settings", "purge", "push"]


@pytest.mark.parametrize("what", CHANGES)
async def test_who_may_look_changes_nothing(api: Peer, reader: Browser, what: str) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    before = (await api.ask("GET queues/mail")).json
    page = await reader.post(f"/queues/mail/{what}", concurrency="3", payload="{}", pauseReason="x")
    assert page.status == 403
    assert (await api.ask("GET queues/mail")).json == before


async def test_who_may_look_sees_no_button(api: Peer, reader: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    page = await reader.get("/queues/mail")
    assert page.status == 200
    assert [form.action for form in page.forms] == ["/logout", ""]
    assert not {"Settings", "Purge", "Push an item"} & (page.links.keys() - {"Settings"})


async def test_a_limited_token_sees_its_own_queues(api: Peer, limited: Browser) -> None:
    for queue in ("mail-a", "billing"):
        await api.ask(f"POST queues/{queue}/items", *WAITING)
    assert "billing" not in (await limited.get("/queues")).text
    assert (await limited.get("/queues/billing")).status == 403
    assert (await limited.get("/queues/mail-a")).status == 200
    assert "billing" not in (await limited.get("/")).text
    assert "billing" not in (await limited.get("/items")).text


async def test_forms_are_for_those_who_may_send_them(
    api: Peer, panel: Browser, reader: Browser
) -> None:
    item = (await api.ask("POST queues/mail/items", *WAITING)).json
    for path in (
        *("/queues/mail/settings", "/queues/mail/purge", "/queues/mail/push", "/schedules/new"),
        *(f"/items/{item['id']}/{does}" for does in ("edit", "cancel", "reschedule")),
    ):
        assert (await panel.get(path)).status == 200
        assert (await reader.get(path)).status == 403


async def test_the_charts_of_a_queue_are_of_the_span_that_is_asked_for(
    api: Peer, panel: Browser
) -> None:
    await api.ask("POST queues/a-b/items", *WAITING)
    page = await panel.get("/queues/a-b")
    assert page.links["Day"] == "/queues/a-b?span=day"
    for span, points in (("hour", 60), ("day", 96), ("week", 168), ("nonsense", 60)):
        page = await panel.get(f"/queues/a-b?span={span}")
        assert sum(given.get("data-v") is not None for _, given in page.tags) == points * 6
