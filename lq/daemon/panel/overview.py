"""The first page: what there is to do, what goes on, and what needs somebody."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from lq.daemon.api.call import Reply
from lq.daemon.panel.guard import HEADERS
from lq.daemon.panel.pages import with_query
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit, quoted
from lq.errors import ValidationError

_RUNS: Final = 8
_SUMS: Final = ("pending", "retry", "running", "failures", "outRate")
_SPAN: Final = "hour"
STREAM: Final = "/events"


async def show(visit: Visit) -> Reply:
    overview = await visit.get("/overview", {"limit": _RUNS})
    concerns = await visit.get("/attention")
    return visit.page(
        "overview.html",
        overview=overview,
        total={name: sum(q.get(name, 0) for q in overview["queues"]) for name in _SUMS},
        concerns=[(concern, *_where(concern)) for concern in concerns],
        activity=await activity(visit),
    )


async def activity(visit: Visit, queue: str | None = None) -> Any:
    """What happened in the span that the page's query names, or in the last hour."""
    try:
        asked = {"span": visit.fields.get("span", _SPAN), "queue": queue}
        return await visit.get("/activity", asked)
    except ValidationError:  # a link of somebody's own making
        return await visit.get("/activity", {"span": _SPAN, "queue": queue})


def _where(concern: dict[str, Any]) -> tuple[str, str]:
    """Where a concern is dealt with, and what that place is called."""
    kind = concern["kind"]
    if "schedule" in concern:
        return quoted("schedules", concern["schedule"]), "Schedule"
    if "fingerprint" in concern:
        return with_query("/history", {"fingerprint": concern["fingerprint"]}), "Items"
    if "url" in concern:
        return "/endpoints", "Endpoints"
    if "queue" in concern:
        return quoted("queues", concern["queue"]), "Queue"
    return ("/settings", "Settings") if kind == "disk" else ("", "")


async def events(visit: Visit) -> Reply:
    """What happens, as the API streams it."""
    path = f"/events?{visit.query}" if visit.query else "/events"
    last = visit.headers.get("Last-Event-ID")
    reply = await visit.reply("GET", path, headers={"Last-Event-ID": last} if last else {})
    return replace(reply, headers=(*HEADERS, *reply.headers))


PAGES: Final = (Page("GET", "/", show), Page("GET", STREAM, events))
