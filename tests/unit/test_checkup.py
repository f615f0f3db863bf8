"""When a disk is short of room, and how sizes look."""

from __future__ import annotations

import pytest

from lq.checkup import is_short, size_text

GIB, MIB = 1 << 30, 1 << 20


@pytest.mark.parametrize(
    ("free", "total", "database", "short"),
    [
        (0, 10 * GIB, 0, True),
        (GIB - 1, 100 * GIB, 0, True),
        (GIB, 100 * GIB, 0, False),  # a tenth of a large disk is much
        (5 * GIB, 100 * GIB, 2 * GIB, False),
        (5 * GIB - 1, 100 * GIB, 2 * GIB, True),
        (200 * MIB, GIB, 0, False),  # of a small disk it is all that can be asked for
        (100 * MIB, GIB, 0, True),
    ],
)
def test_a_disk_is_short_by_its_own_size_and_by_the_databases(
    free: int, total: int, database: int, short: bool
) -> None:
    assert is_short(free, total, database) is short


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 KiB"), (2048, "2 KiB"), (MIB, "1.0 MiB"), (3 * GIB // 2, "1.5 GiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
