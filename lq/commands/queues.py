"""`lq queues`: how full they are, what they are set to, and their pause."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client, Json
from lq.commands import common
from lq.commands.common import AsJson, looking, now, out, out_json

app = common.app(help="List, inspect, pause and resume queues.")

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue.", show_default=False)]
NamesOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the names alone.")]


@app.command("ls")
@common.remote
def list_queues(client: Client, *, as_json: AsJson = False, quiet: NamesOnly = False) -> None:
    """List all queues with how many items they hold."""
    from lq.render import queues_table

    common.show_listing(client.queues(), queues_table, as_json=as_json, quiet=quiet, name="name")


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
    as_json: AsJson = False,
) -> None:
    """Start no more items of a queue; those that run may finish."""
    _show_changed(client.pause(name, until), as_json=as_json)


@app.command()
@common.remote
def resume(client: Client, *, name: Name, as_json: AsJson = False) -> None:
    """Let a paused queue go on."""
    _show_changed(client.resume(name), as_json=as_json)


def _show_changed(queue: Json, *, as_json: bool) -> None:
    if as_json:
        out_json(queue)
    elif looking():
        from lq.render import clean, queue_state

        out(f"{clean(queue['name'])} is {queue_state(queue, now())}")
    else:
        out(queue["name"])
