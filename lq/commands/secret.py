"""`lq secret`: the secrets with which lq signs its calls."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client, Json
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json

app = common.app(help="Show, rotate and revoke the signing secrets.")

Webhook = Annotated[
    bool, typer.Option("--webhook", help="In the form for Standard Webhooks libraries.")
]


@app.callback()
def secret() -> None:
    """Show, rotate and revoke the secrets that sign the calls."""


@app.command()
@common.remote
def show(client: Client, *, webhook: Webhook = False, as_json: AsJson = False) -> None:
    """Print the signing secret that handlers verify calls with."""
    _print(client.secret(), webhook=webhook, as_json=as_json)
    if looking():
        note("Handlers verify calls with it; give it to nobody else.")


@app.command()
@common.remote
def rotate(
    client: Client,
    *,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="DURATION",
            parser=common.duration,
            help='For how long the old one stays valid, up to "90d"; "24h" if not said.'
            ' With "0s" all older ones end at once.',
        ),
    ] = None,
    webhook: Webhook = False,
    as_json: AsJson = False,
) -> None:
    """Sign with a new secret, and print it; the old one stays valid for the overlap."""
    _print(client.rotate_secret(overlap), webhook=webhook, as_json=as_json)
    if looking():
        note("Give it to the handlers. When all have it, `lq secret revoke-old` ends the overlap.")


@app.command("revoke-old")
@common.remote
def revoke_old(client: Client, *, webhook: Webhook = False, as_json: AsJson = False) -> None:
    """Make all secrets but the newest worthless at once, and print that one."""
    _print(client.revoke_old_secrets(), webhook=webhook, as_json=as_json)


def _print(secrets: Json, *, webhook: bool, as_json: bool) -> None:
    """Print the newest to stdout; of the others programs are told that there are some."""
    if as_json:
        out_json(secrets)
        return
    from lq.render import secret_lines

    name = "webhookSecret" if webhook else "secret"
    out(secrets[name])
    for line in secret_lines(secrets, name if looking() else None, common.now()):
        note(line)
