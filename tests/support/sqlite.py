"""The SQLite store's file seen from outside, and its disk as small as a test wants it."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lq.alerts import Watch
from lq.daemon.store.database import Book, open_database
from lq.daemon.store.sqlite import JobBook, SqliteStore


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a data folder with its bytes; the lock, which says who was there, left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lq.lock"}


@contextmanager
def beside(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection of another program's to the database."""
    connection = sqlite3.connect(folder / "lq.db", isolation_level=None, check_same_thread=False)
    with closing(connection):
        yield connection


class Disk:
    """A Book on a disk in trouble: room for `pages` more and no other, or `read_only`.

    SQLite itself keeps to that, and fails as it does on such a disk.
    """

    @classmethod
    async def open(cls, folder: Path) -> tuple[SqliteStore, Disk]:
        """A store whose disk it is."""
        disk = cls(JobBook())
        return SqliteStore(await open_database(folder, disk)), disk

    def __init__(self, book: Book) -> None:
        self._book = book
        self.pages: int | None = None
        self.read_only = False

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        [used] = connection.execute("PRAGMA page_count").fetchone()
        most = (1 << 30) if self.pages is None else used + self.pages
        connection.execute(f"PRAGMA max_page_count = {most}")
        connection.execute(f"PRAGMA query_only = {self.read_only:d}")
        try:
            return self._book.apply(connection, group)
        finally:
            connection.execute("PRAGMA query_only = 0")  # else it could not even begin again

    def undo(self) -> None:
        self._book.undo()

    def count(self, connection: sqlite3.Connection) -> int:
        return self._book.count(connection)

    def watch(self, watch: Watch, noticed: Callable[[], None]) -> None:
        self._book.watch(watch, noticed)


@contextmanager
def no_file_may_grow(*, beyond: int = 4096) -> Iterator[None]:
    """The kernel fails every write beyond so many bytes of a file (an I/O error, not ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
