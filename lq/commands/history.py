"""`lq history`: what has finished, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common
from lq.commands.common import All, AsJson, IdsOnly, Limit

app = common.app()


@app.command()
@common.remote
def history(
    client: Client,
    *,
    queue: common.OfQueue = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="COMPLETED, FAILED or CANCELLED.",
            autocompletion=lambda: ["COMPLETED", "FAILED", "CANCELLED"],
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="With this key.")] = None,
    label: Annotated[str | None, typer.Option(metavar="LABEL", help="With this label.")] = None,
    schedule: common.OfSchedule = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="AGE|TIME", parser=common.instant_or_age, help='Finished since, as in "24h".'
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="AGE|TIME", parser=common.instant_or_age, help='Finished before, as in "1h".'
        ),
    ] = None,
    limit: Limit = None,
    everything: All = False,
    as_json: AsJson = False,
    quiet: IdsOnly = False,
) -> None:
    """List the items that have finished, newest first."""
    from lq.render import history_table

    wanted = {"queue": queue, "state": state, "key": key, "label": label}
    wanted["schedule"] = common.schedule_id(client, schedule)
    found = common.listing(client.history, limit, everything, since=since, until=until, **wanted)
    common.show_listing(found, history_table, as_json=as_json, quiet=quiet)
