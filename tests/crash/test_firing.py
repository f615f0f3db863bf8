"""kill -9 while schedules fire each second: every second is accounted for, and none twice.

A firing is one transaction: the jobs it makes, the next time of its schedule, and the mark.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from random import Random

from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon, wait_until

from .deaths import SECONDS, SEED, live_and_die

_KINDS = [
    (misfire, overlap) for misfire in ("once", "skip", "all") for overlap in ("allow", "skip")
]


def entry(number: int, misfire: str, overlap: str, target: str) -> str:
    return (
        f'[[schedules]]\nkey = "s{number}"\nschedule = "* * * * * *"\nqueue = "q{number % 3}"\n'
        f'target = "{target}"\nmisfire = "{misfire}"\noverlap = "{overlap}"\n'
    )


def accounts(daemon: Daemon, scratch: Path) -> dict[str, tuple[int, int]]:
    """Of each schedule: how many seconds it has gone past, and how many its jobs account for.

    Reads a copy, since SQLite would repair the original. Fails on a second that was fired twice.
    """
    scratch.mkdir()
    for name in ("lq.db", "lq.db-wal"):
        if (daemon.data / name).exists():
            shutil.copy(daemon.data / name, scratch)
    with closing(sqlite3.connect(scratch / "lq.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return {}  # killed before its first migration
        schedules = connection.execute("SELECT id, key, created_at, seen_at FROM schedules")
        gone_past = {
            schedule: (key, seen_at // 1000 - created_at // 1000)
            for schedule, key, created_at, seen_at in schedules
        }
        firings = connection.execute("SELECT schedule_id, fire_at, missed FROM jobs").fetchall()
    shutil.rmtree(scratch)
    assert len({(schedule, at) for schedule, at, _ in firings}) == len(firings)
    made: dict[str, int] = defaultdict(int)
    for schedule, _, missed in firings:
        made[schedule] += missed or 1
    return {key: (number, made[schedule]) for schedule, (key, number) in gone_past.items()}


def test_each_second_is_fired_once_or_accounted_for(
    start: Start, endpoint: Endpoint, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    chance = Random(SEED)
    target = endpoint.url("/tick")
    entries = [entry(number, *_KINDS[number % len(_KINDS)], target) for number in range(30)]
    daemon = start("".join(entries), start=False)
    deaths = 0
    ends_at = time.monotonic() + SECONDS / 2
    while time.monotonic() < ends_at:
        live_and_die(daemon, chance)
        deaths += 1
        if daemon.database.exists():
            for key, (gone_past, made) in accounts(daemon, tmp_path / "scratch").items():
                assert gone_past == made, (SEED, key)
    daemon.start()
    shown = daemon.client.schedule("s0")
    wait_until(lambda: daemon.client.schedule("s0")["fired"] > shown["fired"] + 2)
    assert (ended := daemon.stop()).code == 0
    assert "Traceback" not in ended.stderr
    last = accounts(daemon, tmp_path / "scratch")
    assert len(last) == len(entries)
    assert all(gone_past == made for gone_past, made in last.values()), SEED
    assert min(made for _, made in last.values()) > 3
    assert deaths > 3
