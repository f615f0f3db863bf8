"""Encrypted payloads, read in the browser with a key that does not leave it."""

from __future__ import annotations

import base64
import html
import secrets

import pytest
from playwright.async_api import Page, Request, expect

from lq.sdk.codec import Encoded
from lq.sdk.sealing import Sealer, key_id
from tests.e2e.browser import Visit

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = bytes(range(32)).hex()


def section(body: bytes, *, purpose: str = "payload", queue: str = "mail") -> str:
    sealed = Sealer(queue, KEY).seal(Encoded(body, "application/json"), purpose)
    return (
        f'<section data-sealed id="{purpose}" data-queue="{queue}" data-purpose="{purpose}"'
        f' data-type="{html.escape(sealed.content_type or "")}"'
        f' data-body="{base64.b64encode(sealed.body).decode()}">'
        '<form><label>Key <input type="password" autocomplete="off"></label>'
        '<button type="button">Decrypt</button></form>'
        '<p role="alert"></p><pre data-plain></pre></section>'
    )


async def opened(site: Site, page: Page, body: str, live: str | None = None) -> None:
    site.put("/", body, scripts=("panel.js", "decrypt.js"), live=live)
    await page.goto(site.url)


async def test_the_button_and_enter_decrypt(site: Site, visit: Visit) -> None:
    page = visit.page
    await opened(site, page, section(b'{"a":1}') + section(b'"<b>done</b>"', purpose="result"))
    await page.fill("#payload input", KEY)
    await page.click("#payload button")
    await expect(page.locator("#payload pre")).to_have_text('{\n  "a": 1\n}', use_inner_text=True)
    await expect(page.locator("#result pre")).to_be_empty()
    await page.fill("#result input", KEY)
    await page.press("#result input", "Enter")
    await expect(page.locator("#result pre")).to_have_text('"<b>done</b>"')
    await expect(page.locator("#payload [role=alert]")).to_be_hidden()
    assert page.url.rstrip("/") == site.url


async def test_the_key_is_nowhere_but_in_its_field(site: Site, visit: Visit) -> None:
    page = visit.page
    asked: list[Request] = []
    page.on("request", lambda one: asked.append(one))  # noqa: PLW0108
    await opened(site, page, section(b"1"), live="/events")
    await page.fill("input", KEY)
    await page.press("input", "Enter")
    await expect(page.locator("pre")).to_have_text("1")
    site.tell("succeed")
    await site.next_refresh()
    assert KEY not in await page.content()
    assert KEY not in await page.evaluate(
        "() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
    )
    assert asked
    assert [one.url for one in asked if KEY in f"{one.url} {one.headers} {one.post_data}"] == []
    await page.evaluate("() => dispatchEvent(new PageTransitionEvent('pagehide'))")
    await expect(page.locator("input")).to_have_value("")


async def test_what_is_wrong_is_said_and_can_be_mended(site: Site, visit: Visit) -> None:
    page = visit.page
    await opened(site, page, section(b"1"))
    other = secrets.token_bytes(32)
    alert, plain = page.get_by_role("alert"), page.locator("pre")
    for key, words in (
        ("", "not a key: expected 32 bytes, as 64 hex digits or as base64"),
        (
            other.hex(),
            f"this is another key: the payload was encrypted under kid {key_id(bytes(range(32)))}, "
            f"this one is {key_id(other)}",
        ),
    ):
        await page.fill("input", key)
        await page.click("button")
        await expect(alert).to_have_text(words)
        await expect(plain).to_be_hidden()
        await expect(page.locator("input")).to_have_attribute("aria-invalid", "true")
    await page.fill("input", KEY)
    await page.click("button")
    await expect(plain).to_have_text("1")
    await expect(alert).to_be_hidden()
    await expect(page.locator("input")).to_have_attribute("aria-invalid", "false")
    await page.fill("input", other.hex())
    await page.click("button")
    await expect(plain).to_be_empty()
    await expect(plain).to_be_hidden()


async def test_bytes_that_did_not_arrive_whole(site: Site, visit: Visit) -> None:
    broken = section(b"1").replace('data-body="', 'data-body="*')
    await opened(site, visit.page, broken)
    await visit.page.fill("input", KEY)
    await visit.page.click("button")
    whole = "the encrypted bytes did not arrive whole"
    await expect(visit.page.get_by_role("alert")).to_have_text(whole)


async def test_what_is_shown_outlives_a_change_of_the_page(site: Site, visit: Visit) -> None:
    page = visit.page
    whole = '<div data-region id="item">{0}{1}</div><div data-region id="other">{0}</div>'
    sealed = section(b'"shown"')
    await opened(site, page, whole.format("old", sealed), live="/events")
    await site.next_stream()
    await page.fill("input", KEY)
    await page.click("button")
    await expect(page.locator("pre")).to_have_text('"shown"')
    await page.fill("input", "")
    await page.focus("button")
    site.put("/", whole.format("new", sealed), live="/events")
    site.tell("succeed")
    await expect(page.locator("#other")).to_have_text("new")
    await expect(page.locator("pre")).to_have_text('"shown"')


async def test_without_webcrypto_it_says_so(site: Site, visit: Visit) -> None:
    await visit.page.add_init_script(
        "Object.defineProperty(crypto, 'subtle', { value: undefined })"
    )
    await opened(site, visit.page, section(b"1"))
    await visit.page.fill("input", KEY)
    await visit.page.click("button")
    words = "this browser decrypts over https or on localhost only: open the panel there"
    await expect(visit.page.get_by_role("alert")).to_have_text(words)
