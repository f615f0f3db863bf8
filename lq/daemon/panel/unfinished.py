"""What waits and what runs, over all queues: a list that can be narrowed down."""

from __future__ import annotations

from typing import Any, Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit
from lq.errors import RequestError

_FILTER: Final = ("queue", "state", "key", "label", "schedule", "target", "error")
_PAGE: Final = 50


async def listing(visit: Visit) -> Reply:
    fields = {name: text.strip() for name, text in visit.fields.items() if text.strip()}
    wanted: dict[str, str] = {name: fields[name] for name in _FILTER if name in fields}
    asked = wanted | {"limit": str(_PAGE), "cursor": fields.get("cursor", "")}
    page: dict[str, Any] = {"items": []}
    refused = None
    try:
        page = await visit.get("/items", asked)
    except RequestError as error:
        refused = error
    return visit.page(
        "items.html",
        status=200 if refused is None else refused.status,
        items=page["items"],
        cursor=page.get("cursor"),
        wanted=wanted,
        first="cursor" not in fields,
        error=refused,
    )


PAGES: Final = (Page("GET", "/items", listing),)
