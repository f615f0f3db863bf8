"""What the answers about items and about schedules have in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Encoder, decode

from lq.model import State
from lq.when import format_instant
from lq.wire.fields import REDACTED, RETRY, STATES

_SECRET_HEADER: Final = re.compile(
    r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE
)
_JSON_TYPE: Final = re.compile(r"\s*application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_UNREADABLE: Final = bytes({*range(0x20), 0x7F} - set(b"\t\n\r"))

to_json: Final = Encoder().encode


def one_of(*words: str) -> Meta:
    """Says of a member which words it may be, to those who read the description of the API."""
    return Meta(extra_json_schema={"enum": [str(word) for word in words]})


InstantText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
StateWord = Annotated[str, one_of(*STATES)]
TypeWord = Annotated[str, one_of("HTTP", "SCRIPTLET", "ALERT", "HANDLER")]


class Target(Struct, frozen=True):
    """What is called, and how."""

    url: str
    method: str


def type_of(target: str | None) -> str:
    """What kind of target this is, in the wire's words."""
    kind = "" if target is None else target.partition(":")[0]
    return kind.upper() if kind in {"scriptlet", "alert", "handler"} else "HTTP"


def state_of(state: State, failures: int) -> str:
    """The state in the wire's words."""
    return RETRY if state is State.PENDING and failures else state


def instant(at: int | None) -> str | None:
    """An instant, if there is one."""
    return None if at is None else format_instant(at)


def redacted(headers: Mapping[str, str], words: Sequence[str] = ()) -> dict[str, str]:
    """Headers of a call, without the values that look like credentials or that `words` name."""
    return {
        name: REDACTED if _SECRET_HEADER.search(name) or _named(name, words) else text
        for name, text in headers.items()
    }


def _named(header: str, words: Sequence[str]) -> bool:
    return bool(words) and f"header:{header.lower()}" in words


def payload_members(
    payload: bytes | None, content_type: str | None, *, as_base64: bool = False
) -> dict[str, Any]:
    """The payload as JSON when it is declared to be, as text when it is, else in base64."""
    members: dict[str, Any] = {"payload_type": content_type}
    if not payload:
        return members
    if as_base64:
        text = None
    elif is_json_type(content_type):
        if _is_json(payload):
            return {**members, "payload": Raw(payload)}
        text = None
    else:
        text = readable(payload)
    if text is not None:
        return {**members, "payload": text}
    encoded = base64.b64encode(payload).decode()
    return {**members, "payload": encoded, "payload_encoding": "base64"}


def is_json_type(content_type: str | None) -> bool:
    """Whether a Content-Type says JSON."""
    return content_type is not None and _JSON_TYPE.match(content_type) is not None


def readable(raw: bytes) -> str | None:
    """Bytes as the text they are, if they are."""
    if len(raw.translate(None, _UNREADABLE)) < len(raw):  # a tenth of what a regex takes
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _is_json(payload: bytes) -> bool:
    try:
        payload.decode()
        decode(payload, type=Raw)
    except (UnicodeDecodeError, DecodeError, RecursionError):
        return False
    return True
