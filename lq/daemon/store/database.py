"""One SQLite file behind aiosqlite: opening it safely, and committing in groups.

Owns the two connections (one writes, one reads) and the order of transactions. Knows no
table. Invariant: a transaction is one function run from BEGIN to COMMIT on SQLite's own
thread, so no two coroutines ever share one and no cancellation can leave one open.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import aiosqlite

from lq.alerts import Watch
from lq.daemon.store import Examined, migrate
from lq.daemon.store.disk import remote_kind
from lq.daemon.store.lock import FileLock, lock_file
from lq.errors import DataError, InUse, StartError, StorageFull, StoreFailed, Unavailable

T = TypeVar("T")

log = logging.getLogger(__name__)

_STOPPING = "the daemon is stopping"
_BUSY_TIMEOUT_S = 5.0
# What a statement can end with; the last two are a parameter that SQLite cannot hold.
_FAILURES = (sqlite3.Error, ValueError, OverflowError)

_ANOTHER_FOLDER = "stop that daemon first, or give this one another data_dir"
_ONE_PROCESS = (
    "one process at a time embeds lq on a file: end that one, or let several share a daemon"
    " (`lq serve`)"
)

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

    def __init__(self, path: Path | str) -> None:
        super().__init__(partial(_connect, path), iter_chunk_size=64)
        # An application may end without closing what it embeds; it must end all the same.
        self._thread.daemon = True

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        execute: Callable[..., Awaitable[T]] = self._execute
        return await execute(work, self._conn)

    @classmethod
    async def open(cls, path: Path | str) -> Connection:
        """Connect, on a thread of its own."""
        connection = cls(path)
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

    def count(self, connection: sqlite3.Connection) -> int:
        """A number that grows with what has ever been stored, and never becomes less."""

    def watch(self, watch: Watch, noticed: Callable[[], None]) -> None:
        """Keep notices of what `watch` wants, and call back, on that thread, when there are any."""


class Database:
    """A database, open and locked. Made by the `open_…` functions below.

    Shape: one in memory has no lock, and the writer reads as well: what it is asked between two
    transactions sees whole commits only, as a second connection would.
    """

    def __init__(
        self,
        path: Path,
        lock: FileLock | None,
        writer: Connection,
        reader: Connection,
        book: Book,
    ) -> None:
        self.path = path
        self.in_memory = lock is None
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self.book = book
        self._waiting: list[Operation] = []
        self._wake = asyncio.Event()
        self._closing = False
        # One group is committed while the next one already stands behind it, so that the
        # thread never waits for a busy event loop between them.
        self._room = asyncio.Semaphore(2)
        self._fault: StartError | None = None
        # Is told of each commit: how many writes it held, and how long it took.
        self.committed: Callable[[int, float], None] = lambda _writes, _seconds: None
        self._task = asyncio.create_task(self._commit_groups(), name="store-writer")

    def write(self, verb: str, argument: Any) -> asyncio.Future[Any]:
        """Queue a write; the future answers after its commit.

        The write happens even if whoever waits for it is cancelled.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._fault or self._closing or self._task.done():
            answer.set_exception(self._fault or Unavailable(_STOPPING))
            return answer
        self._waiting.append(Operation(verb, argument, answer))
        self._wake.set()
        return answer

    async def run(self) -> None:
        """Wait for the writer. Raises: StoreFailed or DataError when the disk cannot be trusted."""
        await asyncio.shield(self._task)
        if self._fault:
            raise self._fault

    async def check(self) -> None:
        """Look the whole database over, on a connection of its own.

        Raises: DataError; Unavailable when another process is in the way.
        """
        connection = await Connection.open(self.path)
        try:
            await connection.run(partial(migrate.refuse_damaged, path=self.path))
        except sqlite3.Error as error:
            raise failure(error, self.path) from error
        finally:
            await connection.close()

    def sizes(self) -> tuple[int, int]:
        """How large the database and its log are. Units: bytes."""
        if self.in_memory:
            return 0, 0
        return _size(self.path), _size(Path(f"{self.path}-wal"))

    async def examine(self, *, deep: bool) -> Examined:
        """How large the database is and whether it is whole, seen on a connection of its own."""
        if self.in_memory:
            return Examined(0, 0, None)
        connection = await Connection.open(self.path)
        try:
            fault = await connection.run(partial(migrate.damage, deep=deep))
        except sqlite3.Error as error:
            raise failure(error, self.path) from error
        finally:
            await connection.close()
        return Examined(*self.sizes(), fault)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query that changes nothing, beside the writer; it sees every finished commit.

        Shape: all its statements see the same moment.
        """
        try:
            return await self._reader.run(partial(_at_one_moment, query))
        except sqlite3.Error as error:
            cause = failure(error, self.path)
            if isinstance(cause, StartError):
                self._end_with(cause)
            raise cause from error

    def _end_with(self, fault: StartError) -> None:
        """Write nothing more: what is on the disk cannot be trusted."""
        self._fault = self._fault or fault
        self._wake.set()

    async def close(self) -> None:
        """Commit what waits, then let go of the file."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])
        if self._reader is not self._writer:
            await self._reader.close()
        await self._writer.close()
        if self._lock is not None:
            self._lock.release()

    def abandon(self) -> None:
        """Let go of the file after the event loop has been closed: nothing can be awaited."""
        self._closing = True
        for connection in (self._reader, self._writer):
            connection.stop()
        if self._lock is not None:
            self._lock.release()

    async def _commit_groups(self) -> None:
        try:
            async with asyncio.TaskGroup() as commits:
                while not self._fault:
                    if not self._waiting:
                        if self._closing:
                            break
                        self._wake.clear()
                        await self._wake.wait()
                        # One turn of the loop: what other callers write at this moment joins in.
                        await asyncio.sleep(0)
                        continue
                    await self._room.acquire()
                    group, self._waiting = self._waiting, []
                    prepared = [_prepared(operation) for operation in group]
                    commits.create_task(self._commit(prepared)).add_done_callback(self._make_room)
        finally:
            # An application that ends its loop cancels every task in it: nobody waits for ever.
            end = self._fault or Unavailable(_STOPPING)
            _answer(self._waiting, [end] * len(self._waiting))

    def _make_room(self, _: asyncio.Task[None]) -> None:
        self._room.release()

    async def _commit(self, group: list[Operation]) -> None:
        if self._fault:
            _answer(group, [self._fault] * len(group))
            return
        began = time.monotonic()
        try:
            results = await self._writer.run(partial(self._transaction, group=group))
            self.committed(len(group), time.monotonic() - began)
        except _FAILURES as error:
            cause = failure(error, self.path)
            concerns_all = isinstance(cause, Unavailable | StartError)
            if len(group) > 1 and not concerns_all:
                # One of them may be the only culprit (a payload that no longer fits).
                for operation in group:
                    await self._commit([operation])
                return
            results = [cause] * len(group)
            if isinstance(cause, StartError):
                self._end_with(cause)
        except asyncio.CancelledError:
            _answer(group, [Unavailable(_STOPPING)] * len(group))
            raise
        _answer(group, results)

    def _transaction(self, connection: sqlite3.Connection, group: list[Operation]) -> list[Any]:
        if self._fault:
            return [self._fault] * len(group)
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = self.book.apply(connection, [(op.verb, op.argument) for op in group])
            count = self.book.count(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            self.book.undo()
            if isinstance(error, _FAILURES):
                cause = failure(error, self.path)
                if isinstance(cause, StartError):
                    # Here, not on the event loop: the next group already stands behind this one.
                    self._fault = self._fault or cause
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if self._lock is not None:
            self._lock.count(count)
        return results


def _at_one_moment(query: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN")
    try:
        return query(connection)
    finally:
        if connection.in_transaction:  # some errors end it
            connection.execute("ROLLBACK")


def _prepared(operation: Operation) -> Operation:
    argument = operation.argument
    return operation._replace(argument=argument.ask()) if isinstance(argument, Late) else operation


def _answer(group: Sequence[Operation], results: Sequence[Any]) -> None:
    for operation, result in zip(group, results, strict=True):
        if operation.answer.done():
            continue
        if isinstance(result, Exception):
            operation.answer.set_exception(result)
        else:
            operation.answer.set_result(result)


async def open_database(folder: Path, book: Book) -> Database:
    """Lock a data folder, check and migrate its database, and open it.

    Raises: InUse, DataError, StoreFailed, StartError.
    """
    path = folder / "lq.db"
    make_private(folder, path)
    lock = FileLock(lock_file(path), guards=folder, hint=_ANOTHER_FOLDER)
    return await _open_locked(path, lock, book)


async def open_file(path: Path, book: Book) -> Database:
    """The same for a file of one's choosing: its folder is left as it is.

    Raises: InUse, DataError, StoreFailed, StartError.
    """
    if not path.parent.is_dir():
        raise StartError(f"there is no folder {path.parent} for the database {path.name}")
    lock = FileLock(lock_file(path), guards=path, hint=_ONE_PROCESS)
    return await _open_locked(path, lock, book)


async def open_memory(book: Book) -> Database:
    """A database that is gone when it is closed."""
    connection = await Connection.open(":memory:")
    await connection.run(_prepare)
    return Database(Path(":memory:"), None, connection, connection, book)


async def _open_locked(path: Path, lock: FileLock, book: Book) -> Database:
    try:
        migrate.refuse_unfit(path)
        _make_file(path)
        writer = await Connection.open(path)
        try:
            await writer.run(_prepare)
            await writer.run(partial(_mind_the_gap, path, lock, book))
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


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mind_the_gap(path: Path, lock: FileLock, book: Book, connection: sqlite3.Connection) -> None:
    """Say so when a database knows less than a daemon that died had committed to it."""
    found = book.count(connection)
    if lock.counted is not None and found < lock.counted:
        log.error(
            "%s is older than it was: it counts %d jobs and runs, and lq had counted %d; its log"
            " (-wal) was removed, or a copy was put in its place. What came in between is lost;"
            " `lq restore` goes back to a backup and says what that means",
            path, found, lock.counted,
        )  # fmt: skip
    lock.count(found)
    if kind := remote_kind(path.parent):
        log.warning(
            "%s is on a network file system (%s): SQLite can lose or damage data there; keep"
            " data_dir on a disk of this machine", path.parent, kind,
        )  # fmt: skip


def make_private(folder: Path, path: Path) -> None:
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


def _make_file(path: Path) -> None:
    """SQLite gives -wal and -shm the mode of the database, so this decides all three."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(
        path, isolation_level=None, timeout=_BUSY_TIMEOUT_S, cached_statements=256,
        check_same_thread=False,
    )  # fmt: skip


def _prepare(connection: sqlite3.Connection) -> None:
    connection.executescript(_PRAGMAS)
    migrate.migrate(connection)


def _cannot_open(path: Path, error: BaseException) -> StartError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return InUse(
            f"another process holds {path} locked",
            hint="end what has it open (a backup, a sqlite3 shell), then start lq again",
        )
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return DataError(
            f"{path} cannot be used as a database ({error})",
            hint="restore a backup with `lq restore`; the file was left untouched",
        )
    return StoreFailed(f"cannot open {path}: {error}", hint="check its owner, mode and disk")


def failure(error: Exception, path: Path) -> Exception:
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
