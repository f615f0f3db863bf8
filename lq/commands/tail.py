"""`lq tail`: what happens, an event a line, for as long as one looks."""

from __future__ import annotations

import datetime
import gc
from typing import Annotated

import typer

from lq.client import Client, Json
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json
from lq.errors import LqError

app = common.app()


@app.command()
@common.remote
def tail(
    client: Client,
    *,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="In this queue.")] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATES", help='What leads to one of these, as in "RETRY,FAILED".'),
    ] = None,
    verb: Annotated[
        str | None, typer.Option(metavar="VERBS", help='What happens, as in "push,fail,bury".')
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="With this key.")] = None,
    label: Annotated[str | None, typer.Option(metavar="LABEL", help="With this label.")] = None,
    schedule: common.OfSchedule = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on after this event; its eventId.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("-n", metavar="N", min=1, help="End after so many events.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow what happens, an event a line, until Ctrl-C.

    With --json each line is a JSON document. A daemon that is started anew is waited for. Where
    events are lost, it says so.
    """
    gc.enable()  # this can take long, and the entry point turned it off
    wanted = {"queue": queue, "state": state, "verb": verb, "key": key, "label": label}
    wanted["schedule"] = common.schedule_id(client, schedule)
    events = client.events(**wanted, after=after, watch=_Told(client.where))
    for count, event in enumerate(events, 1):
        _show(event, as_json=as_json)
        if count == number:
            return


class _Told:
    """Says on stderr that the connection is lost, and that there is another one."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._was_there = False

    def __call__(self, error: LqError | None) -> None:
        from lq.render import clean

        if error is not None:
            if self._was_there:
                note(f"lq: {clean(error.message)}; waiting for it to come back")
        elif self._was_there:
            note("lq: connected again")
        else:
            self._was_there = True
            if looking():
                note(f"following {clean(self._where)}; Ctrl-C ends it")


def _show(event: Json, *, as_json: bool) -> None:
    if as_json:
        out_json(event, indent=None)
    elif looking():
        from rich.console import Console

        from lq.render_events import event_text

        zone = datetime.datetime.now().astimezone().tzinfo
        Console(highlight=False).print(event_text(event, zone))
    else:
        from lq.render_events import event_line

        out(event_line(event))
