"""What waits and what runs, over all queues: a list that can be narrowed down."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.filters import filter_of, read_fields
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit
from lq.errors import RequestError

_PAGE: Final = 50


async def listing(visit: Visit) -> Reply:
    fields = await read_fields(visit)
    wanted = filter_of(fields)
    asked = wanted | {"limit": str(_PAGE), "cursor": fields.get("cursor", "")}
    page: Json = {"items": []}
    refused = None
    try:
        page = await visit.get("/items", asked)
    except RequestError as error:
        refused = error
    return visit.page(
        "items.html",
        items=page["items"],
        cursor=page.get("cursor"),
        wanted=wanted,
        first="cursor" not in fields,
        error=refused,
    )


PAGES: Final = (Page("GET", "/items", listing),)
