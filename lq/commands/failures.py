"""`lq failures`: how items have failed, those that failed alike in one line."""

from __future__ import annotations

from lq.client import Client
from lq.commands import common, filters
from lq.commands.common import All, AsJson, IdsOnly, Limit

app = common.app()


@app.command()
@common.remote
def failures(
    client: Client,
    *,
    queue: common.OfQueue = None,
    target: filters.Target = None,
    error: filters.Error = None,
    fingerprint: filters.Fingerprint = None,
    since: filters.Since = None,
    limit: Limit = None,
    everything: All = False,
    as_json: AsJson = False,
    quiet: IdsOnly = False,
) -> None:
    """List how items have failed, the last kind seen first.

    Items fail alike that have target, status and error in common, but for numbers, ids, addresses
    and what is quoted. `lq history --fingerprint HEX` lists them, `lq items retry --fingerprint
    HEX` runs them again.
    """
    from lq.render_failures import failures_table

    found = common.listing(
        client.failures, limit, everything, member="failures",
        queue=queue, target=target, error=error, fingerprint=fingerprint, since=since,
    )  # fmt: skip
    common.show_listing(found, failures_table, as_json=as_json, quiet=quiet, name="fingerprint")
