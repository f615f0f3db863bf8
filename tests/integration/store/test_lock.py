"""The lock on a database, and the count that is kept in it."""

from __future__ import annotations

import os
from pathlib import Path

from lq.daemon.store.lock import FileLock


def test_who_counts_after_the_lock_was_let_go_writes_into_no_other_file(tmp_path: Path) -> None:
    """As the thread of a store does that was given up with its event loop."""
    lock = FileLock(tmp_path / "lq.lock", guards=tmp_path, hint="")
    lock.count(1)
    lock.release()
    other = tmp_path / "other"
    other.write_bytes(b"x" * 100)
    numbers = [os.open(other, os.O_RDWR) for _ in range(8)]  # one of them is the lock's of before
    lock.count(2)
    for number in numbers:
        os.close(number)
    assert other.read_bytes() == b"x" * 100
    assert b"counted" not in (tmp_path / "lq.lock").read_bytes()
