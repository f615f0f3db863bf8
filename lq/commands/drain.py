"""`lq drain`: have the daemon start nothing more, and watch what runs come to its end."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from lq.client import Client, Json
from lq.commands import common, failure
from lq.commands.common import AsJson, looking, note, out, out_json
from lq.errors import LqError

app = common.app()

_LOOK_EVERY_S = 0.5


@app.command()
@common.remote
def drain(
    client: Client,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a drain.")] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the daemon of this machine when nothing runs.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until nothing runs.")] = True,
    timeout: Annotated[
        int | None,
        typer.Option(metavar="DURATION", parser=common.duration, help="Wait no longer than this."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start nothing more, and wait for what runs to end.

    Pushes are taken and schedules fire meanwhile; what they make waits. The daemon goes on draining
    when this command is ended: --resume lets it go on, and so does a restart.
    """
    if resume and stop:
        raise typer.BadParameter("--resume and --stop do not go together")
    pid = _pid(client) if stop else None
    state = client.end_drain() if resume else client.drain()
    if wait and not resume:
        state = _watched(client, state, timeout)
    if as_json:
        out_json(state)
    elif looking():
        out(_told(state))
    if state["draining"] and state["running"] and wait:
        raise typer.Exit(failure.TIMED_OUT)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)


def _pid(client: Client) -> int:
    """The process to stop. Raises: LqError when that is not for us."""
    pid: int | None = client.info().get("pid")
    if pid is None or client.where.startswith("http"):
        raise LqError(
            "--stop ends a daemon on this machine alone",
            hint="Leave --stop out, and stop it where it runs.",
        )
    return pid


def _watched(client: Client, state: Json, timeout_ms: int | None) -> Json:
    """How far it is when nothing runs any more, or the time is over."""
    deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    told = ""
    while state["running"] and (deadline is None or time.monotonic() < deadline):
        if (now_told := _progress(state)) != told:
            note(now_told)
            told = now_told
        time.sleep(_LOOK_EVERY_S)
        state = client.drained()
    return state


def _progress(state: Json) -> str:
    from lq.render import clean, counted

    names = [f"{item['id']} in {clean(item['queue'])}" for item in state["items"][:3]]
    more = state["running"] - len(names)
    listed = ", ".join(names) + (f" and {more} more" if names and more > 0 else "")
    verb = "runs" if state["running"] == 1 else "run"
    return f"{counted(state['running'], 'item')} {verb} still: {listed}".rstrip(": ")


def _told(state: Json) -> str:
    if not state["draining"]:
        return "It goes on: what waits is started."
    if state["running"]:
        return f"It drains. {_progress(state)}. `lq drain --resume` goes on."
    return "Nothing runs, and nothing starts. `lq drain --resume` goes on; so does a restart."
