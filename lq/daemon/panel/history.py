"""What has finished: a page of it under a filter, and where a line of search leads.

Owns nothing but looks; which items there are, and how far one answer looks, is the API's.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.filters import (
    FINISHED,
    SCHEDULE,
    UNFINISHED,
    filter_of,
    parse_search,
    read_fields,
)
from lq.daemon.panel.pages import with_query
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit, quoted
from lq.errors import Forbidden, NotFound, ValidationError

_ROWS: Final = 50
_LOOKS: Final = 3
"""How often a page goes on by itself while it has nothing to show; one look is some 20 ms."""
_ITEM: Final = re.compile(r"job_[0-9a-z]{1,60}")


async def show(visit: Visit) -> Reply:
    wanted = await read_fields(visit)
    if wanted != visit.fields:
        return visit.go(with_query("/history", wanted))
    page: Json = {"items": []}
    error = None
    try:
        page = await look(visit, "/history", wanted)
    except ValidationError as refused:
        error = refused
    return visit.page(
        "history.html",
        error=error,
        wanted=filter_of(wanted),
        elsewhere=UNFINISHED,
        states=FINISHED,
        page=page,
        is_first="cursor" not in wanted,
    )


async def look(visit: Visit, path: str, wanted: dict[str, str]) -> Json:
    """A page of a listing; one that is empty so far goes on a little. Raises: RequestError."""
    asked: dict[str, object] = {"limit": _ROWS, **wanted}
    for _ in range(_LOOKS):
        page: Json = await visit.get(path, asked)
        if page["items"] or "cursor" not in page:
            break
        asked["cursor"] = page["cursor"]
    return page


async def search(visit: Visit) -> Reply:
    """Where a line of search leads: an id or a key to what it is of, words to a listing."""
    words, rest = parse_search(visit.fields.get("q", ""))
    if not words:
        return visit.go(await _named(visit, rest) if rest else "/history")
    if rest:
        words.setdefault("error", rest)
    unfinished = words.get("state") in UNFINISHED
    return visit.go(with_query("/items" if unfinished else "/history", words))


async def _named(visit: Visit, name: str) -> str:
    """The page of what is called so, or else of the failures that say so."""
    if _ITEM.fullmatch(name) and await _found(visit, quoted("items", name)):
        return quoted("items", name)
    if SCHEDULE.fullmatch(name) and await _found(visit, quoted("schedules", name)):
        return quoted("schedules", name)
    for path in ("/items", "/history"):
        page = await _found(visit, with_query(path, {"key": name, "limit": 2}))
        items = page["items"] if page else []
        if len(items) == 1:
            return quoted("items", items[0]["id"])
        if items:
            return with_query(path, {"key": name})
    if await _found(visit, quoted("queues", name)):
        return quoted("queues", name)
    if schedule := await _found(visit, quoted("schedules", "byKey", name)):
        return quoted("schedules", schedule["id"])
    return with_query("/history", {"error": name})


async def _found(visit: Visit, path: str) -> Any:
    """What there is at a path of the API, as far as who asks may know of it."""
    try:
        return await visit.get(path)
    except (NotFound, Forbidden, ValidationError):
        return None


PAGES: Final = (Page("GET", "/history", show), Page("GET", "/search", search))
