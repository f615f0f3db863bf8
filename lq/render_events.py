"""Events as lines, for people and for programs.

Owns how an event reads; prints nothing, and imports rich only to colour a line.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from lq.render import Json, clean, off
from lq.when import format_instant, parse_rfc3339

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    "succeed": "green",
    "claim": "cyan",
    "fail": "yellow",
    "release": "yellow",
    "bury": "red",
    "expire": "red",
    "missed": "bold red",
    "pause": "magenta",
    "resume": "magenta",
    "delete": "magenta",
    "cancel": "dim",
    "skip": "dim",
}
_VERB = 7
_GAPS = {
    "overrun": "more has happened than the daemon keeps in mind",
    "restart": "the daemon was started anew, or this place is not one of its own",
}


def event_line(event: Json, zone: datetime.tzinfo | None = None) -> str:
    """An event on one line, nothing cut."""
    at, verb, *rest = _parts(event, zone)
    return "  ".join((f"{at} {verb}", *filter(None, rest))).rstrip()


def event_text(event: Json, zone: datetime.tzinfo | None = None) -> Text:
    """The same in colours, for a terminal."""
    from rich.text import Text

    at, verb, item, place, said = _parts(event, zone)
    style = _STYLES.get(event["verb"], "")
    line = Text(overflow="fold").append(at, "dim").append(" ").append(verb, style)
    for text, own in ((item, "dim"), (place, "bold"), (said, style)):
        if text:
            line.append("  ").append(text, own)
    return line


def _parts(event: Json, zone: datetime.tzinfo | None) -> tuple[str, str, str, str, str]:
    """When, what, which item, where it is, and what there is to say."""
    verb = str(event["verb"])
    at = parse_rfc3339(event["at"])
    key = f" ({clean(event['key'])})" if "key" in event else ""
    place = f"{clean(event['queue'])}{key}" if "queue" in event else ""
    return (
        _clock(at, zone),
        f"{clean(verb):<{_VERB}}",
        clean(event.get("id", "")),
        place,
        clean(_said(event, verb, at)),
    )


def _clock(at: int, zone: datetime.tzinfo | None) -> str:
    """The time of day in a zone; without one the whole instant."""
    if zone is None:
        return format_instant(at)
    moment = datetime.datetime.fromtimestamp(at / 1000, zone)
    return f"{moment:%H:%M:%S}.{at % 1000:03}"


def _said(event: Json, verb: str, at: int) -> str:
    if verb == "missed":
        return f"some events: {_GAPS.get(event.get('reason', ''), 'they are gone')}"
    said = []
    if "attempt" in event:
        said.append(f"attempt {event['attempt']}")
    if "error" in event:
        said.append(str(event["error"]))
    elif "status" in event:
        said.append(f"status {event['status']}")
    if event.get("outcome") == "replaced":
        said.append("replaced")
    if "nextAttempt" in event:
        wait_ms = parse_rfc3339(event["nextAttempt"]) - at
        if wait_ms >= 1000 or verb == "fail":
            said.append(
                f"due {off(wait_ms)}" if verb in {"push", "edit"} else f"again {off(wait_ms)}"
            )
    if "schedule" in event and verb in {"push", "skip"}:
        said.append(f"by {event['schedule']}")
    return ", ".join(said)
