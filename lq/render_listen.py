"""Calls that were made for lq, as lines, and who listens, as a table. Prints nothing."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lq.render import Json, Table, clean, table_of

if TYPE_CHECKING:
    from rich.text import Text

_SIGNATURES = {
    "verified": "signature verified",
    "invalid": "SIGNATURE INVALID",
    "unverified": "signature not checked",
}


def call_line(call: Json) -> str:
    """A call on one line."""
    return "  ".join(text for text, _ in _parts(call))


def call_text(call: Json) -> Text:
    """The same in colours, for a terminal."""
    from rich.text import Text

    line = Text(overflow="fold")
    for text, style in _parts(call):
        line.append(text, style).append("  ")
    return line


def _parts(call: Json) -> list[tuple[str, str]]:
    at = datetime.datetime.fromtimestamp(call["at"] / 1000).astimezone()
    key = f" ({clean(call['key'])})" if "key" in call else ""
    status, error = call.get("status"), call.get("error")
    good = error is None and status is not None and 200 <= status < 300
    came = " ".join(
        part for part in (None if status is None else str(status), error and clean(error)) if part
    )
    parts = [
        (f"{at:%H:%M:%S}", "dim"),
        (f"{clean(call['queue'])}{key}", "bold"),
        (f"{call['attempt']}/{call['maxAttempts']}", ""),
        (f"{call['method']} {clean(call['path'])}", ""),
        (came, "green" if good else "red"),
        (f"{call['ms']}ms", "dim"),
        (_SIGNATURES[call["signature"]], "bold red" if call["signature"] == "invalid" else "dim"),
    ]
    if call["copy"]:
        parts.append(("copy", "dim"))
    return parts


def listeners_table(found: Sequence[Json], _: int) -> Table:
    """Who listens to what."""
    rows = [
        (
            one["name"],
            "takes over" if one["takeOver"] else "copies",
            ", ".join(one.get("queues", ())) or "all",
            ", ".join(one.get("targets", ())) or "all",
            one.get("lost", 0),
            ", ".join(one.get("ahead", ())),
        )
        for one in found
    ]
    return table_of(("NAME", "HOW", "QUEUES", "TARGETS", "LOST", "AFTER"), rows)
