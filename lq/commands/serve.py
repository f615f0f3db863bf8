"""`lq serve`: the daemon itself, in the foreground."""

from __future__ import annotations

import gc
import os

import typer

from lq.commands import common

app = common.app()


@app.command()
def serve(*, config: common.ConfigFile = None) -> None:
    """Run the daemon until it is told to stop (SIGTERM or Ctrl-C)."""
    from lq.config import load
    from lq.daemon.main import serve as run

    settings = load(config, os.environ)
    gc.enable()  # which the entry point turned off for short commands
    raise typer.Exit(run(settings))
