"""The API's JSON as text for people: lines, details, and tables that a terminal can show.

Owns: which columns a listing has, how states and instants look, and that no control character
out of a handler's answer, a key or a queue reaches a terminal. Never prints, never asks for
the time, and imports rich only to build a table for a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lq.when import describe_instant, format_duration, parse_rfc3339

if TYPE_CHECKING:
    from rich.text import Text

Json = dict[str, Any]

UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What JSON does not escape but a terminal may obey: DEL, C1, text direction, half characters."""

_CONTROL = re.compile(rf"[\0-\x1f]|{UNSAFE.pattern}")
_NO_LOG = re.compile(rf"\x1b(?!\[[0-9;]*m)|[\0-\x08\x0b-\x1a\x1c-\x1f]|{UNSAFE.pattern}")
_STYLES = {
    "COMPLETED": "green",
    "FAILED": "red",
    "RETRY": "yellow",
    "RUNNING": "cyan",
    "CANCELLED": "dim",
    "succeeded": "green",
    "failed": "red",
    "rejected": "red",
    "interrupted": "yellow",
    "paused": "yellow",
    "revoked": "dim",
    "expired": "dim",
    "ok": "green",
    "validated": "green",
    "invalid": "red",
    "unknown": "yellow",
    "exempt": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "cancelled": "dim",
    "skipped": "dim",
    "ended": "dim",
    "overdue": "red",
    "created": "green",
    "updated": "yellow",
    "removed": "red",
    "conflict": "red",
}
_DONE = {"created": "Pushed", "replaced": "Replaced", "kept": "Kept"}


LEAST, GAP, ROOM = 12, 2, 32  # cells: of a column that is cut; between two; for the last one
YIELDING = ("QUEUE", "KEY")  # what is cut first, the last of them before the others


class Table(NamedTuple):
    """Rows of cells under their headings, the most important column first.

    Shape: with `folded`, programs too get the last column on a line of its own below its row. A
    terminal has the columns that are `kept` whatever its width: the first, a name, is cut for them.
    """

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    folded: bool = False
    kept: tuple[str, ...] = ()


def clean(text: object) -> str:
    r"""Text on one line that no terminal obeys: what controls becomes `\n`, `\x1b` or `\u202e`."""
    return _CONTROL.sub(_escaped, str(text))


def clean_log(text: str) -> str:
    r"""Lines that change nothing of a terminal but its colours; other controls become `\x1b`."""
    return _NO_LOG.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(found: re.Match[str]) -> str:
    return (
        found[0].encode("ascii", "backslashreplace").decode()
        if ord(found[0]) > 127
        else repr(found[0])[1:-1]
    )


# Lines


def pushed_line(item: Json, now: int) -> str:
    """What a push did, for when, and the item's id."""
    key = f" (key {clean(item['key'])})" if "key" in item else ""
    kept = " as it was" if item["outcome"] == "kept" else ""
    did = f"{_DONE[item['outcome']]} {item['id']} in {clean(item['queue'])}{key}{kept}"
    return f"{did}, {due(item, now)}"


def due(item: Json, now: int) -> str:
    """For when an item is, absolute and relative."""
    at = parse_rfc3339(item.get("nextAttempt") or item["notBefore"])
    return f"due {describe_instant(at, now)}" if at > now else "due now"


def attempt_line(attempt: Json) -> str:
    """One finished attempt."""
    said = attempt.get("error") or f"status {attempt.get('status')}"
    took = format_duration(attempt["ms"])
    return f"Attempt {attempt['n']} {attempt['outcome']} after {took}: {clean(said)}"


def state_line(item: Json) -> str:
    """Where an item is, and why."""
    tries = item["attempts"]
    error = f": {clean(item['error'])}" if "error" in item else ""
    return f"{item['id']} is {item['state']} after {counted(tries, 'attempt')}{error}"


def secret_lines(secrets: Json, form: str | None, now: int) -> list[str]:
    """What else is valid besides the newest signing secret, and until when.

    Shape: `form` is the member that is shown, None to show no secret.
    """
    return [
        f"{clean(old[form]) if form else 'An older one'} is valid until"
        f" {describe_instant(parse_rfc3339(old['until']), now)}"
        for old in secrets.get("older", ())
    ]


# Details


def item_details(item: Json, now: int) -> list[tuple[str, str]]:
    """What there is to say about one item, labelled."""
    target, over_http = item["target"], item["type"] == "HTTP"
    details = [
        ("id", item["id"]),
        ("queue", item["queue"]),
        ("key", item.get("key")),
        ("schedule", item.get("schedule")),
        ("fire time", moment(item.get("fireTime"), now)),
        ("catch-up", f"for {counted(item['missed'], 'missed time')}" if "missed" in item else None),
        ("state", item["state"]),
        ("error", item.get("error")),
        ("target", f"{target['method']} {target['url']}" if over_http else target["url"]),
        ("created", moment(item.get("created"), now)),
        ("not before", moment(item.get("notBefore"), now)),
        ("next try", moment(item.get("nextAttempt"), now)),
        ("finished", moment(item.get("finished"), now)),
        ("expires", moment(item.get("expires"), now)),
        ("attempts", f"{item['attempts']} of {item['maxAttempts']}"),
        ("last status", item.get("lastStatus")),
        ("retry", item.get("retry")),
        ("timeout", item.get("timeout")),
        ("completion", item.get("completion")),
        ("labels", ", ".join(item.get("labels", ()))),
        ("headers", ", ".join(f"{n}: {v}" for n, v in item.get("headers", {}).items())),
        ("payload", payload_text(item)),
        ("redacted", ", ".join(item.get("redacted", ()))),
    ]
    return present(details)


def why_text(why: Json, now: int) -> str:
    """Why an item is where it is: a sentence, then each gate that is closed to it."""
    lines = [f"{clean(why['id'])} in {clean(why['queue'])} is {why['state']}"]
    lines.append(clean(why["summary"]))
    details = [(gate["gate"], _gate_text(gate, now)) for gate in why["gates"]]
    if why.get("ahead"):
        details.append(("ahead", f"{counted(why['ahead'], 'item')} of its queue"))
    if "predictedStart" in why:
        details.append(("starts", f"{moment(why['predictedStart'], now)}, as it looks now"))
    elif why["gates"]:
        details.append(("starts", "nobody can know, until that changes"))
    details.append(("last error", clean(why.get("error", ""))))
    shown = present(details)
    return "\n".join([*lines, *(["", details_text(shown)] if shown else [])])


def _gate_text(gate: Json, now: int) -> str:
    text = str(gate["reason"])
    if until := gate.get("until"):
        text += f"; until {moment(until, now)}"
    if by := gate.get("by"):
        text += f"; by {', '.join(by)}"
    return text


def queue_details(queue: Json, now: int) -> list[tuple[str, str]]:
    """What there is to say about one queue, labelled."""
    counts = [f"{queue[name]} {name}" for name in _COUNTS if name in queue]
    details = [
        ("queue", queue["name"]),
        ("state", queue_state(queue, now)),
        ("items", ", ".join(counts)),
        ("next due", moment(queue.get("oldestDue"), now)),
        ("target", queue.get("target")),
        ("method", queue.get("method")),
        ("headers", ", ".join(f"{n}: {v}" for n, v in queue.get("headers", {}).items())),
        ("concurrency", queue.get("concurrency")),
        ("rate", queue.get("rate")),
        ("burst", queue.get("burst")),
        ("fifo", "yes" if queue.get("fifo") else None),
        ("retry", queue.get("retryPolicy")),
        ("timeout", queue.get("timeout")),
        ("redact", ", ".join(queue.get("redact", ()))),
        ("fixed", ", ".join(f"{key} by {by}" for key, by in queue.get("setBy", {}).items())),
    ]
    return present(details)


def details_text(details: Sequence[tuple[str, str]]) -> str:
    """Labelled values, one a line."""
    width = max(len(label) for label, _ in details)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in details)


def present(details: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    """The details that have a value, cleaned."""
    return [(label, clean(value)) for label, value in details if value not in {None, ""}]


def payload_text(item: Json) -> str:
    """A payload, or its beginning, and its type."""
    if "payload" not in item:
        return "empty"
    value = item["payload"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    kind = "base64" if "payloadEncoding" in item else item.get("payloadType", "")
    shown = text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
    return f"{shown}  [{kind}]" if kind else shown


# Tables

_COUNTS = ("pending", "retry", "running", "completed", "failed", "cancelled")


def items_table(items: Sequence[Json], now: int) -> Table:
    """Unfinished items."""
    rows = [
        (
            item["id"],
            item["state"],
            item["queue"],
            item.get("key", ""),
            ago(item.get("nextAttempt"), now),
            f"{item['attempts']}/{item['maxAttempts']}",
            item.get("error", ""),
        )
        for item in items
    ]
    return table_of(("ID", "STATE", "QUEUE", "KEY", "DUE", "TRIES", "ERROR"), rows)


def history_table(items: Sequence[Json], now: int) -> Table:
    """Finished items."""
    rows = [
        (
            item["id"],
            item["state"],
            item["queue"],
            item.get("key", ""),
            ago(item.get("finished"), now),
            f"{item['attempts']}/{item['maxAttempts']}",
            item.get("error") or (f"status {item['lastStatus']}" if "lastStatus" in item else ""),
        )
        for item in items
    ]
    return table_of(("ID", "STATE", "QUEUE", "KEY", "FINISHED", "TRIES", "RESULT"), rows)


def attempts_table(attempts: Sequence[Json], now: int) -> Table:
    """The attempts of one item."""
    rows = [
        (
            attempt["n"],
            ago(attempt["started"], now),
            format_duration(attempt["ms"]) if "ms" in attempt else "",
            attempt.get("outcome", "RUNNING"),
            attempt.get("status", ""),
            attempt.get("error") or attempt.get("responseBody", ""),
        )
        for attempt in attempts
    ]
    return table_of(("TRY", "STARTED", "TOOK", "OUTCOME", "STATUS", "ANSWER"), rows)


def queues_table(queues: Sequence[Json], now: int) -> Table:
    """Queues with their counts."""
    rows = [
        (
            queue["name"],
            queue_state(queue, now),
            *(queue.get(name, "") for name in _COUNTS[:-1]),
            ago(queue.get("oldestDue"), now),
            queue.get("target", ""),
        )
        for queue in queues
    ]
    counts = ("PENDING", "RETRY", "RUNNING", "DONE", "FAILED")
    return table_of(("QUEUE", "STATE", *counts, "NEXT DUE", "TARGET"), rows)


def settings_table(settings: Sequence[Json]) -> Table:
    """What a reload does to settings."""
    rows = [
        (one["key"], one["change"], one.get("before", ""), one.get("after", "")) for one in settings
    ]
    return table_of(("SETTING", "CHANGE", "BEFORE", "AFTER"), rows)


def scriptlets_table(scriptlets: Sequence[Json], now: int) -> Table:
    """Scriptlets, with what is wrong with their files."""
    rows = [
        (
            one["name"],
            one.get("fault") or "ok",
            one["timeout"],
            one.get("user", ""),
            one["where"],
            " ".join(map(_word, one["command"])),
        )
        for one in scriptlets
    ]
    return table_of(("NAME", "STATE", "TIMEOUT", "USER", "FROM", "COMMAND"), rows)


def scriptlet_details(one: Json) -> list[tuple[str, str]]:
    """All that is set for a scriptlet."""
    words = {"killAfter": "kill after", "maxOutput": "max output", "cpuSeconds": "cpu seconds"}
    shown = {name: value for name, value in one.items() if name not in {"command", "env"}}
    details = [(words.get(name, name), clean(value)) for name, value in shown.items()]
    details.insert(1, ("command", clean(" ".join(map(_word, one["command"])))))
    if one.get("env"):
        details.append(("env", clean(", ".join(one["env"]))))
    return details


def _word(text: str) -> str:
    """A word of a command as a shell would take it."""
    import shlex

    return shlex.quote(text)


def alerts_table(alerts: Sequence[Json], now: int) -> Table:
    """Alerts, with what is wrong by each."""
    rows = [
        (
            alert["name"],
            ", ".join(map(_wrong, alert.get("wrong", ()))) or "all well",
            ", ".join(word.replace("_", " ") for word in alert["on"]),
            _watched(alert),
            alert["target"],
            ago(alert.get("lastSent"), now) or "never",
        )
        for alert in alerts
    ]
    return table_of(("NAME", "STATE", "TELLS OF", "IN", "TO", "LAST SENT"), rows)


def _wrong(wrong: Json) -> str:
    """What an alert has told of one subject."""
    said = [f"failed {counted(wrong['failures'], 'time')}"] if wrong.get("failures") else []
    said += ["late"] if wrong.get("late") else []
    said += ["takes too long"] if wrong.get("tooLong") else []
    return f"{wrong['subject']}: {', '.join(said)}"


def _watched(alert: Json) -> str:
    """What an alert looks at."""
    patterns = [
        f"{noun} {', '.join(alert[noun])}"
        for noun in ("queues", "schedules", "scriptlets")
        if noun in alert
    ]
    return "; ".join(patterns) or "everything"


def tokens_table(tokens: Sequence[Json], now: int) -> Table:
    """Tokens, without the tokens themselves."""
    rows = [
        (
            token["name"],
            _token_state(token, now),
            ",".join(token["scopes"]),
            ago(token["created"], now),
            ago(token.get("expires"), now) or "never",
            ago(token.get("lastUsed"), now) or "never",
            ", ".join(token.get("queues", ())) or "all",
        )
        for token in tokens
    ]
    return table_of(("NAME", "STATE", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "QUEUES"), rows)


def table_text(table: Table) -> str:
    """A table as aligned text, for programs and dumb terminals: nothing cut, nothing coloured."""
    lines = [table.headings, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if table.folded:
        widths.pop()
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    if table.folded:
        for i, row in enumerate(table.rows, 1):
            text[i] = f"{text[i]}\n{' ' * GAP}{row[-1]}".rstrip()
    return "\n".join(text)


def table_rich(table: Table, width: int) -> Text:
    """A table for a terminal of that width: the columns that fit, and always the last one.

    Shape: columns without a single value are left out, and the first is whole unless others
    are `kept`. Where too little room is left for the last column, which says what came of a row,
    it stands on a dim line below its row. Else KEY and QUEUE are the first to be cut, and to go.
    """
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    columns = [*zip(table.headings, *table.rows, strict=True)]
    needed = {
        i: max(map(cell_len, column)) for i, column in enumerate(columns) if any(column[1:])
    } or {0: cell_len(table.headings[0])}
    last = len(columns) - 1
    room = width - sum(cells + GAP for i, cells in needed.items() if i != last)
    below = last in needed and len(needed) > 1 and room < min(needed[last], ROOM)
    if below:
        del needed[last]
    elif last in needed and len(needed) > 1:
        needed[last] = min(needed[last], room)
    widths = _fitted(needed, table, width)
    shown = Text(no_wrap=True, overflow="ellipsis")

    def add(row: Sequence[str], styles: Sequence[str]) -> None:
        cells = [(_cut(row[i], cells), styles[i], cells) for i, cells in widths.items()]
        while len(cells) > 1 and not cells[-1][0]:
            cells.pop()
        for text, style, size in cells[:-1]:
            shown.append(set_cell_size(text, size), style).append(" " * GAP)
        shown.append(*cells[-1][:2])

    add(table.headings, ["bold"] * len(table.headings))
    for row in table.rows:
        shown.append("\n")
        add(row, [_STYLES.get(cell.partition(",")[0], "") for cell in row])
        if below and row[last]:
            shown.append(f"\n{' ' * GAP}{_cut(row[last], max(width - GAP, LEAST))}", "dim")
    return shown


def _fitted(needed: Mapping[int, int], table: Table, width: int) -> dict[int, int]:
    """The widths of the columns that a line can hold, the names of people's making cut first."""
    widths = dict(needed)
    first = min(widths)
    headings, kept = table.headings, table.kept

    def excess() -> int:
        return sum(cells + GAP for cells in widths.values()) - GAP - width

    if kept:
        widths[first] = min(widths[first], LEAST)
    yielding = [i for i in widths if headings[i] in YIELDING and i != first]
    for i in reversed(yielding):
        widths[i] = max(min(widths[i], LEAST), widths[i] - max(excess(), 0))
    for i in (*reversed(yielding), *sorted(needed, reverse=True)):
        if excess() > 0 and i in widths and i != first and headings[i] not in kept:
            del widths[i]
    if kept:  # the first has what the others have left
        widths[first] = min(needed[first], widths[first] + max(-excess(), 0))
    return widths


def _cut(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else f"{set_cell_size(text, max(width - 1, 0))}…"


def table_of(headings: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Table:
    """A table of anything that has a text, cleaned."""
    return Table(headings, [tuple(map(clean, row)) for row in rows])


def queue_state(queue: Json, now: int) -> str:
    if not queue["paused"]:
        return "active"
    until, reason = queue.get("pausedUntil"), queue.get("pauseReason")
    left = f", {span(parse_rfc3339(until) - now)} left" if until else ""
    return f"paused{left}" + (f" ({reason})" if reason else "")


def _token_state(token: Json, now: int) -> str:
    if "revoked" in token:
        return "revoked"
    expires = token.get("expires")
    return "expired" if expires and parse_rfc3339(expires) <= now else "live"


def moment(instant: str | None, now: int) -> str | None:
    """An instant in the zone of this machine, and how far off it is."""
    return None if instant is None else describe_instant(parse_rfc3339(instant), now)


def ago(instant: str | None, now: int) -> str:
    """How far off an instant is: "in 5m", "3h12m ago"."""
    return "" if instant is None else off(parse_rfc3339(instant) - now)


def off(ms: int) -> str:
    """How far ahead, or back, that many milliseconds are: "in 5m", "3h12m ago"."""
    if abs(ms) < 1000:
        return "now"
    return f"in {span(ms)}" if ms > 0 else f"{span(-ms)} ago"


def span(ms: int) -> str:
    """A duration in at most two units, for a column."""
    grain = next(grain for below, grain in _GRAINS if ms < below)
    return format_duration(max(ms + grain // 2, 0) // grain * grain)


def counted(number: int, noun: str) -> str:
    """A number of things: "1 attempt", "2 attempts"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


_GRAINS = (
    (600_000, 1000),
    (86_400_000, 60_000),
    (10 * 86_400_000, 3_600_000),
    (float("inf"), 86_400_000),
)
