"""`lq panel`: the way into the admin panel, for whoever may ask the daemon for it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json

app = common.app()


@app.command()
@common.remote
def panel(
    client: Client,
    *,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--print",
            help="Open a browser, or print the link; else what fits.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open the admin panel, logged in.

    The link is good for one login within five minutes, as whoever asks for it: by the unix socket
    as admin, with a token as that token. On a server without a browser the link is printed.
    """
    link = client.panel_link()
    if as_json:
        out_json(link)
        return
    if browser or (browser is None and looking() and _has_browser()):
        import webbrowser

        if webbrowser.open(link["local"]):
            note("Opened the panel in your browser.")
            return
    out(link["url"])
    if looking():
        note("It logs in once, within 5 minutes. From another machine, for a panel on this one:")
        note(f"  ssh -L {_port(link['local'])}:localhost:{_port(link['local'])} HOST")


def _has_browser() -> bool:
    """Whether there is a screen here to open a browser on."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or any(
        name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _port(url: str) -> str:
    return url.partition("/login")[0].rpartition(":")[2]
