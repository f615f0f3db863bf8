"""Brings a database to the schema this lq writes: numbered scripts, each in one transaction.

Refuses, before a byte is changed, what is not a database, damaged, not lq's, or of a newer lq.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from lq.errors import DataError, Unavailable
from lq.fingerprint import fingerprint

# "lqdb" in ASCII: tells lq's databases from any other SQLite file.
APPLICATION_ID = 0x6C716462
# A database up to this size is checked whole before it is served, a larger one beside the
# service: a start must not take longer because there is more to remember.
_CHECK_FIRST_BYTES = 16 * 1024 * 1024
# SQLITE_ERROR is what reading a header of an unknown file format ends with.
_CONTENT_IS_WRONG = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
# The second is what sqlite3 makes of a message that quotes a damaged schema.
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)


def scripts() -> list[str]:
    """The migrations in order; the number of each is its place, from 1."""
    folder = files(__package__).joinpath("sql")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[:3].isdigit())
    return [folder.joinpath(name).read_text("utf-8") for name in names]


def refuse_unfit(path: Path, *, whole: bool = False) -> None:
    """Raise DataError unless the file is new, empty, or a database this lq may open.

    Shape: with `whole` one that is large is looked over as well, however long that takes.
    Opens it read-only, so that a refused file is left as it was, with the log beside it.
    Raises: sqlite3.Error, too, when it cannot be read just now, which says nothing about it.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with closing(sqlite3.connect(read_only(path), uri=True)) as found:
        refuse_foreign(found, path)
        if whole or not needs_check(path):
            refuse_damaged(found, path)


def look_over(path: Path) -> None:
    """Look over all of a database that nobody has open.

    Raises: DataError; Unavailable when it cannot be read just now, which says nothing about it.
    """
    try:
        refuse_unfit(path, whole=True)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"{path} cannot be read: {error}") from error


def read_only(path: Path) -> str:
    """The URI of a database that nobody changes just now, unless it has a log."""
    # SQLite lays an empty WAL beside a file it reads, unless it is told that nothing changes;
    # which is so, since the lock is ours, but would hide a WAL that is there.
    mode = "ro" if path.with_name(f"{path.name}-wal").exists() else "ro&immutable=1"
    return f"{path.resolve().as_uri()}?mode={mode}"


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether it is a database of lq, of whatever version."""
    [owner] = connection.execute("PRAGMA application_id").fetchone()
    return bool(owner == APPLICATION_ID)


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether its schema is that of this lq."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    return bool(version == len(scripts()))


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DataError unless it is empty, or a database that this lq may open.

    Raises: sqlite3.Error, too, when it cannot be read just now.
    """
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
        tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    except _UNREADABLE as error:
        if not _blames_the_file(error):
            raise
        raise DataError(
            f"{path} is not a readable database ({error}); it was left untouched",
            hint="restore a backup with `lq restore`, or move the file away to start afresh",
        ) from error
    if owner != APPLICATION_ID and tables:
        raise DataError(
            f"{path} is a database of another program; it was left untouched",
            hint="give lq a data_dir of its own",
        )
    if version > (supported := len(scripts())):
        raise DataError(
            f"{path} was written by a newer lq: schema {version} > supported {supported}",
            hint="install that version of lq again; the file was left untouched",
        )


def _blames_the_file(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether an error says that the file's content is wrong, and not that it is out of reach."""
    return (
        isinstance(error, UnicodeDecodeError)
        or (error.sqlite_errorcode & 0xFF) in _CONTENT_IS_WRONG
    )


def needs_check(path: Path) -> bool:
    """Whether a database is too large to be checked before serving."""
    return path.stat().st_size > _CHECK_FIRST_BYTES


def refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DataError when SQLite finds the database inconsistent.

    Raises: sqlite3.Error, too, when it cannot be read just now.
    """
    if found := damage(connection):
        raise DataError(
            f"{path} is damaged ({found}); it was left untouched",
            hint="restore a backup with `lq restore`, or salvage with `sqlite3 lq.db .recover`",
        )


def damage(connection: sqlite3.Connection, *, deep: bool = False) -> str | None:
    """The first thing SQLite's quick_check, or its integrity_check, finds wrong, or None."""
    check = "PRAGMA integrity_check(1)" if deep else "PRAGMA quick_check(1)"
    try:
        found: str = connection.execute(check).fetchone()[0]
    except _UNREADABLE as error:
        if not _blames_the_file(error):
            raise
        return str(error)
    return None if found == "ok" else found


def migrate(connection: sqlite3.Connection) -> None:
    """Run the scripts the database has not seen, all of one script or nothing of it.

    Scripts may ask for `entropy(n)`: bytes that nobody can guess, which SQLite does not promise.
    They, and the statements of the store, for `fingerprint(target, status, error)`, too.
    """
    connection.create_function("entropy", 1, os.urandom)
    connection.create_function("fingerprint", 3, fingerprint, deterministic=True)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    # New indexes are sorted on the disk: of a large database they would not fit in memory.
    [(kept,)] = connection.execute("PRAGMA temp_store").fetchall()
    connection.execute("PRAGMA temp_store = FILE")
    for number, script in enumerate(scripts()[version:], start=version + 1):
        # executescript commits what is open before it starts; so BEGIN is part of the script.
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n"
                f"PRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    connection.execute(f"PRAGMA temp_store = {kept:d}")
