"""The panel as a whole: which page a request means, who asks, and what goes wrong on the way.

Owns: the order of the checks, and the page of an error. Never does what a page does.
Invariant: a request gets to a page only under a name of ours, with a session that lives, and, when
it changes something, from a page of ours.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final
from urllib.parse import unquote

from aiohttp import web
from msgspec.structs import replace

from lq import __version__
from lq.clock import Clock
from lq.config import Config
from lq.daemon.api.app import Api, Visitor
from lq.daemon.api.body import read_body
from lq.daemon.api.call import Reply
from lq.daemon.auth import allows
from lq.daemon.engine import Engine
from lq.daemon.panel import (
    endpoints,
    failures,
    history,
    items,
    overview,
    queues,
    schedule_form,
    schedules,
    secret,
    settings,
    sweeps,
    tokens,
    unfinished,
)
from lq.daemon.panel.assets import Assets
from lq.daemon.panel.guard import (
    HEADERS,
    check_host,
    check_origin,
    check_reader,
    is_from_elsewhere,
    names,
    own_path,
    public_origin,
)
from lq.daemon.panel.login import MAX_BODY, PATH, Login
from lq.daemon.panel.pages import Pages
from lq.daemon.panel.routes import Page
from lq.daemon.panel.visit import LIVE, Visit, html, may
from lq.daemon.sessions import Session
from lq.errors import (
    MethodNotAllowed,
    NotFound,
    RateLimited,
    RequestError,
    Unauthorized,
    Unavailable,
)
from lq.model import Scope

LOGOUT: Final = "/logout"
PAGES: Final[tuple[Page, ...]] = (
    *overview.PAGES,
    *sweeps.PAGES,
    *queues.PAGES,
    *unfinished.PAGES,
    *schedule_form.PAGES,
    *schedules.PAGES,
    *items.PAGES,
    *endpoints.PAGES,
    *settings.PAGES,
    *history.PAGES,
    *failures.PAGES,
    *tokens.PAGES,
    *secret.PAGES,
)

_STATIC: Final = re.compile(r"/static/([0-9a-f]{12})/([A-Za-z0-9._/-]+)")
_OTHERS: Final = re.compile(r"/(?:api|metrics|healthz|readyz|openapi\.json)(?:/|$)")
"""What is the API's, whoever asks for it."""
_BROWSERS: Final = ("Cookie", "Sec-Fetch-Site")
"""What tells a browser that asks for something else than a page from a client of the API."""
_OF_PROXIES: Final = ("basic ", "digest ", "negotiate ", "ntlm ")
_FORM_BYTES: Final = 65_536
"""What a form may have beside a payload, which takes up to three times its length in it."""


class Panel:
    """The pages of one daemon."""

    def __init__(self, config: Config, engine: Engine, api: Api, clock: Clock) -> None:
        self._engine = engine
        self._api = api
        self._clock = clock
        self._hosts = names(config)
        self._public = public_origin(config)
        self._body_timeout_s = config.limits.body_timeout_ms / 1000
        self._assets = Assets()
        self._pages = Pages(self._assets, __version__)
        self._login = Login(engine, self._pages, clock)
        self._routes: dict[str, tuple[re.Pattern[str], dict[str, Page]]] = {}
        for page in PAGES:
            known = self._routes.setdefault(page.pattern, (re.compile(page.pattern), {}))
            known[1][page.method] = page

    def serve(self, request: web.BaseRequest, target: str) -> bool:
        """Whether this is for the panel: a page of it, or one that a browser looks for in vain.

        Who brings a token, or does not ask as a browser does, gets the API's answer at any path. A
        password in Authorization is meant for a proxy, which has passed it on.
        """
        path = target.partition("?")[0]
        if _OTHERS.match(path) or _brings_token(request):
            return False
        if path in {PATH, LOGOUT} or _STATIC.fullmatch(path):
            return True
        wants_page = "text/html" in request.headers.get("Accept", "")
        if wants_page and request.method in {"GET", "HEAD"}:
            return True
        is_browser = wants_page or not request.headers.keys().isdisjoint(_BROWSERS)
        return is_browser and self._found(path) is not None

    async def answer(self, visitor: Visitor) -> Reply:
        """The page, or why there is none."""
        request = visitor.request
        session = None
        try:
            host = request.headers.get("Host", "")
            check_host(host, self._hosts)
            path, _, query = visitor.target.partition("?")
            if static := _STATIC.fullmatch(path):
                return self._static(request, static[1], static[2])
            if request.method in {"GET", "HEAD"}:
                check_reader(request.headers)
            else:
                check_origin(request.headers, host, self._public)
            if path in {PATH, LOGOUT}:
                return self._to_stranger(await self._door(visitor, path, query), visitor)
            # What a page asks for by itself keeps nobody logged in: not a stream that begins anew.
            used = LIVE not in request.headers and path != overview.STREAM
            session = self._login.find(request.headers, used=used)
            if session is None:
                return self._to_stranger(self._unknown(request, visitor.target), visitor)
            return await self._visit(visitor, path, query, session)
        except RequestError as error:
            return self._refusal(error, visitor, session)

    def refuse(self, error: RequestError, visitor: Visitor) -> Reply:
        """The page of an error that comes from inside lq, which may be in what all pages share."""
        return self._refusal(error, visitor, None)

    async def _visit(self, visitor: Visitor, path: str, query: str, session: Session) -> Reply:
        found = self._found(path)
        if found is None:
            raise NotFound("there is no such page", hint="the first page leads to all there are")
        parts, pages = found
        request = visitor.request
        method = "GET" if request.method == "HEAD" else request.method
        page = pages.get(method)
        if page is None:
            raise MethodNotAllowed(sorted(pages))
        large = page.payload and allows(session.principal, Scope.PUSH, None)
        body = b"" if method == "GET" else await self._body(request, large=large)
        if not self._engine.sessions.lives(session):  # a form may take its time to come
            raise Unauthorized("you are not logged in any more", hint="log in, and try again")
        return await page.handler(
            Visit(
                method=request.method,
                path=path,
                query=query,
                headers=request.headers,
                body=body,
                address=visitor.address,
                session=session,
                lives=lambda: self._engine.sessions.lives(session),
                ask_api=self._api.ask,
                pages=self._pages,
                parts=parts,
                now=self._clock.now(),
            )
        )

    async def _door(self, visitor: Visitor, path: str, query: str) -> Reply:
        """Log in or out."""
        request = visitor.request
        if path == LOGOUT and request.method == "POST":
            return self._login.leave(request.headers)
        if path == PATH and request.method == "POST":
            body = await read_body(
                request, MAX_BODY, self._body_timeout_s, "a token is much shorter"
            )
            return self._login.enter(request.headers, body, visitor.address)
        if path == PATH and request.method in {"GET", "HEAD"}:
            return self._login.ask(query)
        raise MethodNotAllowed(["POST"] if path == LOGOUT else ["GET", "POST"])

    def _unknown(self, request: web.BaseRequest, target: str) -> Reply:
        """The answer to somebody who is not logged in, or whose browser does not show it."""
        if LIVE in request.headers or request.method not in {"GET", "HEAD"}:
            raise Unauthorized("you are not logged in any more", hint="log in, and try again")
        if is_from_elsewhere(request.headers):
            # The cookie stays at home when a link of another site is followed; a page of ours
            # that leads to the same place brings it.
            return html(self._pages.render("arrived.html", target=own_path(target)))
        return self._login.to_login(target)

    def _found(self, path: str) -> tuple[dict[str, str], dict[str, Page]] | None:
        """What a path names, decoded, and its pages by their methods."""
        for pattern, pages in self._routes.values():
            if found := pattern.fullmatch(path):
                try:
                    parts = {k: unquote(v, errors="strict") for k, v in found.groupdict().items()}
                except UnicodeDecodeError:
                    return None
                return parts, pages
        return None

    async def _body(self, request: web.BaseRequest, *, large: bool) -> bytes:
        """A form. Shape: to take a large one apart takes a while, in which nothing else is done."""
        limit, hint = _FORM_BYTES, "this limit is fixed"
        if large:
            limit += 3 * self._engine.max_payload
            hint = "max_payload in lq.toml sets how large a payload may be"
        return await read_body(request, limit, self._body_timeout_s, hint)

    def _static(self, request: web.BaseRequest, version: str, name: str) -> Reply:
        if request.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed(["GET"])
        found = self._assets.find(version, name)
        if found is None:
            raise NotFound("there is no such file")
        asset, keeping = found
        headers = [*HEADERS, ("Cache-Control", keeping), ("Vary", "Accept-Encoding")]
        body = asset.body
        takes = request.headers.get("Accept-Encoding", "").split(",")
        if "gzip" in map(str.strip, takes):
            body = self._assets.packed(name)
            headers.append(("Content-Encoding", "gzip"))
        return Reply(body, headers=tuple(headers), content_type=asset.content_type)

    def _to_stranger(self, reply: Reply, visitor: Visitor) -> Reply:
        """A page for somebody who is not logged in: late, if their address asks for very many."""
        verdict = self._api.judge(visitor.address, Unauthorized("nobody is logged in"))
        return replace(reply, hold=reply.hold or verdict.hold)

    def _refusal(self, error: RequestError, visitor: Visitor, session: Session | None) -> Reply:
        """The page of an error; another one to strangers, if that is often.

        Shape: who is logged in keeps the way to all other pages.
        """
        hold = False
        inside: dict[str, object] = {"layout": "outside.html"}
        if session is None:
            verdict = self._api.judge(visitor.address, error)
            error, hold = verdict.error, verdict.hold
        else:
            me = session.principal
            inside = {"layout": "base.html", "me": me, "may": partial(may, me), "notices": ()}
        text = self._pages.render(
            "error.html",
            error=error,
            known=session is not None,
            request_id=visitor.request_id,
            **inside,
        )
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, MethodNotAllowed):
            headers = (("Allow", ", ".join(error.allowed)),)
        elif isinstance(error, RateLimited | Unavailable):
            headers = (("Retry-After", str(error.retry_after_s)),)
        return replace(html(text, error.status, headers), hold=hold)


def _brings_token(request: web.BaseRequest) -> bool:
    given = request.headers.get("Authorization", "").lower()
    return given != "" and not given.startswith(_OF_PROXIES)
