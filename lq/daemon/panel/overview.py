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
_QUEUES: Final = 20
_SUMS: Final = ("pending", "retry", "running", "failures", "outRate")
_SPAN: Final = "hour"
STREAM: Final = "/events"


async def show(visit: Visit) -> Reply:
    overview = await visit.get("/overview", {"limit": _RUNS})
    concerns = await visit.get("/attention")
    return visit.page(
        "overview.html",
        overview=overview,
        queues=_foremost(overview["queues"]),
        total={name: sum(q.get(name, 0) for q in overview["queues"]) for name in _SUMS},
        concerns=[(concern, *_where(concern)) for concern in concerns],
        activity=await activity(visit),
    )


def _foremost(queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many as a first page holds: those that are held up or at work, before those that idle.

    Shape: in the order in which they were given, so that no row moves while it is looked at.
    """

    def at_rest(queue: dict[str, Any]) -> tuple[bool, bool, bool]:
        goes_on = queue["running"] > 0 or queue.get("outRate", 0) > 0
        return not queue.get("paused", False), not queue["retry"], not goes_on

    shown = {queue["name"] for queue in sorted(queues, key=at_rest)[:_QUEUES]}
    return [queue for queue in queues if queue["name"] in shown]


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
