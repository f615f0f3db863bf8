"""What is in force in a running daemon: after a reload, and as people look at it.

Owns which settings there are to look at, in the order of lq.toml. [[schedules]] are none of them:
they are schedules like others once they were read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from lq.config import KINDS, Config, differences
from lq.config.kinds import SIZE
from lq.config.values import is_hidden, key_of, members, written
from lq.settings import Setting, Settings, Table
from lq.toml import literal

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_FOR_ADMINS: Final = ("scriptlets", "command")  # an argument may be a password
_UNITS: Final = ((20, "MiB"), (10, "KiB"))


def following(old: Config, new: Config) -> Config:
    """What a daemon that runs with `old` has in force once it follows `new`."""
    waiting = differences(old, new)
    kept = {key: old.origin[key] for key in waiting if key in old.origin}
    return replace(
        old,
        queues=new.queues,
        schedules=new.schedules,
        scriptlets=new.scriptlets,
        alerts=new.alerts,
        tls=old.tls if any(key.startswith("tls.") for key in waiting) else new.tls,
        origin=MappingProxyType({**new.origin, **kept}),
    )


def in_force(config: Config, waiting: Collection[str]) -> Settings:
    """All settings by table. Shape: `waiting` are the dotted keys that wait for a restart."""
    file = "lq.toml" if config.path is None else str(config.path)
    tables = [*_plain(config, waiting), *_queues(config)]
    for name, scriptlet in config.scriptlets.items():
        tables.append(_named("scriptlets", name, scriptlet, scriptlet.where))
    for rule in config.alerts:
        table = _named("alerts", rule.name, rule, file)
        named = Setting(key="name", value=literal(rule.name), origin=file)
        tables.append(Table(table.name, "[[alerts]]", (named, *table.settings)))
    whole = None if config.path is None else str(config.path.absolute())
    return Settings(whole, tuple(tables))


def _plain(config: Config, waiting: Collection[str]) -> Iterator[Table]:
    """The tables of which there is one each, and before them what stands above all tables."""
    found: dict[str, list[Setting]] = {}
    for path, kind in KINDS.items():
        *table, key = path
        name, dotted = ".".join(table), ".".join(path)
        holder = getattr(config, name) if table else config
        value = getattr(holder, key + kind.suffix)
        if kind is SIZE:
            value = _size(value)
        setting = _setting(name, key + kind.suffix, value, config.origin.get(dotted, "default"))
        found.setdefault(name, []).append(replace(setting, waiting=dotted in waiting))
    for name, settings in found.items():
        yield Table(name, f"[{name}]" if name else "", tuple(settings))


def _queues(config: Config) -> Iterator[Table]:
    for name, settings in config.queues.items():
        yield _named("queues", name, settings, "lq.toml", config.origin)


def _named(
    table: str,
    name: str,
    record: Struct,
    origin: str,
    origins: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """A table of which there are several, with what it sets."""
    dotted = f"{table}.{name}"
    settings = [
        _setting(table, member, value, origins.get(f"{dotted}.{key_of(member)}", origin))
        for member, value in members(record)
    ]
    head = f"[{table}.{name if _BARE.fullmatch(name) else json.dumps(name)}]"
    return Table(dotted, head, tuple(settings))


def _setting(table: str, member: str, value: Any, origin: str) -> Setting:
    key = key_of(member)
    hidden = value is not None and (is_hidden(table, key, value) or (table, key) == _FOR_ADMINS)
    text = None if value is None or hidden else literal(written(member, value))
    return Setting(key=key, value=text, origin=origin, hidden=hidden)


def _size(size: int) -> int | str:
    """A size with its unit, if it is a whole number of some."""
    for power, unit in _UNITS:
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return size
