"""How long finding takes among a million finished jobs: `python -m tests.bench.finding`.

Prints one line for each filter: the slowest of some pages, in milliseconds.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lq.daemon.store import finding, migrate
from lq.daemon.store.queries import named
from lq.daemon.store.rows import Row
from lq.finding import FailureFilter
from lq.model import JobFilter
from tests.clock import START

_PAGES = 12
_SHAPES = {
    "all": JobFilter(),
    "queue": JobFilter(queue="busy"),
    "rare queue": JobFilter(queue="rare"),
    "state": JobFilter(state="FAILED"),
    "queue and state": JobFilter(queue="busy", state="CANCELLED"),
    "completed": JobFilter(state="COMPLETED"),
    "key": JobFilter(key="key77"),
    "no such key": JobFilter(key="nobody"),
    "label": JobFilter(label="eu"),
    "rare label": JobFilter(label="vip", state="FAILED"),
    "no such label": JobFilter(label="nobody"),
    "schedule": JobFilter(schedule="sch_1"),
    "target": JobFilter(target="https://example.com/7"),
    "no such target": JobFilter(target="https://example.org/*"),
    "error": JobFilter(error="refused"),
    "no such error": JobFilter(error="100%_\\"),
    "time": JobFilter(from_at=START + 400_000, to_at=START + 400_500),
    "token": JobFilter(queues=("rare",)),
    "everything": JobFilter(
        queue="busy", state="FAILED", label="eu", target="https://example.com/*", error="zzz",
        from_at=START, to_at=START + 10**9,
    ),
}  # fmt: skip


def fill(connection: sqlite3.Connection, number: int) -> None:
    """Finished jobs: one in ten has failed, one in twenty has a label or a key."""
    migrate.migrate(connection)
    connection.execute("INSERT INTO queues (name, created_at) VALUES ('busy', 0), ('rare', 0)")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(
        """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
        INSERT INTO jobs (id, queue_id, key, state, created_at, not_before, due_at, finished_at,
                          target, method, retry, timeout_ms, labels, schedule_id, missed, error)
        SELECT 'job_' || i, 1 + (i % 5000 = 0), iif(i % 20, NULL, 'key' || (i / 20 % 1000)),
               iif(i % 10, iif(i % 77, 'COMPLETED', 'CANCELLED'), 'FAILED'), :start, :start, :start,
               :start + i, 'https://example.com/' || (i % 50), 'POST', '5', 1000,
               CASE WHEN i % 40000 = 0 THEN ',vip,' WHEN i % 20 = 0 THEN ',eu,' ELSE '' END,
               iif(i % 100, NULL, 'sch_' || (i % 3)), iif(i % 100, NULL, 0),
               iif(i % 10, NULL, 'refused: cannot connect to 10.0.0.' || (i % 250) || ':80')
        FROM n
        """,
        {"number": number, "start": START},
    )
    connection.execute(
        "UPDATE jobs SET fingerprint = fingerprint(target, last_status, error)"
        " WHERE state = 'FAILED'"
    )


def slowest(ask: Callable[[str | None], str | None]) -> float:
    """The slowest of some pages in a row. Units: milliseconds."""
    worst, cursor = 0.0, None
    for _ in range(_PAGES):
        begun = time.perf_counter()
        cursor = ask(cursor)
        worst = max(worst, (time.perf_counter() - begun) * 1000)
        if cursor is None:
            break
    return worst


def main(number: int) -> None:
    """Fill a database and print what each filter takes."""
    from msgspec.structs import replace

    with (
        tempfile.TemporaryDirectory() as folder,
        closing(sqlite3.connect(Path(folder) / "lq.db", isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA cache_size = -16000")
        begun = time.perf_counter()
        fill(connection, number)
        print(f"{number} finished jobs, made in {time.perf_counter() - begun:.0f} s")

        def fetch(name: str, /, **values: object) -> list[Row]:
            return connection.execute(named()[name], values).fetchall()

        for name, wanted in _SHAPES.items():
            took = slowest(
                lambda cursor, wanted=wanted: (  # type: ignore[misc]  # bound now, called later
                    finding.finished(fetch, replace(wanted, cursor=cursor)).cursor
                )
            )
            print(f"{name:16} {took:8.1f} ms")
        kinds = FailureFilter(limit=1000)
        took = slowest(lambda cursor: finding.failures(fetch, replace(kinds, cursor=cursor)).cursor)
        print(f"{'failures':16} {took:8.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
