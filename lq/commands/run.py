"""`lq run`: run a scriptlet now, watch what it writes, and end as it does."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from lq.client import Client, Json
from lq.commands import common, log, push
from lq.commands.common import looking, note
from lq.commands.failure import INTERRUPTED, NEGATIVE

app = common.app()

QUEUE = "scriptlets"


@app.command()
@common.remote
def run(
    client: Client,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The scriptlet.",
            show_default=False,
            autocompletion=common.scriptlet_names,
        ),
    ],
    data: Annotated[
        str, typer.Option(metavar="DATA", help='Its stdin, "@FILE" to read it, "-" for stdin.')
    ] = "",
    queue: Annotated[
        str, typer.Option("--queue", metavar="QUEUE", help="Where to push it.")
    ] = QUEUE,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Unique among the queue's unfinished items.")
    ] = None,
    retry: Annotated[
        str, typer.Option(metavar="N|WAITS", help='How often to try again, "3", or when, "1m,5m".')
    ] = "0",
    timeout: Annotated[
        int | None,
        typer.Option(metavar="DURATION", parser=common.duration, help="Of one attempt."),
    ] = None,
) -> None:
    """Run a scriptlet now, show what it writes, exit as it does.

    It runs in the daemon, and goes on when this command is ended. A signal that ended it counts
    as 128 and its number.
    """
    payload = push.read_payload(data)
    item = client.push(
        queue,
        payload,
        idempotency_key=None,
        content_type=push.recognised_type(payload),
        target=f"scriptlet:{name}",
        key=key,
        retry=retry,
        timeout_ms=timeout,
    )
    if looking():
        note(f"{item['id']} in {queue}")
    try:
        final = _watched(client, item["id"])
    except KeyboardInterrupt:
        note(f"It goes on: `lq items logs -f {item['id']}` follows it, and cancel ends it.")
        raise typer.Exit(INTERRUPTED) from None
    if final["state"] != "COMPLETED":
        from lq.render import state_line

        note(state_line(final))
        raise typer.Exit(final.get("lastStatus") or NEGATIVE)


def _watched(client: Client, item_id: str) -> Json:
    """Print what an item writes, attempt by attempt, until it has finished: the item."""
    seen = 0
    said = None
    pause_s = push.FIRST_LOOK_S
    while True:
        item = client.item(item_id)
        begun = item["attempts"]
        while seen < begun:
            seen += 1
            log.follow(client, item_id, seen)
            pause_s = push.FIRST_LOOK_S
            item = client.item(item_id)
        if item["state"] in push.FINISHED:
            return item
        reason = item.get("error") if item["state"] in push.WAITING else None
        if reason is not None and reason != said:
            push.tell_reason(item)
            said = reason
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, push.LAST_LOOK_S)
