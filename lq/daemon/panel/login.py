"""The way in and out: a token, or the code of a one-time link, for a session.

Owns: the page that asks for it, the cookie, and how often an address may be wrong. Whether a
token is good, the engine says.
Invariant: a session has a name of its own from its login on; nothing that a browser brought before
becomes one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from lq.clock import Clock
from lq.daemon.api.call import Reply
from lq.daemon.api.limits import Tally
from lq.daemon.api.peer import group
from lq.daemon.engine import Engine
from lq.daemon.panel.guard import by_tls, own_path, port_of
from lq.daemon.panel.pages import Pages, with_query
from lq.daemon.panel.visit import fields_of, html, see_other
from lq.daemon.sessions import Session
from lq.errors import Forbidden, RateLimited, RequestError, Unauthorized, ValidationError
from lq.model import Principal, Scope

log = logging.getLogger(__name__)

PATH: Final = "/login"
MAX_BODY: Final = 8192
MAX_TOKEN: Final = 1024
WRONG_PER_ADDRESS: Final = 5
WRONG_IN_ALL: Final = 30
"""So many in a minute are looked at; who has a good token is let in all the same, as by the API:
256 bits are what keeps it from being guessed, and an address may be shared."""

_CODE: Final = re.compile(r"[0-9a-f]{48}")


class Login:
    """Logs people in, knows them again, and logs them out."""

    def __init__(self, engine: Engine, pages: Pages, clock: Clock) -> None:
        self._engine = engine
        self._sessions = engine.sessions
        self._pages = pages
        self._clock = clock
        self._wrong = Tally(WRONG_PER_ADDRESS)
        self._wrong_in_all = Tally(WRONG_IN_ALL)

    def find(self, headers: Mapping[str, str], *, used: bool) -> Session | None:
        """The session that a browser shows the cookie of."""
        for secured, name in _brought(headers):
            session = self._sessions.find(name, secured=secured, used=used)
            if session is not None:
                return session
        return None

    def ask(self, query: str) -> Reply:
        """The page that asks for a token."""
        following = own_path(fields_of(query).get("next", "/"))
        return self._page(following)

    def enter(self, headers: Mapping[str, str], body: bytes, address: str) -> Reply:
        """Let somebody in who has sent the form, or say why not."""
        following = "/"
        try:
            form = fields_of(_text(body))
            following = own_path(form.get("next", "/"))
            principal = self._who(form.get("token", "").strip())
        except (Unauthorized, Forbidden, ValidationError) as error:
            return self._refused(error, following, address)
        self._end_brought(headers)
        secured = by_tls(headers)
        name = self._sessions.begin(principal, secured=secured)
        log.info("%r logged in to the panel, at %s", principal.name, address)
        return see_other(following, (_cookie(headers, name, secured=secured),))

    def leave(self, headers: Mapping[str, str]) -> Reply:
        """Log out, whatever the session was."""
        self._end_brought(headers)
        gone = tuple(_cookie(headers, "", secured=secured) for secured, _ in _brought(headers))
        return see_other(f"{PATH}?out=1", gone)

    def to_login(self, target: str) -> Reply:
        """Lead somebody there who wants to see something."""
        return see_other(with_query(PATH, {"next": own_path(target)}))

    def _end_brought(self, headers: Mapping[str, str]) -> None:
        """End the sessions that a browser shows the cookies of."""
        for _, name in _brought(headers):
            self._sessions.end(name)

    def _who(self, given: str) -> Principal:
        """Raises: Unauthorized; Forbidden for a token that sees nothing."""
        if len(given) > MAX_TOKEN:
            given = ""
        if _CODE.fullmatch(given):
            return self._sessions.follow(given)
        try:
            principal = self._engine.authenticate(given)
        except Unauthorized:
            raise Unauthorized(
                "this token is not valid here",
                hint="`lq panel`, where the daemon runs, opens the panel without one",
            ) from None
        if not principal.scopes & {Scope.READ, Scope.ADMIN}:
            raise Forbidden(
                "this token may only push",
                hint="the panel wants one with the scope read, or admin to change things",
            )
        return principal

    def _refused(self, error: RequestError, following: str, address: str) -> Reply:
        now, of = self._clock.monotonic(), group(address)
        wait_s, is_first = self._wrong.add(of, now)
        if not wait_s:
            log.info("%s: a login to the panel was refused: %s", of, error.message)
            wait_s, is_first = self._wrong_in_all.add("", now)
        if is_first:
            log.warning("%s: too many logins to the panel were refused", of)
        if wait_s:
            error = RateLimited(
                "there were too many wrong tokens",
                hint=f"wait {wait_s} s, or use `lq panel` where the daemon runs",
                retry_after_s=wait_s,
            )
        return replace(self._page(following, error, wait_s), hold=wait_s > 0)

    def _page(self, following: str, error: RequestError | None = None, wait_s: int = 0) -> Reply:
        text = self._pages.render("login.html", following=following, error=error)
        headers = (("Retry-After", str(wait_s)),) if wait_s else ()
        return html(text, 200 if error is None else error.status, headers)


def _text(body: bytes) -> str:
    if len(body) > MAX_BODY:
        raise ValidationError.of("token", f"is longer than {MAX_TOKEN} characters", "too_long")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ValidationError.of("token", "is not UTF-8") from None


def _named(headers: Mapping[str, str], *, secured: bool) -> str:
    """What the cookie is called: browsers do not tell apart the ports of one host."""
    port = port_of(headers.get("Host", ""))
    return f"__Host-lq-{port or '443'}" if secured else f"lq-{port or '80'}"


def _brought(headers: Mapping[str, str]) -> list[tuple[bool, str]]:
    """The names of sessions that a browser has brought, with whether each travels by TLS alone.

    Shape: there may be one of each kind, and one of them may be another site's doing.
    """
    cookies = _cookies(headers.get("Cookie", ""))
    kinds = ((secured, _named(headers, secured=secured)) for secured in (True, False))
    return [(secured, cookies[name]) for secured, name in kinds if name in cookies]


def _cookie(headers: Mapping[str, str], value: str, *, secured: bool) -> tuple[str, str]:
    """The cookie of a session, until the browser is closed; an empty one takes it away."""
    name = _named(headers, secured=secured)
    ending = "" if value else "; Max-Age=0"
    secure = "; Secure" if secured else ""
    return "Set-Cookie", f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{ending}"


def _cookies(header: str) -> dict[str, str]:
    """Cookies by their names, of several the first: browsers put the most fitting one there."""
    found: dict[str, str] = {}
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        found.setdefault(name, value)
    return found
