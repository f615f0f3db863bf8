"""Many items at once, in the panel: counted, asked about, done step by step, and told."""

from __future__ import annotations

import pytest

from tests.integration.api.raw import Peer
from tests.integration.api.test_batch import push_lines
from tests.integration.api.test_many import waiting
from tests.support.pages import Browser, Form, Page

from .test_history import cancelled


def form_of(page: Page) -> Form:
    """The form that does what a page asks about."""
    [form] = [one for one in page.forms if one.method == "post" and one.action != "/logout"]
    return form


async def sent(panel: Browser, page: Page, **typed: str) -> Page:
    """What the form of a page leads to."""
    form = form_of(page)
    return await panel.post(form.action, **form.fields | typed)


async def states(api: Peer, *ids: str) -> list[str]:
    return [(await api.ask(f"GET items/{one}")).json["state"] for one in ids]


@pytest.fixture(autouse=True)
async def still(api: Peer) -> None:
    """The queues of these tests start nothing."""
    for queue in ("mail", "news", "a", "b", "q"):
        assert (await api.ask(f"POST queues/{queue}/pause")).status == 200


async def test_a_replay_is_counted_asked_about_and_told(api: Peer, panel: Browser) -> None:
    ids = await cancelled(api, "mail", 3)
    await cancelled(api, "mail", 1, "x-lq-key: k")
    await waiting(api, "mail", 1, "x-lq-key: k")
    other = await cancelled(api, "news", 1)
    page = await panel.get("/history/replay?queue=mail")
    assert page.status == 200
    assert "4 items match" in page.text
    assert "Those that completed run again, too" in page.text
    assert await states(api, *ids) == ["CANCELLED"] * 3  # so far it was counted
    done = await sent(panel, page, rate="1/h")
    assert (done.status, done.location) == (303, "/history?queue=mail")
    told = await panel.follow(done)
    assert "3 items replayed, the last one due at 20" in told.text
    assert "1 skipped: its key waits already" in told.text
    assert await states(api, *ids, *other) == ["PENDING"] * 3 + ["CANCELLED"]
    due = sorted([(await api.ask(f"GET items/{one}")).json["nextAttempt"] for one in ids])
    assert len(set(due)) == 3


async def test_a_form_that_is_sent_twice_replays_once(api: Peer, panel: Browser) -> None:
    await cancelled(api, "mail", 1)
    page = await panel.get("/history/replay?queue=mail")
    assert "1 item replayed" in (await panel.follow(await sent(panel, page, rate="1/h"))).text
    assert (await api.ask("DELETE items?queue=mail")).json["cancelled"] == 1  # finished anew
    again = await panel.follow(await sent(panel, page, rate="1/h"))
    assert "0 items replayed." in again.text


async def test_a_rate_that_is_none_is_refused_before_anything_is_done(
    api: Peer, panel: Browser
) -> None:
    ids = await cancelled(api, "mail", 1)
    page = await panel.get("/history/replay?queue=mail&state=CANCELLED")
    refused = await sent(panel, page, rate="fast")
    assert refused.status == 400
    assert "Rate : expected a rate such as" in refused.text
    assert form_of(refused).fields["rate"] == "fast"
    assert await states(api, *ids) == ["CANCELLED"]
    assert (await sent(panel, refused, rate="1/h")).status == 303
    assert await states(api, *ids) == ["PENDING"]


async def test_without_a_word_all_is_meant_and_said_to_be(api: Peer, panel: Browser) -> None:
    ids = [*await cancelled(api, "a", 1), *await cancelled(api, "b", 1)]
    page = await panel.get("/history/replay")
    assert "these are all finished items" in page.text
    assert "2 items match" in page.text
    assert (await panel.follow(await sent(panel, page, rate="1/h"))).status == 200
    assert await states(api, *ids) == ["PENDING"] * 2


async def test_a_word_that_is_not_known_never_means_all(api: Peer, panel: Browser) -> None:
    ids = await cancelled(api, "a", 1)
    for path in ("/history/replay?quue=b", "/history/replay?cursor=f.1.1", "/items/cancel?al=1"):
        assert (await panel.get(path)).status == 400
        assert (await panel.post(path, to="2030-01-01T00:00:00Z")).status == 400
    assert (await panel.post("/history/replay")).status == 400  # no filter, and never counted
    assert await states(api, *ids) == ["CANCELLED"]


async def test_nothing_that_matches_leaves_nothing_to_do(panel: Browser) -> None:
    page = await panel.get("/history/replay?queue=none")
    assert "0 items match" in page.text
    assert [form.action for form in page.forms] == ["/logout", ""]


async def test_what_waits_is_cancelled_by_a_filter(
    api: Peer, panel: Browser, reader: Browser
) -> None:
    ids = await waiting(api, "mail", 2, "x-lq-label: eu")
    [other] = await waiting(api, "mail", 1)
    page = await panel.get("/items/cancel?label=eu")
    assert "2 items match" in page.text
    [late] = await waiting(api, "mail", 1, "x-lq-label: eu")
    done = await sent(panel, page)
    assert done.location == "/items?label=eu"
    assert "2 items cancelled." in (await panel.get("/history")).text
    assert await states(api, *ids) == ["CANCELLED"] * 2
    assert await states(api, other, late) == ["PENDING"] * 2
    assert (await reader.get("/items/cancel?label=eu")).status == 403
    assert (await reader.post("/items/cancel?queue=mail")).status == 403


async def test_a_large_sweep_goes_on_step_by_step(api: Peer, panel: Browser) -> None:
    line = b'{"delay": "1h", "target": "https://example.com/hook"}\n'
    for _ in range(3):
        assert (await push_lines(api, line * 6_700)).status == 200
    page = await panel.get("/items/cancel?queue=q")
    assert form_of(page).fields["to"]
    step = await sent(panel, page)
    assert step.status == 200
    assert "20 000 items cancelled." in step.text
    last = await sent(panel, step)
    assert (last.status, last.location) == (303, "/items?queue=q")
    assert "20 100 items cancelled." in (await panel.get("/history?queue=q")).text
    assert (await api.ask("GET queues/q/items")).json["items"] == []


async def test_what_forms_carry_between_steps_is_read_strictly(api: Peer, panel: Browser) -> None:
    ids = await cancelled(api, "a", 1)
    for name, value in (
        ("done", "x"), ("done", "9" * 5000), ("skipped", "x"), ("skipped", "1 a\nb"),
        ("cursor", "f.1"), ("cursor", "f.1.1~a.b.c"), ("to", "soon"),
    ):  # fmt: skip
        page = await panel.post("/history/replay?queue=a", **{name: value})
        assert page.status == 400, (name, value)
    assert await states(api, *ids) == ["CANCELLED"]
