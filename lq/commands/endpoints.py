"""`lq endpoints`: whether those that lq calls have shown that they know the secret."""

from __future__ import annotations

from typing import Annotated

import typer

from lq.client import Client
from lq.commands import common, failure
from lq.commands.common import AsJson, now, out, out_json

app = common.app(help="List endpoints with what is known of them, and ask one now.")

UrlsOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the URLs alone.")]
AtMost = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many at most.")
]


@app.command("ls")
@common.remote
def list_endpoints(
    client: Client,
    *,
    queue: common.OfQueue = None,
    limit: AtMost = common.FEW,
    as_json: AsJson = False,
    quiet: UrlsOnly = False,
) -> None:
    """List endpoints, those that need a look first: validated or not, since when and why not."""
    from lq.render_endpoints import endpoints_table, left_out

    found = client.endpoints(queue, limit)
    shown = found["endpoints"]
    common.show_listing(shown, endpoints_table, as_json=as_json, quiet=quiet, name="url")
    if found["leftOut"]:
        common.note(left_out(found["leftOut"]))


@app.command()
@common.remote
def check(
    client: Client,
    *,
    endpoint: Annotated[
        str, typer.Argument(metavar="URL", help="The endpoint.", show_default=False)
    ],
    queue: common.OfQueue = None,
    as_json: AsJson = False,
) -> None:
    """Ask an endpoint now, and let go what has held it; exits with 1 if it does not prove itself.

    It is asked with each set of headers that it is known with, in one queue or in all.
    """
    one = client.check_endpoint(endpoint, queue)
    if as_json:
        out_json(one)
    else:
        from lq.render import details_text
        from lq.render_endpoints import endpoint_details

        out(details_text(endpoint_details(one, now())))
    if "fault" in one:
        raise typer.Exit(failure.NEGATIVE)
