"""What waits and what runs, over all queues: a list that can be narrowed down."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.filters import FINISHED, UNFINISHED, filter_of, read_fields
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit
from lq.errors import ValidationError

_PAGE: Final = 50


async def listing(visit: Visit) -> Reply:
    fields = await read_fields(visit)
    wanted = filter_of(fields)
    asked = wanted | {"limit": str(_PAGE), "cursor": fields.get("cursor", "")}
    page: Json = {"items": []}
    error = None
    try:
        page = await visit.get("/items", asked)
    except ValidationError as refused:
        error = refused
    return visit.page(
        "items.html",
        items=page["items"],
        cursor=page.get("cursor"),
        wanted=wanted,
        first="cursor" not in fields,
        error=error,
        states=UNFINISHED,
        elsewhere=FINISHED,
    )


PAGES: Final = (Page("GET", "/items", listing),)
