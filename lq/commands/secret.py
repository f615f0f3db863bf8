"""`lq secret`: the secret with which lq signs its calls."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json

app = common.app(help="Show the signing secret.")


@app.callback()
def secret() -> None:
    """Show the secret that signs the calls."""


@app.command()
@common.remote
def show(
    client: Client,
    *,
    webhook: Annotated[
        bool, typer.Option("--webhook", help="The one for Standard Webhooks libraries.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the signing secret that handlers verify calls with."""
    secrets = client.secret()
    if as_json:
        out_json(secrets)
        return
    out(secrets["webhookSecret" if webhook else "secret"])
    if looking():
        note("Handlers verify calls with it; give it to nobody else.")
