"""`lq schedules`: what runs when, and the verbs on schedules."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client, Json, ScheduleOptions
from lq.commands import common, cron, push, simulate
from lq.commands.common import All, AsJson, IdsOnly, Limit, known, looking, note, now, out, out_json
from lq.commands.schedule_options import (
    TIMES,
    WORK,
    Completion,
    ContentType,
    Data,
    Expires,
    Header,
    Jitter,
    Label,
    Method,
    Misfire,
    Overlap,
    Retry,
    Start,
    Target,
    Timeout,
    Times,
    Until,
    Zone,
)

app = common.app(help="List, make, change, pause and foretell schedules.")

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="Its key or id.",
        show_default=False,
        autocompletion=common.schedule_keys,
    ),
]
Refs = Annotated[
    list[str],
    typer.Argument(
        metavar="REF...",
        help="Their keys or ids.",
        show_default=False,
        autocompletion=common.schedule_keys,
    ),
]


@app.command("ls")
@common.remote
def list_schedules(
    client: Client,
    *,
    queue: common.OfQueue = None,
    limit: Limit = None,
    everything: All = False,
    as_json: AsJson = False,
    quiet: IdsOnly = False,
) -> None:
    """List schedules by key, with their last and next run."""
    from lq.render_schedules import schedules_table

    found = common.listing(client.schedules, limit, everything, queue=queue)
    common.show_listing(found, schedules_table, as_json=as_json, quiet=quiet)


@app.command()
@common.remote
def show(client: Client, *, ref: Ref, as_json: AsJson = False) -> None:
    """Show one schedule with its payload."""
    schedule = known(client.schedule)(ref)
    if as_json:
        out_json(schedule)
        return
    from lq.render import details_text
    from lq.render_schedules import schedule_details

    out(details_text(schedule_details(schedule, now())))


@app.command()
@common.remote
def add(
    client: Client,
    *,
    words: Annotated[
        list[str], typer.Argument(metavar="RULE", help=cron.RULE_HELP, show_default=False)
    ],
    queue: Annotated[
        str,
        typer.Option("--queue", metavar="QUEUE", help="Where to push.", rich_help_panel=WORK),
    ],
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Its name; a second `add` with it changes this one."),
    ] = None,
    target: Target = None,
    data: Data = None,
    content_type: ContentType = None,
    header: Header = None,
    method: Method = None,
    retry: Retry = None,
    timeout: Timeout = None,
    expires: Expires = None,
    label: Label = None,
    no_validate: Annotated[
        bool,
        typer.Option(
            "--no-validate",
            help="Call it even if it never proved the secret.",
            rich_help_panel=WORK,
        ),
    ] = False,
    completion: Completion = None,
    tz: Zone = None,
    start: Start = None,
    until: Until = None,
    times: Times = None,
    jitter: Jitter = None,
    misfire: Misfire = None,
    overlap: Overlap = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule, which pushes an item at each of its times.

    With a key it is safe to repeat: what changes nothing moves nothing.
    """
    rule = cron.read_rule(words)
    payload = push.read_payload(data or "")
    options: ScheduleOptions = {
        "key": key,
        "target": target,
        "content_type": content_type or push.recognised_type(payload),
        "headers": push.read_headers(header or []),
        "method": method,
        "retry": retry,
        "timeout_ms": _milliseconds(timeout),
        "expires": expires,
        "labels": label,
        "validate": not no_validate,
        "completion": completion,
        "tz": tz,
        "start": _instant(start, tz or "UTC", "--start"),
        "until": _instant(until, tz or "UTC", "--until"),
        "times": times,
        "jitter_ms": _milliseconds(jitter),
        "misfire": misfire,
        "overlap": overlap,
    }
    schedule = client.create_schedule(rule, queue, payload, idempotency_key=None, **options)
    _show_saved(client, schedule, as_json=as_json)


@app.command()
@common.remote
def edit(
    client: Client,
    *,
    ref: Ref,
    rule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="RULE", help=cron.RULE_HELP, rich_help_panel=TIMES),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="QUEUE", help="Where to push.", rich_help_panel=WORK),
    ] = None,
    target: Target = None,
    data: Data = None,
    content_type: ContentType = None,
    header: Header = None,
    method: Method = None,
    retry: Retry = None,
    timeout: Timeout = None,
    expires: Expires = None,
    label: Label = None,
    validate: Annotated[
        bool | None,
        typer.Option(
            help="Whether the target must prove that it knows the secret.",
            rich_help_panel=WORK,
        ),
    ] = None,
    completion: Completion = None,
    tz: Zone = None,
    start: Start = None,
    until: Until = None,
    times: Times = None,
    jitter: Jitter = None,
    misfire: Misfire = None,
    overlap: Overlap = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule for the runs to come; what is not named stays.

    An empty value takes an option away, as in --until ''.
    """
    payload = push.read_payload(data or "")
    if data is not None and not payload:
        raise typer.BadParameter(
            "an edit cannot empty the payload; `lq schedules add` with the same key, and no"
            " --data, can",
            param_hint="--data",
        )
    if data is None and content_type is not None:
        raise typer.BadParameter(
            "is that of the payload: say --data, too", param_hint="--content-type"
        )
    zone = tz
    if zone is None and (start or until):
        zone = known(client.schedule)(ref)["timezone"]
    options: ScheduleOptions = {
        "target": target,
        "content_type": content_type or push.recognised_type(payload),
        "headers": {} if header == [""] else push.read_headers(header or []) or None,
        "method": method,
        "retry": retry,
        "timeout_ms": _milliseconds(timeout),
        "expires": expires,
        "labels": [] if label == [""] else label,
        "validate": validate,
        "completion": completion,
        "tz": tz,
        "start": _instant(start, zone, "--start"),
        "until": _instant(until, zone, "--until"),
        "times": times,
        "jitter_ms": _milliseconds(jitter),
        "misfire": misfire,
        "overlap": overlap,
    }
    if all(value is None for value in (rule, queue, *options.values())):
        raise typer.BadParameter("say what to change")
    rule = None if rule is None else cron.read_rule([rule])
    schedule = known(client.edit_schedule)(ref, payload, rule=rule, queue=queue, **options)
    _show_saved(client, schedule, as_json=as_json)


@app.command("rm")
@common.remote
def remove(client: Client, *, refs: Refs, as_json: AsJson = False) -> None:
    """Remove schedules; items that they have made stay."""
    from lq.render_schedules import schedule_name

    common.each(
        refs,
        known(client.delete_schedule),
        lambda schedule: f"Removed {schedule_name(schedule)}",
        as_json=as_json,
    )


@app.command()
@common.remote
def pause(client: Client, *, refs: Refs, as_json: AsJson = False) -> None:
    """Let schedules rest until they are resumed."""
    from lq.render_schedules import schedule_name

    common.each(
        refs,
        known(client.pause_schedule),
        lambda schedule: f"Paused {schedule_name(schedule)}",
        as_json=as_json,
    )


@app.command()
@common.remote
def resume(client: Client, *, refs: Refs, as_json: AsJson = False) -> None:
    """Let paused schedules go on from now.

    The runs that passed in the meantime are not made up for.
    """
    from lq.render_schedules import resumed_line

    common.each(
        refs,
        known(client.resume_schedule),
        lambda schedule: resumed_line(schedule, now()),
        as_json=as_json,
    )


@app.command()
@common.remote
def run(
    client: Client,
    *,
    ref: Ref,
    wait: common.Wait = False,
    wait_timeout: common.WaitTimeout = None,
    as_json: AsJson = False,
) -> None:
    """Push an item of a schedule now, besides its planned ones.

    It works for a paused schedule, too. With a terminal it says what was pushed, otherwise it
    prints the bare id.
    """
    from lq.render import pushed_line

    item = known(client.run_schedule)(ref)
    waiting = wait or wait_timeout is not None
    if not (as_json and waiting):
        common.show_done(
            item,
            lambda item: pushed_line({"outcome": "created"} | item, now()),
            as_json=as_json,
        )
    if waiting:
        push.show_outcome(push.follow(client, item["id"], wait_timeout), as_json=as_json)


@app.command("next")
@common.remote
def show_next(
    client: Client,
    *,
    ref: Ref,
    since: cron.From = None,
    count: cron.Count = 5,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule runs next; of a paused one, when it would."""
    schedule = known(client.schedule)(ref)
    zone = schedule["timezone"]
    answer = client.schedule_next(schedule["id"], count, _instant(since, zone, "--from"))
    if as_json:
        out_json({"times": answer})
        return
    from lq.render_schedules import Run, times_table
    from lq.when import parse_rfc3339

    times = [parse_rfc3339(text) for text in answer]
    if not times:
        note("It does not run any more.")
        return
    runs = [Run(at, zone, note=_note(schedule["schedule"], zone, at)) for at in times]
    common.show_table(times_table(runs, now()))


def _instant(text: str | None, zone: str | None, option: str) -> str | None:
    """An instant in RFC 3339; what is empty or not there stays as it is."""
    from lq.when import format_instant

    return format_instant(common.instant_in(zone, text, option)) if text else text


def _milliseconds(text: str | None) -> int | str | None:
    """A duration in milliseconds; what is empty or not there stays as it is."""
    return common.duration(text) if text else text


def _show_saved(client: Client, schedule: Json, *, as_json: bool) -> None:
    """Print what became of a schedule, and on stderr what may surprise about it."""
    from lq.render_schedules import next_lines, saved_line
    from lq.when import parse_rfc3339

    zone = schedule["timezone"]
    if as_json:
        out_json(schedule)
    elif looking():
        times = client.schedule_next(schedule["id"], 3)
        out(saved_line(schedule))
        for line in next_lines([parse_rfc3339(text) for text in times], zone, now()):
            out(line)
    else:
        out(schedule["id"])
    if schedule.get("outcome") != "kept":
        for warning in _warnings(schedule["schedule"], zone):
            note(f"warning: {warning}")


# A daemon of a later version may know rules and zones that this command line does not.


def _warnings(rule: str, zone: str) -> list[str]:
    from lq import firing

    try:
        return firing.warnings(rule, zone, now())
    except ValueError:
        return []


def _note(rule: str, zone: str, at: int) -> str:
    from lq import firing

    try:
        return firing.note(rule, zone, at) or ""
    except ValueError:
        return ""


app.command()(simulate.simulate)
