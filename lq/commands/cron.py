"""`lq cron`: a rule in words, when it runs, and what may surprise about it.

Owns: how a rule is typed on the command line, and what is said of one that is wrong. Never
talks to a daemon.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, NoReturn

import typer

from lq.commands import common, failure
from lq.commands.common import AsJson, note, now, out, out_json

app = common.app()

MOST_TIMES = 1000
EXCERPT = 70  # characters
_HINT = (
    'Five fields, as in "30 2 * * 1-5": minute, hour, day of month, month, day of week;'
    " with six, seconds come first."
)

_ALONE = ("second", "minute", "hour", "day", "week")

Count = Annotated[
    int, typer.Option("-n", "--count", metavar="N", min=1, max=MOST_TIMES, help="How many times.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help='After this time, as in "2027-03-27 12:00".'),
]
RULE_HELP = 'A cron expression in quotes, "@daily", or "every 90s".'


@app.command()
def cron(
    *,
    words: Annotated[list[str], typer.Argument(metavar="EXPR", help=RULE_HELP, show_default=False)],
    tz: Annotated[
        str,
        typer.Option("--tz", metavar="ZONE", parser=common.zone, help="As in Europe/Berlin."),
    ] = "UTC",
    since: From = None,
    count: Count = 5,
    as_json: AsJson = False,
) -> None:
    """Explain a cron expression and show its next runs.

    It needs no daemon, and knows what the clocks of the zone will do.
    """
    rule = read_rule(words)
    after = now() if since is None else common.instant_in(tz, since, "--from")
    from lq import firing
    from lq.render_schedules import Run, rule_in_words, times_table
    from lq.wire import encode_cron

    times = firing.times(rule, tz, after, count)
    if as_json:
        out_json(json.loads(encode_cron(rule, tz, times, now())))
        return
    runs = [Run(at, tz, note=firing.note(rule, tz, at) or "") for at in times]
    out(f"{rule_in_words(rule, firing.explain(rule), tz)}\n")
    common.show_table(times_table(runs, now()))
    warnings = firing.warnings(rule, tz, now())
    if warnings:
        out("")
    for warning in warnings:
        out(f"warning: {warning}")


def read_rule(words: list[str]) -> str:
    """The rule that arguments give, in its canonical form.

    Several arguments are an interval ("every 5 minutes"), never an expression: without quotes
    a shell has put the names of files in the place of each "*".
    """
    from lq.firing import RuleError, parse_rule

    text = " ".join(words)
    every = re.match(r"\s*every\s+(?=\S)", text, re.IGNORECASE)
    if len(words) > 1 and not every:
        raise typer.BadParameter('put the expression in quotes, as in "30 2 * * *"')
    length = text[every.end() :] if every else ""
    one = "1 " if length.strip().lower() in _ALONE else ""
    try:
        return parse_rule(f"E={one}{length}" if every else text)
    except RuleError as error:
        if every:
            _refuse(text, every.end(), str(error), 'As in "every 90s" or "every 1d12h".')
        _refuse(text, error.position, str(error), _HINT)


def _refuse(text: str, position: int, why: str, hint: str) -> NoReturn:
    """Say what is wrong with a rule, and point at it."""
    from rich.cells import cell_len

    from lq.render import clean

    start = max(min(position - EXCERPT // 2, len(text) - EXCERPT), 0)
    before, rest = clean(text[start:position]), clean(text[position : start + EXCERPT])
    failure.complain(why, None)
    if text.strip():
        note(f"  {before}{rest}\n  {' ' * cell_len(before)}^")
    note(f"hint: {hint}")
    raise typer.Exit(failure.USAGE)
