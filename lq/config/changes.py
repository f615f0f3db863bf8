"""What a running daemon follows of a configuration that was read again, put in words.

Owns: which settings those are, and how their values are shown. Values that may be credentials are
never shown, only that they have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import fields

from lq.backoff import format_retry
from lq.config import Config
from lq.model import Rate, RetryPolicy, SettingChange
from lq.rate import format_rate
from lq.when import format_duration

_HIDDEN: Final = frozenset({"headers", "env"})
_NOT_SAID: Final = frozenset({"name", "where"})


def followed(old: Config, new: Config) -> tuple[SettingChange, ...]:
    """The differences that take effect at once, by their dotted keys."""
    tables: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("queues", old.queues, new.queues),
        ("scriptlets", old.scriptlets, new.scriptlets),
        ("alerts", _named(old.alerts), _named(new.alerts)),
    )
    return tuple(
        change
        for table, before, after in tables
        for name in {**before, **after}
        for change in _differences(f"{table}.{name}", before.get(name), after.get(name))
    )


def _named(rules: tuple[Any, ...]) -> Mapping[str, Any]:
    return {rule.name: rule for rule in rules}


def _differences(path: str, old: Struct | None, new: Struct | None) -> Iterator[SettingChange]:
    before, after = dict(_members(old)), dict(_members(new))
    if old is None and not after:
        yield SettingChange(path, "added")
    elif new is None and not before:
        yield SettingChange(path, "removed")
    for member in {**before, **after}:
        was, is_now = before.get(member), after.get(member)
        if was == is_now:
            continue
        change = "added" if was is None else "removed" if is_now is None else "changed"
        if member in _HIDDEN or (path.startswith("alerts.") and member == "target"):
            was = is_now = None
        key = f"{path}.{member.removesuffix('_ms').removesuffix('_s')}"
        yield SettingChange(key, change, _text(member, was), _text(member, is_now))


def _members(table: Struct | None) -> Iterator[tuple[str, Any]]:
    """What a table sets beyond its defaults, tables in it opened."""
    for field in fields(table) if table is not None else ():
        value = getattr(table, field.name)
        if isinstance(value, Struct) and not isinstance(value, Rate | RetryPolicy):
            yield from _members(value)
        elif value not in (None, field.default) and field.name not in _NOT_SAID and value != {}:
            yield field.name, value


def _text(member: str, value: Any) -> str | None:
    """A value as people write it in lq.toml."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case Rate():
            return format_rate(value)
        case RetryPolicy():
            return format_retry(value)
        case int() if member.endswith("_ms"):
            return format_duration(value)
        case tuple() | list() | frozenset():
            return ", ".join(str(one) for one in value) or None
        case str() if member == "target":
            return value.partition("?")[0]  # a query may hold a credential
        case _:
            return str(value)
