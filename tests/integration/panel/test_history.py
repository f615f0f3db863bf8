"""What has finished, in the panel: found by words, by a line of search, and grouped by failure."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from lq.daemon.main import Daemon
from lq.model import Scope
from tests.integration.api.given import make
from tests.integration.api.handler import Handler
from tests.integration.api.raw import Peer
from tests.integration.api.test_many import failed, waiting
from tests.support.pages import Browser, Page

from .conftest import logged_in

HOSTILE = "<script>alert(1)</script>"


def fields(page: Page) -> dict[str, list[str]]:
    """The query of where a page leads."""
    return parse_qs(urlsplit(page.location).query)


async def cancelled(api: Peer, queue: str, number: int, *headers: str) -> list[str]:
    """The ids of items that were cancelled, and so are in history."""
    ids = await waiting(api, queue, number, *headers)
    assert (await api.ask(f"DELETE items?queue={queue}")).json["cancelled"] == number
    return ids


async def test_an_empty_history_says_how_to_fill_it(panel: Browser) -> None:
    page = await panel.get("/history")
    assert page.status == 200
    assert "Nothing has finished yet" in page.text
    assert "lq push" in page.text
    assert "/history/replay" not in page.links.values()


async def test_words_narrow_history_down(api: Peer, panel: Browser) -> None:
    [mine] = await cancelled(api, "mail", 1, "x-lq-key: a")
    [other] = await cancelled(api, "news", 1, "x-lq-label: eu")
    page = await panel.get("/history")
    assert {f"/items/{mine}", f"/items/{other}"} <= set(page.links.values())
    page = await panel.get("/history?queue=mail&state=cancelled")
    assert f"/items/{mine}" in page.links.values()
    assert f"/items/{other}" not in page.links.values()
    assert page.form("/history").fields["queue"] == "mail"
    assert page.form("/history").fields["state"] == "CANCELLED"
    page = await panel.get("/history?label=eu")
    assert f"/items/{other}" in page.links.values()
    assert f"/items/{mine}" not in page.links.values()
    assert "No finished item matches" in (await panel.get("/history?key=b")).text


async def test_what_a_form_leaves_empty_is_not_in_the_url(panel: Browser) -> None:
    page = await panel.get("/history?queue=mail&state=&error=&key=+&from=")
    assert (page.status, page.location) == (303, "/history?queue=mail")


async def test_an_age_becomes_an_instant(api: Peer, panel: Browser, running: Daemon) -> None:
    await cancelled(api, "mail", 1)
    page = await panel.get("/history?from=1h&queue=mail")
    [since] = fields(page)["from"]
    assert since.endswith("Z")
    assert "cancelled" in (await panel.get(page.location)).text
    page = await panel.get("/history?to=1h&queue=mail")
    assert "No finished item matches" in (await panel.follow(page)).text
    page = await panel.get("/history?from=2026-12-01+09:00")
    assert fields(page)["from"] == ["2026-12-01T09:00:00.000Z"]
    page = await panel.get("/history?from=2026-12-01+09:00+Europe/Berlin")
    assert fields(page)["from"] == ["2026-12-01T08:00:00.000Z"]


async def test_words_that_are_wrong_are_named_beside_their_fields(panel: Browser) -> None:
    page = await panel.get("/history?from=whenever&fingerprint=xyz&stat=FAILED")
    assert page.status == 400
    assert page.form("/history").fields["from"] == "whenever"
    assert "Expected RFC 3339" in page.text
    assert "16 hexadecimal digits" in page.text
    assert "stat is not known here" in page.text
    ids = {given.get("id") for _, given in page.tags}
    described = [given["aria-describedby"] for _, given in page.tags if "aria-invalid" in given]
    assert len(described) == 2
    assert all(name in ids for names in described for name in names.split())


async def test_a_state_that_is_not_over_leads_to_items(panel: Browser) -> None:
    page = await panel.get("/history?state=RUNNING&queue=q")
    assert page.status == 400
    assert page.links["Items"] == "/items?queue=q&state=RUNNING"


async def test_history_has_pages(api: Peer, panel: Browser) -> None:
    ids = set(await cancelled(api, "q", 60))
    page = await panel.get("/history?queue=q")
    first = {path for path in page.links.values() if path.startswith("/items/")}
    assert len(first) == 50
    page = await panel.get(page.links["Older"])
    second = {path for path in page.links.values() if path.startswith("/items/")}
    assert first | second == {f"/items/{one}" for one in ids}
    assert "Older" not in page.links
    assert page.links["Newest"] == "/history?queue=q"


async def test_a_cursor_of_nowhere_is_refused(panel: Browser) -> None:
    page = await panel.get("/history?cursor=nowhere")
    assert page.status == 400
    assert "cursor" in page.text


async def test_what_came_from_outside_is_text(api: Peer, handler: Handler, panel: Browser) -> None:
    await failed(api, handler, HOSTILE.encode())
    await cancelled(api, "%3Cb%3E", 1, f"x-lq-key: {HOSTILE}")
    for path in ("/history", "/failures", f"/history?queue={HOSTILE}", f"/history?from={HOSTILE}"):
        page = await panel.get(path.replace("<", "%3C").replace(">", "%3E"))
        assert "<script>alert" not in page.html
        assert HOSTILE in page.text or HOSTILE in page.form("/history").fields.values()


@pytest.mark.parametrize(
    ("line", "leads"),
    [
        ("queue:mail state:failed", "/history?queue=mail&state=FAILED"),
        ('error:"status 500" key:a:b', "/history?error=status+500&key=a%3Ab"),
        ("state:pending queue:a/b", "/items?state=PENDING&queue=a%2Fb"),
        ("queue:mail refused by peer", "/history?queue=mail&error=refused+by+peer"),
        ("", "/history"),
        ("   ", "/history"),
        ("nothing is called so", "/history?error=nothing+is+called+so"),
        ("job_0000", "/history?error=job_0000"),
        ("a\x00b", "/history?error=a%00b"),
        ("x" * 2000, f"/history?error={'x' * 2000}"),
    ],
)
async def test_a_line_of_search_is_taken_apart(panel: Browser, line: str, leads: str) -> None:
    from urllib.parse import urlencode

    page = await panel.get(f"/search?{urlencode({'q': line})}")
    assert (page.status, page.location) == (303, leads)


async def test_a_search_leads_to_what_is_called_so(api: Peer, panel: Browser) -> None:
    [waits] = await waiting(api, "mail", 1, "x-lq-key: a b")
    [over] = await cancelled(api, "news", 1, "x-lq-key: over:1")
    await cancelled(api, "news", 2, "x-lq-if-exists: replace")
    schedule = (await make(api, "x-lq-key: nightly")).json["id"]

    async def leads(line: str) -> str:
        return (await panel.get(f"/search?q={line}")).location

    assert await leads(waits) == f"/items/{waits}"
    assert await leads("a+b") == f"/items/{waits}"
    assert await leads("%22a+b%22") == f"/items/{waits}"
    assert await leads(over) == f"/items/{over}"
    assert await leads("over:1") == f"/items/{over}"
    await waiting(api, "mail-2", 1, "x-lq-key: a b")
    assert await leads("a+b") == "/items?key=a+b"
    assert await leads("news") == "/queues/news"
    assert await leads("nightly") == f"/schedules/{schedule}"
    assert await leads(schedule) == f"/schedules/{schedule}"


async def test_a_search_tells_nothing_of_other_queues(api: Peer, limited: Browser) -> None:
    [other] = await waiting(api, "pay", 1, "x-lq-key: a")
    [mine] = await waiting(api, "mail-1", 1, "x-lq-key: b")
    for line in (other, "a", "pay"):
        assert (await limited.get(f"/search?q={line}")).location == f"/history?error={line}"
    assert (await limited.get("/search?q=b")).location == f"/items/{mine}"
    assert (await limited.get("/history?queue=pay")).status == 403


async def test_failures_are_grouped_and_lead_on(
    api: Peer, handler: Handler, panel: Browser, reader: Browser
) -> None:
    assert "Nothing has failed" in (await panel.get("/failures")).text
    first = await failed(api, handler, b"order 4711 is unknown")
    last = await failed(api, handler, b"order 12 is unknown")
    await failed(api, handler, b"no more paper")
    page = await panel.get("/failures?queue=bad&error=unknown")
    assert "status 500: order 12 is unknown" in page.text
    assert "no more paper" not in page.text
    assert f"/items/{last}" in page.links.values()
    [items] = [to for text, to in page.links.items() if text == "status 500: order 12 is unknown"]
    listed = (await panel.get(items)).links.values()
    assert {f"/items/{first}", f"/items/{last}"} <= set(listed)
    [replay] = [to for to in page.links.values() if to.startswith("/history/replay")]
    assert "2 items match" in (await panel.get(replay)).text
    seen = await reader.get("/failures")
    assert "no more paper" in seen.text
    assert not [to for to in seen.links.values() if "replay" in to]


async def test_failures_take_the_words_that_they_have(panel: Browser) -> None:
    page = await panel.get("/failures?key=a&target=*")
    assert page.status == 400
    assert "key is not known here" in page.text
    assert "Expected a whole target" in page.text
    page = await panel.get("/failures?queue=&from=24h")
    assert page.location.startswith("/failures?from=2")


async def test_who_may_not_push_is_shown_no_replay(
    api: Peer, running: Daemon, reader: Browser
) -> None:
    await cancelled(api, "mail", 1)
    assert not [to for to in (await reader.get("/history")).links.values() if "replay" in to]
    assert (await reader.get("/history/replay?queue=mail")).status == 403
    assert (await reader.post("/history/replay?queue=mail")).status == 403
    both = (Scope.READ, Scope.PUSH)
    async with await logged_in(running, "both", *both) as pusher:
        assert "/history/replay" in (await pusher.get("/history")).links.values()
