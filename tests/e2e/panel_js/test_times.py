"""Times in the zone of who looks at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Visitor

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def time(id_: str, at: str, form: str = "") -> str:
    attribute = f' data-form="{form}"' if form else ""
    return f'<time id="{id_}" datetime="{at}"{attribute}>{at} UTC</time> '


async def at_noon(site: Site, visitor: Visitor, body: str, zone: str) -> Page:
    site.put("/", body)
    visit = await visitor(timezone_id=zone)
    # From the hour before: the clock runs until it is paused, and is never set back.
    await visit.page.clock.install(time=NOW - timedelta(hours=1))
    await visit.page.clock.pause_at(NOW)
    await visit.page.goto(site.url)
    return visit.page


async def test_the_zone_is_the_viewers(site: Site, visitor: Visitor) -> None:
    body = time("a", "2026-11-28T00:15:07.123Z")
    berlin = await at_noon(site, visitor, body, "Europe/Berlin")
    await expect(berlin.locator("#a")).to_have_text("28 Nov 01:15:07")
    title = "2026-11-28 00:15:07.123 UTC · 11 h ago"
    await expect(berlin.locator("#a")).to_have_attribute("title", title)
    chatham = await at_noon(site, visitor, body, "Pacific/Chatham")
    await expect(chatham.locator("#a")).to_have_text("28 Nov 14:00:07")
    new_york = await at_noon(site, visitor, body, "America/New_York")
    await expect(new_york.locator("#a")).to_have_text("27 Nov 19:15:07")


@pytest.mark.parametrize(
    ("at", "form", "text"),
    [
        ("2026-11-28T11:59:59.500Z", "relative", "now"),
        ("2026-11-28T11:59:18Z", "relative", "42 s ago"),
        ("2026-11-28T11:56:10Z", "relative", "3 min ago"),
        ("2026-11-28T12:05:30Z", "relative", "in 5 min"),
        ("2026-11-26T13:00:00Z", "relative", "47 h ago"),
        ("2026-11-30T12:00:00Z", "relative", "in 2 d"),
        ("2026-11-28T03:04:05Z", "time", "03:04:05"),
        ("2026-11-27T23:59:59Z", "time", "27 Nov 23:59:59"),
        ("2026-11-28T00:00:00Z", "", "28 Nov 00:00:00"),
        ("2025-09-01T23:30:00Z", "", "1 Sep 2025 23:30"),
        ("2025-09-01T23:30:00Z", "time", "1 Sep 2025 23:30"),
        ("tomorrow", "", "tomorrow UTC"),
        ("", "relative", " UTC"),
    ],
)
async def test_forms(site: Site, visitor: Visitor, at: str, form: str, text: str) -> None:
    page = await at_noon(site, visitor, time("a", at, form), "UTC")
    await expect(page.locator("#a")).to_have_text(text, use_inner_text=False)


async def test_a_relative_time_tells_the_instant_on_hover(site: Site, visitor: Visitor) -> None:
    body = time("a", "2026-11-28T12:05:00.000Z", "relative")
    page = await at_noon(site, visitor, body, "Europe/Berlin")
    title = "28 Nov 2026 13:05:00 · 2026-11-28 12:05:00 UTC"
    await expect(page.locator("#a")).to_have_attribute("title", title)


async def test_a_relative_time_stays_true(site: Site, visitor: Visitor) -> None:
    page = await at_noon(site, visitor, time("a", "2026-11-28T12:00:02Z", "relative"), "UTC")
    await expect(page.locator("#a")).to_have_text("in 2 s")
    await page.clock.run_for(5000)
    await expect(page.locator("#a")).to_have_text("3 s ago")
    await page.clock.fast_forward("24:00:00")
    await expect(page.locator("#a")).to_have_text("24 h ago")


async def test_what_is_said_on_hover_is_true_then(site: Site, visitor: Visitor) -> None:
    page = await at_noon(site, visitor, time("a", "2026-11-28T11:00:00Z"), "UTC")
    await page.clock.fast_forward("02:00:00")
    await page.locator("#a").hover()
    title = "2026-11-28 11:00:00 UTC · 3 h ago"
    await expect(page.locator("#a")).to_have_attribute("title", title)


async def test_the_hour_that_is_there_twice(site: Site, visitor: Visitor) -> None:
    body = time("a", "2026-10-25T00:30:00Z") + time("b", "2026-10-25T01:30:00Z")
    page = await at_noon(site, visitor, body, "Europe/Berlin")
    for one, utc in (("#a", "2026-10-25 00:30:00 UTC"), ("#b", "2026-10-25 01:30:00 UTC")):
        await expect(page.locator(one)).to_have_text("25 Oct 02:30:00")
        await expect(page.locator(one)).to_have_attribute("title", f"{utc} · 34 d ago")
