"""The first page, items that wait, endpoints and settings."""

from __future__ import annotations

from lq.daemon.main import Daemon
from tests.integration.api.handler import Handler
from tests.integration.api.raw import WAITING, Peer
from tests.support.pages import Browser


async def test_the_first_page_of_an_empty_daemon_says_what_to_do(panel: Browser) -> None:
    page = await panel.get("/")
    assert page.status == 200
    assert "lq push --queue mail" in page.text
    assert "Nothing does" in page.text


async def test_the_first_page_links_what_needs_somebody(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    await api.ask("POST queues/mail/pause?reason=printer")
    page = await panel.get("/")
    assert "Queue mail is paused (printer), and 1 item waits." in page.text
    assert page.links["Queue"] == "/queues/mail"


async def test_the_first_page_of_many_queues_has_those_that_are_not_idle(
    api: Peer, panel: Browser
) -> None:
    for number in range(30):
        await api.ask(f"POST queues/q-{number:02}/items", *WAITING)
    await api.ask("POST queues/q-29/pause")
    page = await panel.get("/")
    shown = [name for name in page.links if name.startswith("q-")]
    assert len(shown) == 20
    assert shown == sorted(shown)
    assert shown[-1] == "q-29"
    assert page.links["All 30 queues"] == "/queues"


async def test_nobody_is_led_where_they_may_not_go(
    panel: Browser, reader: Browser, limited: Browser
) -> None:
    for who, is_reading in ((panel, False), (reader, True), (limited, False)):
        page = await who.get("/")
        assert ("read only" in page.text) is is_reading
        for path in ("/tokens", "/settings"):
            answer = await who.get(path)
            assert answer.status == (200 if path in page.links.values() else 403)


async def test_who_gets_lost_keeps_the_way_to_all_pages(panel: Browser, stranger: Browser) -> None:
    for path, status in (("/nowhere", 404), ("/queues/none", 404), ("/items?state=%ff", 400)):
        page = await panel.get(path)
        assert page.status == status
        assert page.links["Schedules"] == "/schedules"
    assert "Schedules" not in (await stranger.get("/nowhere")).links


async def test_its_charts_have_their_numbers_beside_them(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING)
    for span, points in (("hour", 60), ("day", 96), ("week", 168), ("nonsense", 60)):
        page = await panel.get(f"/?span={span}")
        assert sum(given.get("data-v") is not None for _, given in page.tags) == points * 6
        charts = [given["data-chart"] for _, given in page.tags if "data-chart" in given]
        assert charts == ["throughput", "failures", "lateness"]


async def test_items_are_found_by_the_words_of_the_api(api: Peer, panel: Browser) -> None:
    await api.ask("POST queues/mail/items", *WAITING, "x-lq-key: one", "x-lq-label: eu")
    await api.ask("POST queues/mail/items", *WAITING, "x-lq-key: two")
    page = await panel.get("/items?label=eu&queue=+mail+")
    assert "one" in page.links
    assert "two" not in page.links
    assert page.form("/items").fields["label"] == "eu"
    nothing = await panel.get("/items?key=three")
    assert "No item that waits or runs matches" in nothing.text


async def test_a_state_that_is_over_leads_to_history(panel: Browser) -> None:
    page = await panel.get("/items?state=failed&queue=mail")
    assert page.links["History"] == "/history?queue=mail&state=failed"


async def test_a_filter_that_is_wrong_says_so(panel: Browser) -> None:
    page = await panel.get("/items?state=SLEEPING")
    assert page.status == 400
    assert "state" in page.text


async def test_many_items_come_page_by_page(api: Peer, panel: Browser) -> None:
    for number in range(60):
        await api.ask("POST queues/mail/items", *WAITING, f"x-lq-key: k{number}")
    first = await panel.get("/items?queue=mail")
    second = await panel.get(first.links["More"])
    found = {name for page in (first, second) for name in page.links if name.startswith("k")}
    assert len(found) == 60
    assert "More" not in second.links


async def test_an_endpoint_is_checked(panel: Browser, api: Peer, handler: Handler) -> None:
    url = f"http://127.0.0.1:{handler.port}/hook"
    await api.ask("PATCH queues/mail", body=b'{"target": "%b"}' % url.encode())
    page = await panel.get("/endpoints")
    assert url in page.text
    assert "queue mail" in page.text
    page = await panel.follow(await panel.post("/endpoints/check", url=url))
    assert f"{url} " in page.text
    refused = await panel.post("/endpoints/check", url="http://169.254.169.254/x")
    assert refused.status == 422
    assert refused.form("/endpoints/check").fields["url"] == "http://169.254.169.254/x"


async def test_who_may_look_cannot_have_one_checked(reader: Browser) -> None:
    assert (await reader.post("/endpoints/check", url="https://example.com")).status == 403
    assert [form.action for form in (await reader.get("/endpoints")).forms] == ["/logout", ""]


async def test_settings_are_shown_with_where_they_come_from(
    running: Daemon, panel: Browser, limited: Browser
) -> None:
    page = await panel.get("/settings")
    assert page.status == 200
    assert "max_payload" in page.text
    assert str(running.engine.data_dir) in page.text
    assert (await limited.get("/settings")).status == 403
