"""`lq why`: what holds an item, until when, and when it may start."""

from __future__ import annotations

from lq.client import Client
from lq.commands import common
from lq.commands.common import AsJson, ItemId, ItemKey, ItemQueue, item_ref, now, out, out_json

app = common.app()


@app.command()
@common.remote
def why(
    client: Client,
    *,
    item_id: ItemId = None,
    queue: ItemQueue = None,
    key: ItemKey = None,
    as_json: AsJson = False,
) -> None:
    """Say why an item does not run now, and when it may."""
    answer = client.why(item_ref(item_id, queue, key))
    if as_json:
        out_json(answer)
        return
    from lq.render import why_text

    out(why_text(answer, now()))
