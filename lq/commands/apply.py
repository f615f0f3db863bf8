"""`lq apply`: have the daemon read its lq.toml again, or say what that would change."""

from __future__ import annotations

from lq.client import Client
from lq.commands import common, reload
from lq.commands.common import AsJson

app = common.app()


@app.command()
@common.remote
def apply(
    client: Client,
    *,
    dry_run: reload.DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring the daemon to what lq.toml says now, as `lq reload`.

    A file with a mistake changes nothing, and schedules made over the API stay as they are.
    """
    reload.show(client.reload(dry=dry_run), dry_run=dry_run, as_json=as_json)
