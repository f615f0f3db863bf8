"""What `lq apply FILE` does: each queue and schedule brought to what a document says.

Owns the order of the requests, and what is said of each. Never removes what is not asked for, and
never makes a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from lq.client import ApiError, Client, Json
from lq.commands.common import now as now_ms
from lq.commands.export import read
from lq.when import parse_rfc3339

if TYPE_CHECKING:
    from lq.client import QueueSettings, ScheduleOptions
    from lq.exported import Document

_NOT_OPTIONS = {"key", "schedule", "queue", "payload", "payload_base64", "paused", "timezone"}


def carry_out(client: Client, wanted: Document, *, dry: bool, prune: bool) -> Iterator[Json]:
    """Each difference, made unless it is a dry run."""
    present, hidden = read(client)
    for name, entry in wanted.queues.items():
        unseen = hidden.get(("queue", name), [])
        yield _change("queue", name, partial(_queue, client, present, name, entry, unseen, dry=dry))
    for key, entry in wanted.schedules.items():
        unseen = hidden.get(("schedule", key), [])
        yield _change("schedule", key, partial(_schedule, client, present, entry, unseen, dry=dry))
    if prune:
        for key in sorted(present.schedules.keys() - wanted.schedules.keys()):
            yield _change("schedule", key, partial(_remove, client.delete_schedule, key, dry=dry))
        for name in sorted(present.queues.keys() - wanted.queues.keys()):
            yield _change("queue", name, partial(_remove, client.delete_queue, name, dry=dry))
    names = {token["name"] for token in present.tokens}
    for token in wanted.tokens:
        there = token["name"] in names
        change = {"change": "unchanged"} if there else {"change": "missing", **_told(token)}
        yield {"kind": "token", "name": token["name"], **change}


def _change(kind: str, name: str, make: Callable[[], Json]) -> Json:
    try:
        return {"kind": kind, "name": name, **make()}
    except ApiError as error:
        if error.status != 409:
            raise
        return {"kind": kind, "name": name, "change": "conflict", "note": error.message}


def _would_lose(entry: Json, fields: Sequence[str], unseen: Sequence[str]) -> Json | None:
    """A change of headers takes the place of all of them, those that are not shown included."""
    given = {f"header {name}" for name in entry.get("headers", ())}
    lost = [name for name in unseen if name.startswith("header ") and name not in given]
    if "headers" not in fields or not lost:
        return None
    return {"change": "conflict", "note": f"would take away what is not shown: {', '.join(lost)}"}


def _told(token: Json) -> Json:
    scopes = "".join(f" --scope {scope}" for scope in token.get("scopes", ()))
    queues = "".join(f" --queue '{queue}'" for queue in token.get("queues", ()))
    return {"note": f"make it with: lq tokens create {token['name']}{scopes}{queues}"}


def _queue(
    client: Client,
    present: Document,
    name: str,
    entry: Json,
    unseen: Sequence[str],
    *,
    dry: bool,
) -> Json:
    from lq.exported import differing, queue_entry

    there = name in present.queues
    if not there and not dry:
        present.queues[name] = queue_entry(client.edit_queue(name, paused=False))
    now = present.queues.get(name, {})
    fields = [field for field in differing(now, entry) if field in entry or there]
    if not there and dry:
        fields = list(entry)
    # What the file does not say of numbers that always hold is left as it is.
    fields = [f for f in fields if f in entry or f not in {"concurrency", "retry", "timeout"}]
    if there and not fields:
        return {"change": "unchanged"}
    if conflict := _would_lose(entry, fields, unseen):
        return conflict
    if fields and not dry:
        settings = {field: entry.get(field) for field in fields}
        if "paused" in settings:
            settings["paused"] = bool(settings["paused"])
        until = settings.get("paused_until")
        if until and parse_rfc3339(until) <= now_ms():
            settings["paused"] = False  # that is over
        if settings.get("paused") is False:
            settings.pop("paused_until", None)
            settings.pop("pause_reason", None)
        client.edit_queue(name, **cast("QueueSettings", settings))
    return {"change": "updated" if there else "created", "fields": fields}


def _schedule(
    client: Client, present: Document, entry: Json, unseen: Sequence[str], *, dry: bool
) -> Json:
    from lq.exported import SCHEDULE, body_of, differing

    now = present.schedules.get(entry["key"])
    options = {
        ("tz" if n == "timezone" else n): v for n, v in entry.items() if n not in _NOT_OPTIONS
    }
    if "timezone" in entry:
        options["tz"] = entry["timezone"]
    if now is None:
        options["key"] = entry["key"]
        if not dry:
            made = client.create_schedule(
                entry["schedule"],
                entry["queue"],
                body_of(entry),
                **cast("ScheduleOptions", _typed(options)),
            )
            if entry.get("paused"):
                client.pause_schedule(made["id"])
        return {"change": "created", "fields": list(entry)}
    # A payload can be replaced, and not be taken away.
    body_fields = {"payload", "payload_base64", "content_type"}
    kept = set() if {"payload", "payload_base64"} & entry.keys() else body_fields
    fields = [field for field in differing(now, entry) if field not in kept]
    if not fields:
        return {"change": "unchanged"}
    if conflict := _would_lose(entry, fields, unseen):
        return conflict
    if not dry:
        changed = {
            ("tz" if field == "timezone" else field): entry.get(field, SCHEDULE[field] or "")
            for field in fields
            if field not in _NOT_OPTIONS or field == "timezone"
        }
        body = body_of(entry) if body_fields & {*fields} else b""
        client.edit_schedule(
            entry["key"],
            body,
            rule=entry["schedule"] if "schedule" in fields else None,
            queue=entry["queue"] if "queue" in fields else None,
            **cast("ScheduleOptions", _typed(changed)),
        )
        if "paused" in fields:
            turn = client.pause_schedule if entry.get("paused") else client.resume_schedule
            turn(entry["key"])
    return {"change": "updated", "fields": fields}


def _typed(options: Json) -> Json:
    """Options as the client takes them."""
    if "validate" in options:
        options = {**options, "validate": options["validate"] != "none"}
    return options


def _remove(verb: Any, name: str, *, dry: bool) -> Json:
    if not dry:
        verb(name)
    return {"change": "removed"}
