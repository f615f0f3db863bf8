"""Schedules: the list, one with its month and its runs, and what is done to it at once.

Owns: how times of a schedule are shown in its own zone. Forms are `schedule_form`'s.
"""

from __future__ import annotations

import base64
import datetime
from calendar import monthcalendar
from collections.abc import Sequence
from typing import Final

from msgspec import Raw
from msgspec.json import decode

from lq.daemon.api.call import Reply
from lq.daemon.panel.content import content
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit, attachment, quoted
from lq.errors import Conflict, RequestError, ValidationError
from lq.when import format_instant, parse_rfc3339
from lq.wire.parts import is_json_type

SCHEDULE: Final = r"/schedules/(?P<id>[^/]+)"
NEXT: Final = 5

_PAGE: Final = 50
_RUNS: Final = 10
_FIRST_MONTH: Final = "1970-01"


async def listing(visit: Visit) -> Reply:
    fields = visit.fields
    query = {name: fields.get(name, "") for name in ("queue", "cursor")}
    page = await visit.get("/schedules", {**query, "limit": _PAGE})
    return visit.page(
        "schedules.html", schedules=page["items"], cursor=page.get("cursor"), query=query
    )


async def show(visit: Visit) -> Reply:
    path = api_path(visit)
    schedule = read(await visit.get_raw(path))
    month, trouble = None, None
    try:
        month = await _month(visit, path)
        runs = await _upcoming(visit, path, schedule)
    except ValidationError as error:
        if any(issue.path == "month" for issue in error.issues):
            raise
        runs, trouble = [], error  # its rule or its zone was accepted once, and is gone
    made = {"schedule": schedule["id"], "limit": _RUNS}
    unfinished = await visit.get("/items", made)
    finished = await visit.get("/history", made)
    return visit.page(
        "schedule.html",
        schedule=schedule,
        payload=content(
            _payload(schedule), schedule.get("payloadType"), whole="whole" in visit.fields
        ),
        month=month,
        runs=runs,
        trouble=trouble,
        items={one["id"]: one for one in unfinished["items"] + finished["items"]}.values(),
        more="cursor" in finished,
    )


async def download(visit: Visit) -> Reply:
    schedule = read(await visit.get_raw(api_path(visit)))
    if "body" in schedule.get("redacted", ()):
        raise Conflict(
            "the payload is kept to itself by its queue",
            hint="redact in its part of lq.toml says so",
        )
    return attachment(_payload(schedule), f"{schedule['id']}-payload")


async def run(visit: Visit) -> Reply:
    return await _do(visit, "run", "An item was made: {0[id]}.")


async def pause(visit: Visit) -> Reply:
    return await _do(visit, "pause", "It is paused: it makes no items until it is resumed.")


async def resume(visit: Visit) -> Reply:
    return await _do(visit, "resume", "It goes on from now.")


async def ask_delete(visit: Visit) -> Reply:
    schedule = await visit.get(api_path(visit))
    waiting = await visit.get("/items", {"schedule": schedule["id"], "limit": _RUNS})
    return visit.page(
        "schedule_delete.html",
        schedule=schedule,
        items=waiting["items"],
        more="cursor" in waiting,
    )


async def delete(visit: Visit) -> Reply:
    try:
        gone = await visit.ask("DELETE", api_path(visit))
    except Conflict as error:
        return visit.go(page_path(visit.parts["id"]), said(error))
    return visit.go("/schedules", f"Schedule {gone.get('key', gone['id'])} was deleted.")


def api_path(visit: Visit) -> str:
    """The schedule that the path names, in the API."""
    return quoted("schedules", visit.parts["id"])


def page_path(schedule_id: str) -> str:
    """The page of a schedule."""
    return quoted("schedules", schedule_id)


def said(error: RequestError) -> str:
    """A refusal as a notice."""
    return f"{error.message}. {error.hint}." if error.hint else f"{error.message}."


def read(members: dict[str, Raw]) -> Json:
    """A schedule, its payload as text: JSON as it was pushed, however deep it is nested."""
    schedule = {name: decode(raw) for name, raw in members.items() if name != "payload"}
    if "payload" in members:
        raw = members["payload"]
        as_json = "payloadEncoding" not in schedule and is_json_type(schedule.get("payloadType"))
        schedule["payload"] = bytes(raw).decode() if as_json else decode(raw, type=str)
    return schedule


def in_zone(text: str) -> str:
    """A time with an offset as people read it: "Sun 2027-03-28 03:00 +02:00"."""
    at = datetime.datetime.fromisoformat(text)
    return f"{at:%a %Y-%m-%d} {clocks([text])[0]} {text[-6:]}"


def clocks(texts: Sequence[str]) -> list[str]:
    """The times of day of times with an offset: to the second or finer where one of them is."""
    for length, rest in ((16, ":00.000"), (19, ".000")):
        if all(text[length:23] == rest for text in texts):
            return [text[11:length] for text in texts]
    return [text[11:23] for text in texts]


def told(cron: Json) -> list[Json]:
    """The times of an explained rule, each with what the clocks of its zone do to it."""
    notes = cron.get("notes", {})
    local = not cron["schedule"].startswith("E=")
    return [
        {
            "at": parse_rfc3339(text),
            "local": in_zone(text) if local else "",
            "note": notes.get(text, ""),
        }
        for text in cron["times"]
    ]


async def _do(visit: Visit, verb: str, sentence: str) -> Reply:
    """Have something done that needs no words, and say what came of it."""
    back = page_path(visit.parts["id"])
    try:
        answer = await visit.ask("POST", f"{api_path(visit)}/{verb}")
    except (Conflict, ValidationError) as error:
        return visit.go(back, said(error))
    return visit.go(back, sentence.format(answer))


async def _upcoming(visit: Visit, path: str, schedule: Json) -> list[Json]:
    """The next times of a schedule; those of a cron rule in its zone, with their notes."""
    times = (await visit.get(f"{path}/next", {"count": NEXT}))["times"]
    rule = schedule["schedule"]
    if not times or rule.startswith("E="):
        return [{"at": parse_rfc3339(text), "local": "", "note": ""} for text in times]
    before = format_instant(parse_rfc3339(times[0]) - 1)
    asked = {"expr": rule, "tz": schedule["timezone"], "from": before, "count": len(times)}
    return told(await visit.get("/cron", asked))


async def _month(visit: Visit, path: str) -> Json:
    """A month as weeks of days, Monday first. Raises: ValidationError."""
    wanted = visit.fields.get("month")
    found = await visit.get(f"{path}/calendar", {"month": wanted})
    year, number = map(int, found["month"].split("-"))
    fires = {int(day["date"][8:]): day for day in found["days"]}
    first = datetime.date(year, number, 1)
    notes = found.get("notes", {})
    return {
        "name": f"{first:%B} {year}",
        "weeks": [
            [
                _day(first.replace(day=day), fires.get(day), notes, found["today"]) if day else None
                for day in week
            ]
            for week in monthcalendar(year, number)
        ],
        "zone": found["timezone"],
        "count": sum(day["count"] for day in found["days"]),
        "notes": [{"at": in_zone(at), "text": text} for at, text in notes.items()],
        "before": "" if found["month"] == _FIRST_MONTH else _moved(first, -1),
        "after": _moved(first, 31),
        "present": found["month"] == found["today"][:7],
    }


def _day(date: datetime.date, fires: Json | None, notes: Json, today: str) -> Json:
    first = fires["first"] if fires else []
    return {
        "number": date.day,
        "date": f"{date:%A}, {date.day} {date:%B}",
        "count": fires["count"] if fires else 0,
        "first": clocks(first),
        "noted": any(text in notes for text in first),
        "today": date.isoformat() == today,
    }


def _moved(first: datetime.date, days: int) -> str:
    return f"{first + datetime.timedelta(days=days):%Y-%m}"


def _payload(schedule: Json) -> bytes:
    text: str = schedule.get("payload", "")
    return base64.b64decode(text) if "payloadEncoding" in schedule else text.encode()


PAGES: Final = (
    Page("GET", r"/schedules/?", listing),
    Page("GET", f"{SCHEDULE}/payload", download),
    Page("POST", f"{SCHEDULE}/run", run),
    Page("POST", f"{SCHEDULE}/pause", pause),
    Page("POST", f"{SCHEDULE}/resume", resume),
    Page("GET", f"{SCHEDULE}/delete", ask_delete),
    Page("POST", f"{SCHEDULE}/delete", delete),
    Page("GET", SCHEDULE, show),
)
