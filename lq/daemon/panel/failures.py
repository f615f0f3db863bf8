"""How items have failed, kind by kind, each with the way to its items and to their replay."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.filters import filter_of, read_fields
from lq.daemon.panel.pages import with_query
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit
from lq.errors import ValidationError

_KINDS: Final = 50


async def show(visit: Visit) -> Reply:
    wanted = await read_fields(visit)
    if wanted != visit.fields:
        return visit.go(with_query("/failures", wanted))
    page: Json = {"failures": []}
    error = None
    try:
        page = await visit.get("/failures", {"limit": _KINDS, **wanted})
    except ValidationError as refused:
        error = refused
    return visit.page(
        "failures.html",
        error=error,
        wanted=filter_of(wanted),
        page=page,
        is_first="cursor" not in wanted,
    )


PAGES: Final = (Page("GET", "/failures", show),)
