"""Settings that are in force -> JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from lq.settings import Setting, Settings
from lq.wire.parts import to_json


class _InForce(Struct, kw_only=True, omit_defaults=True):
    """A setting. Shape: `value` is as in lq.toml, left out where nothing is set or it is `hidden`;
    one that is `waiting` has another value in the file by now, for after a restart.
    """

    key: str
    value: str | None = None
    origin: str
    hidden: bool = False
    waiting: bool = False


class _Table(Struct, omit_defaults=True):
    """Settings by their table. Shape: `head` is its line in lq.toml, "" above all tables."""

    name: str
    head: str
    settings: list[_InForce]


class _Settings(Struct, kw_only=True, omit_defaults=True):
    """All settings in force. Shape: `file` is the lq.toml that was read."""

    file: str | None = None
    tables: list[_Table]


ANSWERS: Final[Mapping[str, Any]] = {"Settings": _Settings}
"""As `encode.ANSWERS`."""


def encode_settings(settings: Settings) -> bytes:
    """All settings, table by table."""
    tables = [
        _Table(table.name, table.head, [_setting(one) for one in table.settings])
        for table in settings.tables
    ]
    return to_json(_Settings(file=settings.file, tables=tables))


def _setting(one: Setting) -> _InForce:
    return _InForce(
        key=one.key,
        value=one.value,
        origin=one.origin,
        hidden=one.hidden,
        waiting=one.waiting,
    )
