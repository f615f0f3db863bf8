"""Tokens: who has which, a new one, and the end of one.

Invariant: a token itself is on one page, once: never in a URL, a notice or a log.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lq.daemon.api.call import Reply
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import Json, Visit, quoted
from lq.errors import NotFound, RequestError, ValidationError
from lq.when import parse_rfc3339


async def show(visit: Visit) -> Reply:
    tokens: list[Json] = await visit.get("/tokens")
    good = [token for token in tokens if _is_good(token, visit.now)]
    ended = [token for token in tokens if not _is_good(token, visit.now)]
    return visit.page("tokens.html", good=good, ended=ended, own=_own(visit))


async def ask_new(visit: Visit) -> Reply:
    await visit.get("/tokens")  # whoever may not see them makes none
    return _form(visit, {"scopes": [], "name": "", "queues": "", "expires": "90d"})


async def create(visit: Visit) -> Reply:
    form = visit.form
    given = {
        "name": form.get("name", "").strip(),
        "scopes": visit.lists.get("scopes", []),
        "queues": form.get("queues", ""),
        "expires": form.get("expires", "").strip(),
    }
    document: dict[str, object] = {"name": given["name"], "scopes": given["scopes"]}
    if patterns := [one for one in re.split(r"[\s,]+", str(given["queues"])) if one]:
        document["queues"] = patterns
    if given["expires"]:
        document["expires"] = given["expires"]
    try:
        if not given["scopes"]:
            raise ValidationError.of("scopes", "choose at least one", "required")
        made = await visit.send("POST", "/tokens", document)
    except RequestError as error:
        if given["name"] in {one["name"] for one in visit.session.made}:
            return visit.go("/tokens/made")  # the form was sent twice, and what it made not seen
        return _form(visit, given, error)
    visit.session.made.append(made)
    return visit.go("/tokens/made")


async def made(visit: Visit) -> Reply:
    """The tokens that were just made: asked for again, this page has none."""
    await visit.get("/tokens")
    found = visit.session.made
    if visit.is_seen:
        visit.session.made = []
    return visit.page("token_made.html", made=found)


async def ask_revoke(visit: Visit) -> Reply:
    name = visit.parts["name"]
    tokens: list[Json] = await visit.get("/tokens")
    found = next((one for one in tokens if one["name"] == name and "revoked" not in one), None)
    if found is None:
        raise NotFound("there is no token of this name that could be revoked")
    return visit.page("token_revoke.html", token=found, is_own=name == _own(visit))


async def revoke(visit: Visit) -> Reply:
    name = visit.parts["name"]
    try:
        await visit.ask("DELETE", quoted("tokens", name))
    except NotFound:
        return visit.go("/tokens", f"There is no live token {name}.")
    return visit.go("/tokens", f"The token {name} is revoked: whoever has it is refused now.")


def _form(visit: Visit, given: dict[str, Any], error: RequestError | None = None) -> Reply:
    return visit.page("token_new.html", given=given, error=error)


def _is_good(token: Json, now: int) -> bool:
    expires = token.get("expires")
    return "revoked" not in token and (expires is None or parse_rfc3339(expires) > now)


def _own(visit: Visit) -> str | None:
    """The name of the token that this session was begun with, if it was one."""
    principal = visit.session.principal
    return principal.name if principal.digest else None


PAGES: Final = (
    Page("GET", "/tokens", show),
    Page("POST", "/tokens", create),
    Page("GET", "/tokens/new", ask_new),
    Page("GET", "/tokens/made", made),
    Page("GET", r"/tokens/revoke/(?P<name>[^/]+)", ask_revoke),
    Page("POST", r"/tokens/revoke/(?P<name>[^/]+)", revoke),
)
