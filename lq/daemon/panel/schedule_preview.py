"""What a rule means, told while it is typed: in words, when it fires next, what the clocks do.

Owns: how the start, the end and the number of times of a schedule bound the times of its rule.
The rule itself the API explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lq.daemon.panel.schedule_typed import instant_of, rule_of
from lq.daemon.panel.schedules import NEXT, told
from lq.daemon.panel.visit import Json, Visit
from lq.errors import ValidationError
from lq.when import format_instant, parse_rfc3339

FIELDS: Final = ("x-lq-schedule", "x-lq-tz", "x-lq-start", "x-lq-until", "x-lq-times")
"""What the explanation depends on."""

_LABELS: Final = {"expr": "rule", "tz": "time zone"}


async def preview(visit: Visit, typed: Mapping[str, str]) -> Json | None:
    """What has been typed, explained; None before there is a rule.

    Shape: `wrong` says what is not understood; else `words`, `warnings` and `runs`.
    """
    rule, zone, start, until, times = (typed.get(name, "").strip() for name in FIELDS)
    if not rule:
        return None
    wrong: list[tuple[str, str]] = []
    begins = _instant(start, zone, visit.now, "start", wrong)
    ends = _instant(until, zone, visit.now, "end", wrong)
    try:
        cron = await _explained(visit, rule_of(rule), zone, begins)
    except ValidationError as error:
        wrong += [(_LABELS.get(one.path, one.path), one.message) for one in error.issues]
    if wrong:
        return {"wrong": wrong}
    runs = [one for one in told(cron) if ends is None or one["at"] <= ends]
    most = (
        min(int(times), NEXT) if times.isascii() and times.isdigit() and len(times) < 10 else NEXT
    )
    return {
        "words": cron["explanation"],
        "zone": "" if cron["schedule"].startswith("E=") else cron["timezone"],
        "warnings": cron["warnings"],
        "runs": runs[:most],
        "interval": cron["schedule"].startswith("E="),
    }


async def _explained(visit: Visit, rule: str, zone: str, begins: int | None) -> Json:
    """A rule and its next times, those from its start on. Raises: ValidationError."""

    async def ask(after: int, count: int) -> Json:
        query = {"expr": rule, "tz": zone, "from": format_instant(max(after, 0)), "count": count}
        found: Json = await visit.get("/cron", query)
        return found

    if begins is None:
        return await ask(visit.now, NEXT)
    if not rule.lstrip().upper().startswith("E="):
        return await ask(max(begins - 1, visit.now), NEXT)
    # The times of an interval are told from where it is asked about; its start is one of them.
    found = await ask(begins, NEXT)
    if begins > visit.now:
        return {**found, "times": [format_instant(begins), *found["times"][: NEXT - 1]]}
    first: Sequence[str] = found["times"]
    every = parse_rfc3339(first[0]) - begins
    return await ask(visit.now - (visit.now - begins) % every, NEXT)


def _instant(
    text: str, zone: str, now: int, label: str, wrong: list[tuple[str, str]]
) -> int | None:
    if not text:
        return None
    try:
        return parse_rfc3339(instant_of(text, zone, now))
    except ValueError as error:
        wrong.append((label, str(error)))
        return None
