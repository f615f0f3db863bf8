"""What is said of a backup, and of what it means to go back to one: records alone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from lq.model import Misfire


class Stage(StrEnum):
    """How far a backup is. READY can be fetched; FAILED says why in `error`."""

    COPYING = "copying"
    CHECKING = "checking"
    READY = "ready"
    FAILED = "failed"


class Backup(Struct, frozen=True, kw_only=True):
    """A backup that is made, or was.

    Shape: `made_at` is the moment that it shows. `pages` of `total` have been copied; `size`,
    `sha256` and `rows` (by table) are there once it is READY.
    """

    stage: Stage
    made_at: int
    pages: int = 0
    total: int = 0
    size: int | None = None
    sha256: str | None = None
    rows: Mapping[str, int] = MappingProxyType({})
    error: str | None = None


class BackupPart(Struct, frozen=True):
    """Bytes of a backup from an offset on; none at its end."""

    offset: int
    data: bytes


class Hold(Struct, frozen=True):
    """Nothing starts since `since`, when a backup of the moment `backup_at` was put back."""

    since: int
    backup_at: int


class Released(Struct, frozen=True):
    """What the end of a hold came to. Shape: `skipped` schedules leave out what they missed."""

    skipped: int


class Listed(Struct, frozen=True, kw_only=True):
    """Jobs of a kind: how many, and the first of them."""

    count: int = 0
    jobs: tuple[Mapping[str, str], ...] = ()


class Missed(Struct, frozen=True, kw_only=True):
    """What a schedule has missed since the backup. Shape: `runs` is what it will make of that."""

    name: str
    misfire: Misfire
    times: int
    runs: int
    problem: str | None = None


class Account(Struct, frozen=True, kw_only=True):
    """What a restore means.

    Shape: `exact` is False where the moment of the backup is only known to be no earlier.
    `uncompared` says why nothing is known of what was done since. `finished` have ended since the
    backup and will run again; `lost` were pushed since.
    """

    backup_at: int
    exact: bool
    held: bool
    rows: Mapping[str, int]
    running: Listed
    waiting: int
    overdue: int
    expired: int
    missed: tuple[Missed, ...]
    uncompared: str | None = None
    finished: Listed = Listed()
    lost: Listed = Listed()
    kept: Path | None = None
