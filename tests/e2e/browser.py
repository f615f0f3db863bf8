"""A real browser: headless Chromium, the machine's own, driven by playwright.

One process serves all tests of a session. Each test has contexts of its own, and fails for
whatever a browser complains of: errors and warnings in the console, scripts that throw, dialogs,
violations of the content security policy, requests to anywhere else than this machine.

Tests that use it run in one event loop: `pytestmark = pytest.mark.asyncio(loop_scope="session")`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    WebError,
    async_playwright,
    expect,
)

from .process import PATIENCE_S

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "chromium is missing: apt install chromium"
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""


class Visit:
    """One person's browser: a context of its own, with a page, and what was wrong there."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self._problems: list[str] = []
        self._expected: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)

    def expect(self, pattern: str) -> None:
        """Say that something is to be complained of, which else fails the test."""
        self._expected.append(pattern)

    def problems(self) -> list[str]:
        """What nobody expected, and what was expected and did not come."""
        found = self._problems
        told = [one for one in found if not any(re.search(it, one) for it in self._expected)]
        missed = [it for it in self._expected if not any(re.search(it, one) for one in found)]
        return told + [f"expected, and not found: {pattern}" for pattern in missed]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location["url"]
            self._problems.append(f"console {message.type}: {message.text} ({where})")

    def _on_error(self, error: WebError) -> None:
        self._problems.append(f"script: {error.error.stack or error.error}")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self._problems.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", "localhost", None):
            self._problems.append(f"request to elsewhere: {request.url}")


class Visitor(Protocol):
    """Opens a browser for somebody; `options` are those of playwright's `new_context`."""

    async def __call__(self, **options: Any) -> Visit: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser's process."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chromium: Browser) -> AsyncIterator[Visitor]:
    """Opens browsers that end with the test, which fails for what went wrong in them."""
    visits: list[Visit] = []

    async def visit(**options: Any) -> Visit:
        context = await chromium.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(PATIENCE_S * 1000)
        await context.add_init_script(_TELL_VIOLATIONS)
        visits.append(Visit(context, await context.new_page()))
        return visits[-1]

    yield visit
    for one in visits:
        await one.context.close()
    if problems := [problem for one in visits for problem in one.problems()]:
        pytest.fail("\n".join(("the browser complained:", *problems)), pytrace=False)


@pytest_asyncio.fixture(loop_scope="session")
async def visit(visitor: Visitor) -> Visit:
    """A browser with all defaults."""
    return await visitor()
