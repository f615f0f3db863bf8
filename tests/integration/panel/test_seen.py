"""Two people at one form: what the first has saved, the second does not put back unseen."""

from __future__ import annotations

from tests.integration.api.raw import WAITING, Peer
from tests.support.pages import Browser


async def test_settings_that_others_made_meanwhile_are_kept(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    form = (await panel.get("/queues/mail/settings")).form("/queues/mail/settings").fields
    await api.ask("PATCH queues/mail", body=b'{"concurrency": 3, "fifo": false}')
    page = await panel.post("/queues/mail/settings", **form | {"rate": "10/s"})
    assert page.status == 409
    assert "Somebody has changed this queue since this form was opened." in page.text
    queue = (await api.ask("GET queues/mail")).json
    assert (queue["concurrency"], "rate" in queue) == (3, False)
    # Sent again, it is meant as it stands.
    again = page.form("/queues/mail/settings").fields
    assert (again["concurrency"], again["rate"]) == ("", "10/s")
    assert (await panel.post("/queues/mail/settings", **again)).status == 303
    assert (await api.ask("GET queues/mail")).json["rate"] == "10/s"


async def test_a_part_of_the_form_of_settings_takes_nothing_away(api: Peer, panel: Browser) -> None:
    await api.ask("PATCH queues/mail", body=b'{"concurrency": 3, "timeout": "9s"}')
    before = (await api.ask("GET queues/mail")).json
    page = await panel.post("/queues/mail/settings", rate="10/s")
    assert page.status == 409
    assert (await api.ask("GET queues/mail")).json == before


async def test_an_item_that_was_pushed_again_meanwhile_is_kept(api: Peer, panel: Browser) -> None:
    pushed = await api.ask("POST queues/mail/items", *WAITING, "x-lq-key: k", body=b"old")
    path = f"/items/{pushed.json['id']}/edit"
    form = (await panel.get(path)).form(path).fields
    await api.ask("POST queues/mail/items", *WAITING, "x-lq-key: k", body=b"new")
    page = await panel.post(path, **form | {"labels": "eu"})
    assert page.status == 409
    assert "Somebody has changed this item since this form was opened." in page.text
    item = (await api.ask(f"GET items/{pushed.json['id']}")).json
    assert (item["payload"], "labels" in item) == ("new", False)
