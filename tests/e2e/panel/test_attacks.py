"""What others may try: through what the panel shows, and through the browser of somebody in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit, Visitor
from tests.e2e.conftest import Start
from tests.e2e.endpoint import Answer, Endpoint
from tests.e2e.process import Daemon, wait_until
from tests.screenshots import pages
from tests.support.certificates import Authority
from tests.support.scene import Scene

from .conftest import log_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

XSS: Final = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>"
KEYS: Final = "javascript:alert(4)//</title></textarea><style>*{display:none}</style>"


async def test_what_is_stored_shows_as_text(start: Start, endpoint: Endpoint, visit: Visit) -> None:
    """The fixture fails for every dialog and every violation of the policy."""
    lq = start("[retry]\nretries = 0\n[breaker]\nfailures = 0")
    client = lq.client
    endpoint.on(
        "/bad", lambda _: Answer(500, XSS.encode(), {"X-Evil": XSS, "Content-Type": "text/html"})
    )
    queue = f"q {XSS}"[:120]
    item = client.push(
        queue, XSS.encode(), content_type="text/html", key=KEYS, labels=["<b>label</b>"],
        target=endpoint.url("/bad"), headers={"X-Evil": XSS, "User-Agent": XSS},
    )  # fmt: skip
    wait_until(lambda: client.item(item["id"])["state"] == "FAILED")
    svg = client.push(
        queue, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(5)'/>",
        content_type="image/svg+xml", target=endpoint.url("/bad"), delay="1h", key=XSS,
    )  # fmt: skip
    schedule = client.create_schedule(
        "@daily", queue, XSS.encode(), key=KEYS, target=endpoint.url("/bad"), labels=["<i>x</i>"]
    )
    client.pause(queue, reason=XSS)
    client.create_token("xss", ["read"], [XSS])
    page = visit.page
    await log_in(lq, page)
    where = {
        *("/", "/queues", "/items", "/schedules", "/history", "/failures", "/endpoints", "/tokens"),
        *("/settings", f"/queues/{quote(queue, safe='')}", f"/schedules/{schedule['id']}"),
        *(f"/queues/{quote(queue, safe='')}/settings", f"/schedules/{schedule['id']}/edit"),
        *(f"/items/{item['id']}", f"/items/{svg['id']}", f"/items/{svg['id']}/edit"),
        *(f"/history?error={quote(XSS)}", f"/items?key={quote(XSS)}", f"/nothing/{quote(XSS)}"),
        *(f"/items/{item['id']}/attempts/1", f"/items/{svg['id']}/cancel", "/tokens/revoke/xss"),
        *(f"/queues/{quote(queue, safe='')}/{page_of}" for page_of in ("purge", "push")),
        *(f"/schedules/{schedule['id']}/delete", f"/schedules?queue={quote(XSS)}"),
        *(f"/failures?error={quote(XSS)}", f"/history?state={quote(XSS)}", f"/?span={quote(XSS)}"),
        *(f"/history/replay?error={quote(XSS)}", f"/items/cancel?key={quote(XSS)}"),
        *(f"/schedules/new?x-lq-schedule={quote(XSS)}&x-lq-tz={quote(XSS)}&payload={quote(KEYS)}",),
        f"/search?q={quote(XSS)}",
    }
    for path in sorted(where):
        if path.startswith(("/nothing", "/history?state")):
            visit.expect("40[04]")
        await page.goto(f"{lq.url}{path}")
        assert await page.locator("main script, main svg[onload], main img").count() == 0, path
        assert await page.locator("body").is_visible(), path
    await page.goto(f"{lq.url}/items/{item['id']}")
    await expect(page.locator("main")).to_contain_text("<script>alert(1)</script>")
    await expect(page.locator("h1")).to_contain_text("javascript:alert(4)")
    await page.goto(f"{lq.url}/queues/{quote(queue, safe='')}")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator(".notice")).to_contain_text("<script>alert(1)</script>")


async def test_a_payload_is_never_a_page(start: Start, endpoint: Endpoint, visit: Visit) -> None:
    lq = start()
    item = lq.client.push(
        "q", f"<script>{XSS}</script>".encode(), content_type="text/html",
        target=endpoint.url(), delay="1h",
    )  # fmt: skip
    await log_in(lq, visit.page)
    got = await visit.context.request.get(f"{lq.url}/items/{item['id']}/payload")
    assert got.ok
    assert got.headers["content-type"].partition(";")[0] in {
        "text/plain",
        "application/octet-stream",
    }
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["x-content-type-options"] == "nosniff"


class Elsewhere:
    """Another site, whose pages a victim opens. Shape: `html` is what it serves."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.far = f"http://localhost:{port}/"
        self.html = ""


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async def serve(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=site.html, content_type="text/html")

    protocol = web.Server(serve)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    site = Elsewhere(server.sockets[0].getsockname()[1])
    yield site
    server.close()
    await protocol.shutdown(1)


@pytest.mark.parametrize("far", [False, True], ids=["another port", "another site"])
async def test_a_form_elsewhere_changes_nothing(
    lq: Daemon, admin: Page, visit: Visit, elsewhere: Elsewhere, *, far: bool
) -> None:
    lq.client.edit_queue("mail", concurrency=3)
    elsewhere.html = (
        f'<form method="post" action="{lq.url}/queues/mail/pause"><input name="pauseReason"></form>'
        "<script>document.forms[0].submit()</script>"
    )
    visit.expect("40[13]")
    await admin.goto(elsewhere.far if far else elsewhere.url, wait_until="commit")
    await admin.wait_for_url(f"{lq.url}/**")
    assert not lq.client.queue("mail")["paused"]
    await admin.goto(f"{lq.url}/queues/mail")
    await admin.get_by_role("button", name="Pause").click()
    await expect(admin.locator("main")).to_contain_text("mail is paused")


async def test_a_script_elsewhere_can_neither_read_nor_change(
    lq: Daemon, admin: Page, visit: Visit, elsewhere: Elsewhere
) -> None:
    lq.client.edit_queue("mail", concurrency=3)
    elsewhere.html = "<p>here</p>"
    await admin.goto(elsewhere.url)
    visit.expect("CORS|40[13]|Failed to load|Failed to fetch|ERR_")
    for method in ("GET", "POST"):
        for mode in ("cors", "no-cors"):
            told = await admin.evaluate(
                """async ([url, method, mode]) => {
                  try {
                    const got = await fetch(url, { method, mode, credentials: "include" });
                    return await got.text();
                  } catch (error) { return ""; }
                }""",
                [f"{lq.url}/queues/mail/pause" if method == "POST" else f"{lq.url}/", method, mode],
            )
            assert told == ""
    assert not lq.client.queue("mail")["paused"]


async def test_no_site_can_frame_the_panel(
    lq: Daemon, admin: Page, visit: Visit, elsewhere: Elsewhere
) -> None:
    elsewhere.html = f'<iframe src="{lq.url}/"></iframe>'
    visit.expect("frame|refused|ERR_BLOCKED|403")
    await admin.goto(elsewhere.url)
    await admin.wait_for_load_state("networkidle")
    for frame in admin.frames[1:]:
        assert "Overview" not in await frame.content()


async def test_a_link_elsewhere_arrives_logged_in(
    lq: Daemon, admin: Page, elsewhere: Elsewhere
) -> None:
    lq.client.edit_queue("mail", concurrency=3)
    elsewhere.html = f'<a href="{lq.url}/queues/mail">the queue</a>'
    await admin.goto(elsewhere.far)
    await admin.get_by_role("link").click()
    await expect(admin.locator("h1")).to_have_text("mail")


async def test_a_one_time_link_leaves_no_trace(lq: Daemon, admin: Page) -> None:
    assert "#" not in admin.url
    await admin.go_back()
    assert "#" not in admin.url


async def test_a_link_can_be_pasted_where_the_login_is_shown(lq: Daemon, visit: Visit) -> None:
    await visit.page.goto(f"{lq.url}/login")
    await log_in(lq, visit.page)
    await expect(visit.page.locator("h1")).to_have_text("Overview")


async def test_over_tls_the_cookie_is_this_hosts_alone(
    start: Start, visitor: Visitor, tmp_path: Path
) -> None:
    cert, key = Authority(tmp_path).issue("lq")
    lq = start(f'[tls]\ncert = "{cert}"\nkey = "{key}"')
    visit = await visitor(ignore_https_errors=True)
    await log_in(lq, visit.page)
    [cookie] = await visit.context.cookies()
    assert cookie["name"] == f"__Host-lq-{lq.url.rpartition(':')[2]}"
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    await visit.page.goto(f"{lq.url}/queues")
    await expect(visit.page.locator("h1")).to_have_text("Queues")
    await expect(visit.page.locator("#live")).to_have_attribute("data-state", "live")
    await visit.page.get_by_role("button", name="Log out").click()
    await expect(visit.page.locator("h1")).to_have_text("Log in")
    assert await visit.context.cookies() == []


async def test_every_page_keeps_to_its_policy(scene: Scene, looking: Page) -> None:
    """The fixture fails for what a page of our own makes the browser complain of."""
    for path in pages(scene).values():
        await looking.goto(f"{scene.url}{path}")
        await expect(looking.locator("#live, footer").first).to_be_attached()
