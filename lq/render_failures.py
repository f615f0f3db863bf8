"""Kinds of failures as a table for people. Pure, as `render` is."""

from __future__ import annotations

from collections.abc import Sequence

from lq.render import Json, Table, ago, table_of


def failures_table(failures: Sequence[Json], now: int) -> Table:
    """Kinds of failures."""
    rows = [
        (
            kind["fingerprint"],
            kind["count"],
            kind.get("status", ""),
            ago(kind["last"], now),
            ago(kind["first"], now),
            ", ".join(kind["queues"]),
            kind["target"],
            kind["item"],
            kind.get("error", ""),
        )
        for kind in failures
    ]
    headings = (
        "FINGERPRINT",
        "COUNT",
        "STATUS",
        "LAST",
        "FIRST",
        "QUEUE",
        "TARGET",
        "ITEM",
        "ERROR",
    )
    return table_of(headings, rows)
