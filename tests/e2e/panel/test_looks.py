"""Every page as people meet it: readable, small, for keyboards and phones, and for everybody."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, Response, expect

from tests.e2e.browser import Visitor
from tests.screenshots import LOOKS, pages
from tests.support.scene import Scene

from .conftest import watching

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_BYTES = 150_000
SERIOUS = {"serious", "critical"}


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing_serious(
    scene: Scene, visitor: Visitor, axe: str, look: str
) -> None:
    page = await watching(scene, visitor, **LOOKS[look], reduced_motion="reduce")
    found = {}
    for name, path in (pages(scene) | {"login": "/login"}).items():
        await page.goto(f"{scene.url}{path}")
        await page.evaluate(axe)
        result: dict[str, Any] = await page.evaluate("axe.run()")
        bad = [one for one in result["violations"] if one["impact"] in SERIOUS]
        if bad:
            found[name] = [(one["id"], [node["html"] for node in one["nodes"]]) for one in bad]
    assert found == {}


async def test_a_phone_shows_every_page_without_scrolling_sideways(
    scene: Scene, visitor: Visitor
) -> None:
    page = await watching(scene, visitor, **LOOKS["narrow"])
    wide = {}
    for name, path in pages(scene).items():
        await page.goto(f"{scene.url}{path}")
        beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if beyond > 0:
            wide[name] = beyond
    assert wide == {}


async def test_the_first_page_is_small(scene: Scene, visitor: Visitor) -> None:
    """All that a browser fetches that has never been here, as it comes over the wire."""
    fetched: list[Response] = []

    def note(response: Response) -> None:
        fetched.append(response)

    page = (await visitor()).page
    page.on("response", note)
    await page.goto(await scene.link())
    await page.wait_for_url(f"{scene.url}/")
    await page.locator("canvas").first.wait_for()
    sizes = {
        one.url: int(one.headers["content-length"])
        for one in fetched
        if one.headers["content-type"] != "text/event-stream"
    }
    assert any(url.endswith("/panel.js") for url in sizes)
    assert sum(sizes.values()) < MOST_BYTES, sizes


async def test_times_are_the_viewers_with_utc_on_hover(scene: Scene, visitor: Visitor) -> None:
    page = await watching(scene, visitor, timezone_id="Asia/Kolkata")
    await page.goto(f"{scene.url}/items/{scene.items['printer']}")
    time = page.locator("main time").first
    instant = await time.get_attribute("datetime")
    assert instant is not None
    hour, minute = int(instant[11:13]), int(instant[14:16])
    ahead = (hour * 60 + minute + 330) % 1440
    await expect(time).to_contain_text(f"{ahead // 60:02}:{ahead % 60:02}")
    assert "UTC" in (await time.get_attribute("title") or "")


async def test_keys_lead_through_the_panel(scene: Scene, looking: Page) -> None:
    await looking.goto(f"{scene.url}/queues")
    await looking.keyboard.press("j")
    await looking.keyboard.press("j")
    second = looking.locator("[data-row] a[data-open]").nth(1)
    await expect(second).to_be_focused()
    name = await second.inner_text()
    await looking.keyboard.press("Enter")
    await expect(looking.locator("h1")).to_have_text(name)
    await looking.keyboard.press("g")
    await looking.keyboard.press("h")
    await looking.wait_for_url(f"{scene.url}/history")
    await looking.keyboard.press("/")
    await expect(looking.locator("[data-search]")).to_be_focused()
    await looking.keyboard.press("Escape")
    await looking.keyboard.press("?")
    await expect(looking.locator("#keys")).to_be_visible()
