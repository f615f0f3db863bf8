"""`lq alerts`: who is told of what, what is wrong, and whether a message arrives."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common, push
from lq.commands.common import AsJson, now

app = common.app(help="List the alerts of lq.toml, and try them out.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The alert.", show_default=False)]
NamesOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the names alone.")]


@app.command("ls")
@common.remote
def list_alerts(client: Client, *, as_json: AsJson = False, quiet: NamesOnly = False) -> None:
    """List alerts: what they watch, whom they tell, and what they have told to be wrong."""
    from lq.render import alerts_table

    common.show_listing(client.alerts(), alerts_table, as_json=as_json, quiet=quiet, name="name")


@app.command("test")
@common.remote
def send_test(
    client: Client,
    *,
    name: Name,
    wait: common.Wait = False,
    wait_timeout: common.WaitTimeout = None,
    as_json: AsJson = False,
) -> None:
    """Send a message that says that it is a test, on the way that a real one takes."""
    from lq.render import pushed_line

    item = client.test_alert(name)
    waiting = wait or wait_timeout is not None
    if not (as_json and waiting):
        common.show_done(
            item,
            lambda item: pushed_line({"outcome": "created"} | item, now()),
            as_json=as_json,
        )
    if waiting:
        push.show_outcome(push.follow(client, item["id"], wait_timeout), as_json=as_json)
