"""A database that an earlier lq has written: what it holds is kept, and what is new works."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lq.daemon.store import migrate
from lq.model import ById, Firing, JobFilter, OutcomeKind, State
from tests.clock import START
from tests.support.jobs import all_of, assert_counts, claim, new_fire, new_job, new_schedule
from tests.support.sqlite import beside

from .conftest import sqlite

SCHEMA_1 = f"""
PRAGMA application_id = {migrate.APPLICATION_ID};
PRAGMA user_version = 1;
INSERT INTO queues (name, created_at, concurrency, pending, retrying, running, completed)
VALUES ('q', 1, 4, 1, 1, 1, 1);
INSERT INTO jobs (id, queue_id, key, state, created_at, not_before, due_at, target, method, retry,
                  timeout_ms, failures, run_id, finished_at)
VALUES ('job_waiting', 1, 'k', 'PENDING', 2, 2, 2, 'https://example.com/', 'POST', '3', 9, 0, NULL,
        NULL),
       ('job_retried', 1, NULL, 'PENDING', 3, 3, {START * 2}, 'https://example.com/', 'POST', '3',
        9, 1, NULL, NULL),
       ('job_running', 1, NULL, 'RUNNING', 4, 4, 4, 'https://example.com/', 'POST', '3', 9, 0, 2,
        NULL),
       ('job_done', 1, NULL, 'COMPLETED', 5, 5, 5, 'https://example.com/', 'POST', '3', 9, 0, NULL,
        6);
INSERT INTO payloads SELECT seq, CAST(id AS BLOB) FROM jobs;
INSERT INTO runs (id, job_seq, attempt, started_at, ended_at, outcome)
VALUES (1, 4, 1, 5, 6, 'succeeded'), (2, 3, 1, 7, NULL, NULL);
"""


def write_schema_1(folder: Path) -> None:
    """The database of the first release, with a job in each state."""
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(folder / "lq.db")) as connection:
        connection.executescript(migrate.scripts()[0])
        connection.executescript(SCHEMA_1)


def test_each_script_has_the_number_of_its_place() -> None:
    """It is what a database remembers: a gap that is filled later would shift those behind it."""
    folder = Path(migrate.__file__).parent / "sql"
    numbers = sorted(int(path.name[:3]) for path in folder.glob("[0-9][0-9][0-9]_*.sql"))
    assert numbers == [*range(1, len(numbers) + 1)]


async def test_a_database_of_schema_1(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_schema_1(folder)
    async with sqlite(folder) as store:
        jobs = await all_of(store.unfinished) + await all_of(store.finished)
        assert {job.id: job.state for job in jobs} == {
            "job_waiting": State.PENDING,
            "job_retried": State.PENDING,
            "job_running": State.RUNNING,
            "job_done": State.COMPLETED,
        }
        for job in jobs:
            found = await store.get(ById(job.id))
            assert found is not None
            assert (found.payload, found.firing) == (job.id.encode(), None)
        [attempt] = await store.attempts(ById("job_done")) or []
        assert attempt.outcome is OutcomeKind.SUCCEEDED
        [run] = await store.orphans(START)
        assert (run.job.id, run.id) == ("job_running", 2)
        await assert_counts(store)

        pushed = await store.push(new_job())
        assert pushed.job.seq > max(job.seq for job in jobs)
        schedule = new_schedule(key="k")
        await store.put_schedule(schedule)
        [fired] = await store.fire([new_fire(schedule, START)], START)
        runs = await claim(store)
        assert [run.job.id for run in runs] == ["job_waiting", pushed.job.id, fired.id]
        assert [run.job.firing for run in runs] == [None, None, Firing(schedule.id, START)]
        assert await all_of(store.finished, JobFilter(schedule=schedule.id)) == []
        await assert_counts(store)


async def test_what_it_has_come_to_is_what_a_new_one_is(tmp_path: Path) -> None:
    write_schema_1(tmp_path / "old")
    found = []
    for name in ("old", "new"):
        async with sqlite(tmp_path / name):
            pass
        with beside(tmp_path / name) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            version = connection.execute("PRAGMA user_version").fetchall()
            schema = connection.execute("SELECT * FROM sqlite_schema ORDER BY name").fetchall()
            found.append((version, [(row[0], row[1], row[4]) for row in schema]))
    assert found[0] == found[1]
