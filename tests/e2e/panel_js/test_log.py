"""What a scriptlet says, while it runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit
from tests.e2e.process import PATIENCE_S

from .site import Site
from .test_live import HIDE

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "/items/job_1/log"
FAILED = "Failed to load resource"


class Log:
    """Answers each question with what the test gives it next."""

    def __init__(self, site: Site) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self._answers: asyncio.Queue[web.Response] = asyncio.Queue()
        site.on(URL, self._answer)

    async def next(self) -> str:
        """The query of the next question."""
        return await asyncio.wait_for(self.asked.get(), PATIENCE_S)

    def say(self, data: str, offset: int, *, running: bool = True) -> None:
        document: dict[str, Any] = {"data": data, "offset": offset, "running": running}
        self.give(web.json_response(document))

    def give(self, response: web.Response) -> None:
        self._answers.put_nowait(response)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.put_nowait(request.query_string)
        return await self._answers.get()


def put(
    site: Site,
    text: str,
    *,
    running: bool = True,
    state: str = "RUNNING",
    more: str = "",
    live: str | None = None,
) -> None:
    log = f'data-log="{URL}?attempt=2" data-offset="{len(text)}"' if running else ""
    body = (
        f'<section data-region id="item"><b>{state}</b><pre id="log" {log}>{text}</pre></section>'
    )
    site.put("/", body + more, live=live)


async def opened(site: Site, visit: Visit, text: str = "one\n") -> tuple[Page, Log]:
    put(site, text)
    log = Log(site)
    await visit.page.goto(site.url)
    return visit.page, log


async def test_it_grows_until_the_end(site: Site, visit: Visit) -> None:
    page, log = await opened(site, visit)
    assert await log.next() == "attempt=2&offset=4"
    log.say("<b>two</b>\n", 15)
    assert await log.next() == "attempt=2&offset=15"
    await expect(page.locator("#log")).to_have_text("one\n<b>two</b>\n", use_inner_text=True)
    put(site, "one\n&lt;b&gt;two&lt;/b&gt;\nthree", running=False, state="COMPLETED")
    log.say("three", 20, running=False)
    await expect(page.locator("#item b").first).to_have_text("COMPLETED")
    await expect(page.locator("#log")).to_have_text("one\n<b>two</b>\nthree", use_inner_text=True)
    assert log.asked.empty()


async def test_a_log_at_its_end_is_not_asked_for_again(site: Site, visit: Visit) -> None:
    """Even by a page that still says that it runs."""
    page, log = await opened(site, visit)
    await log.next()
    put(site, "one\ntwo", state="COMPLETED")
    log.say("two", 7, running=False)
    await expect(page.locator("#item b")).to_have_text("COMPLETED")
    await expect(page.locator("#log")).to_have_text("one\ntwo", use_inner_text=True)
    assert log.asked.empty()


async def test_a_region_with_a_running_log_waits(site: Site, visit: Visit) -> None:
    live = '<section data-region id="other">{}</section>'
    put(site, "one\n", more=live.format("old"), live="/events")
    log = Log(site)
    page = visit.page
    await page.goto(site.url)
    await log.next()
    log.say("two\n", 8)
    await log.next()
    await site.next_stream()
    put(site, "one\ntwo\n", more=live.format("new"), state="STILL RUNNING", live="/events")
    site.tell("claim")
    await expect(page.locator("#other")).to_have_text("new")
    await expect(page.locator("#item b")).to_have_text("RUNNING")
    await expect(page.locator("#log")).to_have_text("one\ntwo\n", use_inner_text=True)
    log.say("", 8, running=False)
    await expect(page.locator("#item b")).to_have_text("STILL RUNNING")


async def test_it_goes_on_after_trouble(site: Site, visit: Visit) -> None:
    await visit.page.clock.install()
    visit.expect(f"{FAILED}.*503")
    page, log = await opened(site, visit)
    await log.next()
    log.give(web.Response(status=503))
    log.give(web.Response(text="no JSON"))
    for _ in range(2):
        while log.asked.empty():
            await page.clock.run_for(1000)
        assert await log.next() == "attempt=2&offset=4"
    log.say("two", 7, running=False)
    await expect(page.locator("#log")).to_have_text("one\ntwo", use_inner_text=True)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_log_that_is_gone_is_let_go(site: Site, visit: Visit, status: int) -> None:
    visit.expect(f"{FAILED}.*{status}")
    page, log = await opened(site, visit)
    await log.next()
    put(site, "nothing kept", running=False, state="COMPLETED")
    log.give(web.Response(status=status))
    await expect(page.locator("#item b")).to_have_text("COMPLETED")
    assert log.asked.empty()


async def test_with_nothing_to_say_it_is_asked_calmly(site: Site, visit: Visit) -> None:
    await visit.page.clock.install()
    page, log = await opened(site, visit)
    await log.next()
    await page.clock.pause_at("2050-01-01")
    log.say("", 4)
    await asyncio.wait_for(stands(page), PATIENCE_S)
    assert log.asked.empty()
    while log.asked.empty():
        await page.clock.run_for(100)
    assert await log.next() == "attempt=2&offset=4"
    log.say("", 4, running=False)


async def stands(page: Page) -> None:
    """Wait until all that was asked has been answered, and nothing is left but the clock."""
    await page.wait_for_load_state("networkidle")


async def test_the_end_is_followed_by_who_is_there(site: Site, visit: Visit) -> None:
    page, log = await opened(site, visit, "\n".join(map(str, range(200))))
    offset = int((await log.next()).rpartition("=")[2])

    async def is_at_end() -> bool:
        found: bool = await page.evaluate(
            "() => { const e = document.scrollingElement;"
            " return e.scrollHeight - e.scrollTop - e.clientHeight < 8; }"
        )
        return found

    async def say(text: str) -> None:
        nonlocal offset
        offset += len(text)
        log.say(text, offset)
        await log.next()

    await say("\nfirst")
    assert not await is_at_end()
    await page.evaluate("() => scrollTo(0, document.scrollingElement.scrollHeight)")
    await say("\nmore" * 50)
    assert await is_at_end()
    await page.evaluate("() => scrollTo(0, 100)")
    await say("\nlast" * 50)
    assert await page.evaluate("() => scrollY") == 100


async def test_a_box_that_scrolls_is_followed_by_itself(site: Site, visit: Visit) -> None:
    page, log = await opened(site, visit, "\n".join(map(str, range(50))))
    await page.eval_on_selector(
        "#log",
        "(one) => { one.style.height = '80px'; one.style.overflow = 'auto'; one.scrollTop = 1e6; }",
    )
    offset = int((await log.next()).rpartition("=")[2])
    log.say("\nnew" * 50, offset + 200)
    await log.next()
    at_end = "(one) => one.scrollHeight - one.scrollTop - one.clientHeight < 8"
    assert await page.eval_on_selector("#log", at_end)
    await page.eval_on_selector("#log", "(one) => (one.scrollTop = 5)")
    log.say("\nlast" * 50, offset + 450)
    await log.next()
    assert await page.eval_on_selector("#log", "(one) => one.scrollTop") == 5


async def test_a_hidden_page_does_not_ask(site: Site, visit: Visit) -> None:
    await visit.context.add_init_script(HIDE.replace("hidden = false", "hidden = true"))
    page, log = await opened(site, visit)
    await expect(page.locator("#log")).to_have_attribute("tabindex", "0")
    assert log.asked.empty()
    await page.evaluate("() => setHidden(false)")
    assert await log.next() == "attempt=2&offset=4"
    log.say("", 4, running=False)
