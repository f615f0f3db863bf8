"""The scripts on a page of the real daemon."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit
from tests.e2e.conftest import Start
from tests.e2e.ports import free_port
from tests.e2e.process import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="session")

TARGET = "https://example.com/hook"


async def run(daemon: Daemon, *arguments: str) -> str:
    ended = await asyncio.to_thread(daemon.cli, *arguments)
    assert ended.code == 0, ended
    return ended.stdout.strip()


async def log_in(daemon: Daemon, page: Page) -> None:
    await page.goto(await run(daemon, "panel", "--print"))
    await expect(page.locator("#live")).to_have_text("live")


async def push(daemon: Daemon, queue: str) -> None:
    where = ("--queue", queue, "--target", TARGET)
    await run(daemon, "push", *where, "--no-validate", "--delay", "1h", "--data", "{}")


async def test_what_is_pushed_is_seen(lq: Daemon, visit: Visit) -> None:
    await log_in(lq, visit.page)
    await push(lq, "mail")
    await expect(visit.page.locator("#queues a")).to_have_text("mail")
    await expect(visit.page.locator("#now a").first).to_contain_text("1")


async def test_a_daemon_that_was_killed_comes_back(start: Start, visit: Visit) -> None:
    daemon = start(environ={"LQ_LISTEN": f"127.0.0.1:{free_port()}"})
    visit.expect("ERR_CONNECTION_REFUSED|401|EventSource")
    await log_in(daemon, visit.page)
    daemon.kill()
    await expect(visit.page.locator("#live")).to_have_text("reconnecting…")
    await asyncio.to_thread(daemon.start)
    await visit.page.wait_for_url("**/login?next=%2F")


async def test_a_session_that_was_ended_elsewhere_leads_to_the_login(
    lq: Daemon, visit: Visit
) -> None:
    await log_in(lq, visit.page)
    other = await visit.context.new_page()
    await other.goto(visit.page.url)
    await expect(other.locator("#live")).to_have_text("live")
    visit.expect("401|EventSource")
    await other.get_by_role("button", name="Log out").click()
    await visit.page.wait_for_url("**/login?next=%2F")
