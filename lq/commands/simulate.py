"""`lq schedules simulate`: the runs to come, computed as the daemon computes them.

Owns: turning the schedules of a daemon, or of a file, into what `lq.firing` simulates. What
depends on how long items take, such as an overlap, nobody can foretell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lq.client import Client, Json
from lq.commands import common
from lq.commands.common import AsJson, looking, note, now, out_json
from lq.when import DAY_MS

if TYPE_CHECKING:
    from lq.firing import Simulated
    from lq.model import ScheduleSpec

MOST_DAYS = 3650
MOST_SHOWN, MOST_COUNTED = 100_000, 10_000

Window = tuple[int, int]


class Subject(NamedTuple):
    """A schedule to simulate. Shape: `anchor_at` is one of the times of an interval."""

    spec: ScheduleSpec
    name: str
    id: str
    anchor_at: int
    fired: int = 0


class Foretold(NamedTuple):
    """A run of one of the subjects; they sort by when they are made."""

    made_at: int
    number: int
    run: Simulated


@common.remote
def simulate(
    client: Client,
    *,
    ref: Annotated[
        str | None,
        typer.Argument(metavar="[REF]", help="This one alone, by key or id.", show_default=False),
    ] = None,
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_DAYS, help="How far to look.")
    ] = 90,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From then on; now if not said.")
    ] = None,
    down: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FROM/TO",
            help='As if lq were down, as in "tomorrow 01:00/6h"; may be repeated.',
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Those of this lq.toml instead; needs no daemon."),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_SHOWN, help="At most this many.")
    ] = common.FEW,
    as_json: AsJson = False,
) -> None:
    """List the runs to come, and what is to become of them.

    It tells what clocks, downtimes and jitter do, by the rules of the daemon itself. Overlaps
    cannot be foretold. Paused schedules are left out, unless one is named.
    """
    start_at = common.instant_in(common.local_zone(), since, "--from") if since else now()
    downs = apart(map(window, down or ()))
    subjects = of_file(file, ref, start_at) if file else of_daemon(client, ref)
    found = foretell(subjects, start_at, start_at + days * DAY_MS, downs)
    shown = [*islice(found, limit)]
    rest = sum(1 for _ in islice(found, MOST_COUNTED + 1))
    if as_json:
        out_json([_as_json(subjects[one.number], one.run) for one in shown])
    elif shown or not looking():
        from lq.render_schedules import foretold, runs_table

        runs = ((subjects[one.number], one.run) for one in shown)
        common.show_table(runs_table([foretold(s.name, s.spec.zone, run) for s, run in runs]))
    else:
        note("Nothing runs in that time.")
    if rest:
        number = f"over {MOST_COUNTED}" if rest > MOST_COUNTED else rest
        note(f"There are {number} more: --limit N shows them.")


def window(text: str) -> Window:
    """What --down gives: two instants, or an instant and how long it lasts."""
    zone = common.local_zone()
    refusal = None
    for place, character in enumerate(text):
        if character != "/":  # the name of a zone may hold some, too
            continue
        try:
            start_at = common.instant_in(zone, text[:place], "--down")
            end_at = _end(text[place + 1 :], start_at, zone)
        except typer.BadParameter as error:
            refusal = error
            continue
        if end_at <= start_at:
            raise typer.BadParameter("ends before it begins", param_hint="--down")
        return start_at, end_at
    raise refusal or typer.BadParameter(
        'expected FROM/TO, such as "tomorrow 01:00/6h"', param_hint="--down"
    )


def _end(text: str, start_at: int, zone: str | None) -> int:
    from lq.when import parse_duration

    try:
        return start_at + parse_duration(text)
    except ValueError:
        return common.instant_in(zone, text, "--down")


def apart(windows: Iterator[Window]) -> list[Window]:
    """Windows in order, those that touch made one."""
    merged: list[Window] = []
    for start_at, end_at in sorted(windows):
        if merged and start_at <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end_at, merged[-1][1])
        else:
            merged.append((start_at, end_at))
    return merged


def of_file(path: str, ref: str | None, start_at: int) -> list[Subject]:
    """The schedules of an lq.toml; its intervals begin at the start, its jitter may differ."""
    from lq.config import load

    found = [
        Subject(entry.spec, entry.spec.key or "", entry.spec.key or "", start_at)
        for entry in load(path, os.environ).schedules
        if entry.paused is not True and ref in {None, entry.spec.key}
    ]
    if ref is not None and not found:
        raise typer.BadParameter(f"{path} has no schedule {ref} that is not paused")
    return found


def of_daemon(client: Client, ref: str | None) -> list[Subject]:
    """The schedules of the daemon, or the one named."""
    if ref is not None:
        schedule = common.known(client.schedule)(ref)
        if schedule["paused"]:
            note("It is paused; so it would run if it were resumed.")
        return [_subject(schedule)]
    from lq.render import clean

    listed = common.listing(client.schedules, None, True)
    resting = [schedule.get("key") or schedule["id"] for schedule in listed if schedule["paused"]]
    if resting:
        few = ", ".join(map(clean, resting[:3])) + (" …" if resting[3:] else "")
        note(f"Left out, because paused: {few}.")
    going = [s for s in listed if not s["paused"] and "nextRun" in s]
    return [_subject(schedule) for schedule in going]


def _subject(schedule: Json) -> Subject:
    from lq.model import Misfire, Overlap, Push, ScheduleSpec
    from lq.when import parse_duration, parse_rfc3339

    def instant(*names: str) -> int | None:
        return next((parse_rfc3339(schedule[name]) for name in names if name in schedule), None)

    spec = ScheduleSpec(
        rule=schedule["schedule"],
        push=Push(queue=schedule["queue"], payload=b""),
        zone=schedule["timezone"],
        key=schedule.get("key"),
        times=schedule.get("times"),
        start_at=instant("start"),
        until_at=instant("until"),
        jitter_ms=parse_duration(schedule.get("jitter", "0s")),
        misfire=Misfire(schedule["misfire"]),
        overlap=Overlap(schedule["overlap"]),
    )
    anchor_at = instant("nextRun", "lastRun", "created") or 0
    name = str(schedule.get("key") or schedule["id"])
    return Subject(spec, name, schedule["id"], anchor_at, schedule["fired"])


def foretell(
    subjects: Sequence[Subject], start_at: int, end_at: int, downs: Sequence[Window]
) -> Iterator[Foretold]:
    """The runs made in [start_at, end_at], in order; computed as they are asked for."""
    return merge(
        *(
            _runs(number, subject, start_at, end_at, downs)
            for number, subject in enumerate(subjects)
        )
    )


def _runs(
    number: int, subject: Subject, start_at: int, end_at: int, downs: Sequence[Window]
) -> Iterator[Foretold]:
    from lq import firing

    present = now()
    fired = subject.fired
    try:
        if start_at > present:
            times = firing.timing(subject.spec, subject.anchor_at)
            fired += times.count(present, start_at - 1)
        for run in firing.simulate(
            subject.spec,
            schedule_id=subject.id,
            anchor_at=subject.anchor_at,
            seen_at=start_at - 1,
            until=end_at,
            downs=downs,
            fired=fired,
        ):
            yield Foretold(run.made_at, number, run)
    except ValueError as error:
        from lq.render import clean

        note(f"{clean(subject.name)} is left out: {clean(error)}")  # a rule that only its lq knows


def _as_json(subject: Subject, run: Simulated) -> Json:
    """A run with the names that the item it pushes has."""
    from lq.when import format_instant

    planned = run.planned
    members: Json = {
        "schedule": subject.id,
        "key": subject.spec.key,
        "queue": subject.spec.push.queue,
        "fireTime": format_instant(planned.at),
        "created": format_instant(run.made_at),
        "notBefore": format_instant(run.due_at),
        "missed": planned.missed or None,
        "error": planned.skipped,
        "note": run.note,
    }
    return {name: value for name, value in members.items() if value is not None}
