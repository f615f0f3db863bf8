"""Putting a copy in the place of a database that nobody has open: its files, and what they hold.

Owns: the order in which files are put aside and in place, and the statements that compare the two.
Never removes a database.

Invariant: wherever this is cut off, the folder holds the database that was there, whole, or the
one that was restored, whole; never one with the log of another.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from lq.backups import Account, Listed, Missed
from lq.daemon.store import backup, migrate, schedules
from lq.daemon.store.database import failure
from lq.daemon.store.queries import aside, named
from lq.errors import DataError
from lq.model import Schedule, ScheduleFilter
from lq.when import format_instant

MOST_LISTED: Final = 10_000
"""Of more than so many jobs of a kind the account has the number, and lists the first."""

_PAGE: Final = 250

Judge = Callable[[Schedule], Missed]
"""What a schedule whose time has come makes of what it has missed."""


def settle_log(path: Path) -> str | None:
    """Have a sound database take in its log; why there is none, else."""
    if not path.exists() or path.stat().st_size == 0:
        return "there was no database"
    try:
        migrate.refuse_unfit(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if found := migrate.damage(connection):
                return f"the present database is damaged ({found})"
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except DataError as error:
        return f"the present database cannot be read: {error.message}"
    except sqlite3.Error as error:
        return f"the present database cannot be read: {error}"
    return None


def put_in_place(staged: Path, path: Path, now: int) -> Path | None:
    """Keep what is there under another name, and put the restored one in its place."""
    kept = None
    if path.exists():
        kept = _free_name(path, now)
        try:
            kept.hardlink_to(path)  # so that there is a database at every moment
        except OSError:  # not every file system has links
            shutil.copyfile(path, kept)
            kept.chmod(0o600)
            with kept.open("rb") as copied:
                os.fsync(copied.fileno())
        # Before the other database is here: SQLite would take this log for its.
        for suffix in ("-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(kept.with_name(kept.name + suffix))
        _sync_folder(path.parent)
    staged.replace(path)
    _sync_folder(path.parent)
    return kept


def _free_name(path: Path, now: int) -> Path:
    stamp = format_instant(now // 1000 * 1000).replace("-", "").replace(":", "").replace(".000", "")
    name, number = path.with_name(f"{path.name}.before-{stamp}"), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.before-{stamp}-{number}")
    return name


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def prepare(
    staged: Path, present: Path, now: int, *, hold: bool, unfit: str | None, judge: Judge
) -> Account:
    """Bring a backup to today's schema, mark it as one that serves, and say what it holds."""
    with _failing(staged), closing(sqlite3.connect(staged, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        migrate.migrate(connection)
        ask = connection.execute
        exact = backup.made_at(connection)
        backup_at = exact or _one(connection, "latest_instant") or 0
        if hold:
            ask(aside()["put_hold"], {"since": now, "backup_at": backup_at})
        ask(aside()["unmark_backup"])
        held = bool(ask(named()["hold"]).fetchall())
        waiting, overdue, expired = ask(aside()["waiting_jobs"], {"now": now}).fetchone()
        uncompared, finished, lost = _compare(connection, present, unfit)
        return Account(
            backup_at=backup_at,
            exact=exact is not None,
            held=held,
            rows=backup.counts(connection),
            running=_listed(connection, "running_jobs"),
            waiting=waiting,
            overdue=overdue,
            expired=expired,
            missed=tuple(map(judge, _late(connection, now))),
            uncompared=uncompared,
            finished=finished,
            lost=lost,
        )


def _compare(
    connection: sqlite3.Connection, present: Path, unfit: str | None
) -> tuple[str | None, Listed, Listed]:
    """Why the present database was not compared; what ended and what came since the backup."""
    if unfit is not None:
        return unfit, Listed(), Listed()
    connection.execute("ATTACH :uri AS present", {"uri": str(present)})
    try:
        [[known]] = connection.execute(aside()["has_callback_key"]).fetchall()
        if known and not _one(connection, "is_same_lineage"):
            return "the present database is not of the same lq", Listed(), Listed()
        return (
            None,
            _listed(connection, "finished_since"),
            _listed(connection, "pushed_since"),
        )
    finally:
        connection.execute("DETACH present")


def _listed(connection: sqlite3.Connection, name: str) -> Listed:
    """The jobs that a statement finds: all counted, the first ones listed."""
    count, jobs = 0, []
    for row in connection.execute(aside()[name]):
        count += 1
        if count <= MOST_LISTED:
            members = zip(("id", "queue", "key", "state"), row, strict=False)
            jobs.append({member: value for member, value in members if value is not None})
    return Listed(count=count, jobs=tuple(jobs))


def _late(connection: sqlite3.Connection, now: int) -> Iterator[Schedule]:
    """The schedules whose next time has come."""

    def fetch(name: str, /, **values: Any) -> list[Any]:
        return connection.execute(named()[name], values).fetchall()

    wanted = ScheduleFilter(limit=_PAGE)
    while True:
        page = schedules.page(fetch, wanted)
        for schedule in page.items:
            if schedule.next_at is not None and schedule.next_at <= now:
                yield schedule
        if page.cursor is None:
            return
        wanted = ScheduleFilter(limit=_PAGE, cursor=page.cursor)


def _one(connection: sqlite3.Connection, name: str) -> int | None:
    [value] = connection.execute(aside()[name]).fetchone()
    return None if value is None else int(value)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    """Say what an error of SQLite means."""
    try:
        yield
    except sqlite3.Error as error:
        raise failure(error, path) from error
