"""Schedules as text for people: what they are, when they run, what a change does to them.

Owns: which columns the listings of schedules and of their times have, and how a time looks in
the zone of its schedule. Never prints, and never computes a time: those are the caller's.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lq.render import (
    Json,
    Table,
    ago,
    clean,
    counted,
    moment,
    off,
    payload_text,
    present,
    span,
    table_of,
)
from lq.when import (
    MINUTE_MS,
    UnknownZone,
    describe_instant,
    format_instant,
    load_zone,
    local_time,
    parse_rfc3339,
)

if TYPE_CHECKING:
    from lq.firing import Simulated

_DID = {"created": "Created", "replaced": "Changed", "kept": "Unchanged:"}
_BECAME = {
    "COMPLETED": "ok",
    "FAILED": "failed",
    "RUNNING": "running",
    "PENDING": "waiting",
    "RETRY": "retrying",
}


class Run(NamedTuple):
    """One time of one schedule, and what there is to know about it."""

    at: int
    zone: str
    name: str = ""
    note: str = ""


# One schedule


def schedule_name(schedule: Json) -> str:
    """The id, the queue, and the key if it has one."""
    key = f" (key {clean(schedule['key'])})" if "key" in schedule else ""
    return f"{schedule['id']} in {clean(schedule['queue'])}{key}"


def short_name(schedule: Json) -> str:
    """What to call a schedule by: its key, else its id."""
    return str(schedule.get("key") or schedule["id"])


def in_words(schedule: Json) -> str:
    """The rule as a sentence, with the zone that it is read in."""
    rule = schedule["schedule"]
    return rule_in_words(rule, schedule.get("explanation") or rule, schedule["timezone"])


def rule_in_words(rule: str, explanation: str, zone: str) -> str:
    """A rule's explanation with its zone, which means nothing to an interval."""
    return clean(explanation if rule.startswith("E=") else f"{explanation}, {zone}")


def saved_line(schedule: Json) -> str:
    """What an `add` or an `edit` did, in words."""
    did = _DID[schedule.get("outcome", "replaced")]
    return f"{did} {schedule_name(schedule)}: {in_words(schedule)}"


def resumed_line(schedule: Json, now: int) -> str:
    """That a schedule goes on, and when; or that there is nothing left of it."""
    if not schedule["paused"] and "nextRun" not in schedule:
        return f"Resumed {schedule_name(schedule)}, but it has ended and does not run any more"
    when = ", ".join(filter(None, _next(schedule, now)))
    return f"Resumed {schedule_name(schedule)}, next run: {when}"


def next_lines(times: Sequence[int], zone: str, now: int) -> list[str]:
    """The next times, one a line; that there are none is said as well."""
    if not times:
        return ["next  never"]
    labels = ["next", *[""] * (len(times) - 1)]
    return [
        f"{label:<4}  {wall(at, zone, weekday=True)}, {off(at - now)}"
        for label, at in zip(labels, times, strict=True)
    ]


def schedule_details(schedule: Json, now: int) -> list[tuple[str, str]]:
    """What there is to say about one schedule, labelled."""
    zone = schedule["timezone"]
    target = schedule.get("target")
    last = schedule.get("lastItem", {})
    times = schedule.get("times")
    details = [
        ("id", schedule["id"]),
        ("key", schedule.get("key")),
        ("state", _state(schedule, now)),
        ("rule", schedule["schedule"]),
        ("in words", schedule.get("explanation")),
        ("zone", zone),
        ("next run", _moment(schedule.get("nextRun"), zone, now)),
        ("last run", _moment(schedule.get("lastRun"), zone, now)),
        ("last item", " ".join(filter(None, (last.get("id"), _outcome(last))))),
        ("fired", f"{schedule['fired']} of {times}" if times else schedule["fired"]),
        ("start", _moment(schedule.get("start"), zone, now)),
        ("until", _moment(schedule.get("until"), zone, now)),
        ("queue", schedule["queue"]),
        ("target", f"{target['method']} {target['url']}" if target else None),
        ("misfire", schedule["misfire"]),
        ("overlap", schedule["overlap"]),
        ("jitter", schedule.get("jitter")),
        ("retry", schedule.get("retry")),
        ("timeout", schedule.get("timeout")),
        ("expires", schedule.get("expires")),
        ("validate", schedule.get("validate")),
        ("completion", schedule.get("completion")),
        ("labels", ", ".join(schedule.get("labels", ()))),
        ("headers", ", ".join(f"{n}: {v}" for n, v in schedule.get("headers", {}).items())),
        ("payload", payload_text(schedule)),
        ("made by", "lq.toml" if schedule["origin"] == "file" else "the API"),
        ("created", moment(schedule["created"], now)),
    ]
    return present(details)


def summary(changes: Sequence[Json]) -> Iterator[str]:
    """How many schedules each kind of change is made to: "2 created"."""
    for kind in ("created", "updated", "removed", "unchanged", "conflict"):
        number = sum(change["change"] == kind for change in changes)
        if number:
            yield counted(number, kind) if kind == "conflict" else f"{number} {kind}"


# Tables


def schedules_table(schedules: Sequence[Json], now: int) -> Table:
    """Schedules with their last and next run."""
    rows = [
        (short_name(schedule), _last(schedule, now), *_next(schedule, now), _about(schedule))
        for schedule in schedules
    ]
    table = table_of(("SCHEDULE", "LAST RUN", "NEXT RUN", "DUE", "RULE"), rows)
    return table._replace(folded=True, kept=("NEXT RUN", "DUE"))


def times_table(runs: Sequence[Run], now: int) -> Table:
    """The next times of a rule in its zone, and in UTC where that is another one."""
    local = all(run.zone == "UTC" for run in runs)
    rows = [
        (
            wall(run.at, run.zone, weekday=True),
            *(() if local else (format_instant(run.at).replace(".000Z", "Z"),)),
            off(run.at - now),
            run.note,
        )
        for run in runs
    ]
    headings = ("RUN", "DUE", "NOTE") if local else ("RUN", "UTC", "DUE", "NOTE")
    return table_of(headings, rows)._replace(folded=True)


def runs_table(runs: Sequence[Run]) -> Table:
    """The times of several schedules."""
    rows = [(wall(run.at, run.zone, weekday=True), run.name, run.note) for run in runs]
    return table_of(("RUN", "SCHEDULE", "NOTE"), rows)._replace(folded=True)


def changes_table(changes: Sequence[Json]) -> Table:
    """What a reload does to schedules, and to their next runs."""
    rows = [
        (change["key"], change["change"], _moved(change), change.get("note", ""))
        for change in changes
    ]
    return table_of(("SCHEDULE", "CHANGE", "NEXT RUN", "NOTE"), rows)._replace(folded=True)


def wall(at: int, zone: str, *, weekday: bool = False) -> str:
    """What the clocks of a zone show, seconds only where they count: "2026-12-01 02:30 CET"."""
    there = local_time(at, load_zone(known_zone(zone)))
    return f"{there:%a} {_clock(there)}" if weekday else _clock(there)


def known_zone(name: str) -> str:
    """A zone that this machine knows: a daemon elsewhere may know one more, shown in UTC here."""
    try:
        load_zone(name)
    except UnknownZone:
        return "UTC"
    return name


def foretold(name: str, zone: str, run: Simulated) -> Run:
    """A simulated run, with what becomes of it."""
    if run.planned.skipped:
        return Run(run.made_at, zone, name, run.planned.skipped)
    late, jitter_ms = run.planned.missed, run.due_at - run.made_at
    nominal = wall(run.planned.at, zone, weekday=True)
    told = [
        f"catch-up for {nominal}" if late == 1 else None,
        f"catch-up for {late} runs, the last {nominal}" if late > 1 else None,
        run.note,
        f"jitter {span(jitter_ms)}" if jitter_ms else None,
    ]
    return Run(run.made_at, zone, name, "; ".join(filter(None, told)))


def _next(schedule: Json, now: int) -> tuple[str, str]:
    if schedule["paused"]:
        return "paused", ""
    if "nextRun" not in schedule:
        return "ended", ""
    at = parse_rfc3339(schedule["nextRun"])
    if schedule.get("overdue"):
        return _overdue(at, now), ""
    return wall(at - at % MINUTE_MS, schedule["timezone"]), off(max(at - now, 0))


def _overdue(at: int, now: int) -> str:
    return f"overdue, {span(max(now - at, 0))}"


def _last(schedule: Json, now: int) -> str:
    """What the last item came to, and when if that is over."""
    last = schedule.get("lastItem")
    if last is None:
        return ago(schedule.get("lastRun"), now) or "never"
    outcome = _became(last)
    if outcome in {"running", "waiting", "retrying"}:
        return outcome
    when = ago(last.get("finished") or schedule.get("lastRun"), now)
    return ", ".join(filter(None, (outcome, when)))


def _became(item: Json) -> str:
    """One word for where a schedule's item is; none once the history has forgotten it."""
    if item.get("state") == "CANCELLED":
        left_out = str(item.get("error", "")).startswith(("overlap:", "misfire:"))
        return "skipped" if left_out else "cancelled"
    return _BECAME.get(item.get("state", ""), "")


def _outcome(item: Json) -> str:
    """Where an item is, and why."""
    became, error = _became(item), item.get("error")
    return became if error in {None, became} else f"{became}: {error}"


def _about(schedule: Json) -> str:
    """The rule in words, and what is to be told of its pause and its last item."""
    told = [in_words(schedule)]
    if "reason" in schedule:
        told.append(f"paused: {schedule['reason']}")
    last = schedule.get("lastItem", {})
    if _outcome(last) != _became(last):
        told.append(_outcome(last))
    return "; ".join(told)


def _state(schedule: Json, now: int) -> str:
    if schedule["paused"]:
        return ": ".join(filter(None, ("paused", schedule.get("reason"))))
    if "nextRun" not in schedule:
        return "ended"
    if schedule.get("overdue"):
        return _overdue(parse_rfc3339(schedule["nextRun"]), now)
    return "active"


def _moment(instant: str | None, zone: str, now: int) -> str | None:
    if instant is None:
        return None
    return describe_instant(parse_rfc3339(instant), now, known_zone(zone))


def _moved(change: Mapping[str, str]) -> str:
    """The next run before and after, once if it is the same."""
    before, after = (moment_here(change.get(name)) for name in ("nextBefore", "nextAfter"))
    if before == after or change["change"] == "created":
        return after
    return f"{before or 'none'} -> {after or 'none'}"


def moment_here(instant: str | None) -> str:
    """An instant as the clocks of this machine show it."""
    if instant is None:
        return ""
    return _clock(local_time(parse_rfc3339(instant), None).astimezone())


def _clock(there: datetime.datetime) -> str:
    grain = "seconds" if there.second else "minutes"
    return f"{there.replace(tzinfo=None).isoformat(' ', grain)} {there:%Z}"
