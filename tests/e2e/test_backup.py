"""`lq backup` and `lq restore` of a real daemon: running, stopped, killed, frozen."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lq.client import ApiError

from .conftest import Start
from .endpoint import Endpoint
from .process import LAST_OF_BANNER, LQ, Daemon, wait_until

HOUR_MS = 3_600_000
TARGET = "https://example.com/"


def waiting(lq: Daemon, payload: bytes = b"", **options: Any) -> str:
    options.setdefault("delay_ms", HOUR_MS)
    return str(lq.client.push("q", payload, target=TARGET, **options)["id"])


def held_ids(lq: Daemon) -> set[str]:
    return {item["id"] for item in lq.client.items(limit=1000)["items"]}


def restored(lq: Daemon, *options: str) -> Any:
    done = lq.cli("restore", "b.db", "--json", *options)
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def serve_frozen(lq: Daemon) -> None:
    """Start it, where /readyz will not say that all is well."""
    lq.launch()
    lq.wait_for(LAST_OF_BANNER)


def test_a_backup_while_it_runs(lq: Daemon) -> None:
    kept = waiting(lq, b"x" * 900_000)
    done = lq.cli("backup", "b.db", "--json")
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout)
    path = lq.folder / "b.db"
    assert made["size"] == path.stat().st_size
    assert made["rows"] == {
        "queues": 1, "jobs": 1, "payloads": 1, "runs": 0, "schedules": 0, "tokens": 0,
    }  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(lq.folder.glob("b.db?*"))
    assert not list(lq.data.glob("backup*"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
        assert copy.execute("SELECT id FROM jobs").fetchall() == [(kept,)]
    assert lq.secret().encode() not in path.read_bytes()
    checked = lq.cli("backup", "--check", "b.db", "--json")
    assert {**json.loads(checked.stdout), "file": "b.db"} == made


def test_it_says_what_is_in_it_and_what_is_not(lq: Daemon) -> None:
    done = lq.cli("backup", "b.db")
    assert done.stdout == ""
    for said in ("the moment 20", "0 jobs", "payloads", str(lq.data / "secret"), "lq.toml"):
        assert said in done.stderr


def test_no_file_is_replaced_unasked(lq: Daemon) -> None:
    (lq.folder / "b.db").write_text("precious")
    done = lq.cli("backup", "b.db")
    assert (done.code, (lq.folder / "b.db").read_text()) == (2, "precious")
    assert "--force" in done.stderr
    assert lq.cli("backup", "b.db", "--force").code == 0
    assert lq.cli("backup", "--check", "b.db").code == 0
    assert lq.cli("backup", "/dev/null", "--force").code == 2
    assert lq.cli("backup", "nowhere/b.db").code == 2


@pytest.mark.parametrize("runs", [True, False])
def test_to_stdout(lq: Daemon, runs: bool) -> None:
    kept = waiting(lq)
    if not runs:
        lq.stop()
    done = subprocess.run(
        [LQ, "backup", "-"], cwd=lq.folder, env=lq.environ, capture_output=True, check=True
    )
    path = lq.folder / "b.db"
    path.write_bytes(done.stdout)
    assert lq.cli("backup", "--check", "b.db").code == 0
    with closing(sqlite3.connect(path)) as copy:
        assert copy.execute("SELECT id FROM jobs").fetchall() == [(kept,)]
    assert not list(lq.data.glob("backup*"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_backup_of_a_stopped_daemon(lq: Daemon, how: signal.Signals) -> None:
    """After a kill, what is only in the log is part of it."""
    kept = waiting(lq)
    lq.stop(how)
    done = lq.cli("backup", "b.db", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["jobs"] == 1
    lq.start()
    assert held_ids(lq) == {kept}


def test_a_token_needs_the_scope_admin(lq: Daemon) -> None:
    token = lq.client.create_token("reader", scopes=["read"])["token"]
    done = lq.cli("backup", "b.db", "--url", lq.url, "--token", token)
    assert done.code == 4
    assert not (lq.folder / "b.db").exists()
    admin = lq.client.create_token("admin", scopes=["admin"])["token"]
    assert lq.cli("backup", "b.db", "--url", lq.url, "--token", admin).code == 0


def test_pushes_go_on_meanwhile_and_it_shows_one_moment(lq: Daemon) -> None:
    for _ in range(8):
        waiting(lq, b"x" * 1_000_000)
    stop = threading.Event()
    acknowledged: list[str] = []

    def push() -> None:
        while not stop.is_set():
            acknowledged.append(waiting(lq))

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        for number in range(3):
            before = set(acknowledged)
            done = lq.cli("backup", f"{number}.db", "--json")
            assert done.code == 0, done.stderr
            after = len(acknowledged)
            assert after > len(before)
            with closing(sqlite3.connect(lq.folder / f"{number}.db")) as copy:
                found = {row[0] for row in copy.execute("SELECT id FROM jobs")}
                assert copy.execute("SELECT sum(pending) FROM queues").fetchone() == (len(found),)
            assert before <= found
    finally:
        stop.set()
        pusher.join()
    assert set(acknowledged) <= held_ids_all(lq)


def held_ids_all(lq: Daemon) -> set[str]:
    return {item["id"] for item in lq.client.pages(lq.client.items, limit=1000)}


@pytest.mark.parametrize("moment", ["copying", "fetching"])
def test_a_kill_in_the_middle_leaves_no_half_backup(lq: Daemon, moment: str) -> None:
    kept = [waiting(lq, b"x" * 1_000_000) for _ in range(40)]
    command = subprocess.Popen(
        [LQ, "backup", "b.db"], cwd=lq.folder, env=lq.environ, stderr=subprocess.PIPE, text=True
    )
    wanted = lq.data / "backup.part" if moment == "copying" else lq.folder / "b.db.tmp"
    wait_until(lambda: wanted.exists() or command.poll() is not None)
    lq.kill()
    _, said = command.communicate()
    # Killed too late, it is whole; else there is none.
    assert (lq.folder / "b.db").exists() is (command.returncode == 0), said
    assert not (lq.folder / "b.db.tmp").exists()
    assert "Traceback" not in said
    lq.start()
    assert held_ids(lq) == set(kept)
    assert not (lq.data / "backup.part").exists()
    done = lq.cli("backup", "b.db", "--force", "--json")
    assert json.loads(done.stdout)["rows"]["jobs"] == len(kept)


def test_a_killed_command_leaves_nothing_to_take_for_a_backup(lq: Daemon) -> None:
    for _ in range(60):
        waiting(lq, b"x" * 1_000_000)
    command = subprocess.Popen([LQ, "backup", "b.db"], cwd=lq.folder, env=lq.environ)
    part = lq.folder / "b.db.tmp"
    wait_until(lambda: part.exists() and part.stat().st_size > 0)  # a part has been fetched
    command.kill()
    command.wait()
    assert not (lq.folder / "b.db").exists()
    with pytest.raises(ApiError):  # it is kept for whoever may go on
        lq.client.begin_backup()
    lq.client.forget_backup()
    assert lq.cli("backup", "b.db").code == 0
    assert not (lq.folder / "b.db.tmp").exists()


def test_what_is_no_backup(lq: Daemon) -> None:
    waiting(lq, b"x" * 100_000)
    assert lq.cli("backup", "whole.db").code == 0
    whole = (lq.folder / "whole.db").read_bytes()
    cases = {
        "empty": b"",
        "text": b"Dear diary" * 1000,
        "half": whole[: len(whole) // 2],
        "flipped": whole[:60_000] + bytes(4096) + whole[64_096:],
    }
    lq.stop()
    before = (lq.data / "lq.db").read_bytes()
    for name, content in cases.items():
        (lq.folder / name).write_bytes(content)
        assert (name, lq.cli("backup", "--check", name).code) == (name, 65)
        done = lq.cli("restore", name)
        assert (name, done.code) == (name, 65)
        assert "Traceback" not in done.stderr
    assert lq.cli("restore", "missing.db").code == 74
    assert (lq.data / "lq.db").read_bytes() == before
    assert {path.name for path in lq.data.iterdir()} == {"lq.db", "lq.lock", "secret"}


def test_a_newer_one_is_refused(lq: Daemon) -> None:
    assert lq.cli("backup", "b.db").code == 0
    with closing(sqlite3.connect(lq.folder / "b.db")) as copy:
        copy.execute("PRAGMA user_version = 999")
    lq.stop()
    done = lq.cli("restore", "b.db")
    assert done.code == 65
    assert "schema 999" in done.stderr


def test_a_restore_needs_a_stopped_daemon(lq: Daemon) -> None:
    assert lq.cli("backup", "b.db").code == 0
    done = lq.cli("restore", "b.db")
    assert done.code == 75
    assert f"pid {lq.pid}" in done.stderr
    assert "stop the daemon" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_goes_back_and_says_what_that_means(
    lq: Daemon, endpoint: Endpoint, how: signal.Signals
) -> None:
    kept = waiting(lq)
    soon = lq.client.push("q", b"", target=endpoint.url(), delay_ms=HOUR_MS)["id"]
    assert lq.cli("backup", "b.db").code == 0
    lq.client.run(soon)
    endpoint.next()
    wait_until(lambda: lq.client.item(soon)["state"] == "COMPLETED")
    lost = waiting(lq)
    lq.stop(how)
    told = restored(lq, "--dry-run")
    assert "kept" not in told
    account = restored(lq)
    kept_aside = Path(account.pop("kept"))
    assert account == told
    assert account["finishedSince"] == {
        "count": 1, "items": [{"id": soon, "queue": "q", "state": "COMPLETED"}],
    }  # fmt: skip
    assert [item["id"] for item in account["lost"]["items"]] == [lost]
    assert (account["running"]["count"], account["waiting"], account["overdue"]) == (0, 2, 0)
    lq.start()
    assert held_ids(lq) == {kept, soon}
    with closing(sqlite3.connect(kept_aside)) as before:
        found = {row[0] for row in before.execute("SELECT id FROM jobs")}
    assert found == {kept, soon, lost}
    assert stat.S_IMODE(kept_aside.stat().st_mode) == 0o600


def test_it_starts_frozen_and_stays_so_until_it_is_released(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/held")
    running = lq.client.push("q", b"", target=endpoint.url("/held"))["id"]
    endpoint.next()
    lq.client.push("q", b"", target=TARGET, key="k", delay_ms=HOUR_MS)
    lq.client.create_schedule("E=1s", "s", key="often", target=endpoint.url())
    wait_until(lambda: not endpoint.none_left())
    assert lq.cli("backup", "b.db").code == 0
    lq.kill()
    gate.set()
    wait_until(lambda: restored(lq, "--dry-run")["missed"])
    account = restored(lq, "--hold")
    assert account["held"] is True
    assert [item["id"] for item in account["running"]["items"]] == [running]
    [missed] = account["missed"]
    assert missed["schedule"] == "often"
    drain(endpoint)
    for _ in range(2):
        serve_frozen(lq)
        [reason] = lq.client.ready()["reasons"]
        assert reason.startswith("frozen")
        assert lq.client.healthz() == {"status": "ok"}
        assert "lq release" in lq.cli("queues", "ls").stderr
        doctor = lq.cli("doctor")
        assert doctor.code == 1
        assert "cure: `lq release`" in doctor.stdout
        pushed = lq.client.push("q", b"", target=endpoint.url())
        assert pushed["state"] == "PENDING"
        same = lq.client.push("q", b"", target=TARGET, key="k", delay_ms=HOUR_MS)
        assert same["outcome"] != "created"
        lq.client.run(lq.client.push("q", b"", target=endpoint.url(), delay_ms=9)["id"])
        assert lq.stop().code == 0
    assert endpoint.none_left()
    serve_frozen(lq)
    done = lq.cli("release", "--skip-missed", "--json")
    assert (done.code, json.loads(done.stdout)) == (0, {"skipped": 1})
    assert lq.client.ready() == {"status": "ok"}
    wait_until(lambda: lq.client.item(running)["state"] == "COMPLETED")
    assert lq.cli("release").code == 5
    lq.stop()
    lq.start()


def drain(endpoint: Endpoint) -> None:
    while not endpoint.none_left():
        endpoint.next()


def test_a_damaged_database_is_kept_beside_the_restored_one(lq: Daemon) -> None:
    kept = waiting(lq, b"x" * 100_000)
    assert lq.cli("backup", "b.db").code == 0
    lq.stop()
    damaged = bytearray(lq.database.read_bytes())
    damaged[16:24] = b"\xff" * 8
    lq.database.write_bytes(damaged)
    log = b"what is left of a log"
    (lq.data / "lq.db-wal").write_bytes(log)
    lq.launch()
    ended = lq.wait()
    assert ended.code == 65
    assert "lq restore" in ended.stderr
    account = restored(lq)
    assert "cannot be read" in account["uncompared"]
    aside = Path(account["kept"])
    assert aside.read_bytes() == damaged
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == log
    lq.start()
    assert held_ids(lq) == {kept}


def test_into_an_empty_folder(lq: Daemon, start: Start) -> None:
    kept = waiting(lq)
    assert lq.cli("backup", "b.db").code == 0
    other = start(name="other", start=False)
    (other.data / "secret").unlink()
    done = other.cli("restore", str(lq.folder / "b.db"))
    assert done.code == 0, done.stderr
    assert "no signing secret" in done.stderr
    other.start()
    assert held_ids(other) == {kept}
    assert stat.S_IMODE(other.database.stat().st_mode) == 0o600


@pytest.fixture
def copied(lq: Daemon) -> Path:
    """A copy that SQLite itself has made: it does not say when."""
    waiting(lq)
    path = lq.folder / "b.db"
    with closing(sqlite3.connect(lq.database)) as source, closing(sqlite3.connect(path)) as made:
        source.backup(made)
    return path


def test_a_copy_that_another_program_has_made(lq: Daemon, copied: Path) -> None:
    lq.stop()
    account = restored(lq)
    assert account["exact"] is False
    assert account["rows"]["jobs"] == 1
    lq.start()


def test_what_is_frozen_is_kept_by_a_backup(lq: Daemon) -> None:
    waiting(lq)
    assert lq.cli("backup", "b.db").code == 0
    lq.stop()
    restored(lq, "--hold")
    serve_frozen(lq)
    assert lq.cli("backup", "b.db", "--force").code == 0
    lq.stop()
    assert restored(lq)["held"] is True
