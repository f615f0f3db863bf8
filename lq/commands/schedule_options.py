"""The options that `lq schedules add` and `edit` have in common.

Owns: their names, what they accept and the words that explain them. What is empty takes an
option away in an edit; the daemon refuses it anywhere else.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lq.commands import common

WORK, TIMES = "What it pushes", "When"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def duration(text: str) -> str:
    """An option's value as a duration, as typed; an empty one stays empty."""
    if text:
        common.duration(text)
    return text


def method(text: str) -> str:
    """An option's value as an HTTP method; an empty one stays empty."""
    if text and text.upper() not in METHODS:
        raise typer.BadParameter(f"expected {', '.join(METHODS)}, got {text!r}")
    return text


Target = Annotated[
    str | None,
    typer.Option(metavar="URL", help="What to call; else the queue's own.", rich_help_panel=WORK),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help='The payload, "@FILE" to read it, "-" for stdin.',
        rich_help_panel=WORK,
    ),
]
ContentType = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE",
        help="Of the payload; JSON and text are recognised.",
        rich_help_panel=WORK,
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(
        metavar="'NAME: VALUE'",
        help="Sent with the call; may be repeated.",
        rich_help_panel=WORK,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(METHODS),
        parser=method,
        autocompletion=lambda: [*METHODS],
        help="How to call; POST by default.",
        rich_help_panel=WORK,
    ),
]
Retry = Annotated[
    str | None,
    typer.Option(
        metavar="N|WAITS", help='How often, "8", or when, "10s,1m,1h".', rich_help_panel=WORK
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        parser=duration,
        help="Of one attempt.",
        rich_help_panel=WORK,
    ),
]
Expires = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        parser=duration,
        help="An item fails if it has not started by then.",
        rich_help_panel=WORK,
    ),
]
Label = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="To search by; may be repeated.", rich_help_panel=WORK),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--tz",
        metavar="ZONE",
        parser=common.zone,
        help="As in Europe/Berlin; UTC by default.",
        rich_help_panel=TIMES,
    ),
]
Times = Annotated[
    str | None,
    typer.Option(metavar="N", help="End after so many runs.", rich_help_panel=TIMES),
]
Start = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="No run before this.", rich_help_panel=TIMES),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="No run after this.", rich_help_panel=TIMES),
]
Jitter = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        parser=duration,
        help="Spread the starts over so long.",
        rich_help_panel=TIMES,
    ),
]
Misfire = Annotated[
    Literal["once", "skip", "all"] | None,
    typer.Option(
        help="What becomes of runs missed by more than a minute, as while lq was down; once by"
        " default.",
        rich_help_panel=TIMES,
    ),
]
Completion = Annotated[
    Literal["response", "callback"] | None,
    typer.Option(
        help="What completes each: the response of its call, or the handler's callback later.",
        case_sensitive=False,
        rich_help_panel=WORK,
    ),
]
Overlap = Annotated[
    Literal["allow", "skip"] | None,
    typer.Option(
        help="Whether to run while the last run is unfinished; allow by default.",
        rich_help_panel=TIMES,
    ),
]
