"""Something done to all items under a filter: run again what has finished, cancel what has not.

Owns: the question before it, with a count, and the telling of how far it is. A sweep is done by
steps of the API, one for each form that is sent; nothing goes on when nobody sends the next.
Invariant: what is meant had finished, or been pushed, when it was counted: a form that is sent
twice does nothing twice.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from msgspec import Struct

from lq.daemon.api.call import Reply
from lq.daemon.panel.filters import Fields, filter_of, read_fields
from lq.daemon.panel.pages import format_utc, number, plural, with_query
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Visit
from lq.errors import Issue, RequestError, ValidationError

_SHOWN: Final = 5
_COUNT: Final = re.compile(r"[0-9]{1,12}")
_SKIPPED: Final = re.compile(r"([0-9]{1,12}) ([^\n]{1,200})")


class _Kind(Struct, frozen=True):
    """A sweep. Shape: `listing` is the page and the route of what it is done to."""

    method: str
    route: str
    listing: str
    template: str
    did: str


class _Sum(Struct, kw_only=True):
    """What the steps so far came to, as the forms between them carry it."""

    done: int
    skipped: Counter[str]
    until: str
    cursor: str


_REPLAY: Final = _Kind("POST", "/history/replay", "/history", "replay.html", "replayed")
_CANCEL: Final = _Kind("DELETE", "/items", "/items", "cancel.html", "cancelled")


async def ask_replay(visit: Visit) -> Reply:
    return await _ask(visit, _REPLAY)


async def ask_cancel(visit: Visit) -> Reply:
    return await _ask(visit, _CANCEL)


async def replay(visit: Visit) -> Reply:
    rate = visit.form.get("rate", "").strip()
    return await _step(visit, _REPLAY, {"rate": rate} if rate else {})


async def cancel(visit: Visit) -> Reply:
    return await _step(visit, _CANCEL, {})


async def _ask(visit: Visit, kind: _Kind, error: RequestError | None = None) -> Reply:
    """Count what is meant, and ask."""
    named = await _named(visit)
    # Also what is meant without any word: all there is by now.
    wanted = {**named, "to": named.get("to") or format_utc(visit.now + 1)}
    counted = await visit.ask(kind.method, with_query(kind.route, wanted, dry=1))
    sample = await visit.get(kind.listing, {**wanted, "limit": _SHOWN})
    return visit.page(
        kind.template,
        error=error,
        named=named,
        wanted=wanted,
        matched=counted["matched"],
        is_more="cursor" in counted,
        items=sample["items"],
        rate=visit.form.get("rate", ""),
    )


async def _step(visit: Visit, kind: _Kind, more: Fields) -> Reply:
    """Do a part of it, and the next one when that is asked for."""
    form = visit.form
    named = await _named(visit)
    if "to" in form:  # as it was counted
        more = {"to": form["to"], **more}
    so_far = _read_sum(visit)
    asked = with_query(kind.route, {**named, **more}, cursor=so_far.cursor)
    try:
        step = await visit.ask(kind.method, asked)
    except RequestError as error:
        if not so_far.cursor:
            return await _ask(visit, kind, error)
        return await _on_the_way(visit, kind, more, so_far, error)
    skipped = Counter(so_far.skipped) + Counter(step.get("skipped", {}))
    total = _Sum(
        done=so_far.done + step[kind.did],
        skipped=skipped,
        until=step.get("until", so_far.until),
        cursor=step.get("cursor", ""),
    )
    if total.cursor:
        return await _on_the_way(visit, kind, more, total, None)
    return visit.go(with_query(kind.listing, named), _told(kind.did, total))


async def _on_the_way(
    visit: Visit, kind: _Kind, more: Fields, total: _Sum, error: RequestError | None
) -> Reply:
    return visit.page(
        "sweeping.html",
        error=error,
        kind=kind,
        named=await _named(visit),
        more=more,
        sum=total,
        told=_told(kind.did, total),
    )


def _told(did: str, total: _Sum) -> str:
    """What was done, and what was not, with the reasons."""
    text = f"{plural(total.done, 'item')} {did}"
    if total.until:
        text += f", the last one due at {total.until[:19].replace('T', ' ')} UTC"
    for reason, count in total.skipped.items():
        text += f"; {number(count)} skipped: {reason}"
    return f"{text}."


async def _named(visit: Visit) -> Fields:
    """The filter. Raises: ValidationError: a word that is not known must not mean all."""
    fields = await read_fields(visit)
    named = filter_of(fields)
    if strange := fields.keys() - named.keys():
        raise ValidationError([Issue(name, "is not known here") for name in sorted(strange)])
    return named


def _read_sum(visit: Visit) -> _Sum:
    """Raises: ValidationError."""
    form = visit.form
    done = form.get("done", "0")
    if not _COUNT.fullmatch(done):
        raise ValidationError.of("done", "expected a count")
    skipped: Counter[str] = Counter()
    for line in visit.lists.get("skipped", ()):
        if (found := _SKIPPED.fullmatch(line)) is None:
            raise ValidationError.of("skipped", "expected a count and a reason")
        skipped[found[2]] = int(found[1])
    until, cursor = form.get("until", ""), form.get("cursor", "")
    return _Sum(done=int(done), skipped=skipped, until=until, cursor=cursor)


PAGES: Final = (
    Page("GET", "/history/replay", ask_replay),
    Page("POST", "/history/replay", replay),
    Page("GET", "/items/cancel", ask_cancel),
    Page("POST", "/items/cancel", cancel),
)
