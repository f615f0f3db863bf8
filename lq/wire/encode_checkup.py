"""A check-up -> JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from lq.checkup import Checkup
from lq.wire.parts import to_json


class _CheckedDatabase(Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """Shape: `fault` is the first thing wrong with it. Units: bytes."""

    size: int
    wal_size: int
    deep: bool
    fault: str | None = None


class _CheckedDisk(Struct):
    free: int
    total: int


class _CheckedFiles(Struct):
    """Open files of the process: how many there are, may be, and might be wanted."""

    open: int
    limit: int
    wanted: int


class _CheckedTarget(Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """A target. Shape: `validated` when it had to show that it knows the secret."""

    target: str
    used_by: tuple[str, ...]
    validated: bool
    fault: str | None = None


class _PublicUrl(Struct, omit_defaults=True):
    url: str
    fault: str | None = None


class _Checkup(Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """Units: `loop_lag_ms` is milliseconds."""

    database: _CheckedDatabase
    disk: _CheckedDisk
    files: _CheckedFiles
    loop_lag_ms: int
    time_zones: str
    targets: list[_CheckedTarget]
    targets_left_out: int
    public_url: _PublicUrl | None = None


ANSWERS: Final[Mapping[str, Any]] = {"Checkup": _Checkup}


def encode_checkup(found: Checkup) -> bytes:
    """What a daemon tells of itself."""
    public = None if found.public_url is None else _PublicUrl(found.public_url, found.public_fault)
    return to_json(
        _Checkup(
            database=_CheckedDatabase(
                size=found.database_bytes,
                wal_size=found.wal_bytes,
                deep=found.deep,
                fault=found.database_fault,
            ),
            disk=_CheckedDisk(found.disk_free, found.disk_total),
            files=_CheckedFiles(found.files_open, found.files_limit, found.files_wanted),
            loop_lag_ms=found.loop_lag_ms,
            time_zones=found.zones,
            targets=[
                _CheckedTarget(
                    target=one.target,
                    used_by=one.used_by,
                    validated=one.validated,
                    fault=one.fault,
                )
                for one in found.targets
            ],
            targets_left_out=found.targets_left_out,
            public_url=public,
        )
    )
