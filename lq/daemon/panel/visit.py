"""One visit of somebody who is logged in: what their browser asked, and how it is answered.

Owns: how a page asks the API, and how forms and pages are read and written. Decides nothing about
jobs, and knows no route.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from msgspec import Raw, Struct
from msgspec.json import decode, encode
from multidict import CIMultiDict, CIMultiDictProxy

from lq.daemon.api.call import NOT_STORED, Inside, Reply
from lq.daemon.auth import allows
from lq.daemon.panel.guard import HEADERS, is_from_elsewhere
from lq.daemon.panel.pages import Pages, with_query
from lq.daemon.sessions import Session
from lq.errors import Forbidden, RequestError, ValidationError
from lq.model import Principal, Scope
from lq.wire.parts import readable

HTML: Final = "text/html; charset=utf-8"
MAX_FIELDS: Final = 200
LIVE: Final = "X-Lq-Live"
"""Marks what the page itself asks for, again and again, while nobody need be looking."""
API: Final = "/api/v1"

Json = dict[str, Any]
Ask = Callable[[Inside, str, Principal], Awaitable[Reply]]


def quoted(*parts: str) -> str:
    """A path of these parts, each of which may hold anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def fields_of(text: str) -> dict[str, str]:
    """The fields of a query or a form, the last one of each name. Raises: ValidationError."""
    return {name: values[-1] for name, values in lists_of(text).items()}


def lists_of(text: str) -> dict[str, list[str]]:
    """The same with all values of each name.

    Shape: lines end as people mean them; browsers send CR LF. Raises: ValidationError.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise ValidationError.of("form", f"expected up to {MAX_FIELDS} fields of UTF-8") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return found


class Visit(Struct, kw_only=True, dict=True):
    """A request for a page.

    Shape: `parts` are those that its path names, decoded. `ask_api` asks as the one who is logged
    in. `lives` tells whether they are still. `body` is what a form has sent.
    """

    method: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    body: bytes
    address: str
    session: Session
    lives: Callable[[], bool]
    ask_api: Ask
    pages: Pages
    parts: Mapping[str, str]
    now: int

    @property
    def fields(self) -> dict[str, str]:
        """What the query says. Raises: ValidationError."""
        return fields_of(self.query)

    @property
    def form(self) -> dict[str, str]:
        """What the form says. Raises: ValidationError."""
        return {name: values[-1] for name, values in self.lists.items()}

    @cached_property
    def lists(self) -> dict[str, list[str]]:
        """What the form says, with all values of each name. Raises: ValidationError."""
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            raise ValidationError.of("form", "is not UTF-8") from None
        return lists_of(text)

    @property
    def is_live(self) -> bool:
        """Whether the page asks for itself once more, to be up to date."""
        return LIVE in self.headers

    @property
    def is_seen(self) -> bool:
        """Whether somebody gets to see the answer, so that what is told once may be told now.

        Shape: who was led here from elsewhere may not have meant to come.
        """
        return not (self.method == "HEAD" or self.is_live or is_from_elsewhere(self.headers))

    @property
    def origin(self) -> str:
        """The daemon's address, as who asks has it."""
        return f"{'https' if self.session.secured else 'http'}://{self.headers['Host']}"

    def may(self, scope: str, queue: str | None = None) -> bool:
        """Whether who is logged in may do what this scope covers."""
        return may(self.session.principal, scope, queue)

    def need(self, scope: str, queue: str | None = None) -> None:
        """Refuse who could not send the form of this page. Raises: Forbidden."""
        if not self.may(scope, queue):
            raise Forbidden(
                f"this needs a token that has the scope {scope}", hint="log in with one that has it"
            )

    async def reply(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """What the API answers. Shape: `path` is below `API`. Raises: RequestError."""
        given: CIMultiDict[str] = CIMultiDict(headers or {})
        raw = tuple((name.encode(), _bytes_of(value)) for name, value in given.items())
        asked = Inside(method, CIMultiDictProxy(given), raw, body, self.address, self.lives)
        return await self.ask_api(asked, f"{API}{path}", self.session.principal)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The same, read as JSON. Raises: RequestError."""
        return decode((await self.reply(method, path, body, headers)).body)

    async def get(self, path: str, fields: Mapping[str, object] | None = None) -> Any:
        """What there is at a path of the API. Raises: RequestError."""
        return await self.ask("GET", with_query(path, fields or {}))

    async def get_raw(self, path: str) -> dict[str, Raw]:
        """The members of what there is, each as its JSON says it. Raises: RequestError."""
        return decode((await self.reply("GET", path)).body, type=dict[str, Raw])

    async def send(self, method: str, path: str, document: Mapping[str, object]) -> Any:
        """Have something done that takes a JSON document. Raises: RequestError."""
        return await self.ask(method, path, encode(document), {"Content-Type": "application/json"})

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        error: RequestError | None = None,
        **context: object,
    ) -> Reply:
        """A page, with the status of the error that it shows.

        Shape: what it has to tell from before is told once.
        """
        notices: list[str] = []
        if self.is_seen:
            notices, self.session.notices = self.session.notices, []
        text = self.pages.render(
            template,
            visit=self,
            me=self.session.principal,
            may=self.may,
            notices=notices,
            now=self.now,
            error=error,
            **context,
        )
        return html(text, status if error is None else error.status)

    def go(self, path: str, notice: str = "") -> Reply:
        """Lead on to another page, after something was done."""
        if notice:
            self.session.tell(notice)
        return see_other(path)


def _bytes_of(value: str) -> bytes:
    """A header as it came, if it came from a browser: what is not UTF-8 is kept as it is."""
    return value.encode(errors="surrogateescape")


def may(principal: Principal, scope: str, queue: str | None = None) -> bool:
    """Whether somebody may do what this scope covers."""
    return allows(principal, Scope(scope), queue)


def html(text: str, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A page as it goes out."""
    return Reply(text.encode(), status, (*HEADERS, NOT_STORED, *headers), content_type=HTML)


def attachment(body: bytes, name: str) -> Reply:
    """Bytes to be kept, which no browser opens as a page of ours."""
    kind, ending = "application/octet-stream", "bin"
    if readable(body) is not None:
        kind, ending = "text/plain; charset=utf-8", "txt"
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    kept = ("Content-Disposition", f'attachment; filename="{plain}.{ending}"')
    return Reply(body, headers=(*HEADERS, NOT_STORED, kept), content_type=kind)


def see_other(path: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Another page, to be asked for by GET. Shape: `path` is one of ours, quoted."""
    return html("", 303, (("Location", path), *headers))
