"""Something long goes on by itself, one form after the other, until somebody leaves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.e2e.browser import Visit
from tests.e2e.process import PATIENCE_S

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEP = """
<form method="post" action="/step" data-onward>
<input type="hidden" name="cursor" value="c1"><button>Go on</button></form>
<a href="/done">Stop here</a>
"""


class Steps:
    """A page between two steps, and what its forms have sent."""

    def __init__(self, site: Site) -> None:
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        site.put("/", STEP, scripts=("panel.js", "onward.js"))
        site.put("/done", "<h1>Done</h1>")
        site.on("/step", self._step)

    async def _step(self, request: web.Request) -> web.Response:
        self.sent.put_nowait(str((await request.post())["cursor"]))
        return web.Response(status=303, headers={"Location": "/done"})


async def test_the_next_step_is_asked_for(site: Site, visit: Visit) -> None:
    steps = Steps(site)
    await visit.page.goto(site.url)
    assert await asyncio.wait_for(steps.sent.get(), PATIENCE_S) == "c1"
    await expect(visit.page.locator("h1")).to_have_text("Done")
    assert steps.sent.empty()


async def test_who_leaves_stops_it(site: Site, visit: Visit) -> None:
    steps = Steps(site)
    left = asyncio.Event()

    async def stay(_: web.Request) -> web.Response:
        left.set()
        return web.Response(status=204)  # the browser stays where it is, as while it waits

    site.on("/done", stay)
    await visit.page.clock.install()
    await visit.page.clock.pause_at(datetime(2050, 1, 1, tzinfo=UTC))
    await visit.page.goto(site.url)
    await visit.page.get_by_text("Stop here").click(no_wait_after=True)
    await asyncio.wait_for(left.wait(), PATIENCE_S)
    await visit.page.clock.run_for(10_000)
    assert steps.sent.empty()
