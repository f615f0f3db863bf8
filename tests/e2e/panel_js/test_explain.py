"""What a form means, while one types it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from aiohttp import web
from multidict import MultiDict
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit
from tests.e2e.process import PATIENCE_S

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = """
<form data-explain="/schedules/explain" method="post" action="/schedules">
<input name="rule" id="rule"><select name="zone" id="zone"><option>UTC<option>Asia/Tokyo</select>
<input name="tag" value="a"><input name="tag" value="b"><input id="nameless" value="x">
<input type="hidden" name="csrf" value="no" data-private>
<textarea name="payload" id="payload" data-private>secret</textarea>
<input type="password" name="key" value="secret"><input type="file" name="file">
<input type="checkbox" name="on" id="on"><button>Save</button>
</form>
<div id="explanation" aria-live="polite">as it came</div>
"""


class Explainer:
    """Answers with the rule that it is asked about."""

    def __init__(self, site: Site) -> None:
        self.asked: asyncio.Queue[MultiDict[str]] = asyncio.Queue()
        self.dropped: asyncio.Queue[str] = asyncio.Queue()
        """Which rules nobody waits for any more."""
        self.held = ""
        """The rule that is not answered."""
        self.status = 200
        site.on("/schedules/explain", self._answer)

    async def next(self) -> MultiDict[str]:
        return await asyncio.wait_for(self.asked.get(), PATIENCE_S)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.put_nowait(MultiDict(request.query))
        rule = request.query.get("rule", "")
        if rule == self.held:
            try:
                await asyncio.Event().wait()
            finally:
                self.dropped.put_nowait(rule)
        time = '<time datetime="2020-01-01T00:00:00Z">then</time>'
        words = f'<main><div id="explanation" aria-live="polite"><b>{rule}</b> {time}</div></main>'
        return web.Response(text=words, content_type="text/html", status=self.status)


async def opened(site: Site, visit: Visit) -> tuple[Page, Explainer]:
    """A page whose clock stands, in UTC."""
    site.put("/", FORM)
    explainer = Explainer(site)
    await visit.page.clock.install()
    await visit.page.goto(site.url)
    await visit.page.clock.pause_at(datetime(2050, 1, 1, tzinfo=UTC))
    return visit.page, explainer


async def test_it_asks_when_nobody_has_typed_for_a_moment(site: Site, visit: Visit) -> None:
    page, explainer = await opened(site, visit)
    words = page.locator("#explanation")
    await page.locator("#rule").press_sequentially("every")
    await page.clock.run_for(249)
    assert explainer.asked.empty()
    await page.clock.run_for(1)
    asked = await explainer.next()
    await expect(words).to_have_text("every 1 Jan 2020 00:00")
    await expect(words).to_have_attribute("aria-live", "polite")
    fields = [("rule", "every"), ("zone", "UTC"), ("tag", "a"), ("tag", "b")]
    assert list(asked.items()) == fields
    assert explainer.asked.empty()


async def test_choices_are_explained_and_what_is_private_is_not(site: Site, visit: Visit) -> None:
    page, explainer = await opened(site, visit)
    await page.select_option("#zone", "Asia/Tokyo")
    await page.check("#on")
    await page.clock.run_for(250)
    asked = await explainer.next()
    assert (asked["zone"], asked["on"]) == ("Asia/Tokyo", "on")
    await page.fill("#payload", "another secret")
    await page.clock.run_for(250)
    await page.fill("#rule", "daily")
    await page.clock.run_for(250)
    asked = await explainer.next()
    assert asked["rule"] == "daily"
    assert {"csrf", "payload", "key", "file"}.isdisjoint(asked)


async def test_an_older_answer_never_replaces_a_newer(site: Site, visit: Visit) -> None:
    page, explainer = await opened(site, visit)
    explainer.held = "slow"
    await page.fill("#rule", "slow")
    await page.clock.run_for(250)
    await explainer.next()
    await page.fill("#rule", "quick")
    assert await asyncio.wait_for(explainer.dropped.get(), PATIENCE_S) == "slow"
    await page.clock.run_for(250)
    await expect(page.locator("#explanation b")).to_have_text("quick")


async def test_a_refusal_explains_too(site: Site, visit: Visit) -> None:
    page, explainer = await opened(site, visit)
    visit.expect("Failed to load resource.*422")
    explainer.status = 422
    await page.fill("#rule", "evry day")
    await page.clock.run_for(250)
    await expect(page.locator("#explanation b")).to_have_text("evry day")


async def test_without_a_session_it_says_so_and_stays(site: Site, visit: Visit) -> None:
    page, _ = await opened(site, visit)
    site.put("/login", "<h1>Log in</h1>")

    async def to_login(_: web.Request) -> web.Response:
        return web.Response(status=303, headers={"Location": "/login?next=/schedules/explain"})

    site.on("/schedules/explain", to_login)
    await page.fill("#rule", "daily")
    await page.clock.run_for(250)
    await expect(page.locator("#explanation")).to_have_text("You are not logged in any more.")
    await expect(page.locator("#rule")).to_have_value("daily")


async def test_where_there_is_no_answer_the_old_one_does_not_stay(site: Site, visit: Visit) -> None:
    page, _ = await opened(site, visit)
    visit.expect("Failed to load resource.*ERR_FAILED")
    await page.route("**/schedules/explain*", lambda route: route.abort())
    await page.fill("#rule", "daily")
    await page.clock.run_for(250)
    none = "lq has no explanation at the moment."
    await expect(page.locator("#explanation")).to_have_text(none)
    await page.unroute("**/schedules/explain*")
    await page.fill("#rule", "x" * 7000)
    await page.clock.run_for(250)
    await expect(page.locator("#explanation")).to_have_text(
        "This is too long to be explained here."
    )
    await page.fill("#rule", "daily")
    await page.clock.run_for(250)
    await expect(page.locator("#explanation b")).to_have_text("daily")


async def test_what_was_typed_is_only_text(site: Site, visit: Visit) -> None:
    page, _ = await opened(site, visit)

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=request.query["rule"], content_type="text/html")

    site.on("/schedules/explain", echo)
    await page.fill("#rule", '<div id="explanation"><script>alert(1)</script>seen</div>')
    await page.clock.run_for(250)
    await expect(page.locator("#explanation")).to_contain_text("seen")
