"""`lq queues`: how full they are, what they are set to, and their pause."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lq.client import ApiError, Client, Json
from lq.commands import common, filters, push
from lq.commands.common import AsJson, looking, now, out, out_json

if TYPE_CHECKING:
    from lq.client import QueueSettings

app = common.app(help="List, inspect, set, pause and resume queues.")

_SETTINGS = (
    *("concurrency", "rate", "burst", "fifo", "target"),
    *("method", "headers", "retry", "timeout"),
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE",
        help="The queue.",
        show_default=False,
        autocompletion=common.queue_names,
    ),
]
NamesOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the names alone.")]


@app.command("ls")
@common.remote
def list_queues(client: Client, *, as_json: AsJson = False, quiet: NamesOnly = False) -> None:
    """List all queues with how many items they hold."""
    from lq.render import queues_table

    common.show_listing(client.queues(), queues_table, as_json=as_json, quiet=quiet, name="name")
    with suppress(ApiError):  # an older daemon knows of no hold
        hold = client.hold()
        if hold["held"]:
            common.note(f"All are frozen since {hold['since']}: `lq release` lets them go on.")


@app.command()
@common.remote
def show(client: Client, *, name: Name, as_json: AsJson = False) -> None:
    """Show one queue with its settings."""
    queue = client.queue(name)
    if as_json:
        out_json(queue)
        return
    from lq.render import details_text, queue_details

    out(details_text(queue_details(queue, now())))


@app.command()
@common.remote
def pause(
    client: Client,
    *,
    name: Name,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME",
            parser=common.instant_or_duration,
            help="Resume by itself then; else it stays paused.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for whoever wonders.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start no more items of a queue; those that run may finish."""
    _show_changed(client.pause(name, until, reason), as_json=as_json)


@app.command()
@common.remote
def resume(client: Client, *, name: Name, as_json: AsJson = False) -> None:
    """Let a paused queue go on."""
    _show_changed(client.resume(name), as_json=as_json)


@app.command("set")
@common.remote
def set_queue(
    client: Client,
    *,
    name: Name,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Calls in flight at once.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="RATE", help='Starts, "10/s" or "100/min"; what is more waits.'),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(metavar="N", help="So many may start at once after a quiet time.")
    ] = None,
    fifo: Annotated[
        bool | None,
        typer.Option(
            "--fifo/--no-fifo", help="One at a time, and one that fails holds up the others."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="URL", help="For pushes that name none.")
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="METHOD", help="Of the calls.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="Sent with each call; may be repeated."),
    ] = None,
    retry: Annotated[
        str | None, typer.Option(metavar="N|WAITS", help='How often, "3", or when, "1m,5m".')
    ] = None,
    timeout: Annotated[str | None, typer.Option(metavar="DURATION", help="Of one attempt.")] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTING",
            help="Take a setting away, so that the daemon's own holds; may be repeated.",
            autocompletion=lambda: [*_SETTINGS],
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change settings of a queue, effective at once; it comes into being if need be.

    What lq.toml sets of a queue is changed there alone.
    """
    given = {
        "concurrency": concurrency,
        "rate": rate,
        "burst": burst,
        "fifo": fifo,
        "target": target,
        "method": method,
        "headers": push.read_headers(header or []) or None,
        "retry": retry,
        "timeout": timeout,
    }
    changes: dict[str, object] = {
        setting: value for setting, value in given.items() if value is not None
    }
    for setting in unset or ():
        if setting not in _SETTINGS:
            raise typer.BadParameter(f"--unset takes {', '.join(_SETTINGS)}, got {setting!r}")
        if setting in changes:
            raise typer.BadParameter(f"--unset {setting} does not go together with --{setting}")
        changes[setting] = None
    if not changes:
        raise typer.BadParameter("name at least one setting to change")
    queue = client.edit_queue(name, **cast("QueueSettings", changes))
    if as_json:
        out_json(queue)
    elif looking():
        from lq.render import details_text, queue_details

        out(details_text(queue_details(queue, now())))
    else:
        out(queue["name"])


@app.command("rm")
@common.remote
def remove(
    client: Client,
    *,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Cancel the items that wait in it, too.")
    ] = False,
) -> None:
    """Forget a queue and its settings; what it has finished stays in the history."""
    cancelled = client.delete_queue(name, force=force)
    if looking():
        from lq.render import clean, counted

        out(f"{clean(name)} is gone; {counted(cancelled, 'item')} cancelled")
    else:
        out(name)


@app.command()
@common.remote
@filters.filtered
def purge(
    client: Client,
    wanted: filters.Wanted,
    *,
    name: Name,
    dry: filters.Dry = False,
    yes: filters.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel the items that wait in a queue, or those that a filter lets through.

    It counts them and asks first. Items that run go on.
    """
    filters.sweep(
        client.purge, "cancel", "cancelled", wanted=wanted, queue=name, dry=dry, yes=yes,
        everything=None, as_json=as_json,
    )  # fmt: skip


def _show_changed(queue: Json, *, as_json: bool) -> None:
    if as_json:
        out_json(queue)
    elif looking():
        from lq.render import clean, queue_state

        out(f"{clean(queue['name'])} is {queue_state(queue, now())}")
    else:
        out(queue["name"])
