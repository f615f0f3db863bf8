"""A daemon at one glance, as a frame that fits a terminal.

Owns what is shown first when not all fits: queues in trouble, then those at work. Pure: the time,
the size and what was before are handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lq.render import LEAST, Json, Table, ago, clean, off, queue_state, span, table_of
from lq.when import local_time, parse_rfc3339

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable

LATE_MS = 1_000  # a queue that is at work is always a little behind
VERY_LATE_MS = 60_000
NARROW = 72  # columns below which some numbers are left out
WIDE = 110  # columns from which what runs and what comes next stand side by side
FEW = 8  # runs and schedules that are shown
HISTORY = 24  # frames that a curve goes back
_BARS = "▁▂▃▄▅▆▇█"
_CELLS = ("WAITING", "RETRY", "RUNNING", "IN/S", "OUT/S", "LATE", "FAILED")
_YIELDING = ("RETRY", "RUNNING", "IN/S", "OUT/S")


class Past(NamedTuple):
    """What was seen of each queue in earlier frames: how much came out of it a second."""

    rates: dict[str, deque[float]]

    def note(self, overview: Json) -> None:
        """Remember a frame, and forget the queues that are gone."""
        seen = {queue["name"]: queue.get("outRate", 0.0) for queue in overview["queues"]}
        for name in self.rates.keys() - seen.keys():
            del self.rates[name]
        for name, rate in seen.items():
            self.rates.setdefault(name, deque(maxlen=HISTORY)).append(rate)


def top_frame(
    overview: Json,
    where: str,
    *,
    width: int,
    height: int | None,
    past: Past | None = None,
    trouble: str | None = None,
) -> RenderableType:
    """One frame. Shape: it is cut to `height` lines, if there is one; `trouble` stands out."""
    from rich.console import Group
    from rich.text import Text

    now = parse_rfc3339(overview["now"])
    reasons = [trouble, *overview.get("reasons", ())]
    warnings = [
        Text(f"! {clean(reason)}", "bold red", no_wrap=True, overflow="ellipsis")
        for reason in reasons
        if reason
    ]
    runs, schedules = overview["running"][:FEW], overview["schedules"][:FEW]
    below = _lower(runs, schedules, now, width)
    used = 3 + len(warnings) + _lines_below(runs, schedules, width)
    room = None if height is None else max(height - used - 2, 3)
    return Group(
        _title(overview, where),
        _sums(overview["queues"], now),
        *warnings,
        Text(""),
        *_queues(overview["queues"], now, width, room, past),
        *below,
    )


def top_tables(overview: Json) -> Iterable[Table]:
    """The same for programs, as tables that nothing is cut from."""
    now = parse_rfc3339(overview["now"])
    yield table_of(
        ("QUEUE", "STATE", "PENDING", "RETRY", "RUNNING", "IN/S", "OUT/S", "LATE", "FAILED/MIN"),
        [
            (
                queue["name"],
                queue_state(queue, now) if queue.get("paused") else "active",
                queue["pending"],
                queue["retry"],
                queue["running"],
                _rate(queue.get("inRate", 0.0)) or "0",
                _rate(queue.get("outRate", 0.0)) or "0",
                _span(_late_ms(queue, now)),
                queue.get("failures", 0),
            )
            for queue in _ordered(overview["queues"], now)
        ],
    )
    if overview["running"]:
        yield table_of(
            ("RUNNING", "SINCE", "QUEUE", "KEY", "TRY", "TARGET"),
            [
                (
                    run["id"], ago(run["started"], now), run["queue"], run.get("key", ""),
                    run["attempt"], run["target"],
                )
                for run in overview["running"]
            ],
        )  # fmt: skip
    if overview["schedules"]:
        yield table_of(
            ("NEXT", "SCHEDULE", "QUEUE"),
            [(ago(one["nextRun"], now), _name(one), one["queue"]) for one in overview["schedules"]],
        )


def _title(overview: Json, where: str) -> RenderableType:
    from rich.table import Table as RichTable
    from rich.text import Text

    title = RichTable.grid(expand=True, padding=(0, 1))
    title.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    title.add_column(justify="right", no_wrap=True)
    place = Text("lq", "bold", no_wrap=True, overflow="ellipsis").append(f"  {clean(where)}", "dim")
    time = local_time(parse_rfc3339(overview["now"]), None)
    title.add_row(place, Text(f"{time:%H:%M:%S}", "dim"))
    return title


def _sums(queues: Sequence[Json], now: int) -> RenderableType:
    """All queues in one line."""
    from rich.text import Text

    late_ms = max((_late_ms(queue, now) for queue in queues), default=0)
    failed = sum(queue.get("failures", 0) for queue in queues)
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, value, style in (
        ("running", _count(sum(q["running"] for q in queues)), "cyan"),
        ("waiting", _count(sum(q["pending"] + q["retry"] for q in queues)), ""),
        ("in", f"{_rate(sum(q.get('inRate', 0.0) for q in queues)) or '0'}/s", ""),
        ("out", f"{_rate(sum(q.get('outRate', 0.0) for q in queues)) or '0'}/s", ""),
        ("late", _span(late_ms) or "no", _late_style(late_ms) or "green"),
        ("failed", f"{_count(failed)}/min", "red" if failed else "green"),
    ):
        line.append(f"{name} ", "dim").append(value, f"bold {style}".strip()).append("  ")
    line.rstrip()
    return line


def _queues(
    queues: Sequence[Json], now: int, width: int, room: int | None, past: Past | None
) -> Iterable[RenderableType]:
    from rich.text import Text

    if not queues:
        yield Text("No queue yet: one comes into being with its first push.", "dim")
        return
    table = _grid(("QUEUE", "left", True))
    table.columns[0].min_width = LEAST
    cells = [cell for cell in _CELLS if width >= NARROW or cell not in _YIELDING]
    for heading in cells:
        table.add_column(heading, justify="right", no_wrap=True)
    curved = past is not None and width >= WIDE
    if curved:
        table.add_column("", no_wrap=True, min_width=HISTORY)
    ordered = _ordered(queues, now)
    shown = ordered if room is None or len(ordered) <= room else ordered[: room - 1]
    for queue in shown:
        row = _row(queue, now)
        curve = (_curve(past, queue["name"]),) if curved else ()
        table.add_row(row["QUEUE"], *(row[cell] for cell in cells), *curve)
    yield table
    if len(shown) < len(ordered):
        yield Text(f"  … and {len(ordered) - len(shown)} more queues, quieter than these", "dim")


def _row(queue: Json, now: int) -> dict[str, RenderableType]:
    """The cells of a queue, by heading."""
    from rich.text import Text

    late_ms, paused = _late_ms(queue, now), queue.get("paused", False)
    name = Text(
        clean(queue["name"]), "magenta" if paused else "", no_wrap=True, overflow="ellipsis"
    )
    if paused:
        name.append("  paused", "magenta dim")
    limit = f"/{queue['concurrency']}" if "concurrency" in queue else ""
    running = Text(_count(queue["running"]) or "0", "cyan" if queue["running"] else "dim")
    return {
        "QUEUE": name,
        "WAITING": _number(queue["pending"]),
        "RETRY": _number(queue["retry"], "yellow"),
        "RUNNING": running.append(limit, "dim"),
        "IN/S": Text(_rate(queue.get("inRate", 0.0))),
        "OUT/S": Text(_rate(queue.get("outRate", 0.0))),
        "LATE": Text(_span(late_ms), _late_style(late_ms)),
        "FAILED": _number(queue.get("failures", 0), "red"),
    }


def _lower(
    runs: Sequence[Json], schedules: Sequence[Json], now: int, width: int
) -> list[RenderableType]:
    """What runs and what comes next: side by side where there is room."""
    from rich.table import Table as RichTable
    from rich.text import Text

    parts = []
    if runs:
        parts.append(_runs(runs, now))
    if schedules:
        parts.append(_schedules(schedules, now))
    if not parts:
        return []
    if width < WIDE or len(parts) == 1:
        return [one for part in parts for one in (Text(""), part)]
    beside = RichTable.grid(expand=True, padding=(0, 3))
    beside.add_column(ratio=3)
    beside.add_column(ratio=2)
    beside.add_row(*parts)
    return [Text(""), beside]


def _lines_below(runs: Sequence[Json], schedules: Sequence[Json], width: int) -> int:
    heights = [len(rows) + 2 for rows in (runs, schedules) if rows]
    return max(heights, default=0) if width >= WIDE else sum(heights)


def _runs(runs: Sequence[Json], now: int) -> RichTable:
    from rich.text import Text

    table = _grid(("RUNNING", "right", False), ("QUEUE", "left", False), ("WHAT", "left", True))
    for run in runs:
        elapsed_ms = max(now - parse_rfc3339(run["started"]), 0)
        what = Text(clean(run.get("key") or run["id"]), no_wrap=True, overflow="ellipsis")
        if run["attempt"] > 1:
            what.append(f"  attempt {run['attempt']}", "yellow")
        what.append(f"  {clean(run['target'])}", "dim")
        table.add_row(Text(span(elapsed_ms), "cyan"), Text(clean(run["queue"])), what)
    return table


def _schedules(schedules: Sequence[Json], now: int) -> RichTable:
    from rich.text import Text

    table = _grid(("NEXT", "right", False), ("SCHEDULE", "left", True))
    for one in schedules:
        until_ms = parse_rfc3339(one["nextRun"]) - now
        style = "red" if one.get("overdue") else ""
        name = Text(clean(_name(one)), no_wrap=True, overflow="ellipsis")
        name.append(f"  {clean(one['queue'])}", "dim")
        table.add_row(Text(off(until_ms), style), name)
    return table


def _grid(*columns: tuple[str, str, bool]) -> RichTable:
    """A table without lines. Shape: heading, side, and whether it gives way to the others."""
    from rich.table import Table as RichTable

    table = RichTable(
        box=None, expand=False, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim"
    )
    for heading, side, is_wide in columns:
        table.add_column(
            heading,
            justify="right" if side == "right" else "left",
            no_wrap=not is_wide,  # what may wrap is what gives way; its cells are cut instead
            overflow="ellipsis",
            max_width=None if is_wide else 24,
        )
    return table


def _ordered(queues: Sequence[Json], now: int) -> list[Json]:
    """Queues in trouble, those at work, those that wait, the others; each by name."""

    def rank(queue: Json) -> tuple[int, str]:
        if _late_ms(queue, now) or queue.get("failures"):
            return 0, queue["name"]
        if queue["running"] or queue.get("inRate") or queue.get("outRate"):
            return 1, queue["name"]
        return (2 if queue["pending"] + queue["retry"] else 3), queue["name"]

    return sorted(queues, key=rank)


def _late_ms(queue: Json, now: int) -> int:
    """How long ago the first item that waits should have begun; 0 for a pause, which is meant."""
    if "oldestDue" not in queue or queue.get("paused"):
        return 0
    late_ms = now - parse_rfc3339(queue["oldestDue"])
    return late_ms if late_ms >= LATE_MS else 0


def _late_style(late_ms: int) -> str:
    return "red" if late_ms >= VERY_LATE_MS else "yellow" if late_ms else ""


def _curve(past: Past | None, name: str) -> RenderableType:
    from rich.text import Text

    rates = () if past is None else tuple(past.rates.get(name, ()))
    most = max(rates, default=0.0)
    if not most:
        return Text("")
    return Text(
        "".join(_BARS[min(int(rate / most * len(_BARS)), len(_BARS) - 1)] for rate in rates),
        "green",
    )


def _number(value: int, style: str = "") -> RenderableType:
    from rich.text import Text

    return Text(_count(value), style) if value else Text("0", "dim")


def _count(value: int) -> str:
    return f"{value:,}" if value < 10_000_000 else f"{value / 1_000_000:,.1f}M"


def _rate(value: float) -> str:
    """A rate with as many digits as tell something; nothing for none."""
    if not value:
        return ""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _span(ms: int) -> str:
    return span(ms) if ms else ""


def _name(schedule: Json) -> str:
    return str(schedule.get("key") or schedule["id"])
