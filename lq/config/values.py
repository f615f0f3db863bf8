"""How what is configured looks in lq.toml: names of keys, and values as they are written there.

Owns which values may be credentials, and so are shown to nobody. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import fields

from lq.backoff import format_retry
from lq.model import Rate, RetryPolicy
from lq.rate import format_rate
from lq.when import format_duration

_HIDDEN: Final = {
    "queues": {"headers"},
    "scriptlets": {"env"},
    "alerts": {"headers", "target"},
    "watch": {"ping"},
}
"""What may be a credential, or hold one: of the URL of a webhook, the path is."""
_NOT_SAID: Final = frozenset({"name", "where"})
_KEYS: Final = {"longer_ms": "longer_than", "shorter_ms": "shorter_than", "cpu_s": "cpu_seconds"}


_fields: Final = lru_cache(fields)  # which evaluates all annotations of a class, each time


def key_of(member: str) -> str:
    """The key of lq.toml that a member of a record comes from."""
    return _KEYS.get(member) or member.removesuffix("_ms")


def is_hidden(table: str, key: str, value: Any = None) -> bool:
    """Whether a value is not shown. Shape: `table` is the first word of its name."""
    if key in _HIDDEN.get(table, ()):
        return True
    return key == "target" and value is not None and "@" in urlsplit(value).netloc


def members(table: Struct | None) -> Iterator[tuple[str, Any]]:
    """What a table sets beyond its defaults, tables in it opened."""
    for field in _fields(type(table)) if table is not None else ():
        value = getattr(table, field.name)
        if isinstance(value, Struct) and not isinstance(value, Rate | RetryPolicy):
            yield from members(value)
        elif value not in (None, field.default) and field.name not in _NOT_SAID and value != {}:
            yield field.name, value


def written(member: str, value: Any) -> bool | int | float | str | list[str]:
    """A value, which is not None, as TOML has it."""
    match value:
        case bool():
            return value
        case Rate():
            return format_rate(value)
        case RetryPolicy():
            return format_retry(value)
        case int() if member.endswith("_ms"):
            return format_duration(value)
        case int() | float():
            return value
        case frozenset():
            return sorted(map(str, value))
        case tuple() | list():
            return [str(one) for one in value]
        case str() if member == "target":
            return value.partition("?")[0]  # a query may hold a credential
        case _:
            return str(value)
