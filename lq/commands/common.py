"""What the commands share: finding the daemon, naming an item, reading times, printing.

Owns: the options that several commands take, and the only writes to stdout.
Never imports rich unless a person is looking, never asyncio, aiohttp or msgspec: `lq push`
waits for this module.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from lq.client import ApiError, ByKey, Client, Json, Ref
from lq.commands import failure
from lq.errors import LqError
from lq.paths import find_socket

if TYPE_CHECKING:
    from lq.render import Table

P = ParamSpec("P")
T = TypeVar("T")

MAX_PAGE = 1000
FEW = 100
RETRIES = 2
_TIMEOUT_S = 30.0
# How long a shell may take to complete a name before whoever types it is better off without.
_COMPLETING_S = 0.5
_CONNECTION = "Connection"


def completing(names: Callable[[Client], Iterable[str]]) -> Callable[..., list[str]]:
    """Complete a name in the shell with what the daemon knows; quietly nothing if it is away."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        config, url, token = (ctx.params.get(name) for name in ("config", "url", "token"))
        try:
            client = connect(config, url, token, retries=0, timeout_s=_COMPLETING_S)
            return [name for name in names(client) if name.startswith(incomplete)]
        except (LqError, OSError):
            return []

    return complete


queue_names = completing(lambda client: (queue["name"] for queue in client.queues()))
schedule_keys = completing(
    lambda client: (one.get("key", one["id"]) for one in client.schedules(limit=MAX_PAGE)["items"])
)
scriptlet_names = completing(lambda client: (one["name"] for one in client.scriptlets()))

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE", help="The lq.toml to read.", rich_help_panel=_CONNECTION
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The daemon's address, or LQ_API_URL.",
        rich_help_panel=_CONNECTION,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="Better in LQ_TOKEN: others can see arguments.",
        rich_help_panel=_CONNECTION,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IdsOnly = Annotated[bool, typer.Option("--quiet", "-q", help="Print the ids alone.")]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, help=f"At most this many, else {FEW}.")
]
All = Annotated[bool, typer.Option("--all", help="Without a limit.")]
ItemId = Annotated[str | None, typer.Argument(metavar="[ID]", help="The item.", show_default=False)]
ItemIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="The items.", show_default=False)
]
ItemQueue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        metavar="QUEUE",
        help="With --key, in place of an id.",
        autocompletion=queue_names,
    ),
]
ItemKey = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="With --queue, in place of an id.")
]
OfSchedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="REF",
        help="Pushed by this schedule; its key or id.",
        autocompletion=schedule_keys,
    ),
]
OfQueue = Annotated[
    str | None,
    typer.Option("--queue", metavar="QUEUE", help="Of this queue.", autocompletion=queue_names),
]


def app(**settings: Any) -> typer.Typer:
    """A Typer for one noun; help is plain text unless a person is looking."""
    defaults: dict[str, Any] = {
        "add_completion": False,
        "rich_markup_mode": "rich" if looking() else None,
        "pretty_exceptions_enable": False,
    }
    return typer.Typer(**defaults | settings)


def looking() -> bool:
    """Whether a person reads stdout, rather than a program."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def remote(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --config, --url and --token, and hand it the Client they lead to."""

    def connected(
        *, config: ConfigFile = None, url: Url = None, token: Token = None, **arguments: Any
    ) -> None:
        command(connect(config, url, token), **arguments)

    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    *shared, _ = inspect.signature(connected, eval_str=True).parameters.values()
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]
    connected.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    connected.__annotations__ = {p.name: p.annotation for p in parameters}
    connected.__name__, connected.__doc__ = command.__name__, command.__doc__
    return connected


def connect(
    config: str | None,
    url: str | None,
    token: str | None,
    *,
    retries: int = RETRIES,
    timeout_s: float = _TIMEOUT_S,
) -> Client:
    """The daemon that the options or the environment name, else the one on this machine.

    A script gets patience, as with a daemon that is being restarted; a person hears at once.
    """
    retries = 0 if sys.stderr.isatty() else retries
    address = url_in_use(config, url)
    if address is not None:
        return Client(address, token, retries=retries, timeout_s=timeout_s)
    return Client(socket=find_socket(config, os.environ), retries=retries, timeout_s=timeout_s)


def url_in_use(config: str | None, url: str | None) -> str | None:
    """The URL of the daemon meant; None for the local one. An option beats the environment."""
    if url is None and config is None:
        return os.environ.get("LQ_API_URL") or None
    return url


def item_ref(item_id: str | None, queue: str | None, key: str | None) -> Ref:
    """The one item that an id, or a queue and a key, name."""
    refs = item_refs([item_id] if item_id is not None else None, queue, key)
    return refs[0]


def item_refs(ids: Sequence[str] | None, queue: str | None, key: str | None) -> Sequence[Ref]:
    """The items that ids, or a queue and a key, name."""
    if ids and queue is None and key is None:
        return ids
    if not ids and queue is not None and key is not None:
        return [ByKey(queue, key)]
    raise typer.BadParameter("name the item either by its id or by --queue and --key together")


def schedule_id(client: Client, ref: str | None) -> str | None:
    """The id of the schedule that a key or an id names; an id may be of one that is gone."""
    if ref is None or re.fullmatch("sch_[0-9a-f]{32}", ref):
        return ref
    return str(known(client.schedule)(ref)["id"])


def now() -> int:
    """The wall clock. Units: Unix milliseconds."""
    return time.time_ns() // 1_000_000


def duration(text: str) -> int:
    """An option's value as a duration. Units: milliseconds."""
    from lq.when import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the outcome and exit with it: 0 or 1.")
]
WaitTimeout = Annotated[
    int | None,
    typer.Option(metavar="DURATION", parser=duration, help="Wait this long, else exit with 7."),
]


def instant(text: str) -> str:
    """An option's value as an instant, in RFC 3339; a time without a zone is local."""
    from lq.when import format_instant, parse_instant

    try:
        return format_instant(parse_instant(text, now(), local_zone()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def instant_in(name: str | None, text: str, option: str) -> int:
    """An option's value as an instant; a time without a zone is in that one. Units: ms."""
    from lq.when import parse_instant, within_calendar

    try:
        return within_calendar(parse_instant(text, now(), name))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def zone(name: str) -> str:
    """An option's value as the name of a time zone."""
    from lq.when import load_zone

    try:
        load_zone(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return name


def instant_or_duration(text: str) -> str:
    """An option's value as an instant in RFC 3339; a duration counts from now."""
    return _either(text, 1)


def instant_or_age(text: str) -> str:
    """An option's value as an instant in RFC 3339; a duration counts back from now."""
    return _either(text, -1)


def _either(text: str, sign: int) -> str:
    from lq.when import UnknownZone, format_instant, parse_duration, parse_instant

    try:
        if re.fullmatch(r" *[0-9.]+ *[A-Za-z].*", text):
            return format_instant(now() + sign * parse_duration(text))
        return format_instant(parse_instant(text, now(), local_zone()))
    except UnknownZone as error:
        raise typer.BadParameter(str(error)) from None
    except ValueError:
        raise typer.BadParameter(
            'expected a duration such as "90s" or "1d12h", or a time such as "tomorrow 09:00" or'
            f' "2026-12-01T09:00:00Z", ten years off at most, got {text!r}'
        ) from None


def local_zone() -> str | None:
    """The name of this machine's time zone, None when it cannot be told."""
    from lq.when import load_zone

    names = [os.environ.get("TZ", "").lstrip(":")]
    with suppress(OSError):
        names.append(str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2])
    with suppress(OSError, UnicodeDecodeError):
        names.append(Path("/etc/timezone").read_text(encoding="utf-8").strip())
    for name in filter(None, [*names, time.tzname[0]]):
        with suppress(ValueError):
            load_zone(name)
            return name
    return None


def listing(
    fetch: Callable[..., Json],
    limit: int | None,
    everything: bool,
    *,
    member: str = "items",
    **wanted: str | int | None,
) -> list[Json]:
    """Up to `limit` entries of a listing, or all; without either a few, and a note of the rest."""
    found: list[Json] = []
    cursor: str | None = None
    bound = math.inf if everything else limit or FEW
    while len(found) < bound:
        size = int(min(MAX_PAGE, bound - len(found)))
        page = fetch(limit=size, cursor=cursor, **wanted)
        found += page[member]
        cursor = page.get("cursor")
        if cursor is None:
            return found
    if limit is None:
        note(f"There are more than these {FEW}: --limit N or --all shows them.")
    return found


def each(
    refs: Sequence[T], verb: Callable[[T], Json], said: Callable[[Json], str], *, as_json: bool
) -> None:
    """Apply a verb to each and print what it did; go on after a refusal, and exit with it."""
    code = 0
    for ref in refs:
        try:
            answer = verb(ref)
        except LqError as error:
            code = code or failure.explain(error)
            continue
        show_done(answer, said, as_json=as_json)
    if code:
        raise typer.Exit(code)


def known(verb: Callable[P, T]) -> Callable[P, T]:
    """A verb on a schedule that, where there is none, tells how to find those there are."""

    @wraps(verb)
    def told(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return verb(*arguments, **options)
        except ApiError as error:
            if error.status == 404:
                error.hint = error.hint or "`lq schedules ls` shows which there are."
            raise

    return told


def show_done(answer: Json, said: Callable[[Json], str], *, as_json: bool) -> None:
    """Print what a verb did: JSON, a line for people, or the bare id for programs."""
    if as_json:
        out_json(answer)
    else:
        out(said(answer) if looking() else answer["id"])


def show_listing(
    found: Sequence[Json],
    table: Callable[[Sequence[Json], int], Table],
    *,
    as_json: bool,
    quiet: bool,
    name: str = "id",
) -> None:
    """Print a listing as JSON, as bare names, or as a table."""
    if as_json:
        out_json(found)
    elif quiet:
        for entry in found:
            out(entry[name])
    elif found or not looking():
        show_table(table(found, now()))
    else:
        note("There is nothing to list.")


def out(text: str) -> None:
    """Print to stdout. A reader that has gone away ends the command quietly."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(failure.BROKEN_PIPE) from None
        raise LqError(f"cannot write to stdout: {error.strerror}") from None


def note(text: str) -> None:
    """Print to stderr, where it is in no program's way."""
    print(text, file=sys.stderr, flush=True)


def out_json(value: object, indent: int | None = 2) -> None:
    """Print JSON, on one line if `indent` is None.

    Control characters stay escaped, whatever a handler put into a string.
    """
    from lq.render import UNSAFE

    text = json.dumps(value, indent=indent, ensure_ascii=False)
    out(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def show_table(table: Table) -> None:
    """Print a table: coloured and fitted to the terminal for people, whole for programs."""
    from lq.render import table_rich, table_text

    if looking():
        from rich.console import Console

        console = Console()
        console.print(table_rich(table, console.width))
    else:
        out(table_text(table))
