"""`lq version`: which lq this is."""

from __future__ import annotations

from lq import __version__
from lq.commands import common

app = common.app()


@app.command()
def version(*, as_json: common.AsJson = False) -> None:
    """Print the version of this command line."""
    if as_json:
        common.out_json({"version": __version__})
    else:
        common.out(f"lq {__version__}")
