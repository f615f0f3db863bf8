"""One SQLite file behind aiosqlite: opening it safely, and committing in groups.

Owns the two connections (one writes, one reads) and the order of transactions. Knows no
table. Invariant: a transaction is one function run from BEGIN to COMMIT on SQLite's own
thread, so no two coroutines ever share one and no cancellation can leave one open.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import aiosqlite

from lq.daemon.store import migrate
from lq.daemon.store.lock import FolderLock
from lq.errors import DataError, StartError, StorageFull, StoreFailed, Unavailable

T = TypeVar("T")

_BUSY_TIMEOUT_S = 5.0
# A database up to this size is checked whole before it is served, a larger one beside the
# service: a start must not take longer because there is more to remember.
_CHECK_FIRST_BYTES = 16 * 1024 * 1024

_PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -16000;
PRAGMA wal_autocheckpoint = 2000;
"""


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function on its thread.

    aiosqlite's own verbs cross to the thread once a statement (about 60 us each) and leave
    the transaction open to every other coroutine in between; `run` crosses once for all.
    """

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        execute: Callable[..., Awaitable[T]] = self._execute
        return await execute(work, self._conn)

    @classmethod
    async def open(cls, path: Path) -> Connection:
        """Connect, on a thread of its own."""
        connection = cls(partial(_connect, path), iter_chunk_size=64)
        await connection
        return connection


class Late(NamedTuple):
    """An argument that is asked for when the transaction is about to begin, on the event loop."""

    ask: Callable[[], Any]


class Operation(NamedTuple):
    """One write that waits for its commit."""

    verb: str
    argument: Any
    answer: asyncio.Future[Any]


class Book(Protocol):
    """What is done inside the transactions; called on SQLite's thread only."""

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        """Do the writes (verb, argument) of one moment; a result or LqError for each."""

    def undo(self) -> None:
        """The last `apply` was rolled back."""


class Database:
    """The data folder's database, open and locked. Made by `open_database`."""

    def __init__(
        self, path: Path, lock: FolderLock, writer: Connection, reader: Connection, book: Book
    ) -> None:
        self.path = path
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self._book = book
        self._waiting: list[Operation] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._commit_groups(), name="store-writer")

    def write(self, verb: str, argument: Any) -> asyncio.Future[Any]:
        """Queue a write; the future answers after its commit.

        The write happens even if whoever waits for it is cancelled.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._closing:
            answer.set_exception(Unavailable("the daemon is stopping"))
            return answer
        self._waiting.append(Operation(verb, argument, answer))
        self._wake.set()
        return answer

    async def run(self) -> None:
        """Wait for the writer. Raises: StoreFailed or DataError when the disk cannot be trusted."""
        await asyncio.shield(self._task)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query that changes nothing, beside the writer; it sees every finished commit."""
        try:
            return await self._reader.run(query)
        except sqlite3.Error as error:
            raise failure(error, self.path) from error

    async def close(self) -> None:
        """Commit what waits, then let go of the file."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])  # what made it fail, if anything, `run` has raised
        await self._reader.close()
        await self._writer.close()
        self._lock.release()

    async def _commit_groups(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                # One turn of the loop: what other callers write at this moment joins in.
                await asyncio.sleep(0)
                continue
            group, self._waiting = self._waiting, []
            await self._commit([_prepared(operation) for operation in group])

    async def _commit(self, group: list[Operation]) -> None:
        results: list[Any]
        try:
            results = await self._writer.run(partial(self._transaction, group=group))
        except sqlite3.Error as error:
            if len(group) > 1:
                # One of them may be the only culprit (a payload that no longer fits).
                for operation in group:
                    await self._commit([operation])
                return
            results = [failure(error, self.path)]
        for operation, result in zip(group, results, strict=True):
            if operation.answer.done():
                continue
            if isinstance(result, Exception):
                operation.answer.set_exception(result)
            else:
                operation.answer.set_result(result)
        if isinstance(results[0], StartError):
            raise results[0]

    def _transaction(self, connection: sqlite3.Connection, group: list[Operation]) -> list[Any]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = self._book.apply(connection, [(op.verb, op.argument) for op in group])
            connection.execute("COMMIT")
        except BaseException:
            self._book.undo()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results


def _prepared(operation: Operation) -> Operation:
    argument = operation.argument
    return operation._replace(argument=argument.ask()) if isinstance(argument, Late) else operation


async def open_database(folder: Path, book: Book) -> Database:
    """Lock a data folder, check and migrate its database, and open it.

    Raises: InUse, DataError, StartError.
    """
    path = folder / "lq.db"
    _make_private(folder, path)
    lock = FolderLock(folder)
    try:
        migrate.refuse_foreign(path)
        # SQLite gives -wal and -shm the mode of the database, so this decides all three.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        writer = await Connection.open(path)
        try:
            await writer.run(partial(_prepare, path=path))
            reader = await Connection.open(path)
            await reader.execute("PRAGMA query_only = ON")
        except BaseException:
            await writer.close()
            raise
    except BaseException as error:
        lock.release()
        if isinstance(error, sqlite3.Error | OSError):
            raise _cannot_open(path, error) from error
        raise
    return Database(path, lock, writer, reader, book)


def _make_private(folder: Path, path: Path) -> None:
    """Make the data folder, 0700; but never take a folder of somebody else's files away."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            if not path.exists() and any(folder.iterdir()):
                raise StartError(
                    f"data_dir {folder} holds other files and is open to other users",
                    hint="give lq a folder of its own, or chmod 700 this one",
                )
            folder.chmod(0o700)
    except OSError as error:
        raise StartError(f"cannot use data_dir {folder}: {error.strerror}") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, isolation_level=None, timeout=_BUSY_TIMEOUT_S, cached_statements=256,
        check_same_thread=False,
    )  # fmt: skip


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size <= _CHECK_FIRST_BYTES:
        refuse_damaged(connection, path)
    connection.executescript(_PRAGMAS)
    migrate.migrate(connection)


def refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DataError when SQLite finds the database inconsistent."""
    if found := migrate.damage(connection):
        raise DataError(
            f"{path} is damaged ({found}); it was left untouched",
            hint="restore a backup with `lq restore`, or salvage with `sqlite3 lq.db .recover`",
        )


def needs_check(path: Path) -> bool:
    """Whether the database was too large to be checked before serving."""
    return path.stat().st_size > _CHECK_FIRST_BYTES


def _cannot_open(path: Path, error: BaseException) -> StartError:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return DataError(
            f"{path} cannot be used as a database ({error})",
            hint="restore a backup with `lq restore`; the file was left untouched",
        )
    return StoreFailed(f"cannot open {path}: {error}", hint="check its owner, mode and disk")


def failure(error: sqlite3.Error, path: Path) -> Exception:
    """What a failed statement means for whoever asked for it; `error` itself if it is our bug."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"no room left on the disk of {path.parent}; nothing was stored")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable("the database is locked by another process; nothing was stored")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return Unavailable("the database is read-only; nothing was stored")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return DataError(f"{path} is damaged ({error})", hint="restore a backup with `lq restore`")
    if code == sqlite3.SQLITE_IOERR:
        # After a failed fsync nobody knows what reached the disk: never try again and claim so.
        return StoreFailed(f"the disk failed: {error}", hint=f"check the disk of {path.parent}")
    return error
