"""The page of one item, and what can be done to it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.json import encode

from lq.daemon.api.call import NOT_STORED, Reply
from lq.daemon.panel import seen
from lq.daemon.panel.content import (
    SHOWN,
    Content,
    answer_bytes,
    answer_type,
    content,
    payload_bytes,
)
from lq.daemon.panel.editing import changes, fields_of_item, in_form, read_when
from lq.daemon.panel.guard import HEADERS
from lq.daemon.panel.repeating import commands
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit, attachment, quoted
from lq.errors import Conflict, NotFound, RequestError, ValidationError
from lq.wire.fields import METHODS

MOST_ATTEMPTS: Final = 25
"""So many of the last ones are on the page at first: each may have brought 64 KiB."""
_GLIMPSE: Final = 2000  # characters of an answer on the timeline
_PATIENCE: Final = "20s"
_FINISHED: Final = {"COMPLETED", "FAILED", "CANCELLED"}
_WAITING: Final = {"PENDING", "RETRY"}


class _Try(Struct, frozen=True):
    """An attempt on the timeline.

    Shape: `number` counts all that there were, while `n` begins anew with each retry by hand.
    `glimpse` is the beginning of the answer, if it is text.
    """

    number: int
    shown: Json
    answer: Content
    glimpse: str | None
    log: str | None


async def show(visit: Visit) -> Reply:
    try:
        item = await _item(visit)
    except NotFound:
        return visit.page("item_missing.html", status=404, id=visit.parts["id"])
    path = quoted("items", item["id"])
    attempts = (await visit.get(f"{path}/attempts"))["attempts"]
    first = 0 if "all" in visit.fields else max(len(attempts) - MOST_ATTEMPTS, 0)
    why = await visit.get(f"{path}/why") if item["state"] in _WAITING else None
    payload = payload_bytes(item)
    return visit.page(
        "item.html",
        item=item,
        payload=content(payload, item.get("payloadType"), whole="whole" in visit.fields),
        tries=[_try(n, one, _GLIMPSE) for n, one in enumerate(attempts[first:], first + 1)],
        earlier=first,
        longest=max((one.get("ms", 0) for one in attempts), default=0),
        why=why,
        schedule=await _schedule(visit, item),
        commands=commands(item, payload, visit.origin, visit.now),
        waits=item["state"] in _WAITING,
        finished=item["state"] in _FINISHED,
    )


async def download(visit: Visit) -> Reply:
    item = await _item(visit)
    if "body" in item.get("redacted", ()):
        raise Conflict("the payload is kept to itself by its queue", hint=_REDACTED)
    return attachment(payload_bytes(item), f"{item['id']}-payload")


async def attempt(visit: Visit) -> Reply:
    item, one = await _attempt(visit)
    return visit.page("item_attempt.html", item=item, one=one)


async def download_answer(visit: Visit) -> Reply:
    item, one = await _attempt(visit)
    return attachment(answer_bytes(one.shown), f"{item['id']}-answer-{one.number}")


async def log(visit: Visit) -> Reply:
    """What a scriptlet has written since, for the script of the page."""
    given = visit.fields
    wanted = {name: text for name, text in given.items() if name in {"attempt", "offset"}}
    path = quoted("items", visit.parts["id"], "logs")
    part = await visit.get(path, {**wanted, "wait": _PATIENCE})
    text = answer_bytes(part, "log").decode(errors="replace")
    told = {"data": text, "offset": part["offset"], "running": part["running"]}
    return Reply(encode(told), headers=(*HEADERS, NOT_STORED))


async def run(visit: Visit) -> Reply:
    return await _act(visit, "POST", "/run", "It is due now.")


async def retry(visit: Visit) -> Reply:
    return await _act(visit, "POST", "/retry", "It waits again, with all its attempts before it.")


async def ask_cancel(visit: Visit) -> Reply:
    item = await _own(visit)
    if item["state"] in _FINISHED:
        return visit.go(_page(item), f"It is {item['state'].lower()} already.")
    return visit.page("item_cancel.html", item=item)


async def cancel(visit: Visit) -> Reply:
    return await _act(visit, "DELETE", "", "It was cancelled.")


async def ask_when(visit: Visit) -> Reply:
    item = await _own(visit)
    if item["state"] not in _WAITING:
        return visit.go(_page(item), "Only an item that waits can be rescheduled.")
    return visit.page("item_reschedule.html", item=item, form={"zone": "UTC"}, error=None)


async def reschedule(visit: Visit) -> Reply:
    form = visit.form
    try:
        headers = read_when(form.get("when", ""), form.get("zone", ""), visit.now)
        item = await visit.ask("PATCH", quoted("items", visit.parts["id"]), headers=headers)
    except NotFound:
        raise
    except RequestError as error:
        item, told = await _item(visit), _told(error)
        return visit.page("item_reschedule.html", item=item, form=form, error=told)
    return visit.go(_page(item), "Rescheduled.")


async def ask_edit(visit: Visit) -> Reply:
    item = await _own(visit)
    if item["state"] == "RUNNING":
        return visit.go(_page(item), "It runs just now, and cannot be changed meanwhile.")
    return _edit_page(visit, item, fields_of_item(item, payload_bytes(item)))


async def edit(visit: Visit) -> Reply:
    """Change an item that waits, or let a finished one wait again on the way.

    Shape: the form says which was meant; an item that has moved on meanwhile is left alone.
    """
    form, item = visit.form, await _own(visit)
    path = quoted("items", item["id"])
    again = form.get("again") == "1"
    try:
        seen.check(form, fields_of_item(item, payload_bytes(item)), "this item")
        headers, body = changes(item, payload_bytes(item), form)
        if not again and not headers and not body:
            return visit.go(_page(item), "Nothing was changed.")
        asked = ("POST", f"{path}/retry") if again else ("PATCH", path)
        await visit.ask(*asked, body=body, headers=headers)
    except NotFound:
        raise
    except RequestError as error:
        return _edit_page(visit, item, form, _told(error))
    done = "It waits again, as you changed it." if again else "It was changed."
    return visit.go(_page(item), done)


def _edit_page(
    visit: Visit, item: Json, form: Mapping[str, str], error: RequestError | None = None
) -> Reply:
    """The form, as it was filled in."""
    shown = fields_of_item(item, payload_bytes(item))
    again = form.get("again") == "1" if error else item["state"] in _FINISHED
    return visit.page(
        "item_edit.html",
        item=item,
        form={**shown, **form},
        seen=seen.mark_of(shown),
        again=again,
        editable=shown,
        methods=[(method, method) for method in METHODS],
        error=error,
    )


async def _act(visit: Visit, method: str, verb: str, done: str) -> Reply:
    """Do what needs no more to be said, and lead back to the item."""
    page = quoted("items", visit.parts["id"])
    try:
        await visit.ask(method, f"{page}{verb}")
    except Conflict as error:
        return visit.go(page, f"That was not possible: {error.message}.")
    return visit.go(page, done)


async def _item(visit: Visit) -> Json:
    """The item, its payload to the byte. Raises: RequestError."""
    path = quoted("items", visit.parts["id"])
    item: Json = await visit.get(path, {"payload": "base64"})
    return item


async def _own(visit: Visit) -> Json:
    """The same, for who may change it. Raises: RequestError."""
    item = await _item(visit)
    visit.need("push", item["queue"])
    return item


async def _schedule(visit: Visit, item: Json) -> str:
    """What the schedule that made it is called, if it still exists."""
    if "schedule" not in item:
        return ""
    try:
        found = await visit.get(quoted("schedules", item["schedule"]))
    except NotFound:
        return str(item["schedule"])
    return str(found.get("key", found["id"]))


async def _attempt(visit: Visit) -> tuple[Json, _Try]:
    """The item and the attempt that the path names. Raises: RequestError."""
    item = await _item(visit)
    number = int(visit.parts["number"])
    attempts = (await visit.get(quoted("items", item["id"], "attempts")))["attempts"]
    if not 1 <= number <= len(attempts):
        raise NotFound("this item has no such attempt")
    return item, _try(number, attempts[number - 1])


def _try(number: int, shown: Json, most: int = SHOWN) -> _Try:
    """An attempt, with so many characters of its answer."""
    answer = content(answer_bytes(shown), answer_type(shown), most=most)
    log = answer_bytes(shown, "log").decode(errors="replace") if "log" in shown else None
    return _Try(
        number=number,
        shown=shown,
        answer=answer,
        glimpse=None if answer.is_sealed else answer.pretty or answer.text,
        log=log,
    )


def _page(item: Mapping[str, Any]) -> str:
    return quoted("items", item["id"])


def _told(error: RequestError) -> RequestError:
    """A refusal with the names that the form has."""
    return in_form(error) if isinstance(error, ValidationError) else error


_REDACTED: Final = "redact in its part of lq.toml says so"
_ID: Final = r"/items/(?P<id>[^/]+)"
_ONE: Final = rf"{_ID}/attempts/(?P<number>[0-9]{{1,9}})"

PAGES: Final = (
    Page("GET", _ID, show),
    Page("GET", f"{_ID}/payload", download),
    Page("GET", f"{_ID}/log", log),
    Page("GET", _ONE, attempt),
    Page("GET", f"{_ONE}/body", download_answer),
    Page("POST", f"{_ID}/run", run),
    Page("POST", f"{_ID}/retry", retry),
    Page("GET", f"{_ID}/cancel", ask_cancel),
    Page("POST", f"{_ID}/cancel", cancel),
    Page("GET", f"{_ID}/reschedule", ask_when),
    Page("POST", f"{_ID}/reschedule", reschedule),
    Page("GET", f"{_ID}/edit", ask_edit),
    Page("POST", f"{_ID}/edit", edit, payload=True),
)
