"""What a single field of a request accepts: names, headers, words, times, JSON.

Every function takes the text (or JSON value) of one field and returns what it means, or
raises ValueError with one sentence that says what is accepted; the caller names the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeGuard

from lq.backoff import parse_retry
from lq.model import FINISHED, Completion, IfExists, RetryPolicy, Scope, State
from lq.rate import MAX_COUNT
from lq.when import parse_duration, parse_rfc3339

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
RETRY: Final = "RETRY"  # the wire's word for PENDING after a failure
STATES: Final = (*(state.value for state in State), RETRY)
FINISHED_STATES: Final = tuple(state.value for state in State if state in FINISHED)

MAX_QUEUE_BYTES: Final = 255
MAX_KEY_BYTES: Final = 512
MAX_LABELS: Final = 8
MAX_LABEL_BYTES: Final = 64
MAX_ITEM_HEADERS: Final = 32
MAX_ITEM_HEADER_BYTES: Final = 8192
MAX_TIMEOUT_MS: Final = 86_400_000
MAX_PATIENCE_MS: Final = 30_000
MAX_OVERLAP_MS: Final = 90 * 86_400_000
MAX_CONCURRENCY: Final = 10_000
MAX_REASON: Final = 200  # characters
MAX_ID: Final = 64
MAX_PAGE: Final = 1000
MAX_CURSOR: Final = 512
MAX_PATTERNS: Final = 32
MAX_JSON_DEPTH: Final = 32
REDACTED: Final = "[redacted]"  # what encode shows in place of a credential

_RESERVED_SEGMENTS: Final = frozenset({"items", ".", ".."})
_DENIED_HEADERS: Final = frozenset(
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "upgrade",
        "expect",
        "keep-alive",
        "trailer",
    ]
)
_DENIED_PREFIXES: Final = ("proxy-", "x-lq-", "webhook-")
_TCHARS: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_JSON_PIECE: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)
_LOST_PLUS: Final = re.compile(r"(T.*) (\d\d:\d\d)")
_SCHEDULE_ID: Final = re.compile(r"sch_[0-9a-f]{32}")
_TOKEN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def shown(value: object) -> str:
    """Quote what was received, cut short, for an error message."""
    text = str(value)
    return repr(text if len(text) <= 40 else text[:40] + "…")


def choice(text: str, words: Iterable[str]) -> str:
    """One of a few words."""
    words = list(words)
    if text not in words:
        listed = [f'"{word}"' for word in words]
        accepted = " or ".join([", ".join(listed[:-1]), listed[-1]] if listed[1:] else listed)
        raise ValueError(f"expected {accepted}, got {shown(text)}")
    return text


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them."""
    import difflib

    known = sorted(known)
    if not known:
        return ""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def check_queue(name: str) -> str:
    """A queue's name: it may hold slashes, because the SDK names queues after URL paths."""
    _check_name(name, MAX_QUEUE_BYTES)
    if not _RESERVED_SEGMENTS.isdisjoint(name.split("/")):
        raise ValueError('must not have a segment "items", "." or ".."')
    return name


def check_key(key: str) -> str:
    """A key; compared as it is, never normalised."""
    _check_name(key, MAX_KEY_BYTES)
    return key


def check_schedule_key(key: str) -> str:
    """The key of a schedule: none that would be taken for an id."""
    if _SCHEDULE_ID.fullmatch(key):
        raise ValueError(f"must not have the form of a schedule's id, got {shown(key)}")
    return check_key(key)


def _check_name(name: str, most: int) -> None:
    if not name:
        raise ValueError("must not be empty")
    if not name.isprintable() and _CONTROL.search(name):
        raise ValueError("must not have control characters")
    if len(name) * 4 > most and len(name.encode()) > most:
        raise ValueError(f"expected at most {most} bytes of UTF-8, got {len(name.encode())}")


def check_item_headers(headers: Mapping[str, object]) -> Mapping[str, str]:
    """The headers an item adds to its call, held against what lq can send safely.

    Shape: names are RFC 9110 tokens, each there once whatever its case, none of which frames
    the message or is lq's own; values are strings without control characters.
    """
    if len(headers) > MAX_ITEM_HEADERS:
        raise ValueError(f"expected at most {MAX_ITEM_HEADERS} headers, got {len(headers)}")
    checked: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in headers.items():
        lowered = name.lower()
        if not is_token(name):
            raise ValueError(f"{shown(name)} is not a header name")
        if lowered in _DENIED_HEADERS or lowered.startswith(_DENIED_PREFIXES):
            raise ValueError(f"{shown(name)} is set by lq itself and cannot be given")
        if lowered in seen:
            raise ValueError(f"{shown(name)} is there twice; case makes no difference")
        seen.add(lowered)
        checked[name] = _header_value(name, value)
    size = sum(len(name) + len(value.encode()) + 4 for name, value in checked.items())
    if size > MAX_ITEM_HEADER_BYTES:
        raise ValueError(f"expected at most {MAX_ITEM_HEADER_BYTES} bytes of headers, got {size}")
    return MappingProxyType(checked)


def _header_value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the value of {shown(name)} must be a string")
    if _UNSENDABLE.search(value):
        raise ValueError(f"the value of {shown(name)} has a control character")
    if value == REDACTED:
        raise ValueError(f"the value of {shown(name)} is what lq shows in place of a credential")
    return value


def is_token(text: str) -> bool:
    """Whether a header can be called this. Source: RFC 9110, 5.6.2."""
    return _TCHARS.fullmatch(text) is not None


def is_sendable(text: str) -> bool:
    """Whether a header can carry this text."""
    return _UNSENDABLE.search(text) is None


def read_target(text: str) -> str:
    """What to call, as text; whether lq may call it is for the engine."""
    if not text.isprintable() or not text or " " in text:
        raise ValueError('expected a URL such as "https://example.com/hook", or scriptlet:NAME')
    return text


def read_method(text: str) -> str:
    return choice(text.upper(), METHODS)


def read_headers(text: str) -> Mapping[str, str]:
    """x-lq-headers: a JSON object of strings."""
    return headers_of(read_json(text.encode()))


def headers_of(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError('expected a JSON object of strings such as {"x-team": "mail"}')
    return check_item_headers(value)


def read_timeout(text: str) -> int:
    """The duration of one attempt. Units: milliseconds."""
    timeout_ms = parse_duration(text)
    if not 1 <= timeout_ms <= MAX_TIMEOUT_MS:
        raise ValueError(f'expected 1ms to 24h such as "30s", got {shown(text)}')
    return timeout_ms


def read_overlap(text: str) -> int:
    """For how long a rotated secret stays valid. Units: milliseconds."""
    overlap_ms = parse_duration(text)
    if not 0 <= overlap_ms <= MAX_OVERLAP_MS:
        raise ValueError(f'expected 0s to 90d such as "24h", got {shown(text)}')
    return overlap_ms


def read_expires(text: str) -> tuple[str, int]:
    """An instant or a duration, with the member of a Push that it is for."""
    return _either(text, "expires_at", "expires_ms")


def read_expires_or_none(text: str) -> tuple[str, int | None]:
    """An instant or a duration, or nothing at all, which takes the expiry away."""
    return read_expires(text) if text else ("expires_at", None)


def read_future(text: str, now: int) -> int:
    """An instant, or a duration from now; never past."""
    form, value = _either(text, "instant", "duration")
    at = value if form == "instant" else now + value
    if at <= now:
        raise ValueError(f"expected a moment in the future, got {shown(text)}")
    return at


def read_instant(text: str) -> int:
    """An instant; the "+" of its offset may have become a space, as it does in a query."""
    return parse_rfc3339(_LOST_PLUS.sub(r"\1+\2", text))


def _either(text: str, instant: str, duration: str) -> tuple[str, int]:
    """An instant or a duration, with the caller's word for what it is."""
    try:
        if text[:4].isdecimal() and text[4:5] == "-":
            return instant, read_instant(text)
        return duration, parse_duration(text)
    except ValueError:
        raise ValueError(
            'expected a duration such as "90s" or "1d12h", at most ten years, or an instant such as'
            f' "2026-12-01T09:00:00Z", got {shown(text)}'
        ) from None


def read_labels(text: str) -> tuple[str, ...]:
    """Words, separated by commas."""
    labels = tuple(dict.fromkeys(word.strip(" ") for word in text.split(",")))
    if len(labels) > MAX_LABELS:
        raise ValueError(f"expected at most {MAX_LABELS} labels, got {len(labels)}")
    for label in labels:
        read_label(label)
    return labels


def read_labels_or_none(text: str) -> tuple[str, ...]:
    """Words, or nothing at all, which takes the labels away."""
    return read_labels(text) if text else ()


def read_label(text: str) -> str:
    words = text.isprintable() and " " not in text and "," not in text
    if not words or not 0 < len(text.encode()) <= MAX_LABEL_BYTES:
        raise ValueError(
            f"expected words of 1 to {MAX_LABEL_BYTES} bytes without spaces, got {shown(text)}"
        )
    return text


def read_if_exists(text: str) -> IfExists:
    return IfExists(choice(text.lower(), IfExists))


def read_completion(text: str) -> Completion:
    return Completion(choice(text.lower(), Completion))


def read_again(text: str) -> bool:
    """Whether a failed attempt may be followed by another."""
    return choice(text.lower(), ("yes", "no")) == "yes"


def read_validate(text: str) -> bool:
    """Whether the endpoint must prove that it knows the secret."""
    return choice(text, ("head", "none")) == "head"


def read_state(text: str) -> str:
    return choice(text.upper(), STATES)


def read_finished_state(text: str) -> str:
    return choice(text.upper(), FINISHED_STATES)


def read_id(text: str) -> str:
    if not 0 < len(text) <= MAX_ID or not text.isascii() or not text.isprintable():
        raise ValueError(f"expected an id, got {shown(text)}")
    return text


def read_limit(text: str) -> int:
    limit = int(text) if text.isdecimal() and len(text) <= 9 else 0
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"expected 1 to {MAX_PAGE}, got {shown(text)}")
    return limit


def read_cursor(text: str) -> str:
    if not 0 < len(text) <= MAX_CURSOR or not text.isascii() or not text.isprintable():
        raise ValueError("expected what the last page gave as cursor")
    return text


def read_attempt(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) <= 9 else 0
    if number < 1:
        raise ValueError(f"expected the number of an attempt, from 1, got {shown(text)}")
    return number


def read_offset(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(f"expected what the last part gave as offset, got {shown(text)}")
    return int(text)


def read_patience(text: str) -> int:
    """How long to wait for more. Units: milliseconds."""
    wait_ms = parse_duration(text)
    if not 0 <= wait_ms <= MAX_PATIENCE_MS:
        raise ValueError(f'expected 0s to 30s such as "20s", got {shown(text)}')
    return wait_ms


def read_payload_form(text: str) -> bool:
    """Whether a payload is wanted as the bytes that it is."""
    return choice(text.lower(), ("base64",)) == "base64"


def read_flag(text: str) -> bool:
    return choice(text.lower(), ("1", "0", "true", "false")) in ("1", "true")


def text_of(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {_kind(value)}")
    return value


def truth_of(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {_kind(value)}")
    return value


def concurrency_of(value: object) -> int:
    if not _is_integer(value) or not 1 <= value <= MAX_CONCURRENCY:
        raise ValueError(f"expected a number from 1 to {MAX_CONCURRENCY}, got {shown(value)}")
    return value


def burst_of(value: object) -> int:
    if not _is_integer(value) or not 1 <= value <= MAX_COUNT:
        raise ValueError(f"expected a number from 1 to {MAX_COUNT}, got {shown(value)}")
    return value


def reason_of(value: object) -> str:
    """Why somebody has done something, in one line."""
    text = text_of(value).strip()
    if not 1 <= len(text) <= MAX_REASON or not text.isprintable():
        raise ValueError(f"expected one line of 1 to {MAX_REASON} characters")
    return text


def retry_of(value: object) -> RetryPolicy:
    """A number of retries, or text as in x-lq-retry."""
    if not _is_integer(value) and not isinstance(value, str):
        forms = 'a number of retries such as 8, or waits such as "10s,1m,1h"'
        raise ValueError(f"expected {forms}, got {_kind(value)}")
    return parse_retry(str(value))


def timeout_of(value: object) -> int:
    """The duration of one attempt, as text. Units: milliseconds."""
    if not isinstance(value, str):
        raise ValueError(f'expected a duration from 1ms to 24h such as "30s", got {_kind(value)}')
    return read_timeout(value)


def token_name_of(value: object) -> str:
    if not _TOKEN_NAME.fullmatch(text_of(value)):
        raise ValueError("expected 1 to 64 letters, digits, dots, dashes or underscores")
    return text_of(value)


def scopes_of(value: object) -> frozenset[Scope]:
    if not isinstance(value, list) or not value:
        raise ValueError('expected a list such as ["push", "read"]')
    return frozenset(Scope(choice(text_of(word), Scope)) for word in value)


def patterns_of(value: object) -> tuple[str, ...]:
    """Shell patterns on queue names."""
    if not isinstance(value, list) or len(value) > MAX_PATTERNS:
        raise ValueError(f'expected a list of at most {MAX_PATTERNS}, such as ["mail-*"]')
    for pattern in value:
        _check_name(text_of(pattern), MAX_QUEUE_BYTES)
    return tuple(dict.fromkeys(value))


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: object) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def read_json(raw: bytes) -> object:
    """Strict JSON: UTF-8, each member once, no NaN, no half characters, at most 32 deep."""
    return json_of(raw, integer)


def json_of(raw: bytes, read_integer: Callable[[str], object]) -> object:
    """The same where integers may be longer than in what is read for itself."""
    import json

    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("expected JSON in UTF-8") from None
    check_depth(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_members, parse_constant=_refuse, parse_int=read_integer
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON: {error.msg} at character {error.pos + 1}") from None
    # Only an escape can say half of a pair in UTF-8.
    if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise ValueError("expected whole characters, got half of a surrogate pair")
    return value


def check_depth(text: str) -> None:
    """Refuse JSON that is nested too deep, before it is parsed."""
    if text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return
    depth = 0
    for piece in _JSON_PIECE.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(piece[0], 0)
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"expected JSON at most {MAX_JSON_DEPTH} levels deep")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the member {shown(name)} is there twice")
        found[name] = value
    return found


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def integer(digits: str) -> int:
    """A number that is read for itself."""
    if len(digits) > 20:
        raise ValueError(f"the number {shown(digits)} is too long")
    return int(digits)
