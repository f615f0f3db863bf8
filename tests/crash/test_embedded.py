"""kill -9 of an application with an orchestrator in it: nothing that was acknowledged is lost."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.e2e.process import PATIENCE_S

KILLS = 8
ROOT = Path(__file__).parents[2]


def start(folder: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.crash.embedded_app"),
            *(str(folder / "jobs.db"), str(folder / "journal"), mode),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def produce_and_die(folder: Path, number: int) -> list[str]:
    """What an application had acknowledged when it was killed, after at least so many."""
    with start(folder, "produce") as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(number)]
        process.kill()
        # A line that the kill cut short was never read by anybody.
        rest = process.stdout.read().splitlines(keepends=True)
    return [*acknowledged, *(line.strip() for line in rest if line.endswith("\n"))]


def test_what_was_acknowledged_is_done_once_it_is_back(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(KILLS):
        acknowledged += produce_and_die(tmp_path, chance.randint(1, 60))
    with start(tmp_path, "finish") as process:
        said, _ = process.communicate("\n".join(acknowledged), timeout=3 * PATIENCE_S)
    assert process.returncode == 0
    assert said.split("\n")[:-1] == [f"{job_id} COMPLETED" for job_id in acknowledged]
    runs = Counter((tmp_path / "journal").read_text().split())
    assert set(acknowledged) <= set(runs)
    # Once more for each death it can have been running at, and never because of anything else.
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as database:
        interrupted = dict(
            database.execute(
                "SELECT j.id, count(*) FROM runs u JOIN jobs j ON j.seq = u.job_seq"
                " WHERE u.outcome = 'interrupted' GROUP BY j.id"
            ).fetchall()
        )
        [[succeeded]] = database.execute(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM runs WHERE outcome = 'succeeded'"
            " GROUP BY job_seq)"
        ).fetchall()
        [[intact]] = database.execute("PRAGMA integrity_check").fetchall()
    assert succeeded == 1
    assert intact == "ok"
    assert [job for job, count in runs.items() if count > 1 + interrupted.get(job, 0)] == []
