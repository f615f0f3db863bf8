"""`lq release`: let everything start that `lq restore --hold` holds back."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common
from lq.commands.common import AsJson, note, out_json

app = common.app()


@app.command()
@common.remote
def release(
    client: Client,
    *,
    skip_missed: Annotated[
        bool,
        typer.Option("--skip-missed", help="Schedules leave out what they have missed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let jobs start and schedules fire after `lq restore --hold`."""
    released = client.release(skip_missed=skip_missed)
    if as_json:
        out_json(released)
        return
    skipped = released["skipped"]
    left_out = f" {skipped} schedules leave out what they have missed." if skip_missed else ""
    note(f"Released: jobs start and schedules fire.{left_out}")
