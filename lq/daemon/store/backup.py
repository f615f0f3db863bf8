"""Copies of a database of one moment, made while others write; and whether a file is a whole one.

Owns: how a copy is made in steps, what of it is compared, and the mark that tells a backup from
a database that serves. Never changes what it copies.

Invariant: a copy is there, under the name that was asked for, only after SQLite has found it
sound and it has as many rows as the original had at that moment.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final, NamedTuple

from lq import __version__
from lq.backups import Hold
from lq.daemon.store import Snapshot, migrate
from lq.daemon.store.database import failure
from lq.daemon.store.queries import aside
from lq.daemon.store.reading import Fetch
from lq.daemon.store.transaction import Transaction
from lq.errors import DataError, StorageFull, StoreFailed, Unavailable

STEP_PAGES: Final = 256
"""A mebibyte: what is copied before others have their turn at disk and interpreter."""
PAUSE_S: Final = 0.001

_GIVEN_UP: Final = "the backup was given up"
_KEPT_FREE: Final = 64 << 20
_LOOK_EVERY: Final = 1_000_000  # instructions of SQLite's machine, about 20 ms

Tell = Callable[[int, int], None]
"""How many pages of how many have been copied; called on the thread that copies."""
Cut = Callable[[], bool]
"""Whether nobody wants the copy any more."""


def copy(
    source: Path, target: Path, at: int | None, *, live: bool, tell: Tell, cut: Cut
) -> Mapping[str, int]:
    """Write what `source` holds at this moment into a new file; how many rows of what that is.

    Shape: `at` is this moment, None to copy a backup. `live` is whether others may write to
    `source` meanwhile. One that an older lq has
    written has no counts, and no mark. The copy is synced.
    Raises: StorageFull, Unavailable, DataError, StoreFailed; then there is no such file.
    """
    with unwritable(target), new_file(target) as fd:
        try:
            with closing(reading(source, live=live)) as original, closing(_writing(target)) as made:
                rows = _copied(original, made, _room(original, target.parent, tell, cut))
                _finish(made, at, cut)
                _compare(made, rows, source)
            os.fsync(fd)
        except BaseException as error:
            remove(target)
            if isinstance(error, sqlite3.Error):
                raise (Unavailable(_GIVEN_UP) if cut() else failure(error, target)) from error
            raise
    return rows


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """A new file that is nobody else's to read, in the place of what a crash has left."""
    remove(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Say what an OSError of a file means. Raises: StorageFull, StoreFailed."""
    try:
        yield
    except OSError as error:
        text = f"cannot write {path}: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(text, hint="make room; nothing was changed") from error
        raise StoreFailed(text, hint="check its folder and disk") from error


def snapshot(source: Path, at: int, tell: Tell, cut: Cut, *, live: bool = True) -> Snapshot:
    """A copy without a name: whatever ends the process, nothing of it is left but what it reads.

    Raises: as `copy`.
    """
    part = part_of(source)
    rows = copy(source, part, at, live=live, tell=tell, cut=cut)
    with unwritable(part):
        file = part.open("rb")
        part.unlink()
        sha256 = digest(file)
    return Snapshot(file, file.tell(), sha256, rows)


def part_of(database: Path) -> Path:
    """Where a copy is while it is being made."""
    return database.resolve().with_name("backup.part")


def digest(file: BufferedReader) -> str:
    """The SHA-256 of all of a file, in hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def hold(fetch: Fetch) -> Hold | None:
    """Since when nothing may start, if so."""
    found = fetch("hold")
    return Hold(*found[0]) if found else None


def end_hold(tx: Transaction) -> None:
    """Forget the hold."""
    tx.all("end_hold")


class _Copying(NamedTuple):
    """What is done between the steps of a copy."""

    folder: Path
    keep_free: int
    tell: Tell
    cut: Cut

    def step(self, status: int, left: int, total: int) -> None:
        """Tell how far it is, and let others have their turn.

        Raises: Unavailable when it is unwanted; StorageFull.
        """
        self.tell(total - left, total)
        if self.cut():
            raise Unavailable(_GIVEN_UP)
        if left and _free(self.folder) < self.keep_free:
            raise StorageFull(
                f"the disk of {self.folder} became full meanwhile; jobs need what is left of it",
                hint="make room; nothing was changed",
            )
        time.sleep(PAUSE_S)


def _copied(
    original: sqlite3.Connection, made: sqlite3.Connection, copying: _Copying
) -> Mapping[str, int]:
    """Copy all pages of one moment; what the original has in it."""
    # One transaction for all of it. Without one, each commit of the daemon between two steps
    # would have SQLite begin again, and under load the copy would never end.
    original.execute("BEGIN")
    rows = counts(original)
    original.backup(made, pages=STEP_PAGES, progress=copying.step)
    original.execute("ROLLBACK")
    return rows


def _finish(made: sqlite3.Connection, at: int | None, cut: Cut) -> None:
    """Make a copy one file, wherever it is taken, that says what it is."""
    made.execute("PRAGMA journal_mode = DELETE")
    made.set_progress_handler(cut, _LOOK_EVERY)
    if at is not None and migrate.is_current(made):
        made.execute(aside()["mark_backup"], {"at": at, "version": __version__})


def _compare(made: sqlite3.Connection, rows: Mapping[str, int], source: Path) -> None:
    """Refuse a copy that is not what it should be. Raises: DataError."""
    if found := unsound(made):
        raise DataError(
            f"the copy of {source} is damaged ({found}), and so may be the database",
            hint="look the disk over; `lq doctor` checks what it can",
        )
    if counts(made) != rows:
        raise DataError(f"the copy of {source} does not have the rows of the original")


def _room(original: sqlite3.Connection, folder: Path, tell: Tell, cut: Cut) -> _Copying:
    """What the copy must leave free. Raises: StorageFull when there is no room for it."""
    [pages] = original.execute("PRAGMA page_count").fetchone()
    [page] = original.execute("PRAGMA page_size").fetchone()
    disk = os.statvfs(folder)
    keep_free = min(_KEPT_FREE, disk.f_blocks * disk.f_frsize // 16)
    needed, free = pages * page, _free(folder)
    if free < needed + keep_free:
        raise StorageFull(
            f"this needs {needed >> 10} KiB on the disk of {folder}, which has {free >> 10} KiB"
            " free, and jobs need some of them",
            hint="make room; nothing was changed",
        )
    return _Copying(folder, keep_free, tell, cut)


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def counts(connection: sqlite3.Connection) -> Mapping[str, int]:
    """How many rows the tables have, if they are those of this lq."""
    if not migrate.is_current(connection):
        return {}
    return dict(connection.execute(aside()["row_counts"]).fetchall())


def unsound(connection: sqlite3.Connection) -> str | None:
    """The first thing that SQLite's full check finds wrong, or None."""
    return migrate.damage(connection, deep=True)


def made_at(connection: sqlite3.Connection) -> int | None:
    """The moment that a backup shows; None when it has no mark."""
    if not migrate.is_current(connection):
        return None
    row = connection.execute(aside()["backup_mark"]).fetchone()
    return None if row is None else int(row[0])


@contextmanager
def examined(path: Path) -> Iterator[sqlite3.Connection]:
    """A file that has been found to be a sound database of lq, open to be read.

    Raises: DataError; StoreFailed when it cannot be read.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty: it is no backup")
        with closing(reading(path)) as connection:
            migrate.refuse_foreign(connection, path)
            if found := unsound(connection):
                raise DataError(
                    f"{path} is damaged ({found}), and cannot be restored",
                    hint="take another backup, or salvage with `sqlite3 FILE .recover`",
                )
            if not migrate.is_ours(connection):
                raise DataError(f"{path} holds no database of lq")
            yield connection
    except OSError as error:
        raise StoreFailed(f"cannot read {path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise failure(error, path) from error


def reading(path: Path, *, live: bool = False) -> sqlite3.Connection:
    """A database that is only read; a log beside it counts."""
    uri = f"{path.resolve().as_uri()}?mode=ro" if live else migrate.read_only(path)
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)


def _writing(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # A crash leaves a file that nobody takes for a backup; what counts is the sync at the end.
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def remove(path: Path) -> None:
    """Remove a copy, whole or not, and what SQLite may have left beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
