"""`lq reload`: have the daemon read its lq.toml again, or say what that would change."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client, Json
from lq.commands import common, failure
from lq.commands.common import AsJson, note, out_json

app = common.app()

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would change.")]


@app.command()
@common.remote
def reload(client: Client, *, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Have the daemon read lq.toml again, and list the changes.

    The file is read whole first: one with a mistake changes nothing. What runs goes on. Queues,
    schedules, scriptlets, alerts and certificates follow at once. What waits for a restart is
    named. SIGHUP does the same.
    """
    show(client.reload(dry=dry_run), dry_run=dry_run, as_json=as_json)


def show(reload: Json, *, dry_run: bool, as_json: bool) -> None:
    """Print what a reload did; exit with 5 if a schedule could not be followed."""
    if as_json:
        out_json(reload)
    else:
        _show(reload, dry_run=dry_run)
    if any(change["change"] == "conflict" for change in reload["schedules"]):
        raise typer.Exit(failure.CONFLICT)


def _show(reload: Json, *, dry_run: bool) -> None:
    from lq.render import clean, settings_table
    from lq.render_schedules import changes_table, summary

    changes, settings = reload["schedules"], reload["settings"]
    if settings:
        common.show_table(settings_table(settings))
    if changes:
        common.show_table(changes_table(changes))
    told = ", ".join(summary(changes)) or "There are no [[schedules]]"
    note(f"{told}.{' Nothing has been changed: this is a dry run.' if dry_run else ''}")
    if reload["restart"]:
        waiting = ", ".join(map(clean, reload["restart"]))
        note(f"These settings have changed and wait for a restart: {waiting}.")
