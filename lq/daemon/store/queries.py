"""Loads the statements of `sql/`: each one by its name, and those over many rows.

Owns the text of SQL; never runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain

# On jobs, queues and tokens; on schedules; on alerts; on answers; for a glance; on many jobs; on
# what has happened when; for what needs a person; on held jobs.
_FILES = (
    *("queries.sql", "schedules.sql", "alerts.sql", "answers.sql", "overview.sql"),
    *("finding.sql", "bulk.sql", "activity.sql", "attention.sql", "freeing.sql"),
)
_ROWS = re.compile(r"VALUES :rows\((\d+)\)")
# SQLite takes 32,766 parameters a statement, and 1,024 rows of 27 stay below. Beyond 64 rows the
# cost of a row no longer falls, but each statement is a crossing to a busy interpreter.
_MOST_ROWS = 1024


@cache
def named() -> dict[str, str]:
    """All statements of a store at work by name."""
    return _read(*_FILES)


@cache
def aside() -> dict[str, str]:
    """Those by name that look through everything: for a copy, or beside the writer."""
    return _read("backup.sql")


def _read(*names: str) -> dict[str, str]:
    folder = files(__package__).joinpath("sql")
    text = "".join(folder.joinpath(name).read_text("utf-8") for name in names)
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


def in_chunks(rows: Sequence[Sequence[object]]) -> Iterator[tuple[int, list[object]]]:
    """Cut rows into statements of 1, 2, 4 … 1,024 rows, filled up with rows of NULLs.

    Shape: the number of rows of a statement, and its parameters. Few sizes, so that each
    stays a prepared statement; filled up, so that a moment's rows are one statement.
    """
    for start in range(0, len(rows), _MOST_ROWS):
        chunk = rows[start : start + _MOST_ROWS]
        size = 1 << (len(chunk) - 1).bit_length()
        values: list[object] = list(chain.from_iterable(chunk))
        values += [None] * ((size - len(chunk)) * len(chunk[0]))
        yield size, values
