"""The settings in force, and where each comes from. They are changed in lq.toml."""

from __future__ import annotations

from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit


async def show(visit: Visit) -> Reply:
    return visit.page(
        "settings.html", settings=await visit.get("/config"), info=await visit.get("/info")
    )


PAGES: Final = (Page("GET", "/settings", show),)
