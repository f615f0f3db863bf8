"""Queues: what there is in each, its settings, its pause; a test item, and a purge."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from lq.daemon.api.call import Reply
from lq.daemon.panel import seen
from lq.daemon.panel.header_lines import headers_of, lines_of
from lq.daemon.panel.overview import activity
from lq.daemon.panel.pages import plural, with_query
from lq.daemon.panel.portions import portion
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit, quoted
from lq.errors import RequestError, ValidationError
from lq.wire import METHODS, read_json

_PAGE: Final = 100
_FEW: Final = 10
_MOST_SWEEPS: Final = 20
_PATH: Final = "/queues/(?P<queue>[^/]+)"
_WORDS: Final = {
    "target": "target",
    "method": "method",
    "rate": "rate",
    "retry": "retryPolicy",
    "timeout": "timeout",
}
"""Settings that are text, and what the API calls them when it shows them."""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NUMBERS: Final = ("concurrency", "burst")


async def listing(visit: Visit) -> Reply:
    fields = visit.fields
    name = fields.get("name", "").strip()
    named = [queue for queue in await visit.get("/queues") if name.lower() in queue["name"].lower()]
    queues, cursor = portion(named, fields.get("cursor", ""), _PAGE)
    return visit.page("queues.html", queues=queues, name=name, number=len(named), cursor=cursor)


async def show(visit: Visit) -> Reply:
    name = visit.parts["queue"]
    queue = await visit.get(quoted("queues", name))
    items = f"{quoted('queues', name)}/items"
    waiting = await visit.get(items, {"limit": _FEW})
    finished = await visit.get("/history", {"queue": name, "limit": _FEW})
    return visit.page(
        "queue.html",
        queue=queue,
        waiting=waiting["items"],
        finished=finished["items"],
        activity=await activity(visit, name),
    )


async def pause(visit: Visit) -> Reply:
    name, form = visit.parts["queue"], visit.form
    wanted: Json = {"paused": True}
    for field in ("pausedUntil", "pauseReason"):
        if typed := form.get(field, "").strip():
            wanted[field] = typed
    try:
        await visit.send("PATCH", quoted("queues", name), wanted)
    except ValidationError as error:
        return await _settings(visit, form, error)
    return visit.go(quoted("queues", name), f"{name} is paused: nothing more of it starts.")


async def resume(visit: Visit) -> Reply:
    name = visit.parts["queue"]
    await visit.ask("POST", f"{quoted('queues', name)}/resume")
    return visit.go(quoted("queues", name), f"{name} goes on.")


async def settings(visit: Visit) -> Reply:
    visit.need("admin", visit.parts["queue"])
    return await _settings(visit)


async def _settings(
    visit: Visit, typed: Mapping[str, str] = _NOTHING, error: RequestError | None = None
) -> Reply:
    """The forms of settings and of a pause. Shape: `typed` is what one of them has sent."""
    queue = await visit.get(quoted("queues", visit.parts["queue"]))
    before = _values(queue)
    return visit.page(
        "queue_settings.html",
        queue=queue,
        values=before | dict(typed),
        seen=seen.mark_of(before),
        fixed=queue.get("setBy", {}),
        methods=[(method, method) for method in METHODS],
        error=error,
    )


async def change(visit: Visit) -> Reply:
    name, form = visit.parts["queue"], visit.form
    visit.need("admin", name)
    queue = await visit.get(quoted("queues", name))
    before = _values(queue)
    try:
        seen.check(form, before, "this queue")
        wanted = _wanted(form, before, queue.get("setBy", {}))
        await visit.send("PATCH", quoted("queues", name), wanted)
    except RequestError as error:
        return await _settings(visit, {"fifo": "", **form}, error)  # a tick that is not there
    return visit.go(quoted("queues", name), "Settings are saved, and in force.")


def _values(queue: Json) -> dict[str, str]:
    """What the form of settings holds; a default is an empty field."""
    defaults = queue.get("defaults", ())
    values = {
        name: str(queue[shown])
        for name, shown in {**_WORDS, **{name: name for name in _NUMBERS}}.items()
        if shown in queue and name not in defaults
    }
    headers = lines_of(queue.get("headers", {}))
    return {**values, "headers": headers, "fifo": "on" if queue.get("fifo") else ""}


def _wanted(form: Mapping[str, str], before: Mapping[str, str], fixed: Mapping[str, str]) -> Json:
    """What a form changes, as the API takes it. Raises: ValidationError."""
    wanted: Json = {}
    for name in (*_WORDS, *_NUMBERS, "headers", "fifo"):
        typed = form.get(name, "").strip()
        if name in fixed or typed == before.get(name, ""):
            continue
        try:
            wanted[name] = _value(name, typed)
        except ValueError as error:
            raise ValidationError.of(name, str(error)) from None
    return wanted


def _value(name: str, typed: str) -> object:
    """Raises: ValueError."""
    if name == "fifo":
        return bool(typed)
    if not typed:
        return None
    if name == "headers":
        return headers_of(typed)
    if name in _NUMBERS:
        try:
            return int(typed)
        except ValueError:
            raise ValueError("expected a whole number such as 4") from None
    return typed


async def ask_purge(visit: Visit) -> Reply:
    visit.need("push", visit.parts["queue"])
    return visit.page(
        "queue_purge.html", queue=await visit.get(quoted("queues", visit.parts["queue"]))
    )


async def purge(visit: Visit) -> Reply:
    """Cancel what waits, as much as one request may take; the rest is asked for again."""
    path = quoted("queues", visit.parts["queue"])
    cancelled, cursor = 0, None
    for _ in range(_MOST_SWEEPS):
        swept = await visit.ask("DELETE", with_query(f"{path}/items", {"cursor": cursor}))
        cancelled += swept["cancelled"]
        cursor = swept.get("cursor")
        if cursor is None:
            return visit.go(path, f"{plural(cancelled, 'item')} cancelled; history has them.")
    return visit.go(f"{path}/purge", f"{plural(cancelled, 'item')} cancelled so far.")


async def test(visit: Visit) -> Reply:
    visit.need("push", visit.parts["queue"])
    return await _test(visit)


async def _test(
    visit: Visit, typed: Mapping[str, str] | None = None, error: RequestError | None = None
) -> Reply:
    name = visit.parts["queue"]
    queue = await _known(visit, name)
    return visit.page(
        "queue_push.html",
        queue=queue,
        values=typed or {"content-type": "application/json", "payload": "{}"},
        error=error,
    )


async def _known(visit: Visit, name: str) -> Json:
    """A queue, or what it would be once something is pushed to it."""
    found: list[Json] = await visit.get("/queues")
    return next((queue for queue in found if queue["name"] == name), {"name": name})


async def push(visit: Visit) -> Reply:
    name, form = visit.parts["queue"], visit.form
    headers = {
        field: form[field].strip()
        for field in ("x-lq-key", "x-lq-delay", "x-lq-target")
        if form.get(field, "").strip()
    }
    if content_type := form.get("content-type", "").strip():
        headers["Content-Type"] = content_type
    if form.get("unproven"):
        headers["x-lq-validate"] = "none"
    payload = form.get("payload", "").encode()
    try:
        if content_type == "application/json":
            _check_json(payload)
        pushed = await visit.ask("POST", f"{quoted('queues', name)}/items", payload, headers)
    except RequestError as error:
        return await _test(visit, form, error)
    return visit.go(quoted("items", pushed["id"]), "Pushed.")


def _check_json(payload: bytes) -> None:
    """Refuse a slip of the pen: the API takes any bytes. Raises: ValidationError."""
    try:
        read_json(payload)
    except ValueError as error:
        raise ValidationError.of("payload", f"is not JSON: {error}") from None


async def start(visit: Visit) -> Reply:
    """Go on with a queue that need not be there yet."""
    name = visit.fields.get("queue", "").strip()
    return visit.go(f"{quoted('queues', name)}/push" if name else "/queues")


PAGES: Final = (
    Page("GET", "/queues", listing),
    Page("GET", "/push", start),
    Page("POST", f"{_PATH}/pause", pause),
    Page("POST", f"{_PATH}/resume", resume),
    Page("GET", f"{_PATH}/settings", settings),
    Page("POST", f"{_PATH}/settings", change),
    Page("GET", f"{_PATH}/purge", ask_purge),
    Page("POST", f"{_PATH}/purge", purge),
    Page("GET", f"{_PATH}/push", test),
    Page("POST", f"{_PATH}/push", push, payload=True),
    Page("GET", _PATH, show),
)
