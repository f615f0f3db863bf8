"""What only the tests of the SQLite store need: its file seen from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lq.daemon.store.database import Book


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a data folder with its bytes; the lock, which says who was there, left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lq.lock"}


@contextmanager
def beside(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection of another program's to the database."""
    connection = sqlite3.connect(folder / "lq.db", isolation_level=None, check_same_thread=False)
    with closing(connection):
        yield connection


class SmallDisk:
    """A Book on a disk with room for `pages` more pages than the database has, once it is set.

    SQLite itself keeps the limit and fails as it does on a full disk.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self.pages: int | None = None

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        [used] = connection.execute("PRAGMA page_count").fetchone()
        most = (1 << 30) if self.pages is None else used + self.pages
        connection.execute(f"PRAGMA max_page_count = {most}")
        return self._book.apply(connection, group)

    def undo(self) -> None:
        self._book.undo()
