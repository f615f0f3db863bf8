"""What the verbs of the SQLite store work with inside one transaction.

Owns what is carried from statement to statement: the ids to give next, the queues' row
numbers, and the counts to book before the commit. Lives on SQLite's thread only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from lq.alerts import Watch
from lq.daemon.store.queries import in_chunks, named, over_rows
from lq.daemon.store.rows import Row
from lq.model import State

_COUNTED = {
    State.RUNNING: "running",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


def counted_as(state: State, failures: int) -> str:
    """The column of `queues` that counts a job in this state."""
    if state is State.PENDING:
        return "retrying" if failures else "pending"
    return _COUNTED[state]


class Transaction:
    """Statements by name on one connection, and what must agree with them at the commit.

    Invariant: after `book_counts`, each queue's counts equal what its jobs would count to.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queue_ids: dict[str, int] = {}
        self._moves: dict[int, dict[str, int]] = {}
        last: dict[str, int] = dict(self.all("last_ids"))
        self._next_job = last.get("jobs", 0) + 1
        self._next_run = self.first_run = last.get("runs", 0) + 1
        # Whether the calls that the last daemon did not see the end of have been closed.
        self.recovered = False
        # Which endings are kept for alerts, and whether this transaction has kept one.
        self.watch = Watch(())
        self.noticed = False

    def all(self, name: str, /, **values: Any) -> list[Row]:
        """Run the statement `name` and fetch all its rows."""
        return self._connection.execute(named()[name], values).fetchall()

    def one(self, name: str, /, **values: Any) -> Row | None:
        """Run the statement `name` and fetch its first row."""
        row: Row | None = self._connection.execute(named()[name], values).fetchone()
        return row

    def listed(self, name: str, /, **values: Any) -> list[list[Any]]:
        """Run the statement `name`, which answers with one row: a list of lists, in JSON.

        Many rows cost a crossing each between SQLite's thread and a busy interpreter.
        """
        row = self.one(name, **values)
        assert row is not None
        found: list[list[Any]] = msgspec.json.decode(row[0])
        return found

    def change(self, name: str, /, **values: Any) -> int:
        """Run the statement `name`; how many rows it changed."""
        return self._connection.execute(named()[name], values).rowcount

    def over(self, name: str, rows: Sequence[Sequence[Any]]) -> list[Row]:
        """Run the statement `name` over many rows of parameters; all rows it returned."""
        found: list[Row] = []
        for size, values in in_chunks(rows):
            found += self._connection.execute(over_rows(name, size), values).fetchall()
        return found

    def new_job(self) -> int:
        """A job's `seq`, never given before."""
        self._next_job += 1
        return self._next_job - 1

    def new_run(self) -> int:
        """A run's id, never given before: the fence of its settle."""
        self._next_run += 1
        return self._next_run - 1

    def queue(self, name: str, now: int) -> int:
        """The row number of a queue, which comes into being if need be."""
        known = self._queue_ids.get(name)
        if known is None:
            row = self.one("add_queue", name=name, now=now)
            assert row is not None
            known = self._queue_ids[name] = row[0]
        return known

    def known_queue(self, name: str) -> int | None:
        """The row number of a queue, if it was ever pushed to."""
        known = self._queue_ids.get(name)
        if known is None and (row := self.one("queue_id", name=name)):
            return int(row[0])
        return known

    def forget_queue(self, name: str) -> None:
        """Drop what is remembered of a deleted queue: its next push must bring it back."""
        self._queue_ids.pop(name, None)

    def undo(self) -> None:
        """Drop what a transaction that was rolled back had learned."""
        self._moves.clear()
        self._queue_ids.clear()
        self.recovered = False
        self.noticed = False

    @contextmanager
    def savepoint(self) -> Iterator[Callable[[], None]]:
        """A part of the transaction that can be taken back, by calling what it gives."""
        moves = {queue: dict(counts) for queue, counts in self._moves.items()}
        queue_ids = dict(self._queue_ids)
        self._connection.execute("SAVEPOINT part")

        def take_back() -> None:
            self._connection.execute("ROLLBACK TO part")
            self._moves, self._queue_ids = moves, queue_ids

        yield take_back
        self._connection.execute("RELEASE part")

    def move(self, queue: int, old: str | None, new: str | None, number: int = 1) -> None:
        """Note that jobs of a queue went from one count to another (None: from or to nowhere)."""
        moves = self._moves.setdefault(queue, dict.fromkeys(_COLUMNS, 0))
        if old is not None:
            moves[old] -= number
        if new is not None:
            moves[new] += number

    def book_counts(self) -> None:
        """Write the moves so far: before the commit, and before counts are read."""
        for queue, moves in self._moves.items():
            if any(moves.values()):
                self.change("count", queue=queue, **moves)
        self._moves.clear()


_COLUMNS = ("pending", "retrying", "running", "completed", "failed", "cancelled")
