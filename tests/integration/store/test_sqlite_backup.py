"""Copies of a SQLite store of one moment: whole or not there, and in nobody's way."""

from __future__ import annotations

import asyncio
import errno
import shutil
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lq.daemon.store import backup
from lq.errors import DataError, StorageFull, StoreFailed, Unavailable
from tests.clock import START
from tests.support.jobs import new_job
from tests.support.sqlite import no_file_may_grow

from .conftest import sqlite

SIZE = 16 << 20


def never() -> bool:
    return False


def nobody(pages: int, total: int) -> None:
    """Nobody asks how far it is."""


def copies(folder: Path) -> list[str]:
    """What is left of copies in a folder."""
    return [path.name for path in folder.glob("backup*")]


async def fill(folder: Path, jobs: int = 200, size: int = 20_000) -> None:
    async with sqlite(folder) as store:
        for _ in range(jobs):
            store.push(new_job(payload=b"x" * size))


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder)]
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_it_shows_one_moment_however_much_is_written_meanwhile(tmp_path: Path) -> None:
    """And it ends: each page is copied once, though there are commits between all steps."""
    async with sqlite(tmp_path) as store:
        for _ in range(200):
            store.push(new_job(payload=b"x" * 20_000))
        before = (await store.push(new_job())).job.seq
        loop = asyncio.get_running_loop()
        steps: list[tuple[int, int]] = []

        def tell(pages: int, total: int) -> None:
            steps.append((pages, total))
            pushed = asyncio.run_coroutine_threadsafe(one_more(), loop)
            pushed.result(10)

        async def one_more() -> None:
            await store.push(new_job(payload=b"y" * 20_000))

        made = await store.snapshot(START, tell, never)
        with made.file:
            made.file.seek(0)
            content = made.file.read()
        assert made.rows["jobs"] == before
        assert (len(content), len(made.sha256)) == (made.size, 64)
        assert [pages for pages, _ in steps] == sorted({pages for pages, _ in steps})
        assert len({total for _, total in steps}) == 1
        assert len(steps) >= 4
        assert copies(tmp_path) == []
        assert (await store.queues())[0].counts.pending == before + len(steps)
    copy = tmp_path / "copy.db"
    copy.write_bytes(content)
    with backup.examined(copy) as connection:
        assert backup.made_at(connection) == START
        assert connection.execute("SELECT sum(pending) FROM queues").fetchone() == (before,)


async def test_one_that_nobody_wants_any_more_is_gone(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        for _ in range(100):
            store.push(new_job(payload=b"x" * 20_000))
        cut = threading.Event()

        def tell(pages: int, total: int) -> None:
            cut.set()

        with pytest.raises(Unavailable, match="given up"):
            await store.snapshot(START, tell, cut.is_set)
        assert copies(tmp_path) == []
        await store.push(new_job())


async def test_a_disk_that_becomes_full_meanwhile(tmp_path: Path, tmpfs: Path) -> None:
    """The copy gives way while there is still room for jobs."""
    async with sqlite(tmpfs / "data") as store:
        for _ in range(200):
            store.push(new_job(payload=b"x" * 20_000))
        await store.push(new_job())
        ballast = tmpfs / "ballast"

        def tell(pages: int, total: int) -> None:
            disk = shutil.disk_usage(tmpfs)
            if not ballast.exists():
                ballast.write_bytes(b"\0" * (disk.free - SIZE // 32))

        with pytest.raises(StorageFull, match="became full"):
            await store.snapshot(START, tell, never)
        assert copies(tmpfs / "data") == []
        await store.push(new_job(payload=b"x" * 20_000))
        with pytest.raises(StorageFull, match=r"has \d+ KiB free"):
            await store.snapshot(START, nobody, never)
        ballast.unlink()
        (await store.snapshot(START, nobody, never)).file.close()


async def test_a_full_disk_elsewhere(tmp_path: Path, tmpfs: Path) -> None:
    await fill(tmp_path / "data")
    ballast = tmpfs / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    target = tmpfs / "b.db"
    with pytest.raises(StorageFull):
        backup.copy(tmp_path / "data/lq.db", target, START, live=False, tell=nobody, cut=never)
    assert not target.exists()


async def test_a_disk_that_fails(tmp_path: Path) -> None:
    await fill(tmp_path / "data")
    target = tmp_path / "b.db"
    with no_file_may_grow(beyond=1 << 20), pytest.raises(StoreFailed):
        backup.copy(tmp_path / "data/lq.db", target, START, live=False, tell=nobody, cut=never)
    assert not target.exists()


async def test_what_a_crash_has_left_is_not_followed(tmp_path: Path) -> None:
    """Nor is a link that somebody has put there."""
    precious = tmp_path / "precious"
    precious.write_text("text")
    await fill(tmp_path / "data", 1)
    target = tmp_path / "b.db"
    target.symlink_to(precious)
    backup.copy(tmp_path / "data/lq.db", target, START, live=False, tell=nobody, cut=never)
    assert precious.read_text() == "text"
    assert stat.S_IMODE(target.lstat().st_mode) == 0o600
    with backup.examined(target):
        pass


async def test_a_copy_of_what_is_damaged_is_none(tmp_path: Path) -> None:
    await fill(tmp_path / "data")
    path = tmp_path / "data/lq.db"
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2 // 4096 * 4096
    whole[middle : middle + 4096] = bytes(4096)
    path.write_bytes(whole)
    with pytest.raises(DataError, match="damaged"):
        backup.copy(path, tmp_path / "b.db", START, live=False, tell=nobody, cut=never)
    assert not (tmp_path / "b.db").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed) as refused:
        backup.copy(tmp_path / "x", tmp_path / "no/b.db", START, live=False, tell=nobody, cut=never)
    assert isinstance(refused.value.__cause__, OSError)
    assert refused.value.__cause__.errno == errno.ENOENT


async def test_any_flip_in_a_backup_is_noticed_or_harmless(tmp_path: Path) -> None:
    """What passes for a backup opens, and has every job."""
    await fill(tmp_path / "data", 50, 2000)
    target = tmp_path / "b.db"
    backup.copy(tmp_path / "data/lq.db", target, START, live=False, tell=nobody, cut=never)
    whole = target.read_bytes()
    refused = 0
    for place in range(40, len(whole), len(whole) // 60):
        flipped = bytearray(whole)
        flipped[place : place + 16] = bytes(byte ^ 0xFF for byte in flipped[place : place + 16])
        target.write_bytes(flipped)
        try:
            with backup.examined(target) as connection:
                assert backup.counts(connection)["jobs"] == 50
        except DataError:
            refused += 1
    assert refused


async def test_a_log_that_is_beside_a_file_is_part_of_it(tmp_path: Path) -> None:
    async with sqlite(tmp_path / "data") as store:
        await store.push(new_job())
        shutil.copytree(tmp_path / "data", tmp_path / "killed")
    copied = tmp_path / "b.db"
    backup.copy(tmp_path / "killed/lq.db", copied, START, live=False, tell=nobody, cut=never)
    with closing(sqlite3.connect(copied)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
