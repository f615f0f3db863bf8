"""`lq tokens`: who may use the API from elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json
from lq.model import Scope

app = common.app(help="Make, list and revoke API tokens.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The token's name.", show_default=False)]
NamesOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the names alone.")]


@app.command()
@common.remote
def create(
    client: Client,
    *,
    name: Name,
    scope: Annotated[
        list[Scope],
        typer.Option(help="What it may do; may be repeated."),
    ],
    queue: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help='Only these queues, as in "mail-*"; may be repeated.'),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME",
            parser=common.instant_or_duration,
            help='As in "90d"; never if not said.',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once."""
    token = client.create_token(name, scope, queue or (), expires)
    if as_json:
        out_json(token)
        return
    out(token["token"])
    if looking():
        note("Keep it now, it is not shown again. Use it as LQ_TOKEN, with LQ_API_URL.")


@app.command("ls")
@common.remote
def list_tokens(client: Client, *, as_json: AsJson = False, quiet: NamesOnly = False) -> None:
    """List all tokens, revoked ones too, without the tokens themselves."""
    from lq.render import tokens_table

    common.show_listing(client.tokens(), tokens_table, as_json=as_json, quiet=quiet, name="name")


@app.command()
@common.remote
def revoke(client: Client, *, name: Name, as_json: AsJson = False) -> None:
    """Make a token worthless at once."""
    token = client.revoke_token(name)
    if as_json:
        out_json(token)
    else:
        from lq.render import clean

        out(f"Revoked {clean(token['name'])}" if looking() else token["name"])
