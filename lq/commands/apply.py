"""`lq apply`: bring the daemon to what its lq.toml says now, or to what an exported file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common, failure, reload
from lq.commands.common import AsJson, note, out_json

app = common.app()


@app.command()
@common.remote
def apply(
    client: Client,
    *,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="What `lq export` has written.", show_default=False),
    ] = None,
    dry_run: reload.DryRun = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove queues and schedules that FILE does not name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the daemon to what lq.toml, or another FILE, says.

    Without FILE it is `lq reload`: a file with a mistake changes nothing, and schedules made over
    the API stay as they are. FILE is carried out over the API, entry by entry.
    """
    if file is not None:
        _apply(client, file, dry=dry_run, prune=prune, as_json=as_json)
        return
    if prune:
        raise typer.BadParameter("--prune needs a FILE")
    reload.show(client.reload(dry=dry_run), dry_run=dry_run, as_json=as_json)


def _apply(client: Client, file: Path, *, dry: bool, prune: bool, as_json: bool) -> None:
    from lq.commands.differences import carry_out
    from lq.exported import from_toml

    try:
        data = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from None
    wanted = from_toml(data, str(file))
    changes = list(carry_out(client, wanted, dry=dry, prune=prune))
    if as_json:
        out_json(changes)
    else:
        from lq.render import clean

        for change in changes:
            if change["change"] != "unchanged":
                what = ", ".join(change.get("fields", ())) or change.get("note", "")
                common.out(clean(f"{change['kind']} {change['name']}: {change['change']}  {what}"))
        same = sum(change["change"] == "unchanged" for change in changes)
        note(f"{same} unchanged.{' Nothing has been changed: this is a dry run.' if dry else ''}")
    if any(change["change"] == "conflict" for change in changes):
        raise typer.Exit(failure.CONFLICT)
