"""What the commands on many items share: the options that say which are meant, and asking first.

Owns the words of filters as options, and the question before something is done to many.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lq.client import Client, Json
from lq.commands import common, failure
from lq.commands.common import looking, note, out, out_json

if TYPE_CHECKING:
    from lq.client import Filter

State = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        help="In this state, as in FAILED.",
        autocompletion=lambda: [
            *("PENDING", "RETRY", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
        ],
    ),
]
Key = Annotated[str | None, typer.Option(metavar="KEY", help="With this key.")]
Label = Annotated[str | None, typer.Option(metavar="LABEL", help="With this label.")]
Target = Annotated[
    str | None, typer.Option(metavar="URL", help='With this target; "URL*": beginning so.')
]
Error = Annotated[
    str | None, typer.Option(metavar="TEXT", help="With this in the text of their error.")
]
Fingerprint = Annotated[
    str | None, typer.Option(metavar="HEX", help="That failed alike, as `lq failures` tells.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        "--from",
        metavar="AGE|TIME",
        parser=common.instant_or_age,
        help='Finished since, as in "24h"; of unfinished ones: pushed.',
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        "--to",
        metavar="AGE|TIME",
        parser=common.instant_or_age,
        help="Finished before; of unfinished ones: pushed.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only count them.")]
AllOfThem = Annotated[
    bool, typer.Option("--all", help="All there are, where no filter says which.")
]


class Wanted(dict[str, Any]):
    """A filter as options gave it, what was not given left out."""

    @property
    def words(self) -> Filter:
        """As keywords of the client's verbs."""
        return cast("Filter", self)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a filter, and hand it what they say as `wanted`."""

    def reading(
        client: Client,
        *,
        state: State = None,
        key: Key = None,
        label: Label = None,
        schedule: common.OfSchedule = None,
        target: Target = None,
        error: Error = None,
        fingerprint: Fingerprint = None,
        since: Since = None,
        until: Until = None,
        **own: Any,
    ) -> None:
        given = {
            "state": state, "key": key, "label": label, "target": target, "error": error,
            "fingerprint": fingerprint, "since": since, "until": until,
            "schedule": common.schedule_id(client, schedule),
        }  # fmt: skip
        wanted = Wanted((name, value) for name, value in given.items() if value is not None)
        command(client, wanted, **own)

    client, _, *own = inspect.signature(command, eval_str=True).parameters.values()
    *shared, _ = inspect.signature(reading, eval_str=True).parameters.values()
    parameters = [client, *(p for p in own if p.name == "queue"), *shared[1:]]
    parameters += [p for p in own if p.name != "queue"]
    positional = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert not positional, "the options of a command are keywords"
    reading.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    reading.__name__, reading.__doc__ = command.__name__, command.__doc__
    return reading


def sweep(
    verb: Callable[..., Json],
    does: str,
    did: str,
    *,
    wanted: Wanted,
    queue: str | None,
    dry: bool,
    yes: bool,
    everything: bool | None,
    as_json: bool,
    **more: str | None,
) -> None:
    """Count what a verb on many would be done to, ask, do it, and tell what it came to.

    Shape: `does` is the verb for people ("cancel"), `did` the member of its answer. `everything` is
    None where the queue says what is meant.
    """
    if everything is False and not wanted and queue is None:
        raise typer.BadParameter("say which items are meant with a filter, or --all")
    named: dict[str, Any] = {"queue": queue, **wanted.words}
    if everything:
        named["everything"] = True
    if dry or not yes:
        counted = verb(**named, dry=True)
        if dry or counted["matched"] == 0:
            _show(counted, f"Would {does}", "matched", as_json=as_json)
            return
        _ask(counted["matched"], does)
    given = {name: value for name, value in more.items() if value is not None}
    _show(verb(**named, **given), did.capitalize(), did, as_json=as_json)


def _ask(number: int, does: str) -> None:
    """Let a person confirm. Raises: typer.BadParameter where nobody can be asked."""
    from lq.render import counted

    meant = f"{does} {counted(number, 'item')}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter(f"this would {meant}; say --yes to do it, or --dry-run to count")
    if not typer.confirm(f"{meant.capitalize()}?", err=True):
        raise typer.Exit(failure.NEGATIVE)


def _show(answer: Json, does: str, member: str, *, as_json: bool) -> None:
    from lq.render import clean, counted

    if as_json:
        out_json(answer)
        return
    out(f"{does} {counted(answer[member], 'item')}" if looking() else str(answer[member]))
    if "until" in answer:
        note(f"The last one is due at {answer['until']}.")
    for reason, number in answer.get("skipped", {}).items():
        note(f"Skipped {counted(number, 'item')}: {clean(reason)}.")
