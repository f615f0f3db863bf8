"""Loads `sql/queries.sql`: each statement by its name, and statements over many rows.

Owns the text of SQL; never runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files

_ROWS = re.compile(r"VALUES :rows\((\d+)\)")
# SQLite takes 32,766 parameters a statement; 64 rows of 20 stay far below, and beyond 64
# rows the cost of a row no longer falls.
_MOST_ROWS = 64


@cache
def named() -> dict[str, str]:
    """All statements of queries.sql by name."""
    text = files(__package__).joinpath("sql", "queries.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: _bare(sql) for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


def _bare(sql: str) -> str:
    lines = (line for line in sql.splitlines() if not line.startswith("--"))
    return "\n".join(lines).strip().rstrip(";")


@cache
def over_rows(name: str, rows: int) -> str:
    """The statement `name` with its `VALUES :rows(n)` written out for `rows` rows."""

    def values(match: re.Match[str]) -> str:
        row = f"({', '.join('?' * int(match[1]))})"
        return f"VALUES {', '.join([row] * rows)}"

    return _ROWS.sub(values, named()[name])


def in_chunks(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
    """Cut rows into runs of 64, 32 … 1: few enough sizes that each stays a prepared statement."""
    start = 0
    while left := len(rows) - start:
        size = min(_MOST_ROWS, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size


def flat(rows: Iterable[Sequence[object]]) -> list[object]:
    """The parameters of a statement over rows."""
    return [value for row in rows for value in row]
