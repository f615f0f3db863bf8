"""The SQLite store's folder: who may read it, who owns it, what a close leaves behind."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from lq.daemon.store.lock import FileLock
from lq.daemon.store.sqlite import open_store
from lq.errors import InUse, StartError, StoreFailed
from lq.model import ById
from tests.clock import START
from tests.support.jobs import FAR, new_job, push_running, succeed
from tests.support.sqlite import beside, files, no_file_may_grow

from .conftest import sqlite


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        async with sqlite(folder) as store:
            await store.push(new_job())
            names = {path.name for path in folder.iterdir()}
            assert names == {"lq.db", "lq.db-wal", "lq.db-shm", "lq.lock"}
            assert {mode(path) for path in folder.iterdir()} == {0o600}
            assert mode(folder) == 0o700
    finally:
        os.umask(before)


async def test_a_folder_of_ours_is_closed_to_others_again(tmp_path: Path) -> None:
    async with sqlite(tmp_path / "data"):
        pass
    (tmp_path / "data").chmod(0o755)
    (tmp_path / "data" / "lq.db").chmod(0o644)
    async with sqlite(tmp_path / "data"):
        assert mode(tmp_path / "data") == 0o700
        assert mode(tmp_path / "data" / "lq.db") == 0o600


async def test_a_folder_of_somebody_elses_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "thesis.txt").touch()
    with pytest.raises(StartError, match="holds other files"):
        await open_store(folder)
    assert mode(folder) == 0o755
    assert set(files(folder)) == {"thesis.txt"}


@pytest.mark.parametrize("way", ["itself", "a symlink to the folder", "a symlink to the file"])
async def test_a_second_opener_is_refused_and_told_the_pid(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "data"
    other = folder
    async with sqlite(folder) as store:
        if way == "a symlink to the folder":
            other = tmp_path / "other"
            other.symlink_to(folder)
        elif way == "a symlink to the file":
            other = tmp_path / "other"
            other.mkdir(mode=0o700)
            (other / "lq.db").symlink_to(folder / "lq.db")
        with pytest.raises(InUse, match=rf"in use by pid {os.getpid()} on host "):
            await open_store(other)
        # The first one is none the worse for it.
        await store.push(new_job())
    async with sqlite(other):
        pass


def lock_of(folder: Path) -> FileLock:
    return FileLock(folder / "lq.lock", guards=folder, hint="")


def hold(folder: Path, held: Event, done: Event) -> None:
    lock = lock_of(folder)
    held.set()
    done.wait(10)
    lock.release()


async def test_another_process_is_named(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, held, done))
    process.start()
    try:
        assert held.wait(10)
        with pytest.raises(InUse, match=rf"pid {process.pid} "):
            await open_store(tmp_path)
    finally:
        done.set()
        process.join()
    async with sqlite(tmp_path):
        pass


async def test_a_lock_left_by_the_dead_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lq.lock").write_text(f"pid {os.getpid()} on host here\n")
    async with sqlite(tmp_path):
        pass


async def test_a_lock_that_is_a_symlink_is_not_followed(tmp_path: Path) -> None:
    """Whoever can plant one must not have lq truncate the file it leads to."""
    precious = tmp_path / "precious"
    precious.write_text("text")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "lq.lock").symlink_to(precious)
    with pytest.raises(StartError, match="lock"):
        await open_store(tmp_path / "data")
    assert precious.read_text() == "text"


async def test_a_refused_start_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "lq.db").write_bytes(b"no database" * 100)
    for _ in range(2):
        with pytest.raises(StartError, match="not a readable database"):
            await open_store(tmp_path)


async def test_one_that_another_program_keeps_to_itself(tmp_path: Path) -> None:
    """It is not damaged: nobody should restore a backup over it."""
    async with sqlite(tmp_path) as store:
        job = (await store.push(new_job())).job
    with beside(tmp_path) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InUse, match="another process") as refused:
            await open_store(tmp_path)
        assert refused.value.exit_code == 75
        assert str(tmp_path) in refused.value.message
    async with sqlite(tmp_path) as store:
        assert await store.get(ById(job.id)) == job


@pytest.mark.parametrize("name", ["lq.db", "lq.db-wal"])
async def test_one_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    async with sqlite(tmp_path):
        pass
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").touch()
    with pytest.raises(StoreFailed, match="cannot open") as refused:
        await open_store(tmp_path)
    assert refused.value.exit_code == 74
    assert str(tmp_path) in refused.value.message


async def test_who_holds_the_folder_need_not_be_written_down(tmp_path: Path) -> None:
    """A disk without room must not keep a daemon from starting."""
    with no_file_may_grow(beyond=0):
        lock = lock_of(tmp_path)
        with pytest.raises(InUse, match="another process"):
            lock_of(tmp_path)
        lock.release()


async def test_a_clean_close_leaves_one_file_that_can_be_read_by_itself(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        job = (await store.push(new_job())).job
    assert set(files(tmp_path)) == {"lq.db"}
    assert (tmp_path / "lq.lock").read_bytes() == b""
    before = files(tmp_path)
    uri = f"{(tmp_path / 'lq.db').as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        assert connection.execute("SELECT id, state FROM jobs").fetchall() == [(job.id, "PENDING")]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert files(tmp_path) == before
    async with sqlite(tmp_path) as store:
        assert await store.get(ById(job.id)) == job


async def test_every_commit_is_on_the_disk(tmp_path: Path) -> None:
    """What was acknowledged is in the files of that moment: a copy of them holds it."""
    async with sqlite(tmp_path / "data") as store:
        for number in range(1, 4):
            job = (await store.push(new_job())).job
            copy = tmp_path / f"copy{number}"
            copy.mkdir(mode=0o700)
            for name, content in files(tmp_path / "data").items():
                if name != "lq.db-shm":
                    (copy / name).write_bytes(content)
            async with sqlite(copy) as found:
                assert await found.get(ById(job.id)) == job
                assert (await found.queues())[0].counts.pending == number


async def test_what_is_forgotten_leaves_nothing_behind(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        for _ in range(3):
            await store.settle(succeed(await push_running(store)))
        kept = await store.push(new_job())
        assert await store.prune(START + 1, FAR, 100) == 3
    with beside(tmp_path) as connection:
        for table, left in (("jobs", 1), ("payloads", 1), ("runs", 0)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (left,)
        assert connection.execute("SELECT job_seq FROM payloads").fetchone() == (kept.job.seq,)
