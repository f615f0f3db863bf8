"""The first page: what there is to do, what goes on, and what needs somebody."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit

_RUNS: Final = 8
_SUMS: Final = ("pending", "retry", "running", "failures", "outRate")


async def show(visit: Visit) -> Reply:
    overview = await visit.get("/overview", {"limit": _RUNS})
    queues = overview["queues"]
    total = {name: sum(one.get(name, 0) for one in queues) for name in _SUMS}
    return visit.page("overview.html", overview=overview, total=total)


async def events(visit: Visit) -> Reply:
    """What happens, as the API streams it."""
    path = f"/events?{visit.query}" if visit.query else "/events"
    last = visit.headers.get("Last-Event-ID")
    return await visit.reply("GET", path, headers={"Last-Event-ID": last} if last else {})


PAGES: Final = (Page("GET", "/", show), Page("GET", "/events", events))
