"""`lq scriptlets`: which commands lq may run here, and whether their files are safe to run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common, failure
from lq.commands.common import AsJson, out, out_json
from lq.errors import LqError

app = common.app(help="List, show and check the scriptlets of lq.toml.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The scriptlet.",
        show_default=False,
        autocompletion=common.scriptlet_names,
    ),
]
NamesOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the names alone.")]


@app.command("ls")
@common.remote
def list_scriptlets(client: Client, *, as_json: AsJson = False, quiet: NamesOnly = False) -> None:
    """List the commands that lq may run, by the names that items and schedules call them."""
    from lq.render import scriptlets_table

    found = client.scriptlets()
    common.show_listing(found, scriptlets_table, as_json=as_json, quiet=quiet, name="name")


@app.command()
@common.remote
def show(client: Client, *, name: Name, as_json: AsJson = False) -> None:
    """Show all that is set for one."""
    one = next((one for one in client.scriptlets() if one["name"] == name), None)
    if one is None:
        failure.complain(f"there is no scriptlet {name!r}", "`lq scriptlets ls` shows them.")
        raise typer.Exit(failure.NOT_FOUND)
    if as_json:
        out_json(one)
        return
    from lq.render import details_text, scriptlet_details

    out(details_text(scriptlet_details(one)))


@app.command()
def check(config: common.ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Look at lq.toml and the files it names, without a daemon; exits with 1 if one is at fault."""
    from lq.config.scriptlets import survey
    from lq.paths import read_config
    from lq.render import clean

    source = read_config(config, os.environ)
    if source is None:
        raise LqError("there is no lq.toml", hint="Name one with --config.")
    found = survey(source)
    if as_json:
        out_json([{"name": one.name, "where": one.where} | _fault(one.fault) for one in found])
    else:
        for one in found:
            out(f"{clean(one.name)}: {clean(one.fault or 'ok')}")
    if any(one.fault for one in found):
        raise typer.Exit(failure.NEGATIVE)


def _fault(fault: str | None) -> dict[str, str]:
    return {} if fault is None else {"fault": fault}
