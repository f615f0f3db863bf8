"""`lq history`: what has finished, newest first; and running it again."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common, filters
from lq.commands.common import All, AsJson, IdsOnly, Limit

app = common.app(help="List what has finished, and run it again.")


@app.callback(invoke_without_command=True)
@common.remote
@filters.filtered
def history(
    client: Client,
    wanted: filters.Wanted,
    *,
    ctx: typer.Context,
    queue: common.OfQueue = None,
    limit: Limit = None,
    everything: All = False,
    as_json: AsJson = False,
    quiet: IdsOnly = False,
) -> None:
    """List the items that have finished, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from lq.render import history_table

    found = common.listing(client.history, limit, everything, queue=queue, **wanted)
    common.show_listing(found, history_table, as_json=as_json, quiet=quiet)


@app.command()
@common.remote
@filters.filtered
def replay(
    client: Client,
    wanted: filters.Wanted,
    *,
    queue: common.OfQueue = None,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE", help='How fast, as in "5/s"; else at once.')
    ] = None,
    everything: filters.AllOfThem = False,
    dry: filters.Dry = False,
    yes: filters.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run finished items again, newest first, with all their retries back.

    It counts them and asks first. One whose key waits already is skipped.
    """
    filters.sweep(
        client.replay, "replay", "replayed", wanted=wanted, queue=queue, dry=dry, yes=yes,
        everything=everything, as_json=as_json, rate=rate,
    )  # fmt: skip
