"""Finding among many: each filter against what it says, stretch by stretch, while jobs change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lq.daemon.store import bulk, finding, migrate
from lq.daemon.store.queries import named
from lq.daemon.store.rows import Row
from lq.daemon.store.transaction import Transaction
from lq.finding import Failure, FailureFilter
from lq.model import Job, JobFilter, Page
from tests.bench.finding import fill
from tests.clock import START

NUMBER = 12_000


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        fill(connection, NUMBER)
        yield connection


def fetching(connection: sqlite3.Connection) -> Callable[..., list[Row]]:
    def fetch(name: str, /, **values: Any) -> list[Row]:
        return connection.execute(named()[name], values).fetchall()

    return fetch


def all_pages(connection: sqlite3.Connection, wanted: JobFilter) -> list[Job]:
    found: list[Job] = []
    while True:
        page: Page[Job] = finding.finished(fetching(connection), wanted)
        assert len(page.items) <= wanted.limit
        found += page.items
        if page.cursor is None:
            return found
        wanted = replace(wanted, cursor=page.cursor)


def passes(job: Job, fingerprint: str | None, wanted: JobFilter) -> bool:
    """A filter, word by word."""
    assert job.finished_at is not None
    target = wanted.target
    return all(
        (
            wanted.queue in {None, job.queue},
            wanted.state in {None, job.state.value},
            wanted.key in {None, job.key},
            wanted.label is None or wanted.label in job.labels,
            wanted.schedule is None or (job.firing and job.firing.schedule == wanted.schedule),
            target is None
            or (job.target.startswith(target[:-1]) if target[-1] == "*" else job.target == target),
            wanted.error is None or wanted.error.lower() in (job.error or "").lower(),
            wanted.fingerprint in {None, fingerprint},
            wanted.from_at is None or job.finished_at >= wanted.from_at,
            wanted.to_at is None or job.finished_at < wanted.to_at,
        )
    )


def one_of(*values: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_combination_finds_what_it_says(
    connection: sqlite3.Connection, data: st.DataObject
) -> None:
    prints = dict(connection.execute("SELECT id, fingerprint FROM jobs").fetchall())
    wanted = JobFilter(
        queue=data.draw(one_of("busy", "rare")),
        state=data.draw(one_of("FAILED", "CANCELLED", "COMPLETED")),
        key=data.draw(one_of("key7", "nobody")),
        label=data.draw(one_of("eu", "nobody")),
        schedule=data.draw(one_of("sch_1")),
        target=data.draw(one_of("https://example.com/7", "https://example.com/1*")),
        error=data.draw(one_of("REFUSED", "%", "10.0.0.9:", "_", "\\")),
        fingerprint=data.draw(one_of(prints["job_10"])),
        from_at=data.draw(one_of(START + 3000)),
        to_at=data.draw(one_of(START + 9000)),
        limit=data.draw(st.sampled_from([1000, 77])),
    )
    everything = all_pages(connection, JobFilter(limit=1000))
    assert len(everything) == NUMBER
    expected = [job.id for job in everything if passes(job, prints[job.id], wanted)]
    assert [job.id for job in all_pages(connection, wanted)] == expected


def test_a_page_that_finds_nothing_says_where_to_go_on(connection: sqlite3.Connection) -> None:
    page = finding.finished(fetching(connection), JobFilter(error="nowhere"))
    assert page.items == ()
    assert page.cursor is not None


def test_failures_are_counted_as_jobs_are_revived_and_forgotten() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        fill(connection, 2000)
        tx = Transaction(connection)
        counted = """
            SELECT fingerprint, queue_id, count(*), max(finished_at) FROM jobs
            WHERE fingerprint IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""
        kept = "SELECT * FROM failures ORDER BY fingerprint, queue_id"
        assert connection.execute(kept).fetchall() == connection.execute(counted).fetchall()
        bulk.revive(tx, list(range(1, 1200)), [START] * 1200, START)
        connection.execute("DELETE FROM jobs WHERE seq > 1900")
        assert connection.execute(kept).fetchall() == connection.execute(counted).fetchall()
        labels = connection.execute("SELECT count(*) FROM job_labels").fetchone()
        told = "SELECT count(*) FROM jobs WHERE labels <> '' AND finished_at IS NOT NULL"
        assert labels == connection.execute(told).fetchone()


def test_kinds_of_failures_come_page_by_page_the_last_seen_first(
    connection: sqlite3.Connection,
) -> None:
    fetch = fetching(connection)
    whole = finding.failures(fetch, FailureFilter(limit=1000))
    assert whole.cursor is None
    assert [kind.last_at for kind in whole.items] == sorted(
        (kind.last_at for kind in whole.items), reverse=True
    )
    assert sum(kind.number for kind in whole.items) == NUMBER // 10
    paged: list[Failure] = []
    wanted = FailureFilter(limit=2)
    while True:
        page = finding.failures(fetch, wanted)
        paged += page.items
        if page.cursor is None:
            break
        wanted = replace(wanted, cursor=page.cursor)
    assert paged == [*whole.items]
    some = finding.failures(fetch, FailureFilter(queues=("rare",)))
    assert {kind.queues for kind in some.items} == {("rare",)}


def test_a_database_of_before_is_given_its_fingerprints() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        scripts = migrate.scripts()
        connection.create_function("entropy", 1, bytes)
        for number, script in enumerate(scripts[:8], start=1):
            connection.executescript(f"{script}; PRAGMA user_version = {number}")
        connection.execute("INSERT INTO queues (name, created_at) VALUES ('q', 0)")
        connection.execute(
            "INSERT INTO jobs (id, queue_id, state, created_at, not_before, due_at, finished_at,"
            " target, method, retry, timeout_ms, labels, error) VALUES"
            " ('old', 1, 'FAILED', 0, 0, 0, 5, 't', 'POST', '5', 1, ',a,b\"c,', 'status 500')"
        )
        migrate.migrate(connection)
        [kind] = finding.failures(fetching(connection), FailureFilter()).items
        assert (kind.job, kind.number, kind.last_at) == ("old", 1, 5)
        [job] = finding.finished(fetching(connection), JobFilter(label='b"c')).items
        assert job.id == "old"
