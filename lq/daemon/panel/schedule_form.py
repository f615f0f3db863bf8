"""The form of a schedule: made, changed, and explained while one types.

Owns: how what is typed becomes the headers of the API, which judges it, and how a schedule becomes
what its form shows. Fields are called as the API's headers, so that what it refuses is told beside
them.

Invariant: an edit sends what was changed and nothing else: what the form does not show (a
credential, a payload that its queue hides) stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from msgspec.json import encode

from lq.daemon.api.call import Reply
from lq.daemon.panel import seen
from lq.daemon.panel.header_lines import headers_of, lines_of
from lq.daemon.panel.routes import Page
from lq.daemon.panel.schedule_preview import FIELDS as PREVIEWED
from lq.daemon.panel.schedule_preview import preview
from lq.daemon.panel.schedule_typed import instant_of, rule_of, rule_words, type_of
from lq.daemon.panel.schedules import SCHEDULE, api_path, page_path, read
from lq.daemon.panel.visit import Json, Visit, html, quoted
from lq.errors import Conflict, Issue, NotFound, RequestError, ValidationError

MEMBERS: Final[Mapping[str, str]] = {
    "x-lq-schedule": "schedule",
    "x-lq-tz": "timezone",
    "x-lq-queue": "queue",
    "x-lq-key": "key",
    "x-lq-retry": "retry",
    "x-lq-timeout": "timeout",
    "x-lq-expires": "expires",
    "x-lq-times": "times",
    "x-lq-start": "start",
    "x-lq-until": "until",
    "x-lq-jitter": "jitter",
    "x-lq-misfire": "misfire",
    "x-lq-overlap": "overlap",
}
"""Fields that say what a member of a schedule says."""

OTHERS: Final = (
    *("x-lq-target", "x-lq-method", "x-lq-headers", "x-lq-label"),
    *("x-lq-validate", "x-lq-completion", "payload", "content-type"),
)
CHOSEN: Final[Mapping[str, str]] = {
    "x-lq-misfire": "once",
    "x-lq-overlap": "allow",
    "x-lq-validate": "head",
    "x-lq-completion": "response",
}
"""Fields that always say something, and what they say by themselves."""

_USUAL: Final = {**CHOSEN, "x-lq-method": "POST"}
_FIELDS: Final = (*MEMBERS, *OTHERS)
_RARE_TIMES: Final = ("x-lq-times", "x-lq-start", "x-lq-until", "x-lq-jitter", "x-lq-misfire",
                      "x-lq-overlap")  # fmt: skip
_RARE_CALLS: Final = ("x-lq-method", "x-lq-headers", "x-lq-retry", "x-lq-timeout", "x-lq-expires",
                      "x-lq-label", "x-lq-validate", "x-lq-completion")  # fmt: skip
_EDITABLE: Final = 100_000
"""Characters of a payload that a form still shows."""


async def new(visit: Visit) -> Reply:
    visit.need("push")
    given = visit.fields
    values = {name: given.get(name, CHOSEN.get(name, "")) for name in _FIELDS}
    values["x-lq-queue"] = values["x-lq-queue"] or given.get("queue", "")
    return await _form(visit, values)


async def create(visit: Visit) -> Reply:
    values = _typed(visit.form)
    if "preview" in visit.form:
        return await _form(visit, values)
    try:
        headers, payload = _request(
            {name: text for name, text in values.items() if text}, values, visit.now
        )
        await _refuse_taken(visit, values["x-lq-key"])
        made = await visit.ask("POST", "/schedules", payload, headers)
    except RequestError as error:
        return await _form(visit, values, error=error)
    return visit.go(page_path(made["id"]), f"Schedule {made.get('key', made['id'])} was made.")


async def edit(visit: Visit) -> Reply:
    schedule = await _own(visit)
    return await _form(visit, _values(schedule), schedule=schedule)


async def save(visit: Visit) -> Reply:
    schedule = await _own(visit)
    before, form = _values(schedule), visit.form
    values = {**_typed(form), "x-lq-key": before["x-lq-key"]}
    if "preview" in form:
        return await _form(visit, values, schedule=schedule)
    try:
        seen.check(form, before, "this schedule")
        changed = {name: text for name, text in values.items() if text != before[name]}
        headers, payload = _request(_lasting(changed), values, visit.now, before)
        await visit.ask("PATCH", api_path(visit), payload, headers)
    except RequestError as error:
        return await _form(visit, values, error=error, schedule=schedule)
    done = "The schedule was changed." if changed else "Nothing was different."
    return visit.go(page_path(schedule["id"]), done)


async def explain(visit: Visit) -> Reply:
    told = await preview(visit, visit.fields)
    return html(visit.pages.render("schedule_explanation.html", told=told))


@lru_cache(maxsize=1)
def zones() -> tuple[str, ...]:
    """The names of the time zones that this machine knows."""
    from zoneinfo import available_timezones

    return tuple(sorted(name for name in available_timezones() if name != "localtime"))


async def _form(
    visit: Visit,
    values: Mapping[str, str],
    *,
    error: RequestError | None = None,
    schedule: Json | None = None,
) -> Reply:
    """The form with what was typed, what is wrong with it, and what its rule means."""
    before = None if schedule is None else _values(schedule)
    wrong = {issue.path for issue in error.issues} if isinstance(error, ValidationError) else set()
    usual = before or {name: CHOSEN.get(name, "") for name in _FIELDS}
    rare = {name for name in _FIELDS if values[name] not in {"", _USUAL.get(name)}} | wrong
    return visit.page(
        "schedule_form.html",
        schedule=schedule,
        values=values,
        error=error,
        seen=seen.mark_of(usual),
        told=await preview(visit, {name: values[name] for name in PREVIEWED}),
        zones=zones(),
        kept=None if schedule is None else _kept(schedule),
        open_times=not rare.isdisjoint(_RARE_TIMES),
        open_calls=not rare.isdisjoint(_RARE_CALLS),
    )


async def _own(visit: Visit) -> Json:
    """The schedule that the path names, if it may be changed here. Raises: Conflict."""
    schedule = read(await visit.get_raw(api_path(visit)))
    visit.need("push", schedule["queue"])
    if file := schedule.get("file"):
        raise Conflict(
            f"this schedule is set by {file['where']}",
            hint="change it there, and run `lq apply`",
        )
    return schedule


async def _refuse_taken(visit: Visit, key: str) -> None:
    """Refuse the key of another schedule, which a POST would update in place."""
    if not key:
        return
    try:
        await visit.get(quoted("schedules", "byKey", key))
    except NotFound:
        return
    raise ValidationError.of("x-lq-key", "there is a schedule with this key: edit that one")


def _typed(form: Mapping[str, str]) -> dict[str, str]:
    """What the fields say. Shape: a payload is kept to the letter."""
    return {
        name: form.get(name, "") if name == "payload" else form.get(name, "").strip()
        for name in _FIELDS
    }


def _values(schedule: Json) -> dict[str, str]:
    """What the form of a schedule shows."""
    values = {name: str(schedule.get(member, "")) for name, member in MEMBERS.items()}
    target = schedule.get("target", {})
    shown = "" if _kept(schedule) else schedule.get("payload", "")
    return {
        **values,
        "x-lq-schedule": rule_words(schedule["schedule"]),
        "x-lq-target": target.get("url", ""),
        "x-lq-method": target.get("method", ""),
        "x-lq-headers": lines_of(schedule.get("headers", {})),
        "x-lq-label": ", ".join(schedule.get("labels", ())),
        "x-lq-validate": schedule.get("validate", "head"),
        "x-lq-completion": schedule.get("completion", "response"),
        "payload": re.sub("\r\n?", "\n", shown),
        "content-type": schedule.get("payloadType", ""),
    }


def _kept(schedule: Json) -> str | None:
    """Why the form does not show the payload, if there is one."""
    if "payload" not in schedule:
        return None
    if "body" in schedule.get("redacted", ()):
        return "its queue does not show it"
    if "payloadEncoding" in schedule:
        return "it is no text"
    return "it is too long for a form" if len(schedule["payload"]) > _EDITABLE else None


def _lasting(changed: Mapping[str, str]) -> dict[str, str]:
    """Changes, with the usual in place of nothing where there has to be something."""
    usual = {**CHOSEN, "x-lq-tz": "UTC"}
    return {name: text or usual.get(name, "") for name, text in changed.items()}


def _request(
    said: Mapping[str, str],
    values: Mapping[str, str],
    now: int,
    before: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], bytes]:
    """The headers and the body that say this. Raises: ValidationError.

    Shape: `before` is what an edit began with.
    """
    read: Mapping[str, Callable[[str], str]] = {
        "x-lq-schedule": rule_of,
        "x-lq-headers": lambda text: encode(headers_of(text)).decode(),
        "x-lq-start": lambda text: instant_of(text, values["x-lq-tz"], now),
        "x-lq-until": lambda text: instant_of(text, values["x-lq-tz"], now),
    }
    issues: list[Issue] = []
    headers: dict[str, str] = {}
    for name, text in said.items():
        if name.startswith("x-lq-"):
            try:
                headers[name] = read[name](text) if text and name in read else text
            except ValueError as error:
                issues.append(Issue(name, str(error)))
    payload, kind = values["payload"], values["content-type"]
    is_new = before is None or not {"payload", "content-type"}.isdisjoint(said)
    if is_new and before is not None and not payload:
        issues.append(_missing(before))
    if is_new and payload:
        headers["Content-Type"] = kind or type_of(payload)
    if issues:
        raise ValidationError(issues)
    return headers, payload.encode() if is_new else b""


def _missing(before: Mapping[str, str]) -> Issue:
    """Why an edit does not do without a payload."""
    if before["payload"]:
        return Issue("payload", "can be replaced, but not taken away")
    return Issue("content-type", "is that of a payload: type that, too")


_NEW: Final = r"/schedules/new"
PAGES: Final = (
    Page("GET", _NEW, new),
    Page("POST", _NEW, create, payload=True),
    Page("GET", r"/schedules/explain", explain),
    Page("GET", f"{SCHEDULE}/edit", edit),
    Page("POST", f"{SCHEDULE}/edit", save, payload=True),
)
