"""The nouns of a check-up: what a daemon can tell of itself that nobody sees from outside.

Owns when a disk is short of room, which the daemon and the doctor say alike.
"""

from __future__ import annotations

from msgspec import Struct


class TargetCheck(Struct, frozen=True, kw_only=True):
    """A target as it is now. Shape: `used_by` are the queues and schedules that name it; `fault` is
    what was wrong with it, None when it may be called and knows the secret, if that is asked for.
    """

    target: str
    used_by: tuple[str, ...]
    validated: bool
    fault: str | None = None


class Checkup(Struct, frozen=True, kw_only=True):
    """Facts about a daemon. Units: bytes; milliseconds where a name says so.

    Shape: `database_fault` is the first thing that is wrong with the database, None if nothing is;
    `deep` when each index was compared with its table. `files_open` of `files_limit` are open, and
    `files_wanted` might be. `public_fault` is None without a `public_url`, or when that works.
    """

    deep: bool
    database_bytes: int
    wal_bytes: int
    database_fault: str | None
    disk_free: int
    disk_total: int
    files_open: int
    files_limit: int
    files_wanted: int
    loop_lag_ms: int
    zones: str
    targets: tuple[TargetCheck, ...]
    targets_left_out: int = 0
    public_url: str | None = None
    public_fault: str | None = None


_LITTLE_SHARE = 0.1


def is_short(free: int, total: int, database: int) -> bool:
    """Whether a disk has too little room left for a database of this size. Units: bytes."""
    return free < _LITTLE_SHARE * total and free < 2 * database + (1 << 30)


def size_text(number: int) -> str:
    """A number of bytes for people."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if number >= 1 << power:
            return f"{number / (1 << power):.1f} {unit}"
    return f"{number >> 10} KiB"
