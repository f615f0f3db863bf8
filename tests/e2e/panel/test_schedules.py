"""Schedules in the panel, in a real browser: explained while one types, made, run and edited."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="session")

ODD = "<img src=x onerror=alert(1)>"


async def log_in(lq: Daemon, page: Page) -> None:
    """Open the panel by its link, as admin."""
    await page.goto(lq.client.panel_link()["url"])
    await page.wait_for_url(f"{lq.url}/")


async def test_a_schedule_is_explained_made_run_and_edited(
    lq: Daemon, endpoint: Endpoint, visit: Visit
) -> None:
    page = visit.page
    await log_in(lq, page)
    await page.keyboard.press("g")
    await page.keyboard.press("s")
    await page.get_by_role("link", name="New schedule").click()
    told = page.locator("#explanation")
    await page.get_by_label("Rule").fill("30 25 * * *")
    await expect(told).to_contain_text("25 is out of range, it takes 0 to 23")
    await page.get_by_label("Rule").fill("30 2 * * *")
    await expect(told).to_contain_text("At 02:30 every day.")
    await page.get_by_label("Time zone").fill("Europe/Berlin")
    await expect(told).to_contain_text("the clocks of Europe/Berlin skip 02:00 to 03:00")
    await page.get_by_label("Queue").fill("reports")
    await page.get_by_label("Target").fill(endpoint.url("/report"))
    await page.get_by_role("textbox", name="Key").fill(ODD)
    await page.get_by_label("Payload").fill(f'{{"to": "{ODD}"}}')
    await page.get_by_role("button", name="Create schedule").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(ODD)
    await expect(page.get_by_text("At 02:30 every day, Europe/Berlin")).to_be_visible()
    await page.get_by_role("button", name="Run now").click()
    await expect(page.locator("#runs")).to_contain_text("completed")
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Rule").fill("every 90s")
    await expect(told).to_contain_text("Every 90 seconds.")
    await page.get_by_role("button", name="Save changes").click()
    await expect(page.get_by_role("heading", name="Every 90 seconds")).to_be_visible()
    (made,) = lq.client.schedules()["items"]
    assert (made["schedule"], made["key"]) == ("E=1m30s", ODD)


async def test_the_months_of_a_schedule_are_turned_by_keyboard(lq: Daemon, visit: Visit) -> None:
    made = lq.client.create_schedule(
        "30 2 * * *", "q", key="nightly", tz="Europe/Berlin", target="https://example.com/hook"
    )
    page = visit.page
    await log_in(lq, page)
    await page.goto(f"{lq.url}/schedules/{made['id']}?month=2030-02")
    await page.get_by_role("link", name="Next", exact=True).press("Enter")
    await expect(page.get_by_role("heading", name="March 2030")).to_be_visible()
    await expect(page.locator("#month")).to_contain_text("02:30 is skipped by the clocks")
    await expect(page.locator("td.busy")).to_have_count(31)
