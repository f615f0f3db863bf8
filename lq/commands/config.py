"""`lq config`: what is in force in a daemon, with where each value comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common
from lq.commands.common import AsJson, out, out_json

app = common.app()


@app.callback()
def config() -> None:
    """Show the settings that are in force."""


@app.command()
@common.remote
def show(
    client: Client,
    *,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what is not the default.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all settings as lq.toml has them, each with its line there, its variable, or "default".

    What may be a credential is not shown.
    """
    found = client.config()
    if changed:
        for table in found["tables"]:
            table["settings"] = [s for s in table["settings"] if s["origin"] != "default"]
        found["tables"] = [table for table in found["tables"] if table["settings"]]
    if as_json:
        out_json(found)
        return
    from lq.render_settings import settings_text

    out(settings_text(found["tables"]))
