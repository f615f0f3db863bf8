"""Databases the SQLite store must refuse, and leave exactly as they were."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lq.daemon.store.migrate import APPLICATION_ID
from lq.daemon.store.sqlite import open_store
from lq.errors import DataError
from tests.support.jobs import new_job
from tests.support.sqlite import beside, files

from .conftest import sqlite


def is_newer(folder: Path) -> None:
    with beside(folder) as connection:
        connection.execute("PRAGMA user_version = 999")


def is_none(folder: Path) -> None:
    (folder / "lq.db").write_bytes(b"Dear diary, \x00\xff" * 1000)


def is_short(folder: Path) -> None:
    (folder / "lq.db").write_bytes(b"SQLite format 3\x00")


def is_cut(folder: Path) -> None:
    whole = (folder / "lq.db").read_bytes()
    (folder / "lq.db").write_bytes(whole[: len(whole) // 2])


def has_a_damaged_header(folder: Path) -> None:
    whole = bytearray((folder / "lq.db").read_bytes())
    whole[16:24] = b"\xff" * 8
    (folder / "lq.db").write_bytes(whole)


def has_a_zeroed_page(folder: Path) -> None:
    """One in the middle, among the payloads."""
    whole = bytearray((folder / "lq.db").read_bytes())
    start = len(whole) // 2 // 4096 * 4096
    whole[start : start + 4096] = bytes(4096)
    (folder / "lq.db").write_bytes(whole)


def is_another_programs(folder: Path) -> None:
    (folder / "lq.db").unlink()
    with beside(folder) as connection:
        connection.executescript("CREATE TABLE customers (id); INSERT INTO customers VALUES (1)")


def is_another_programs_with_our_tables(folder: Path) -> None:
    with beside(folder) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID + 1}")


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (is_newer, "newer lq: schema 999 > supported"),
    (is_none, "not a readable database"),
    (is_short, "database"),
    (is_cut, "database"),
    (has_a_damaged_header, "database"),
    (has_a_zeroed_page, "damaged"),
    (is_another_programs, "another program"),
    (is_another_programs_with_our_tables, "another program"),
]


async def fill(folder: Path) -> None:
    async with sqlite(folder) as store:
        for _ in range(100):
            store.push(new_job(payload=b"x" * 1000))


@pytest.mark.parametrize(("fault", "message"), FAULTS)
async def test_it_is_refused_and_left_untouched(
    tmp_path: Path, fault: Callable[[Path], None], message: str
) -> None:
    await fill(tmp_path)
    fault(tmp_path)
    before = files(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match=message) as refused:
            await open_store(tmp_path)
        assert refused.value.exit_code == 65
        assert refused.value.hint
        assert str(tmp_path) in refused.value.message
        assert files(tmp_path) == before


async def test_a_damaged_one_that_was_not_closed_is_left_untouched(tmp_path: Path) -> None:
    """Its log, which a salvage would want to see, must not be merged into it."""
    await fill(tmp_path / "data")
    async with sqlite(tmp_path / "data") as store:
        await store.push(new_job())
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    folder = tmp_path / "copy"
    (folder / "lq.db-shm").unlink()
    has_a_zeroed_page(folder)
    assert damaged(folder, tmp_path / "judged")
    before = files(folder)
    with pytest.raises(DataError):
        await open_store(folder)
    after = files(folder)
    after.pop("lq.db-shm", None)  # derived from the log, and made anew at will
    assert after == before


def damaged(folder: Path, copy: Path) -> bool:
    """Whether SQLite finds anything wrong with a database."""
    shutil.copytree(folder, copy)
    with closing(sqlite3.connect(copy / "lq.db")) as connection:
        try:
            return connection.execute("PRAGMA quick_check").fetchall() != [("ok",)]
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter quotes the schema
            return True


async def test_flipped_bytes(tmp_path: Path) -> None:
    """Whatever SQLite's check finds is refused; what opens has every job, and none is invented."""
    await fill(tmp_path / "whole")
    chance = random.Random(20)
    whole = (tmp_path / "whole" / "lq.db").read_bytes()
    refused = 0
    for number in range(40):
        folder = tmp_path / f"flipped{number}"
        folder.mkdir(mode=0o700)
        flipped = bytearray(whole)
        start = chance.randrange(len(flipped) - 64)
        flipped[start : start + 64] = chance.randbytes(64)
        (folder / "lq.db").write_bytes(flipped)
        if damaged(folder, tmp_path / f"judged{number}"):
            refused += 1
            before = files(folder)
            with pytest.raises(DataError):
                await open_store(folder)
            assert files(folder) == before
    assert refused >= 3


async def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "lq.db").touch()
    async with sqlite(tmp_path) as store:
        await store.push(new_job())
