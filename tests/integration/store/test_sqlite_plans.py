"""What the SQLite store costs: no statement looks through all jobs, however many there are."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lq.daemon.store import (
    ClaimRequest,
    editing,
    finding,
    migrate,
    pushing,
    reading,
    running,
    schedules,
)
from lq.daemon.store.queries import named, over_rows
from lq.daemon.store.transaction import Transaction
from lq.model import ById, JobFilter, Overlap, Run
from tests.clock import START
from tests.support.jobs import new_fire, new_job, new_schedule, succeed

ROWS = 64
LARGE = {"jobs", "runs", "payloads", "j", "r", "u", "p", "x", "schedules", "s", "answers"} | {
    "job_labels", "failures", "f", "activity", "a",
}  # fmt: skip
"""The tables that grow, and what the statements call them."""

# What ran when the last daemon ended, found once a start through the index of what runs.
ORPHANS = {"SCAN u USING INDEX runs_open", "SCAN runs USING INDEX runs_open"}
# The names of queues, once a listing that a token's patterns restrict.
NAMES = {"SCAN schedules USING COVERING INDEX schedules_queue"}
SCANNED_ON_PURPOSE = ORPHANS | NAMES
SORTED_ON_PURPOSE = {"orphans", "tokens"}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate.migrate(connection)
        yield connection


def plan(connection: sqlite3.Connection, name: str) -> list[str]:
    """The steps SQLite would take for a statement."""
    sql = over_rows(name, ROWS)
    values: Any = dict.fromkeys(re.findall(r":([a-z_]+)", sql)) or [None] * sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("name", sorted(named()))
def test_no_statement_looks_through_a_table_that_grows(
    connection: sqlite3.Connection, name: str
) -> None:
    steps = plan(connection, name)
    scans = {step for step in steps if step.startswith("SCAN")} - SCANNED_ON_PURPOSE
    scanned = {step.split()[1] for step in scans}
    assert not scanned & LARGE, steps
    assert name in SORTED_ON_PURPOSE or not any("TEMP B-TREE" in step for step in steps), steps


def test_the_test_would_notice(connection: sqlite3.Connection) -> None:
    """The names it looks for are the ones SQLite uses."""
    sql = "EXPLAIN QUERY PLAN SELECT * FROM job_rows r WHERE error = 'x' ORDER BY target"
    steps = [row[3] for row in connection.execute(sql)]
    assert "SCAN j" in steps
    assert "USE TEMP B-TREE FOR ORDER BY" in steps


def add_future_jobs(connection: sqlite3.Connection, number: int) -> None:
    """So many that wait for tomorrow and later, some with a key, some with an expiry."""
    connection.execute("INSERT INTO queues (name, created_at) VALUES ('q', 0)")
    connection.execute(
        """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)
        INSERT INTO jobs (id, queue_id, key, state, created_at, not_before, due_at, expires_at,
                          target, method, retry, timeout_ms, schedule_id, fire_at, missed)
        SELECT 'future' || i, 1, iif(i % 3, NULL, 'key' || i), 'PENDING', 0,
               :start + 86400000 + i, :start + 86400000 + i, iif(i % 5, NULL, :start * 2),
               'https://example.com/', 'POST', '5', 1000, iif(i % 7, NULL, 'sch_' || (i % 4)),
               iif(i % 7, NULL, i), iif(i % 7, NULL, 0)
        FROM n
        """,
        {"number": number, "start": START},
    )
    connection.execute("INSERT INTO payloads SELECT seq, x'' FROM jobs")


def work(connection: sqlite3.Connection) -> dict[str, int]:
    """The instructions SQLite's machine carries out for each verb, on ten jobs that are due."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    def cost(verb: Callable[[], Any]) -> tuple[int, Any]:
        nonlocal steps
        steps = 0
        connection.set_progress_handler(count, 1)
        answer = verb()
        connection.set_progress_handler(None, 0)
        return steps, answer

    def claim() -> list[Run]:
        [claimed] = running.claim(tx, [ClaimRequest("q", 100)], START)
        assert len(claimed.runs) == 10
        return list(claimed.runs)

    tx = Transaction(connection)
    costs = {}
    jobs = [new_job(key=f"mine{n}" if n % 2 else None) for n in range(10)]
    costs["push"], _ = cost(lambda: pushing.push(tx, jobs))
    costs["first page"], page = cost(lambda: finding.unfinished(tx.all, JobFilter(limit=20)))
    assert len(page.items) == 20
    costs["claim"], runs = cost(claim)
    costs["settle"], settled = cost(lambda: running.settle(tx, [succeed(run) for run in runs]))
    assert all(one.applied for one in settled)
    costs["get"], _ = cost(lambda: reading.get(tx.all, ById(jobs[0].id)))
    costs["expire"], _ = cost(lambda: editing.expire(tx, START, 500))
    costs["prune"], pruned = cost(lambda: editing.prune(tx, START + 1, START + 1, 500))
    assert pruned == 10
    costs["queues"], _ = cost(lambda: reading.queues(tx.all))
    schedule = new_schedule(id="sch_2", overlap=Overlap.SKIP)
    costs["put schedule"], _ = cost(lambda: schedules.put(tx, schedule))
    fires = [new_fire(schedule, START)]
    costs["fire"], made = cost(lambda: schedules.fire(tx, fires, START))
    assert made == []
    wanted = JobFilter(schedule="sch_2", limit=3)
    costs["jobs of a schedule"], page = cost(lambda: finding.unfinished(tx.all, wanted))
    assert len(page.items) == 3
    costs["skipped jobs"], page = cost(lambda: finding.finished(tx.all, wanted))
    assert len(page.items) == 1
    return costs


def claim_cost(tmp_path: Path, expired: int) -> int:
    """What one claim costs SQLite's machine with so many expired jobs in front of the line."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with closing(sqlite3.connect(tmp_path / f"{expired}.db", isolation_level=None)) as disk:
        disk.execute("PRAGMA synchronous = OFF")
        migrate.migrate(disk)
        tx = Transaction(disk)
        pushing.push(tx, [new_job(expires_at=START + 1) for _ in range(expired)])
        disk.set_progress_handler(count, 1)
        [claimed] = running.claim(tx, [ClaimRequest("q", 16)], START + 1)
        assert (claimed.runs, claimed.next_due_at) == ((), START)
    return steps


def test_expired_jobs_in_front_are_not_scanned(tmp_path: Path) -> None:
    few, many = (claim_cost(tmp_path, expired) for expired in (100, 10_000))
    assert many <= few * 1.1


def test_each_verb_is_as_cheap_among_200000_future_jobs_as_among_100(tmp_path: Path) -> None:
    costs = []
    for number in (100, 200_000):
        with closing(sqlite3.connect(tmp_path / f"{number}.db", isolation_level=None)) as disk:
            disk.execute("PRAGMA synchronous = OFF")
            disk.execute("PRAGMA foreign_keys = ON")
            migrate.migrate(disk)
            add_future_jobs(disk, number)
            costs.append(work(disk))
    few, many = costs
    assert all(few.values())
    assert all(many[verb] <= few[verb] * 1.1 for verb in few), (few, many)
