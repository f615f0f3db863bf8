"""What `lq import` says of what it found: each job with its next runs, and what is left.

Owns: the words. Never reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lq import firing
from lq.commands import common
from lq.commands.common import note, now, out
from lq.render import Table, clean
from lq.render_schedules import rule_in_words, wall
from lq.takeover import compare
from lq.takeover.job import Found, Rule
from lq.when import format_instant

if TYPE_CHECKING:
    from lq.takeover.block import Named, Settings

RUNS = 5

Old = Callable[[Rule], Sequence[int] | None]
"""When the old scheduler runs a rule next; None where it cannot be asked."""


def show(jobs: Sequence[Named], found: Found, settings: Settings, old: Old, *, who: str) -> None:
    """Say what of a source becomes what. Shape: `who` is the old scheduler, "cron"."""
    for named in jobs:
        job = named.job
        out(f"{clean(named.name)} ({clean(job.where)})")
        for key, rule in zip(named.keys, job.rules, strict=True):
            words = rule_in_words(rule.rule, firing.explain(rule.rule), rule.zone)
            out(f"  {words}{'' if key == named.name else f', as {clean(key)}'}")
            common.show_table(_table(rule, old(rule), who))
        for text in [*job.notes, *(text for rule in job.rules for text in _odd(rule, who))]:
            out(f"  note: {clean(text)}")
        out("")
    for one in found.left:
        out(f"left to {who}: {clean(one.where)}: {clean(one.text)}")
        out(f"  {clean(one.reason)}")
    for text in found.notes:
        note(f"note: {clean(text)}")
    if jobs:
        note(_manners(jobs, settings, who))


def as_json(jobs: Sequence[Named], found: Found, old: Old) -> dict[str, Any]:
    """The same for programs."""
    return {
        "jobs": [
            {
                "scriptlet": named.name,
                "where": named.job.where,
                "command": list(named.job.command),
                "schedules": [
                    {
                        "key": key,
                        "schedule": rule.rule,
                        "timezone": rule.zone,
                        "source": rule.source,
                        "next": [
                            {"at": format_instant(row.at), "lq": row.lq, "old": row.old}
                            for row in compare.next_runs(rule, old(rule), now(), RUNS)
                        ],
                    }
                    for key, rule in zip(named.keys, named.job.rules, strict=True)
                ],
                "notes": list(named.job.notes),
            }
            for named in jobs
        ],
        "left": [
            {"where": one.where, "line": one.text, "reason": one.reason} for one in found.left
        ],
        "notes": list(found.notes),
    }


def _table(rule: Rule, old: Sequence[int] | None, who: str) -> Table:
    rows = []
    for row in compare.next_runs(rule, old, now(), RUNS):
        at = wall(row.at, rule.zone, weekday=True)
        there = "?" if old is None else _times(row.old, "the same" if row.lq else at)
        rows.append((at if row.lq else "-", there, "" if row.lq == row.old else "DIFFERS"))
    return Table(("LQ", who.upper(), ""), rows)


def _times(count: int, text: str) -> str:
    return "-" if not count else text if count == 1 else f"{count} times"


def _odd(rule: Rule, who: str) -> Iterator[str]:
    """Where the clocks change and the two differ."""
    if not rule.fields:
        return
    for odd in compare.at_changes(rule, rule.zone, now()):
        day = wall(odd.at, rule.zone)[:10]
        parts = [
            f"{name} alone runs {_listed(times, rule.zone)}"
            for name, times in (("lq", odd.lq), (who, odd.old))
            if times
        ]
        yield f"on {day}, when the clocks change, {' and '.join(parts)}"


def _listed(times: Sequence[int], zone: str) -> str:
    shown = ", ".join(f"at {wall(at, zone)[11:]}" for at in times[:3])
    return shown if len(times) < 4 else f"{shown} and {len(times) - 3} times more"


def _manners(jobs: Sequence[Named], settings: Settings, who: str) -> str:
    """How the jobs will be run, where the old scheduler and lq have a choice."""
    kept, chosen = [], []
    if any(named.job.misfire is None for named in jobs):
        if settings.misfire == "skip":
            kept.append("what is missed is not made up for (--misfire once)")
        else:
            many = "once" if settings.misfire == "once" else "each time"
            chosen.append(f"what is missed is made up for {many}")
    if settings.retry == "0":
        kept.append("nothing is retried (--retry 3)")
    else:
        chosen.append(f"what fails is retried: {settings.retry}")
    if any(named.job.timeout is None for named in jobs):
        chosen.append(f"a run is ended after {settings.timeout} (--timeout)")
    told = [f"As under {who}, {' and '.join(kept)}."] if kept else []
    told += [f"Other than under {who}, {' and '.join(chosen)}."] if chosen else []
    return " ".join(told)
