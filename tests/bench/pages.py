"""What pages of the panel take among a million finished jobs, beside what they ask of the API."""

from __future__ import annotations

import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lq.daemon.store import migrate
from tests.bench.load import send_all
from tests.bench.processes import Daemon, lq
from tests.support.pages import Browser

QUEUES = 500
SCHEDULES = 2_000
WAITING = 200_000
FINISHED = 1_000_000
_ROUNDS = 9

_ASKS = {
    "/": "/overview?limit=8",
    "/queues": "/queues",
    "/queues/queue-077": "/history?queue=queue-077&limit=10",
    "/items": "/items?limit=50",
    "/history": "/history?limit=50",
    "/history?state=FAILED&label=eu&error=zzz": "/history?state=FAILED&label=eu&error=zzz",
    "/failures": "/failures?limit=50",
    "/schedules": "/schedules?limit=50",
    "/endpoints": "/endpoints?limit=100",
    "/settings": "/config",
}
"""Pages, and the largest part of what each asks."""

_FILL = (
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :queues)
    INSERT INTO queues (name, created_at, target, paused, pause_reason)
    SELECT printf('queue-%03d', i), :now - 1000 * i, iif(i % 3, NULL, 'https://example.com/q'),
           i % 50 = 0, iif(i % 50, NULL, 'deploy')
    FROM n
    """,
    # One queue has half of them, the others share the rest; one in twenty has failed.
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :finished)
    INSERT INTO jobs (seq, id, queue_id, key, state, created_at, not_before, due_at, finished_at,
                      target, method, retry, timeout_ms, labels, schedule_id, missed, failures,
                      last_status, error, content_type)
    SELECT i, printf('job_%032x', i), iif(i % 2, 1, 1 + i / 2 % :queues),
           iif(i % 20, NULL, 'key' || (i / 20 % 1000)),
           iif(i % 20, iif(i % 77, 'COMPLETED', 'CANCELLED'), 'FAILED'), at, at, at, at + 200,
           'https://example.com/' || (i % 50), 'POST', '5', 60000,
           CASE WHEN i % 40000 = 0 THEN ',vip,' WHEN i % 20 < 4 THEN ',eu,' ELSE '' END,
           iif(i % 100, NULL, printf('sch_%032x', i / 100 % :schedules)), iif(i % 100, NULL, 0),
           iif(i % 20, 0, 6), iif(i % 20, 200, 503),
           iif(i % 20, NULL, 'answered 503: no ' || char(97 + i / 20 % 6) ||
               char(97 + i / 120 % 26) || 'x'),
           'application/json'
    FROM (SELECT i, :now - (:finished - i) * (6 * 86400000 / :finished) - 60000 AS at FROM n)
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :waiting)
    INSERT INTO jobs (seq, id, queue_id, state, created_at, not_before, due_at, target, method,
                      retry, timeout_ms, labels, content_type)
    SELECT :finished + i, printf('job_%032x', :finished + i), iif(i % 2, 1, 1 + i % :queues),
           'PENDING', :now - 60000, :now + 86400000 + i, :now + 86400000 + i,
           'https://example.com/' || (i % 50), 'POST', '5', 60000, '', 'application/json'
    FROM n
    """,
    """
    INSERT INTO runs (job_seq, attempt, started_at, ended_at, outcome, status, headers, body)
    SELECT seq, 1, due_at, finished_at, iif(state = 'FAILED', 'failed', 'succeeded'), last_status,
           '{"content-type":"text/plain"}', CAST('ok ' || seq AS BLOB)
    FROM jobs WHERE finished_at IS NOT NULL
    """,
    "INSERT INTO payloads SELECT seq, CAST('{\"order\":' || seq || '}' AS BLOB) FROM jobs",
    """
    UPDATE jobs SET fingerprint = fingerprint(target, last_status, error) WHERE state = 'FAILED'
    """,
    """
    WITH found AS (SELECT queue_id, sum(state = 'PENDING') AS waiting,
        sum(state = 'COMPLETED') AS completed, sum(state = 'FAILED') AS failed,
        sum(state = 'CANCELLED') AS cancelled FROM jobs GROUP BY queue_id)
    UPDATE queues SET pending = waiting, completed = found.completed, failed = found.failed,
        cancelled = found.cancelled
    FROM found WHERE found.queue_id = queues.id
    """,
    """
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 670)
    INSERT INTO activity
    SELECT 900000, :now / 900000 * 900000 - i * 900000, q.id, 100, 90, 5, 5, 1, 100, 100, 5000, 90
    FROM n, (SELECT 0 AS id UNION ALL SELECT id FROM queues) q
    UNION ALL
    SELECT 60000, :now / 60000 * 60000 - i * 60000, q.id, 10, 9, 1, 1, 1, 10, 10, 500, 90
    FROM n, (SELECT 0 AS id UNION ALL SELECT id FROM queues) q WHERE i < 120
    """,
)


async def compare(report: Callable[[str, str, str, str], None]) -> None:
    """The median time of each page over a kept connection, and of its listing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        async with lq(9, folder) as daemon:
            made = await daemon.ask("POST", "/tokens", b'{"name":"bench","scopes":["admin"]}')
            daemon.token = made["token"]
            await _plan(daemon)
            async with Browser(daemon.port) as browser:
                await browser.log_in(daemon.token)
                [(cookie, value)] = browser.cookies.items()
            for page, asked in _ASKS.items():
                shown = await _median(
                    daemon, page, f"Accept: text/html\r\nCookie: {cookie}={value}"
                )
                bare = await _median(daemon, f"/api/v1{asked}", _bearer(daemon))
                report(
                    f"page {page} / what it asks of the API",
                    f"{shown / bare:.1f}",
                    "<= 100 ms a page",
                    f"{shown:.1f} ms against {bare:.1f} ms",
                )


def _bearer(daemon: Daemon) -> str:
    return f"Authorization: Bearer {daemon.token}"


async def _median(daemon: Daemon, path: str, header: str) -> float:
    """Units: milliseconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n{header}\r\n\r\n".encode()
    _, times = await send_all("127.0.0.1", daemon.port, itertools.repeat(request, _ROUNDS), 1)
    return statistics.median(times) * 1000


async def _plan(daemon: Daemon) -> None:
    """Make the schedules."""
    requests = (
        f"POST /api/v1/schedules HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n{_bearer(daemon)}\r\n"
        f"x-lq-schedule: {number % 60} {number % 24} * * *\r\nx-lq-key: schedule-{number:04}\r\n"
        f"x-lq-queue: queue-{number % QUEUES + 1:03}\r\nContent-Length: 0\r\n"
        f"x-lq-target: https://example.com/{number % 300}\r\n\r\n".encode()
        for number in range(SCHEDULES)
    )
    await send_all("127.0.0.1", daemon.port, requests, 8)


def fill(folder: Path, finished: int = FINISHED, waiting: int = WAITING) -> None:
    """A database with queues, and jobs in them; one in five has a label, one in twenty a key."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(folder / "lq.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        migrate.migrate(connection)
        numbers = {
            "queues": QUEUES,
            "schedules": SCHEDULES,
            "finished": finished,
            "waiting": waiting,
            "now": time.time_ns() // 1_000_000,
        }
        for statement in _FILL:
            connection.execute(statement, numbers)
