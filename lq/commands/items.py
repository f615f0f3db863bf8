"""`lq items`: what waits and runs, one item with its attempts, and the verbs on items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from lq.client import ApiError, Client, Json, Ref
from lq.commands import common, filters, log, push
from lq.commands.common import (
    All,
    AsJson,
    IdsOnly,
    ItemId,
    ItemIds,
    ItemKey,
    ItemQueue,
    Limit,
    item_ref,
    item_refs,
    now,
    out,
    out_json,
)

app = common.app(help="List, inspect, move, cancel and repeat items.")


@app.command("ls")
@common.remote
@filters.filtered
def list_items(
    client: Client,
    wanted: filters.Wanted,
    *,
    queue: common.OfQueue = None,
    limit: Limit = None,
    everything: All = False,
    as_json: AsJson = False,
    quiet: IdsOnly = False,
) -> None:
    """List the items that run, then those that wait, by queue, the soonest due first."""
    from lq.render import items_table

    found = common.listing(client.items, limit, everything, queue=queue, **wanted)
    common.show_listing(found, items_table, as_json=as_json, quiet=quiet)


@app.command()
@common.remote
def show(
    client: Client,
    *,
    item_id: ItemId = None,
    queue: ItemQueue = None,
    key: ItemKey = None,
    as_json: AsJson = False,
) -> None:
    """Show one item with its payload and its attempts.

    By key it is the unfinished one, else the one that finished last.
    """
    item = client.find(item_ref(item_id, queue, key))
    attempts = _attempts(client, item["id"])
    if as_json:
        out_json({**item, "attemptLog": attempts})
        return
    from lq.render import attempts_table, details_text, item_details

    out(details_text(item_details(item, now())))
    if attempts:
        out("")
        common.show_table(attempts_table(attempts, now()))


@app.command()
@common.remote
def logs(
    client: Client,
    *,
    item_id: ItemId = None,
    queue: ItemQueue = None,
    key: ItemKey = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the attempt has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of this attempt, not the last one.")
    ] = None,
) -> None:
    """Show what a scriptlet has written, on both of its streams.

    Of what is very long, the middle is left out.
    """
    item = client.find(item_ref(item_id, queue, key))
    if follow:
        log.follow(client, item["id"], attempt)
    else:
        log.show(client.logs(item["id"], attempt=attempt))


@app.command()
@common.remote
@filters.filtered
def cancel(
    client: Client,
    wanted: filters.Wanted,
    *,
    item_ids: ItemIds = None,
    queue: common.OfQueue = None,
    everything: filters.AllOfThem = False,
    dry: filters.Dry = False,
    yes: filters.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel items that wait; one that runs is not tried again.

    By id, by queue and key, or all that a filter lets through, which are counted first.
    """
    refs = _named(item_ids, queue, wanted, everything=everything)
    if refs is None:
        filters.sweep(
            client.cancel_many, "cancel", "cancelled", wanted=wanted, queue=queue, dry=dry,
            yes=yes, everything=everything, as_json=as_json,
        )  # fmt: skip
        return
    common.each(refs, client.cancel, lambda item: f"Cancelled {_name(item)}", as_json=as_json)


@app.command()
@common.remote
def reschedule(
    client: Client,
    *,
    item_id: ItemId = None,
    queue: ItemQueue = None,
    key: ItemKey = None,
    delay: Annotated[
        int | None,
        typer.Option(metavar="DURATION", parser=common.duration, help='From now, as in "1h".'),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="TIME", parser=common.instant, help='As in "tomorrow 09:00".'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a waiting item another time."""
    if (delay is None) == (on is None):
        raise typer.BadParameter("say when: either --delay or --on")
    from lq.render import due

    def edit(ref: Ref) -> Json:
        return client.edit(ref, delay_ms=delay, on=on)

    refs = [item_ref(item_id, queue, key)]
    common.each(refs, edit, lambda item: f"{_name(item)} is {due(item, now())}", as_json=as_json)


@app.command()
@common.remote
def run(
    client: Client,
    *,
    item_ids: ItemIds = None,
    queue: ItemQueue = None,
    key: ItemKey = None,
    as_json: AsJson = False,
) -> None:
    """Run waiting items now, whatever their time."""
    refs = item_refs(item_ids, queue, key)
    common.each(refs, client.run, lambda item: f"{_name(item)} is due now", as_json=as_json)


@app.command()
@common.remote
@filters.filtered
def retry(
    client: Client,
    wanted: filters.Wanted,
    *,
    item_ids: ItemIds = None,
    queue: common.OfQueue = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help='Of ids: with this payload instead, as of "lq push".'),
    ] = None,
    everything: filters.AllOfThem = False,
    dry: filters.Dry = False,
    yes: filters.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run finished items again, with all their retries back.

    By id, by queue and key, or all that a filter lets through, which are counted first. Of ids,
    --target is another one to call instead.
    """
    target = wanted.pop("target", None) if item_ids else None
    refs = _named(item_ids, queue, wanted, everything=everything)
    if refs is None and data is not None:
        raise typer.BadParameter("--data changes items that are named by their ids")
    if refs is None:
        filters.sweep(
            client.replay, "retry", "replayed", wanted=wanted, queue=queue, dry=dry, yes=yes,
            everything=everything, as_json=as_json,
        )  # fmt: skip
        return
    payload = b"" if data is None else push.read_payload(data)
    kind = push.recognised_type(payload)

    def again(ref: Ref) -> Json:
        return client.retry(ref, payload, target=target, content_type=kind)

    common.each(refs, again, lambda item: f"{_name(item)} waits again", as_json=as_json)


def _named(
    ids: list[str] | None, queue: str | None, wanted: filters.Wanted, *, everything: bool
) -> Sequence[Ref] | None:
    """The items that ids, or a queue and a key alone, name; None when a filter says which."""
    if ids:
        if queue is not None or wanted or everything:
            raise typer.BadParameter("name items by their ids or with a filter, not both")
        return ids
    if queue is not None and wanted.keys() == {"key"} and not everything:
        return item_refs(None, queue, wanted["key"])
    return None


def _attempts(client: Client, item_id: str) -> list[Json]:
    """An item's attempts; none for a token that may see the item and no more."""
    try:
        return client.attempts(item_id)
    except ApiError as error:
        if error.status != 403:
            raise
        return []


def _name(item: Json) -> str:
    from lq.render import clean

    key = f" (key {clean(item['key'])})" if "key" in item else ""
    return f"{item['id']} in {clean(item['queue'])}{key}"
