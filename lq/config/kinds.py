"""What keys of lq.toml accept: readers of single values, and how a wrong one is shown.

Owns no key and no default. Invariant: a reader returns what the value means, or raises a
ValueError; what it accepts is said by its Kind.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from lq.backoff import MAX_RETRIES, parse_retry
from lq.errors import ConfigError
from lq.model import RetryPolicy
from lq.rate import parse_rate
from lq.when import DAY_MS, parse_duration
from lq.wire import METHODS, check_item_headers, read_json

MAX_PAYLOAD: Final = 256 << 20  # bytes


class Kind(NamedTuple):
    """What a key accepts: `read` turns a TOML value into ours.

    Shape: `accepts` completes "expected …"; `from_text` makes of an LQ_* variable's text the
    TOML value that it stands for; `suffix` is what our member's name has beyond the key's.
    Raises: `read` and `from_text` a ValueError, which says what is wrong if `accepts` does not.
    """

    accepts: str
    read: Callable[[Any], object]
    from_text: Callable[[str], object] = str
    suffix: str = ""


def text_of(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


def matching(pattern: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not re.fullmatch(pattern, text_of(value)):
            raise ValueError
        return str(value)

    return read


def whole(low: int, high: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError
    return value


def as_number(text: str) -> object:
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def integer(low: int, high: int) -> Kind:
    accepts = f"an integer from {low} to {high}"
    return Kind(accepts, lambda value: whole(low, high, value), as_number)


def fraction(low: float, high: float) -> Kind:
    accepts = f"a number from {low:g} to {high:g}"

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not low <= value <= high:
            raise ValueError
        return float(value)

    return Kind(accepts, read, as_number)


def duration(low_ms: int, high_ms: int, accepts: str) -> Kind:
    def read(value: Any) -> int:
        return whole(low_ms, high_ms, parse_duration(text_of(value)))

    return Kind(f"a duration {accepts}", read, suffix="_ms")


def choice(*words: str) -> Kind:
    quoted = [json.dumps(word) for word in words]
    accepts = " or ".join(quoted)
    return Kind(accepts, matching("|".join(words)))


def size_of(value: Any) -> int:
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,12}) ?(B|KiB|MiB)", value)
        if not found:
            raise ValueError
        value = int(found[1]) << {"B": 0, "KiB": 10, "MiB": 20}[found[2]]
    return whole(1, MAX_PAYLOAD, value)


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(text_of(entry) for entry in value)


def listen_of(value: Any) -> str:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", text_of(value))
    if not found or int(found[2]) > 65535:
        raise ValueError
    return str(value)


def base_url_of(value: Any) -> str | None:
    """A URL that paths are put behind, without the slash at its end; "" is none."""
    if value == "":
        return None
    text = text_of(value)
    parts = urlsplit(text)
    plain = text.isascii() and not re.search(r"[\s?#@\\]", text)
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    if parts.port == 0:  # one out of range is refused by itself
        raise ValueError
    return text.rstrip("/")


def headers_of(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError
    return check_item_headers(value)


def retry_of(value: Any) -> RetryPolicy:
    if isinstance(value, list):
        return parse_retry(",".join(texts(value)))
    if isinstance(value, int):
        return RetryPolicy(whole(0, MAX_RETRIES, value))
    return parse_retry(text_of(value))


def words_of(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def read_table(
    table: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    refuse: Callable[[str, str], ConfigError],
) -> dict[str, Any]:
    """What the keys of a table mean. Raises: what `refuse` makes of a key and what is wrong."""
    members = {}
    for name, value in table.items():
        kind = kinds.get(name)
        if kind is None:
            near = difflib.get_close_matches(name, kinds, 1)
            meant = f", did you mean {near[0]}?" if near else f"; known are {', '.join(kinds)}"
            raise refuse(name, f"unknown key{meant}")
        try:
            members[name] = kind.read(value)
        except ValueError as error:
            raise refuse(name, why(error, kind, value)) from None
    return members


def why(error: ValueError, kind: Kind, value: object) -> str:
    return str(error) or f"expected {kind.accepts}, got {shown(value)}"


def shown(value: object) -> str:
    """A wrong value in a few words; tables stay closed, because headers can hold secrets."""
    if isinstance(value, dict):
        return "a table of other things"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def truth_of(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def as_truth(text: str) -> object:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


FLAG: Final = Kind("true or false", truth_of, as_truth)
RATE: Final = Kind('a rate such as "10/s" or "100/min"', lambda value: parse_rate(text_of(value)))
CONCURRENCY: Final = integer(1, 10_000)
SIZE: Final = Kind(
    'a size from 1 byte to 256 MiB such as 65536, "512KiB" or "1MiB"', size_of, as_number
)
ATTEMPT: Final = duration(1, DAY_MS, 'from 1ms to 24h, such as "30s"')
VALIDATE: Final = choice("head", "none")
TARGET: Final = Kind(
    'a URL such as "https://example.com/hook"', matching(r"https?://[^\s/]\S*|scriptlet:\S+")
)
METHOD: Final = choice(*METHODS)
HEADERS: Final = Kind(
    'a table of strings such as { "X-Team" = "mail" }',
    headers_of,
    lambda text: read_json(text.encode()),
)
RETRY: Final = Kind(
    f'a number of retries from 0 to {MAX_RETRIES}, or the waits such as "10s,1m,1h"', retry_of
)
