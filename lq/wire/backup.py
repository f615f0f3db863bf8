"""Backups and holds -> JSON, and the queries that ask for them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.backups import Backup, BackupPart, Hold, Released, Stage
from lq.when import format_instant
from lq.wire import fields
from lq.wire.parts import InstantText, instant, one_of, to_json
from lq.wire.reading import Known, read_query

BACKUP_QUERY: Final[Known[str]] = MappingProxyType({"wait": ("wait_ms", fields.read_patience)})
PART_QUERY: Final[Known[str]] = MappingProxyType({"offset": ("offset", fields.read_offset)})
RELEASE_QUERY: Final[Known[str]] = MappingProxyType(
    {"skip-missed": ("skip_missed", fields.read_flag)}
)


class _Backup(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """How far a backup is. Shape: `size`, `sha256` and `rows` are those of one that is ready."""

    stage: Annotated[str, one_of(*Stage)]
    made: InstantText
    pages: int
    total: int
    size: int | None = None
    sha256: str | None = None
    rows: dict[str, int] | None = None
    error: str | None = None


class _BackupPart(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Bytes of a backup, in base64. Shape: `offset` is where the next part begins."""

    offset: int
    data: str


class _Hold(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """Whether anything may start. Shape: while `held`, since when, and of when the backup is."""

    held: bool
    since: InstantText | None = None
    backup: InstantText | None = None


class _Released(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What the end of a hold came to: how many schedules leave out what they have missed."""

    skipped: int


ANSWERS: Final[Mapping[str, Any]] = {
    "Backup": _Backup,
    "BackupPart": _BackupPart,
    "Hold": _Hold,
    "Released": _Released,
}
"""What answers look like, by the name that the description of the API gives them."""


def decode_backup_query(query: str) -> int:
    """Read `?wait=`. Units: milliseconds. Raises: ValidationError."""
    wait_ms: int = read_query(query, BACKUP_QUERY).get("wait_ms", 0)
    return wait_ms


def decode_part_query(query: str) -> int:
    """Read `?offset=`. Raises: ValidationError."""
    offset: int = read_query(query, PART_QUERY).get("offset", 0)
    return offset


def decode_release(query: str) -> bool:
    """Read `?skip-missed=1`. Raises: ValidationError."""
    return bool(read_query(query, RELEASE_QUERY).get("skip_missed"))


def encode_backup(backup: Backup) -> bytes:
    """How far a backup is."""
    return to_json(
        _Backup(
            stage=backup.stage,
            made=format_instant(backup.made_at),
            pages=backup.pages,
            total=backup.total,
            size=backup.size,
            sha256=backup.sha256,
            rows=dict(backup.rows) or None,
            error=backup.error,
        )
    )


def encode_backup_part(part: BackupPart) -> bytes:
    """Bytes of a backup, and where to go on."""
    data = base64.b64encode(part.data).decode()
    return to_json(_BackupPart(offset=part.offset + len(part.data), data=data))


def encode_hold(hold: Hold | None) -> bytes:
    """Whether anything may start."""
    if hold is None:
        return to_json(_Hold(held=False))
    return to_json(_Hold(held=True, since=instant(hold.since), backup=instant(hold.backup_at)))


def encode_released(released: Released) -> bytes:
    """What the end of a hold came to."""
    return to_json(_Released(skipped=released.skipped))
