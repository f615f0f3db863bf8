"""What a running daemon follows of a configuration that was read again, put in words.

Owns: which settings those are. Values that may be credentials are never shown, only that they have
changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from lq.config import Config
from lq.config.values import is_hidden, key_of, members, written
from lq.model import SettingChange


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
        for change in _differences(table, name, before.get(name), after.get(name))
    )


def _named(rules: tuple[Any, ...]) -> Mapping[str, Any]:
    return {rule.name: rule for rule in rules}


def _differences(
    table: str, name: str, old: Struct | None, new: Struct | None
) -> Iterator[SettingChange]:
    path = f"{table}.{name}"
    before, after = dict(members(old)), dict(members(new))
    if old is None and not after:
        yield SettingChange(path, "added")
    elif new is None and not before:
        yield SettingChange(path, "removed")
    for member in {**before, **after}:
        was, is_now = before.get(member), after.get(member)
        if was == is_now:
            continue
        change = "added" if was is None else "removed" if is_now is None else "changed"
        key = key_of(member)
        shown = [
            None if is_hidden(table, key, one) else _text(member, one) for one in (was, is_now)
        ]
        yield SettingChange(f"{path}.{key}", change, *shown)


def _text(member: str, value: Any) -> str | None:
    """A value in a sentence, None if there is none to show."""
    if value is None:
        return None
    match written(member, value):
        case bool(truth):
            return "true" if truth else "false"
        case list(words):
            return ", ".join(words) or None
        case other:
            return str(other)
