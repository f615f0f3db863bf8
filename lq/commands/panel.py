"""`lq panel`: the way into the admin panel, for whoever may ask the daemon for it."""

from __future__ import annotations

import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from lq.client import Json
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json

app = common.app()


@app.command()
def panel(
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
    config: common.ConfigFile = None,
    url: common.Url = None,
    token: common.Token = None,
) -> None:
    """Open the admin panel, logged in.

    The link is good for one login within five minutes, as whoever asks for it: by the unix socket
    as admin, with a token as that token. On a server without a browser the link is printed.
    """
    link = common.connect(config, url, token).panel_link()
    if as_json:
        out_json(link)
        return
    address = common.url_in_use(config, url)
    near = link["local"] if address is None else _at(address, link)
    if browser or (browser is None and looking() and _has_browser()):
        import webbrowser

        if webbrowser.open(near):
            note("Opened the panel in your browser.")
            return
    out(link["url"] if address is None else near)
    if looking():
        note("It logs in once, within 5 minutes.")
    if looking() and address is None:
        port = urlsplit(near).port
        note(f"From another machine, first: ssh -L {port}:localhost:{port} HOST")


def _at(address: str, link: Json) -> str:
    """The link at the address that the daemon has just been reached by."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}/login#{link['url'].partition('#')[2]}"


def _has_browser() -> bool:
    """Whether there is a screen here to open a browser on."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or any(
        name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
