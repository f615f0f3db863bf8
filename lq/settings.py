"""The nouns of a configuration that is looked at: tables of settings, and where each comes from."""

from __future__ import annotations

from msgspec import Struct


class Setting(Struct, frozen=True, kw_only=True):
    """One setting that is in force.

    Shape: `value` is what stands behind `key =` in lq.toml, None where nothing is set, and where it
    is `hidden`, because it may be a credential. `origin` is "lq.toml:12", the name of a variable,
    or "default". With `waiting` the file says something else by now, which a restart will see.
    """

    key: str
    value: str | None
    origin: str
    hidden: bool = False
    waiting: bool = False


class Table(Struct, frozen=True):
    """Settings by their table. Shape: `head` is its line in lq.toml, "" of those above all tables;
    `name` is what LQ_* variables and `origin`s call it.
    """

    name: str
    head: str
    settings: tuple[Setting, ...]


class Settings(Struct, frozen=True):
    """All that is in force. `file` is the lq.toml that was read, if there is one."""

    file: str | None
    tables: tuple[Table, ...]
