"""`lq top`: queues, what runs and what comes next, live."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from lq.client import BusyError, Client, Json, Unreachable
from lq.commands import common
from lq.commands.common import AsJson, looking, out, out_json

app = common.app()

LEAST_MS, EVERY_MS = 200, 1000
_LIMIT = 20
_QUIT = frozenset("qQ\x1b\x04")


@app.command()
@common.remote
def top(
    client: Client,
    *,
    every: Annotated[
        int | None,
        typer.Option(
            metavar="DURATION", parser=common.duration, help="How often to look anew, else 1s."
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame and end, as where stdout is a pipe.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Watch queues, what runs and what comes next; q quits."""
    if every is not None and every < LEAST_MS:
        raise typer.BadParameter("expected 200ms or more", param_hint="--every")
    first = client.overview(limit=_LIMIT)
    if as_json:
        out_json(first)
    elif not looking():
        _print(first)
    elif once:
        from rich.console import Console

        from lq.render_top import top_frame

        console = Console()
        console.print(top_frame(first, client.where, width=console.width, height=None))
    else:
        _watch(client, first, (every or EVERY_MS) / 1000)


def _print(overview: Json) -> None:
    """All of it as text, nothing cut."""
    from lq.render import clean, table_text
    from lq.render_top import top_tables

    parts = [f"wrong: {clean(reason)}" for reason in overview.get("reasons", ())]
    parts += [table_text(table) for table in top_tables(overview)]
    out("\n\n".join(parts))


def _watch(client: Client, overview: Json, every_s: float) -> None:
    """Draw frame after frame until somebody has seen enough."""
    from rich.console import Console
    from rich.live import Live

    from lq.render_top import Past, top_frame

    gc.enable()  # this can take long, and the entry point turned it off
    console, past, trouble = Console(), Past({}), None
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            past.note(overview)
            live.update(
                top_frame(
                    overview,
                    client.where,
                    width=console.width,
                    height=console.height,
                    past=past,
                    trouble=trouble,
                ),
                refresh=True,
            )
            if _is_quit(pressed, every_s):
                return
            overview, trouble = _next(client, overview)


def _next(client: Client, last: Json) -> tuple[Json, str | None]:
    """The next overview; the last one with what went wrong, where that may pass."""
    try:
        return client.overview(limit=_LIMIT), None
    except (Unreachable, BusyError) as error:
        return last, f"out of date: {error.message}"


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Keys as they are pressed, without Enter and unseen: the file to read them from."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    try:
        tty.setcbreak(file)
        yield file
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _is_quit(file: int | None, seconds: float) -> bool:
    """Wait so long for a key that quits."""
    if file is None:
        time.sleep(seconds)
        return False
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        if select.select([file], [], [], left_s)[0]:
            typed = os.read(file, 64).decode(errors="replace")
            # An arrow key begins with Escape, too, but does not end with it.
            if not typed or typed[-1] in _QUIT:
                return True
    return False
