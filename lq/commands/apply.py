"""`lq apply`: have the daemon read its lq.toml again, or say what that would change."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common, failure
from lq.commands.common import AsJson, note, out_json

app = common.app()


@app.command()
@common.remote
def apply(
    client: Client,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what would change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the daemon's schedules to what lq.toml says now.

    A file with a mistake changes nothing, and schedules made over the API stay as they are.
    Other settings that have changed are named: they wait for a restart.
    """
    reload = client.reload(dry=dry_run)
    if as_json:
        out_json(reload)
    else:
        from lq.render import clean
        from lq.render_schedules import changes_table, summary

        changes = reload["schedules"]
        if changes:
            common.show_table(changes_table(changes))
        told = ", ".join(summary(changes)) or "There are no [[schedules]]"
        note(f"{told}.{' Nothing has been changed: this is a dry run.' if dry_run else ''}")
        if reload["restart"]:
            waiting = ", ".join(map(clean, reload["restart"]))
            note(f"These settings have changed and wait for a restart: {waiting}.")
    if any(change["change"] == "conflict" for change in reload["schedules"]):
        raise typer.Exit(failure.CONFLICT)
