"""Lists that the API gives whole, a page at a time.

Invariant: a page has a bound, however much there is: a browser and the loop of the daemon take a
thousand rows badly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Row = TypeVar("_Row")


def portion(rows: Sequence[_Row], cursor: str, most: int) -> tuple[Sequence[_Row], int | None]:
    """The rows from a place on, and the place of those behind them, if there are any.

    Shape: what is no place is the first one; a link may be of somebody's own making.
    """
    first = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 10 else 0
    end = first + most
    return rows[first:end], end if end < len(rows) else None
