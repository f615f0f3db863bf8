"""Views of one thing, one at a time."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.browser import Visit, Visitor

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


def views(*names: str, chosen: str = "", note: str = "") -> str:
    tabs = "".join(
        f'<button type="button" role="tab" aria-controls="{name}"'
        f"{' aria-selected=true' if name == chosen else ''}>{name}</button>"
        for name in names
    )
    panels = "".join(f'<div role="tabpanel" id="{name}">view {name}</div>' for name in names)
    return (
        f'<div data-region id="payload">{note}<div data-tabs>'
        f'<div role="tablist" hidden>{tabs}</div>{panels}</div></div>'
    )


async def shown(visit: Visit, *names: str) -> None:
    await expect(visit.page.locator("[role=tabpanel]:visible")).to_have_text(
        [f"view {name}" for name in names]
    )


async def test_one_view_is_shown(site: Site, visit: Visit) -> None:
    site.put("/", views("json", "text", "hex"))
    await visit.page.goto(site.url)
    await shown(visit, "json")
    await visit.page.get_by_role("tab", name="hex").click()
    await shown(visit, "hex")
    selected = visit.page.get_by_role("tab", selected=True)
    await expect(selected).to_have_text(["hex"])


async def test_which_is_shown_first_can_be_said(site: Site, visit: Visit) -> None:
    site.put("/", views("json", "text", "hex", chosen="text"))
    await visit.page.goto(site.url)
    await shown(visit, "text")


async def test_arrows_go_round(site: Site, visit: Visit) -> None:
    site.put("/", views("json", "text", "hex"))
    await visit.page.goto(site.url)
    await visit.page.get_by_role("tab", name="json").focus()
    for key, name in (
        *(("ArrowRight", "text"), ("ArrowRight", "hex"), ("ArrowRight", "json")),
        *(("ArrowLeft", "hex"), ("Home", "json"), ("End", "hex")),
    ):
        await visit.page.keyboard.press(key)
        await shown(visit, name)
        await expect(visit.page.get_by_role("tab", name=name)).to_be_focused()


async def test_the_choice_outlives_a_change_of_the_page(site: Site, visit: Visit) -> None:
    site.put("/", views("json", "text"), live="/events")
    await visit.page.goto(site.url)
    await site.next_stream()
    await visit.page.get_by_role("tab", name="text").click()
    site.put("/", views("json", "text", note="<p>new</p>"), live="/events")
    site.tell("edit")
    await expect(visit.page.locator("#payload p")).to_have_text("new")
    await shown(visit, "text")


async def test_groups_do_not_mix_and_may_be_empty(site: Site, visit: Visit) -> None:
    inner = views("c", "d").replace('id="payload"', 'id="answer"')
    lone = '<div data-tabs><button role="tab" aria-controls="no-such">x</button></div>'
    site.put("/", views("a", "b") + inner + lone + "<div data-tabs></div>")
    await visit.page.goto(site.url)
    await visit.page.get_by_role("tab", name="d", exact=True).click()
    await shown(visit, "a", "d")


async def test_without_scripts_all_views_are_there(site: Site, visitor: Visitor) -> None:
    site.put("/", views("json", "text"))
    visit = await visitor(java_script_enabled=False)
    await visit.page.goto(site.url)
    await shown(visit, "json", "text")
