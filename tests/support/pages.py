"""A browser without a screen: asks for pages of the panel, keeps its cookie, sends forms.

Owns: what a browser says of itself with a request, and reading pages. It follows no redirect, so
that tests see where they lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

_VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_UNSEEN = {"script", "style", "template", "title"}


class Form:
    """A form of a page. Shape: `fields` are what a browser would send of it, untouched."""

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.fields: dict[str, str] = {}
        self.button = ""


class Page(HTMLParser):
    """A page that was got: its `status`, its visible `text`, its `links` and `forms`."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__()
        self.status = status
        self.headers = headers
        self.body = body
        self.html = body.decode(errors="replace")
        self.links: dict[str, str] = {}
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._words: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._link: tuple[str, list[str]] | None = None
        self._select = ""
        if "html" in headers.get("Content-Type", ""):
            self.feed(self.html)
        self.text = " ".join(" ".join(self._words).split())

    @property
    def location(self) -> str:
        """Where a redirect leads."""
        return self.headers["Location"]

    def form(self, action: str) -> Form:
        """The form that goes to this path."""
        found = [form for form in self.forms if form.action == action]
        assert found, f"no form goes to {action}: {[form.action for form in self.forms]}"
        return found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag not in _VOID:
            self._open.append((tag, given))
        if tag == "a":
            self._link = given.get("href", ""), []
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif self.forms and self._is_in("form"):
            self._field(tag, given)

    def _field(self, tag: str, given: dict[str, str]) -> None:
        fields, name = self.forms[-1].fields, given.get("name", "")
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" in given or self._select not in fields:
                fields[self._select] = given.get("value", "")
        elif tag == "textarea" and name:
            fields[name] = ""
        elif tag == "input" and name:
            if given.get("type") not in {"checkbox", "radio"}:
                fields[name] = given.get("value", "")
            elif "checked" in given:
                fields[name] = given.get("value", "on")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._link is not None:
            self.links[" ".join(" ".join(self._link[1]).split())] = self._link[0]
            self._link = None
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "textarea" and self.forms:
            name = self._open[-1][1].get("name", "")
            self.forms[-1].fields[name] = data.removeprefix("\n")
        if any(tag in _UNSEEN for tag, _ in self._open):
            return
        self._words.append(data)
        if self._link is not None:
            self._link[1].append(data)

    def _is_in(self, tag: str) -> bool:
        return any(opened == tag for opened, _ in self._open)


class Browser:
    """Somebody at the panel. Shape: `port` is the daemon's."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    @property
    def cookies(self) -> dict[str, str]:
        """What it would show the panel."""
        jar = self._session.cookie_jar.filter_cookies(URL(self.origin))
        return {name: morsel.value for name, morsel in jar.items()}

    async def log_in(self, token: str) -> Page:
        """Send the login form, with a token or the code of a link."""
        return await self.post("/login", token=token)

    async def get(self, path: str, **headers: str) -> Page:
        """Ask for a page. Shape: underscores in names of headers are hyphens."""
        said = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        return await self.ask("GET", path, headers=said | _named(headers))

    async def post(self, path: str, **fields: str | list[str]) -> Page:
        """Send a form, as a page of the panel would."""
        return await self.ask("POST", path, fields, self.own)

    @property
    def own(self) -> dict[str, str]:
        """What a browser says of a form that comes from the panel itself."""
        return {"Accept": "text/html", "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}

    async def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """Ask for whatever. Shape: `fields` are a form's, or a body as it is."""
        body = None if fields is None else fields
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = urlencode(body, doseq=True).encode()
            given.setdefault("Content-Type", "application/x-www-form-urlencoded")
        url = URL(f"{self.origin}{path}", encoded=True)
        async with self._session.request(
            method, url, data=body, headers=given, allow_redirects=False
        ) as got:
            return Page(got.status, got.headers, await got.read())

    async def follow(self, page: Page) -> Page:
        """The page that a form has led to."""
        assert page.status == 303, page.text
        return await self.get(page.location)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
