"""Cutting a list into pages."""

from __future__ import annotations

import pytest

from lq.daemon.panel.portions import portion


def test_pages_in_a_row_are_the_list() -> None:
    found: list[int] = []
    cursor: int | None = 0
    while cursor is not None:
        rows, cursor = portion(range(25), str(cursor), 10)
        assert 0 < len(rows) <= 10
        found += rows
    assert found == [*range(25)]


def test_a_page_that_is_just_full_is_the_last() -> None:
    assert portion("abc", "", 3) == ("abc", None)
    assert portion("abc", "", 2) == ("ab", 2)
    assert portion("", "", 2) == ("", None)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "²", "9" * 30])
def test_what_is_no_place_is_the_first(cursor: str) -> None:
    assert portion("abc", cursor, 2) == ("ab", 2)


def test_behind_the_end_is_nothing() -> None:
    assert portion("abc", "7", 2) == ("", None)
