"""A payload or an answer as a page shows it: as JSON laid out, as text, in hex; or encrypted.

Owns: how much of it is shown, and in which of these ways. Changes nothing of what it shows:
numbers, order and spelling are those of the bytes. Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode

from lq.wire.parts import readable

SHOWN: Final = 32_768
SHOWN_IN_HEX: Final = 4096
SEALED_SHOWN: Final = 65_536
"""Characters, and bytes: a page stays below 150 kB, though a quote takes five of its bytes."""
_ROW: Final = 16
_SEALED_TYPE: Final = "application/vnd.lq.encrypted"
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s\[\]{},:"]+|[\[\]{},:]')


class Content(Struct, frozen=True, kw_only=True):
    """What there is to see of some bytes.

    Shape: `pretty` and `text` are None where they are no JSON, or no text; each has at most so
    much that `cut` says there is more. `sealed` is base64 of all of it, when it is encrypted and
    not too large for a page (`is_sealed` alone, then).
    """

    size: int
    kind: str
    pretty: str | None
    text: str | None
    hexed: str
    cut: bool
    is_sealed: bool = False
    sealed: str | None = None


def content(body: bytes, kind: str | None, *, whole: bool = False, most: int = SHOWN) -> Content:
    """What to show of a body of this type, so many characters at most.

    Shape: `whole` wants an encrypted one at any size.
    """
    is_sealed = (kind or "").partition(";")[0].strip().lower() == _SEALED_TYPE
    text = readable(body)
    laid_out = None
    if text is not None and not is_sealed and _is_json_document(body):
        laid_out = pretty(text, most + 1)
    fits = len(body) <= SEALED_SHOWN or whole
    return Content(
        size=len(body),
        kind=kind or "",
        pretty=None if laid_out is None else laid_out[:most],
        text=None if text is None else text[:most],
        hexed=hex_rows(body[: min(most, SHOWN_IN_HEX)]),
        cut=len(text or "") > most or len(laid_out or "") > most,
        is_sealed=is_sealed,
        sealed=base64.b64encode(body).decode() if is_sealed and fits else None,
    )


def pretty(text: str, limit: int) -> str:
    """JSON on lines of its own, or its beginning.

    Shape: `text` is JSON. It is taken apart only as far as it is shown, because what is nested a
    thousand deep may grow a thousandfold. Units: `limit` is characters; a little more may come.
    """
    parts: list[str] = []
    depth = size = 0
    before = ""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in {"]", "}"}:
            depth -= 1
        part = f"{_space(before, token, depth)}{token}"
        parts.append(part)
        size += len(part)
        if size >= limit:
            break
        if token in {"[", "{"}:
            depth += 1
        before = token
    return "".join(parts)


def _space(before: str, token: str, depth: int) -> str:
    """What stands between two tokens."""
    if not before or token in {",", ":"}:
        return ""
    if before == ":":
        return " "
    if before + token in {"[]", "{}"}:
        return ""
    return "\n" + "  " * depth


def hex_rows(body: bytes) -> str:
    """Bytes as a hex editor shows them: where, in hex, and what of it is ASCII."""
    rows = []
    for start in range(0, len(body), _ROW):
        row = body[start : start + _ROW]
        seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(f"{start:08x}  {row.hex(' '):<{_ROW * 3 - 1}}  {seen}")
    return "\n".join(rows)


def payload_bytes(item: Mapping[str, Any]) -> bytes:
    """The payload of an item that was asked for in base64."""
    return base64.b64decode(item.get("payload", ""))


def answer_bytes(attempt: Mapping[str, Any], name: str = "responseBody") -> bytes:
    """The body of an attempt's answer, or its log."""
    text: str = attempt.get(name, "")
    return base64.b64decode(text) if f"{name}Encoding" in attempt else text.encode()


def answer_type(attempt: Mapping[str, Any]) -> str | None:
    """The Content-Type of an attempt's answer."""
    headers = attempt.get("responseHeaders", {})
    return next((text for name, text in headers.items() if name.lower() == "content-type"), None)


def _is_json_document(body: bytes) -> bool:
    """Whether it is an object or an array in JSON."""
    if body.lstrip()[:1] not in {b"{", b"["}:
        return False
    try:
        decode(body, type=Raw)
    except (DecodeError, RecursionError):
        return False
    return True
