"""An item as the command that pushes it once more: with curl, or with lq itself.

Owns: what a shell makes of the command, which is exactly the item, whatever is in it. What lq does
not show cannot be repeated; that is said, and stays out. Pure.

Invariant: a command has no control character but a newline within quotes, and every word that came
from outside is quoted.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, Final
from urllib.parse import quote as segment

from msgspec import Struct

from lq.when import parse_rfc3339
from lq.wire import REDACTED

MAX_PASTED: Final = 16_384
"""Bytes of a payload that are put into a command. Linux takes 131,072 in one word, hands less."""
_NOT_PASTED: Final = re.compile(
    "[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
"""What terminals obey, drop, or turn into something else when it is pasted."""
_FILE: Final = "payload.bin"
_TIMES: Final = (("on", "notBefore"), ("expires", "expires"))
_USUAL: Final = {("method", "POST")}


class Commands(Struct, frozen=True):
    """Both, and what is to be known about them."""

    curl: str
    lq: str
    notes: Sequence[str]


class _Call(Struct):
    """An item taken apart. Shape: `in_file` says that its payload is in no command."""

    item: Mapping[str, Any]
    payload: bytes
    in_file: bool
    headers: dict[str, str]
    options: list[tuple[str, str]]
    notes: list[str]


def commands(item: Mapping[str, Any], payload: bytes, address: str, now: int) -> Commands | None:
    """How to push an item again; None for what nobody can push.

    Shape: `address` is the daemon's, with its scheme. Units: `now` is milliseconds.
    """
    if item["type"] not in {"HTTP", "SCRIPTLET"}:
        return None
    call = _taken_apart(item, payload, now)
    return Commands(_curl(call, address), _lq(call), call.notes)


def _taken_apart(item: Mapping[str, Any], payload: bytes, now: int) -> _Call:
    shown: dict[str, str] = {}
    notes: list[str] = []
    for name, value in item.get("headers", {}).items():
        if value == REDACTED:
            notes.append(f"The header {name} is not shown, and not part of the commands.")
        else:
            shown[name] = value
    hidden = bool(payload) and "body" in item.get("redacted", ())
    if hidden:
        notes.append(f"The payload is not shown: put it into a file {_FILE} first.")
    elif len(payload) > MAX_PASTED:
        notes.append(f"The payload is long: save it as {_FILE} first.")
    key = item.get("key", "")
    if key != key.strip(" "):
        notes.append("The key begins or ends with spaces, which a header cannot carry.")
    wanted = [
        ("target", item["target"]["url"]),
        ("method", item["target"]["method"]),
        ("key", key),
        ("retry", item.get("retry", "")),
        ("timeout", item.get("timeout", "")),
        ("completion", item.get("completion", "")),
        *((name, _ahead(item, member, now)) for name, member in _TIMES),
    ]
    options = [(name, text) for name, text in wanted if text and (name, text) not in _USUAL]
    in_file = hidden or len(payload) > MAX_PASTED
    return _Call(item, payload, in_file, shown, options, notes)


def _ahead(item: Mapping[str, Any], member: str, now: int) -> str:
    """An instant that is still to come."""
    text: str = item.get(member, "")
    return text if text and parse_rfc3339(text) > now else ""


def _curl(call: _Call, address: str) -> str:
    queue, kind = segment(call.item["queue"], safe=""), call.item.get("payloadType", "")
    headers = [(f"x-lq-{name}", text) for name, text in call.options]
    if call.headers:
        headers.append(("x-lq-headers", json.dumps(call.headers)))
    if labels := call.item.get("labels"):
        headers.append(("x-lq-label", ",".join(labels)))
    text = _pasted(call)
    if call.in_file:
        data = f"--data-binary @{_FILE}"
    elif text is None:
        data = "--data-binary @-"
    else:
        data = f"--data-raw {quote(text)}"
    parts = [
        f"curl -sS {quote(f'{address}/api/v1/queues/{queue}/items')}",
        '-H "Authorization: Bearer $LQ_TOKEN"',
        # Without a value, curl leaves out what it would say of its own accord.
        f"-H {quote(f'Content-Type: {kind}'.strip())}",
        *(f"-H {quote(f'{name}: {value}')}" for name, value in headers),
        data,
    ]
    return ("" if call.in_file or text is not None else _piped(call)) + _joined(parts)


def _lq(call: _Call) -> str:
    """Each value stands after a "=", so that one that begins with a hyphen is no option."""
    kind = call.item.get("payloadType", "")
    options = [("queue", call.item["queue"]), *call.options]
    options += [("header", f"{name}: {value}") for name, value in call.headers.items()]
    options += [("label", label) for label in call.item.get("labels", ())]
    if kind:
        options.append(("content-type", kind))
    elif call.payload:
        call.notes.append("lq push finds a content type for the payload, which had none.")
    text = _pasted(call)
    piped = not call.in_file and (text is None or text.startswith("@") or text == "-")
    if call.in_file:
        options.append(("data", f"@{_FILE}"))
    elif piped:
        options.append(("data", "-"))
    elif text:
        options.append(("data", text))
    parts = ["lq push", *(f"--{name}={quote(value)}" for name, value in options)]
    return (_piped(call) if piped else "") + _joined(parts)


def _joined(parts: Sequence[str]) -> str:
    return " \\\n  ".join(parts)


def _pasted(call: _Call) -> str | None:
    """The payload as text that can stand in a command."""
    if call.in_file:
        return None
    try:
        text = call.payload.decode()
    except UnicodeDecodeError:
        return None
    return None if _NOT_PASTED.search(text) else text


def _piped(call: _Call) -> str:
    """What gives a command the payload on its standard input."""
    text = base64.b64encode(call.payload).decode()
    return f"printf %s {text} | base64 -d \\\n  | "
