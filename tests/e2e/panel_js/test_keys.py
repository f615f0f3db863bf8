"""The keyboard."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAV = (
    '<nav><a href="/queues" data-key="q">Queues</a> <a href="/tokens" data-key="t">Tokens</a></nav>'
)
SEARCH = '<input type="search" id="search" data-search value="old">'
HELP = '<dialog id="keys"><p>Keys</p><form method="dialog"><button>Close</button></form></dialog>'
FIELDS = """
<input id="text"><textarea id="area"></textarea><select id="choice"><option>a<option>j</select>
<div id="edit" contenteditable="true">x</div><input type="checkbox" id="tick">
"""


def rows(*names: str) -> str:
    return "".join(
        f'<li data-row><a data-open href="/items/{name}" id="{name}">{name}</a>'
        ' <a href="#">x</a></li>'
        for name in names
    )


async def put(site: Site, page: Page, *, search: str = SEARCH, items: str | None = None) -> None:
    items = rows("one", "two", "three") if items is None else items
    site.put("/", f"{NAV}{search}<ul>{items}</ul>{FIELDS}{HELP}")
    for path in ("/queues", "/tokens", "/history", "/items/two"):
        site.put(path, f"<h1>{path}</h1>{SEARCH}")
    await page.goto(site.url)
    await expect(page.locator("body")).to_be_visible()


async def test_j_and_k_go_over_rows(site: Site, visit: Visit) -> None:
    page = visit.page
    await put(site, page)
    for key, focused in (
        *(("j", "one"), ("j", "two"), ("j", "three"), ("j", "three")),
        *(("k", "two"), ("k", "one"), ("k", "one")),
    ):
        await page.keyboard.press(key)
        await expect(page.locator(f"#{focused}")).to_be_focused()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/items/two")


async def test_k_first_begins_at_the_first_row_and_other_focus_keeps_the_place(
    site: Site, visit: Visit
) -> None:
    page = visit.page
    await put(site, page)
    await page.keyboard.press("k")
    await expect(page.locator("#one")).to_be_focused()
    await page.locator("li a[href='#']").nth(1).focus()
    await page.keyboard.press("j")
    await expect(page.locator("#three")).to_be_focused()
    await page.locator("nav a").first.focus()
    await page.keyboard.press("k")
    await expect(page.locator("#three")).to_be_focused()


async def test_a_row_that_went_away_leaves_its_place(site: Site, visit: Visit) -> None:
    page = visit.page
    await put(site, page)
    await page.focus("#two")
    await page.eval_on_selector("#two", "(link) => link.closest('li').remove()")
    await page.keyboard.press("j")
    await expect(page.locator("#three")).to_be_focused()


async def test_without_rows_the_keys_are_the_pages(site: Site, visit: Visit) -> None:
    await put(site, visit.page, items="<li data-row>no link</li>")
    await visit.page.keyboard.press("j")
    await expect(visit.page.locator("body")).to_be_focused()


async def test_slash_searches(site: Site, visit: Visit) -> None:
    page = visit.page
    await put(site, page)
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.type("j/?g")
    await expect(page.locator("#search")).to_have_value("j/?g")
    await page.keyboard.press("Escape")
    await expect(page.locator("#search")).not_to_be_focused()
    await page.keyboard.press("j")
    await expect(page.locator("#one")).to_be_focused()


async def test_slash_without_a_field_goes_to_history(site: Site, visit: Visit) -> None:
    await put(site, visit.page, search="")
    await visit.page.keyboard.press("/")
    await visit.page.wait_for_url("**/history#search")
    await expect(visit.page.locator("#search")).to_be_focused()


async def test_help_opens_and_closes(site: Site, visit: Visit) -> None:
    page = visit.page
    await put(site, page)
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_visible()
    await page.keyboard.press("j")
    await page.keyboard.press("g")
    await page.keyboard.press("q")
    await expect(page.locator("#one")).not_to_be_focused()
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_hidden()
    await page.keyboard.press("?")
    await page.keyboard.press("Escape")
    await expect(page.locator("#keys")).to_be_hidden()
    assert page.url.rstrip("/") == site.url


async def test_g_and_a_letter_goes_there(site: Site, visit: Visit) -> None:
    await put(site, visit.page)
    await visit.page.keyboard.press("g")
    await visit.page.keyboard.press("t")
    await visit.page.wait_for_url("**/tokens")


@pytest.mark.parametrize("keys", ["gx", 'g"', "g]", "gjq", "q"])
async def test_other_letters_go_nowhere(site: Site, visit: Visit, keys: str) -> None:
    await put(site, visit.page)
    for key in keys:
        await visit.page.keyboard.press(key)
    await visit.page.keyboard.press("j")
    await expect(visit.page.locator("#one")).to_be_focused()
    assert visit.page.url.rstrip("/") == site.url


@pytest.mark.parametrize("field", ["text", "area", "choice", "edit", "search"])
async def test_in_a_field_keys_are_the_fields(site: Site, visit: Visit, field: str) -> None:
    page = visit.page
    await put(site, page)
    await page.focus(f"#{field}")
    for key in ("j", "k", "?", "g", "q"):
        await page.keyboard.press(key)
        await expect(page.locator(f"#{field}")).to_be_focused()
    await expect(page.locator("#keys")).to_be_hidden()
    assert page.url.rstrip("/") == site.url


@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta"])
async def test_with_a_modifier_keys_are_the_browsers(
    site: Site, visit: Visit, modifier: str
) -> None:
    page = visit.page
    await put(site, page)
    await page.keyboard.press(f"{modifier}+?")
    await page.keyboard.press(f"{modifier}+k")
    await expect(page.locator("#one")).not_to_be_focused()
    await expect(page.locator("#keys")).to_be_hidden()


async def test_a_checkbox_takes_no_letters(site: Site, visit: Visit) -> None:
    await put(site, visit.page)
    await visit.page.focus("#tick")
    await visit.page.keyboard.press("j")
    await expect(visit.page.locator("#one")).to_be_focused()
