"""What a disk may do to a real daemon: logs that vanish, bytes that flip, files that run out."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lq.client import ApiError, Client, Unreachable

from .conftest import Start
from .process import LAST_OF_BANNER, LQ, PATIENCE_S, Daemon, run_lq, wait_until

HOUR_MS = 3_600_000
TARGET = "https://example.com/"


def push(lq: Daemon, payload: bytes = b"") -> str:
    return str(lq.client.push("q", payload, target=TARGET, delay_ms=HOUR_MS)["id"])


def held(lq: Daemon) -> set[str]:
    return {item["id"] for item in lq.client.pages(lq.client.items, limit=1000)}


def test_a_log_that_is_gone_after_a_kill_is_noticed(lq: Daemon) -> None:
    lq.stop()
    lq.start()
    kept = push(lq)
    lq.stop()
    lq.start()
    for _ in range(3):
        push(lq)
    lq.kill()
    for suffix in ("-wal", "-shm"):
        (lq.data / f"lq.db{suffix}").unlink()
    lq.launch()
    said = lq.wait_for("is older than it was")
    assert "it counts 1 jobs and runs, and lq had counted 4" in said
    lq.wait_for(LAST_OF_BANNER)
    assert held(lq) == {kept}
    lq.kill()
    lq.start()  # said once
    assert "older than it was" not in lq.stderr


def test_a_log_without_its_index_loses_nothing(lq: Daemon) -> None:
    pushed = {push(lq) for _ in range(3)}
    lq.kill()
    (lq.data / "lq.db-shm").unlink()
    lq.start()
    assert held(lq) == pushed
    assert "older than it was" not in lq.stderr


def test_refused_pushes_count_for_nothing(start: Start) -> None:
    lq = start()
    push(lq)
    with pytest.raises(ApiError):
        lq.client.push("q", b"", target="https://example.com/", key="k" * 600)
    lq.kill()
    lq.start()
    assert "older than it was" not in lq.stderr


@pytest.mark.parametrize("tail", ["garbage", "cut", "zeroes"])
def test_a_torn_log_is_a_prefix(lq: Daemon, tail: str) -> None:
    """What is whole of it is there, in order, without a gap."""
    pushed = [push(lq, b"x" * 3000) for _ in range(40)]
    lq.kill()
    log = lq.data / "lq.db-wal"
    whole = log.read_bytes()
    chance = random.Random(13)
    cut = whole.index(b"x" * 512, len(whole) * 2 // 3)  # a sector with something in it
    log.write_bytes(
        {
            "garbage": whole[:cut] + chance.randbytes(len(whole) - cut),
            "cut": whole[:cut],
            "zeroes": whole[:cut] + bytes(512) + whole[cut + 512 :],
        }[tail]
    )
    lq.launch()
    lq.wait_for(LAST_OF_BANNER)
    found = held(lq)
    assert found == set(pushed[: len(found)])
    assert 0 < len(found) < len(pushed)
    assert "is older than it was" in lq.stderr
    with closing(sqlite3.connect(lq.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_flipped_bytes_end_it_with_65_or_harm_nothing(lq: Daemon) -> None:
    """It never starts empty, never removes anything, and says what to do."""
    pushed = {push(lq, b"x" * 2000) for _ in range(100)}
    assert lq.stop().code == 0
    whole = lq.database.read_bytes()
    chance = random.Random(24)
    refused = 0
    for trial in range(12):
        flipped = bytearray(whole)
        start = chance.randrange(len(flipped) - 256)
        if trial % 2:  # where a page says what it is
            start -= start % 4096
        flipped[start : start + 256] = chance.randbytes(256)
        lq.database.write_bytes(flipped)
        lq.launch()
        wait_until(lambda: not lq.running or LAST_OF_BANNER in lq.stderr)
        if not lq.running:
            ended = lq.wait()
            assert ended.code == 65, ended.stderr
            assert "lq restore" in ended.stderr
            assert "Traceback" not in ended.stderr
            assert lq.database.read_bytes() == flipped
            refused += 1
        else:
            assert held(lq) == pushed
            lq.stop()
    assert refused


def test_a_lock_of_another_process_is_outlived(lq: Daemon) -> None:
    """Nothing is lost meanwhile, and who is refused is told when to come again."""
    kept = push(lq)
    with closing(sqlite3.connect(lq.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ApiError) as refusal:
            push(lq)
        assert (refusal.value.status, refusal.value.type) == (503, "UNAVAILABLE")
        assert "locked by another process" in refusal.value.message
        assert held(lq) == {kept}
        assert lq.client.healthz() == {"status": "ok"}
        other.execute("ROLLBACK")
    later = push(lq)
    assert held(lq) == {kept, later}


def cpu_s(pid: int) -> float:
    """How long a process has worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_outlives_a_lack_of_descriptors_without_spinning(start: Start) -> None:
    lq = start(prefix=("sh", "-c", 'ulimit -n 48; exec "$@"', "sh"))
    kept = push(lq)
    port = int(lq.url.rpartition(":")[2])
    opened: list[socket.socket] = []
    try:
        for _ in range(60):
            opened.append(socket.create_connection(("127.0.0.1", port)))
        before = cpu_s(lq.pid)
        time.sleep(2)
        assert cpu_s(lq.pid) - before < 0.5
        assert lq.running
    finally:
        for one in opened:
            one.close()
    wait_until(lambda: reachable(lq))
    later = push(lq)
    assert held(lq) == {kept, later}
    assert lq.stop().code == 0
    assert "Traceback" not in lq.stderr


def reachable(lq: Daemon) -> bool:
    """Whether it answers; what came while it had no descriptor left is turned away."""
    with suppress(Unreachable):
        client = Client(lq.url, "none", timeout_s=PATIENCE_S, retries=0)
        return bool(client.ready() == {"status": "ok"})
    return False


def test_a_restore_that_is_killed_leaves_one_whole_database(lq: Daemon) -> None:
    """The one that was there or the one that was restored, whenever it is killed."""
    kept = {push(lq, b"x" * 200_000) for _ in range(20)}
    assert lq.cli("backup", "b.db").code == 0
    new = {push(lq) for _ in range(5)}
    lq.stop()
    backup, database = lq.folder / "b.db", lq.database.read_bytes()
    took = run_lq("restore", "b.db", "-n", cwd=lq.folder, environ=lq.environ).seconds
    seen = set()
    for step in range(14):
        for path in lq.data.glob("lq.db*"):
            path.unlink()
        lq.database.write_bytes(database)
        command = subprocess.Popen(
            [LQ, "restore", str(backup)], cwd=lq.folder, env=lq.environ, stderr=subprocess.DEVNULL
        )
        time.sleep(took * (0.35 + 0.05 * step))
        command.send_signal(signal.SIGKILL)
        command.wait()
        with closing(sqlite3.connect(lq.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = {row[0] for row in connection.execute("SELECT id FROM jobs")}
        assert found in (kept, kept | new)
        seen.add(len(found))
        for path in lq.data.glob("lq.db.before-*"):
            if not path.name.endswith(("-wal", "-shm")):
                assert path.read_bytes() == database
    assert len(kept | new) in seen
    shutil.copy(backup, lq.database)
    for path in lq.data.glob("lq.db?*"):
        path.unlink()
    lq.start()
    assert held(lq) == kept
