"""The form that changes an item: what it shows, and what it asks of the API.

Owns: that only what was changed is sent, so that what lq does not show, and what a text field
cannot hold, stays as it is. Whether a change is allowed, the API says. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import DecodeError, Raw
from msgspec.json import decode, encode

from lq.daemon.panel.header_lines import headers_of, lines_of
from lq.errors import Issue, ValidationError
from lq.when import UnknownZone, format_instant, parse_duration, parse_instant
from lq.wire.parts import is_json_type, readable

MAX_EDITED: Final = 262_144
"""Bytes of a payload that are put into a text field."""
_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "target": "x-lq-target",
        "method": "x-lq-method",
        "labels": "x-lq-label",
        "headers": "x-lq-headers",
        "retry": "x-lq-retry",
        "timeout": "x-lq-timeout",
    }
)
_FIELDS: Final = {header: field for field, header in _HEADERS.items()} | {
    "content-type": "type",
    "x-lq-delay": "when",
    "x-lq-on": "when",
}

Changes = tuple[dict[str, str], bytes]
"""The headers and the body of a PATCH."""


def fields_of_item(item: Mapping[str, Any], payload: bytes) -> dict[str, str]:
    """What the form shows. Shape: without `payload`, that is nothing for a text field."""
    fields = {
        "target": item["target"]["url"],
        "method": item["target"]["method"],
        "labels": ", ".join(item.get("labels", ())),
        "headers": lines_of(item.get("headers", {})),
        "retry": item["retry"],
        "timeout": item["timeout"],
    }
    if "body" in item.get("redacted", ()):
        return fields
    fields["type"] = item.get("payloadType", "")
    text = readable(payload) if len(payload) <= MAX_EDITED else None
    return fields if text is None else {**fields, "payload": _as_sent(text)}


def changes(item: Mapping[str, Any], payload: bytes, form: Mapping[str, str]) -> Changes:
    """What differs from the item. Raises: ValidationError, naming fields of the form."""
    shown = fields_of_item(item, payload)
    given = {
        name: text if name == "payload" else text.strip()
        for name, text in {**shown, **form}.items()
        if name in shown
    }
    changed = {name: text for name, text in given.items() if text != shown[name]}
    headers = {
        header: _header(name, changed[name]) for name, header in _HEADERS.items() if name in changed
    }
    kind = given.get("type", "")
    body = _body(payload, changed, kind)
    if body and kind:
        headers["Content-Type"] = kind
    return headers, body


def _header(name: str, text: str) -> str:
    """The value of a header that says what a field says."""
    if name != "headers":
        return re.sub(r"\s*\n\s*", ",", text) if name == "labels" else text
    try:
        return encode(headers_of(text)).decode()
    except ValueError as error:
        raise ValidationError.of("headers", str(error)) from None


def _body(payload: bytes, changed: Mapping[str, str], kind: str) -> bytes:
    """The payload to send, empty where it stays. Raises: ValidationError."""
    if "payload" in changed:
        body = changed["payload"].encode()
        if not body:
            raise ValidationError.of("payload", "cannot be taken away; cancel, and push another")
        if is_json_type(kind) and not _is_json(body):
            raise ValidationError.of(
                "payload", "is no JSON any more, as its content type says: mend it, or change that"
            )
        return body
    if "type" not in changed:
        return b""
    if not payload:
        raise ValidationError.of("type", "is that of a payload, and there is none")
    return payload


def read_when(text: str, zone: str, now: int) -> dict[str, str]:
    """A time, or how long from now, as a header of the API says it. Raises: ValidationError."""
    text = text.strip()
    try:
        if re.fullmatch(r"[0-9.]+ *[A-Za-z].*", text):
            return {"x-lq-delay": str(parse_duration(text))}
        return {"x-lq-on": format_instant(parse_instant(text, now, zone.strip() or "UTC"))}
    except UnknownZone as error:
        raise ValidationError.of("zone", str(error)) from None
    except ValueError as error:
        raise ValidationError.of("when", f'{error}; or how long from now, as in "5m"') from None


def in_form(error: ValidationError) -> ValidationError:
    """A refusal of the API in the words of the form."""
    issues = [Issue(_FIELDS.get(i.path.lower(), i.path), i.message, i.code) for i in error.issues]
    return ValidationError(issues, hint=error.hint)


def _as_sent(text: str) -> str:
    """Text as a browser sends it back, untouched, and as forms are read here."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_json(body: bytes) -> bool:
    try:
        decode(body, type=Raw)
    except (DecodeError, RecursionError):
        return False
    return True
