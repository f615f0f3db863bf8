"""Buttons that copy."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit, Visitor

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "</script><b>x</b> \"quoted\" 'single' \\ ünï\n2nd line"
PAGE = """
<button type="button" id="text" data-copy="lq push mail &quot;hé&quot;" hidden>
<b>copy</b> it</button>
<code id="token">lq_secret  two</code>
<button type="button" id="from" data-copy-from="token" hidden>copy</button>
<input id="field" value="of a field">
<button type="button" id="from-field" data-copy-from="field" hidden>copy</button>
<button type="button" id="from-nothing" data-copy-from="no-such" hidden>copy</button>
<dialog id="modal"><button type="button" id="inside" data-copy="in a dialog">copy</button></dialog>
<textarea id="paste"></textarea>
"""
LEAVE = ["clipboard-read", "clipboard-write"]


async def clipboard(page: Page) -> str:
    text: str = await page.evaluate("() => navigator.clipboard.readText()")
    return text


async def refuse(page: Page) -> None:
    """Be a browser that has no clipboard, as over plain http."""
    await page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined })"
    )


@pytest.mark.parametrize(
    ("button", "text"),
    [
        ("text", 'lq push mail "hé"'),
        ("from", "lq_secret  two"),
        ("from-field", "of a field"),
        ("from-nothing", ""),
    ],
)
async def test_copies(site: Site, visitor: Visitor, button: str, text: str) -> None:
    site.put("/", PAGE)
    visit = await visitor(permissions=LEAVE)
    await visit.page.goto(site.url)
    await visit.page.click(f"#{button}")
    await expect(visit.page.locator(f"#{button}")).to_have_text("copied")
    assert await clipboard(visit.page) == text


async def test_any_text_is_copied_as_it_is(site: Site, visitor: Visitor) -> None:
    site.put("/", PAGE)
    visit = await visitor(permissions=LEAVE)
    await visit.page.goto(site.url)
    await visit.page.eval_on_selector("#token", "(one, text) => (one.textContent = text)", HOSTILE)
    await visit.page.click("#from")
    await expect(visit.page.locator("#from")).to_have_text("copied")
    assert await clipboard(visit.page) == HOSTILE


async def test_the_label_comes_back_whole(site: Site, visitor: Visitor) -> None:
    site.put("/", PAGE)
    visit = await visitor(permissions=LEAVE)
    page = visit.page
    await page.clock.install()
    await page.goto(site.url)
    button = page.locator("#text")
    await expect(button).to_be_visible()
    for _ in range(2):
        await button.click()
        await expect(button).to_have_text("copied")
    await page.clock.run_for(1500)
    await expect(button).to_have_text("copy it")
    await expect(button.locator("b")).to_have_text("copy")


@pytest.mark.parametrize("button", ["text", "inside"])
async def test_without_a_clipboard_it_selects_and_copies(
    site: Site, visitor: Visitor, button: str
) -> None:
    site.put("/", PAGE)
    visit = await visitor()
    page = visit.page
    await refuse(page)
    await page.goto(site.url)
    if button == "inside":
        await page.eval_on_selector("#modal", "(dialog) => dialog.showModal()")
    await page.click(f"#{button}")
    await expect(page.locator(f"#{button}")).to_have_text("copied")
    await expect(page.locator(f"#{button}")).to_be_focused()
    await expect(page.locator("textarea")).to_have_count(1)
    await page.eval_on_selector("#modal", "(dialog) => dialog.close()")
    await page.focus("#paste")
    await page.keyboard.press("Control+V")
    text = {"text": 'lq push mail "hé"', "inside": "in a dialog"}[button]
    await expect(page.locator("#paste")).to_have_value(text)


async def test_what_was_not_copied_is_not_called_copied(site: Site, visit: Visit) -> None:
    site.put("/", PAGE)
    await refuse(visit.page)
    await visit.page.add_init_script("document.execCommand = () => false")
    await visit.page.goto(site.url)
    await visit.page.click("#text")
    await expect(visit.page.locator("#text")).to_have_text("not copied: select it by hand")
