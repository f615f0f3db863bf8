"""Endpoints: which of them prove themselves, since when, and why not; asking one now."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit
from lq.errors import RequestError

_MOST: Final = 100
_SAID: Final = {
    "validated": "has proved itself",
    "exempt": "answers; it need not prove itself",
}


async def listing(visit: Visit) -> Reply:
    return await _listing(visit)


async def _listing(visit: Visit, url: str = "", error: RequestError | None = None) -> Reply:
    found = await visit.get("/endpoints", {"limit": _MOST})
    return visit.page(
        "endpoints.html",
        endpoints=found["endpoints"],
        left_out=found["leftOut"],
        url=url,
        error=error,
    )


async def check(visit: Visit) -> Reply:
    form = visit.form
    wanted = {name: form[name].strip() for name in ("url", "queue") if form.get(name, "").strip()}
    try:
        one = await visit.send("POST", "/endpoints/check", wanted)
    except RequestError as error:
        return await _listing(visit, wanted.get("url", ""), error)
    fault = one.get("fault")
    said = _SAID.get(one["state"], one["state"]) if fault is None else f"is at fault: {fault}"
    return visit.go("/endpoints", f"{one['url']} {said}.")


PAGES: Final = (
    Page("GET", "/endpoints", listing),
    Page("POST", "/endpoints/check", check),
)
