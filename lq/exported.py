"""Queues, schedules and names of tokens as one TOML document, and what two of them differ in.

Owns: what `lq export` writes and `lq apply FILE` reads: which members each entry has, in the one
spelling in which they are compared. Pure: it asks no daemon and writes no file.

Invariant: what a daemon does not show (credentials in headers, hidden payloads) is never written,
and never taken for something that is to be taken away.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from lq.errors import ConfigError
from lq.toml import NotToml, decode, key_lines, literal, parse
from lq.when import format_duration, format_instant, parse_duration, parse_rfc3339
from lq.wire import REDACTED
from lq.wire.parts import is_json_type

Json = dict[str, Any]

QUEUE: Final[Mapping[str, str]] = {
    **{name: name for name in ("target", "method", "headers", "concurrency", "rate", "burst")},
    **{"fifo": "fifo", "retry": "retryPolicy", "timeout": "timeout", "paused": "paused"},
    **{"paused_until": "pausedUntil", "pause_reason": "pauseReason"},
}
"""The members of a queue, and what the API calls them when it shows them."""

SCHEDULE: Final[Mapping[str, object]] = {
    **dict.fromkeys(("key", "schedule", "queue"), None),
    **{"timezone": "UTC", "target": None, "method": "POST", "headers": {}},
    **dict.fromkeys(("payload", "payload_base64", "content_type", "retry", "timeout"), None),
    **{"expires": None, "labels": [], "times": None, "start": None, "until": None},
    **{"jitter": None, "misfire": "once", "overlap": "allow", "paused": False},
    **{"validate": None, "completion": "response"},
}
"""The members of a schedule, and what they are when nothing is said."""

TOKEN: Final = ("name", "scopes", "queues", "expires")

_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"


class Document(Struct):
    """All of it. Shape: queues and schedules by name and key."""

    queues: dict[str, Json]
    schedules: dict[str, Json]
    tokens: list[Json]


# -- from the API ----------------------------------------------------------------------------


def queue_entry(shown: Json) -> Json:
    """A queue as the API shows it; what lq.toml sets, or nobody, is no setting of its own."""
    left = {*shown.get("setBy", {}), *shown.get("defaults", ())}
    entry = {
        name: shown[wire] for name, wire in QUEUE.items() if wire in shown and name not in left
    }
    if not entry.get("paused"):
        entry.pop("paused", None)
    return _without_hidden(entry)


def schedule_entry(shown: Json) -> Json:
    """A schedule with its payload as the API shows it."""
    target = shown.get("target", {})
    entry = {
        **{name: shown[name] for name in SCHEDULE if name in shown and name != "target"},
        **{"target": target.get("url"), "method": target.get("method", "POST")},
        "content_type": shown.get("payloadType"),
        **_payload(shown),
    }
    return _without_hidden(_told(entry))


def token_entry(shown: Json) -> Json:
    """A token's name and what it may do."""
    return {name: shown[name] for name in TOKEN if name in shown}


def hidden(shown: Json) -> list[str]:
    """What the API does not show of a queue or a schedule."""
    names = [f"header {n}" for n, value in shown.get("headers", {}).items() if value == REDACTED]
    return names + ["payload"] * ("body" in shown.get("redacted", ()) and "payload" in shown)


def _payload(shown: Json) -> Json:
    payload = shown.get("payload")
    if payload is None or "body" in shown.get("redacted", ()):
        return {"payload": None}
    if shown.get("payloadEncoding") == "base64":
        return {"payload": None, "payload_base64": payload}
    if is_json_type(shown.get("payloadType")):
        return {"payload": json.dumps(payload, ensure_ascii=False, separators=(",", ":"))}
    return {"payload": payload}


def _without_hidden(entry: Json) -> Json:
    if headers := entry.get("headers"):
        shown = {name: value for name, value in headers.items() if value != REDACTED}
        entry = {**entry, "headers": shown}
        if not shown:
            del entry["headers"]
    return entry


def _told(entry: Json) -> Json:
    """What differs from what holds when nothing is said."""
    return {
        name: entry[name]
        for name, default in SCHEDULE.items()
        if entry.get(name) is not None and entry[name] != default
    }


# -- as TOML ---------------------------------------------------------------------------------


def to_toml(document: Document) -> str:
    """The document as text."""
    parts = []
    for name, entry in sorted(document.queues.items()):
        parts.append(_table(f"[queues.{literal(name)}]", entry))
    for key in sorted(document.schedules):
        parts.append(_table("[[schedules]]", document.schedules[key]))
    for entry in sorted(document.tokens, key=lambda token: str(token["name"])):
        parts.append(_table("[[tokens]]", entry))
    return "\n".join(parts)


def _table(head: str, entry: Json) -> str:
    return "".join([f"{head}\n", *(f"{name} = {literal(entry[name])}\n" for name in entry)])


# -- from TOML -------------------------------------------------------------------------------


def from_toml(data: bytes, name: str) -> Document:
    """Read a document. Raises: ConfigError, naming the line."""
    try:
        text = decode(data)
        table = parse(text)
    except NotToml as error:
        raise ConfigError(f"{name}:{error.line}: not valid TOML: {error}") from None
    lines = key_lines(text)

    def refuse(path: tuple[str, ...], message: str) -> ConfigError:
        hint = "`lq export` shows the form; a daemon's own lq.toml is read by `lq reload`"
        return ConfigError(f"{name}:{lines.get(path, 1)}: {'.'.join(path)}: {message}", hint=hint)

    for key in table:
        if key not in {"queues", "schedules", "tokens"}:
            raise refuse((key,), "expected queues, schedules or tokens")
    queues = table.get("queues", {})
    if not isinstance(queues, dict):
        raise refuse(("queues",), "expected tables [queues.NAME]")
    schedules = _entries(table, "schedules", tuple(SCHEDULE), refuse)
    keyed: dict[str, Json] = {}
    for number, entry in enumerate(schedules):
        for needed in ("key", "schedule", "queue"):
            if not isinstance(entry.get(needed), str):
                raise refuse(("schedules", str(number)), f"{needed} is missing, or no text")
        if entry["key"] in keyed:
            raise refuse(("schedules", str(number), "key"), f"{entry['key']!r} stands here twice")
        keyed[entry["key"]] = _told(_spelled(_with_payload(entry)))
    for queue, entry in queues.items():
        _check(entry, ("queues", queue), tuple(QUEUE), refuse)
    tokens = _entries(table, "tokens", TOKEN, refuse)
    for number, entry in enumerate(tokens):
        if not isinstance(entry.get("name"), str):
            raise refuse(("tokens", str(number)), "name is missing, or no text")
    return Document({queue: _spelled(entry) for queue, entry in queues.items()}, keyed, tokens)


Refuse = Callable[[tuple[str, ...], str], ConfigError]


def _entries(table: Json, kind: str, known: Sequence[str], refuse: Refuse) -> list[Json]:
    found = table.get(kind, [])
    if not isinstance(found, list):
        raise refuse((kind,), f"expected tables [[{kind}]]")
    for number, entry in enumerate(found):
        _check(entry, (kind, str(number)), known, refuse)
    return found


def _check(entry: Any, path: tuple[str, ...], known: Sequence[str], refuse: Refuse) -> None:
    if not isinstance(entry, dict):
        raise refuse(path, "expected a table")
    for member in entry:
        if member not in known:
            raise refuse((*path, member), f"is not known here; known are {', '.join(known)}")


def _with_payload(entry: Json) -> Json:
    """A payload as lq.toml has it: text, or a table that becomes JSON."""
    payload = entry.get("payload")
    if payload is None:
        return entry
    if isinstance(payload, str):
        return {"content_type": _TEXT, **entry}
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), default=str)
    return {"content_type": _JSON, **entry, "payload": text}


def _spelled(entry: Json) -> Json:
    """An entry in the spelling of the API, so that only what means something else differs."""
    spelled = dict(entry)
    for name in ("timeout", "expires", "jitter"):
        if isinstance(entry.get(name), str):
            spelled[name] = _same(entry[name], lambda text: format_duration(parse_duration(text)))
    for name in ("start", "until", "paused_until"):
        if isinstance(at := entry.get(name), datetime.datetime):
            spelled[name] = at.isoformat().replace("+00:00", "Z")
        if isinstance(spelled.get(name), str):
            spelled[name] = _same(spelled[name], lambda text: format_instant(parse_rfc3339(text)))
    if "retry" in entry:
        spelled["retry"] = str(entry["retry"])
    if not entry.get("paused", True):
        del spelled["paused"]
    return spelled


def _same(text: str, spell: Callable[[str], str]) -> str:
    try:
        return spell(text)
    except ValueError:  # the daemon says what is wrong with it
        return text


def body_of(entry: Json) -> bytes:
    """The payload that an entry has."""
    if "payload_base64" in entry:
        return base64.b64decode(entry["payload_base64"])
    return str(entry.get("payload", "")).encode()


def differing(present: Json, wanted: Json) -> list[str]:
    """The members in which two entries differ."""
    names = dict.fromkeys([*wanted, *present])
    return [name for name in names if present.get(name) != wanted.get(name)]
