"""`lq trigger`: a call made once more, or a made-up one, for whoever develops what answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from lq.client import AsyncClient, Json
from lq.commands import common, failure
from lq.commands.common import AsJson, note, out, out_json
from lq.commands.listen import ForwardTo, Listening, Path, connect, forwarder
from lq.commands.push import read_payload, recognised_type

app = common.app()


@app.command()
def trigger(
    item: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The item to send again.")
    ] = None,
    *,
    queue: Annotated[
        str | None, typer.Option(metavar="QUEUE", help="Without an ID: a sample of this queue.")
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="DATA", help="The sample's payload; @FILE, or - for stdin.")
    ] = "",
    target: Annotated[
        str | None, typer.Option(metavar="URL", help="The sample's target, for its path.")
    ] = None,
    forward_to: ForwardTo = None,
    path: Path = None,
    as_json: AsJson = False,
    config: common.ConfigFile = None,
    url: common.Url = None,
    token: common.Token = None,
) -> None:
    """Send an item's call once more, or a sample, as a copy.

    The item stays as it is. Its call goes, signed anew, to those who listen, or with --forward-to
    from here to your application; then the exit code is 1 if that does not answer with a 2xx.
    With --queue and --data a sample is sent.
    """
    if (item is None) == (queue is None):
        raise typer.BadParameter("name an item by its ID, or a queue for a sample with --queue")
    if item is not None and (data or target):
        raise typer.BadParameter("--data and --target are for samples: an item has its own")
    client = connect(config, url, token)
    send = _sending(client, item, queue or "", read_payload(data), target)
    if forward_to is not None:
        wish: Json = {"name": "trigger", "only_sent": True}
        once = Listening(client, forwarder(forward_to, path), wish, as_json=as_json)
        asyncio.run(once.until_stopped(1, send))
        if once.failed:
            raise typer.Exit(failure.NEGATIVE)
        return
    if path is not None:
        raise typer.BadParameter("goes with --forward-to", param_hint="--path")
    sent = asyncio.run(_sent(client, send))
    if as_json:
        out_json(sent)
    elif common.looking():
        note(f"sent to {', '.join(sent['sent'])}")
    else:
        out("\n".join(sent["sent"]))


def _sending(
    client: AsyncClient, item: str | None, queue: str, payload: bytes, target: str | None
) -> Callable[[str | None], Awaitable[Json]]:
    async def send(listener: str | None) -> Json:
        if item is not None:
            return await client.send_copy(item, listener)
        return await client.send_sample(
            queue, payload, listener, target=target, content_type=recognised_type(payload)
        )

    return send


async def _sent(client: AsyncClient, send: Callable[[str | None], Awaitable[Json]]) -> Json:
    async with client:
        return await send(None)
