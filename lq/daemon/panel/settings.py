"""The settings in force, and where each comes from. They are changed in lq.toml."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.portions import portion
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit

_TABLES: Final = 40


async def show(visit: Visit) -> Reply:
    settings = await visit.get("/config")
    tables, cursor = portion(settings["tables"], visit.fields.get("cursor", ""), _TABLES)
    return visit.page(
        "settings.html",
        file=settings.get("file"),
        tables=tables,
        cursor=cursor,
        info=await visit.get("/info"),
    )


PAGES: Final = (Page("GET", "/settings", show),)
