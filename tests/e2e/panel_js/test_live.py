"""Pages that show what is so now, and take nothing from who looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit
from tests.e2e.process import PATIENCE_S

from .site import PROTECTED, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILED = "Failed to load resource"
HIDE = """
let hidden = false;
Object.defineProperty(document, "hidden", { get: () => hidden });
window.setHidden = (value) => {
  hidden = value;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
HEAR = """
const Real = EventSource;
window.EventSource = class extends Real {
  constructor(url) {
    super(url);
    this.addEventListener("skip", () => heard("skip"));
  }
};
"""


def region(id_: str, inner: str, more: str = "") -> str:
    return f'<section data-region id="{id_}"{more}>{inner}</section>'


async def live(site: Site, visit: Visit, *regions: str, query: str = "") -> Page:
    """A page whose stream stands, and that last asked for itself more than a second ago."""
    put(site, *regions)
    await visit.page.clock.install()
    await visit.page.goto(f"{site.url}/{query}")
    await site.next_stream()
    await site.next_refresh()
    await expect(visit.page.locator("#live")).to_have_text("live")
    await visit.page.clock.fast_forward(1000)
    return visit.page


def put(site: Site, *regions: str) -> None:
    site.put("/", "".join(regions), live="/events")


async def swapped(site: Site, page: Page, *regions: str) -> None:
    """Change the page, tell of it, and wait until that is seen in the region `last`."""
    put(site, *regions, region("last", "changed"))
    site.tell("succeed")
    await expect(page.locator("#last")).to_have_text("changed")


async def mark(page: Page, selector: str) -> None:
    await page.eval_on_selector(selector, "(one) => (one.mark = true)")


async def is_marked(page: Page, selector: str) -> bool:
    found: bool = await page.eval_on_selector(selector, "(one) => one.mark === true")
    return found


LAST = region("last", "as it was")


async def test_regions_that_changed_are_replaced_and_no_others(site: Site, visit: Visit) -> None:
    time = '<time datetime="2020-01-01T00:00:00Z">then</time>'
    copy = '<button type="button" data-copy="x" hidden>copy</button>'
    same = region("same", f"{time}{copy}")
    page = await live(site, visit, region("a", "old"), same, LAST)
    await mark(page, "#same")
    await mark(page, "#a")
    await swapped(site, page, region("a", f"new {time}{copy}"), same)
    await expect(page.locator("#a")).to_contain_text("new 1 Jan 2020")
    await expect(page.locator("#a button")).to_be_visible()
    assert await is_marked(page, "#same")
    assert not await is_marked(page, "#a")


@pytest.mark.parametrize("verb", ["push", "bury", "pause", "missed", "schedules", "message"])
async def test_it_hears_of_all_that_happens(site: Site, visit: Visit, verb: str) -> None:
    page = await live(site, visit, region("a", "old"))
    put(site, region("a", "new"))
    site.tell(verb)
    await expect(page.locator("#a")).to_have_text("new")


async def test_many_events_are_one_question_a_second(site: Site, visit: Visit) -> None:
    page, context = visit.page, visit.context
    heard: asyncio.Queue[str] = asyncio.Queue()
    await context.expose_binding("heard", lambda _, verb: heard.put_nowait(verb))
    await context.add_init_script(HEAR)
    await page.clock.install(time=0)
    await page.clock.pause_at(1000)
    put(site, region("a", "0"))
    await page.goto(site.url)
    await site.next_stream()
    await expect(page.locator("#live")).to_have_text("live")
    for number in range(1, 4):
        put(site, region("a", str(number)))
        for _ in range(20):
            site.tell("skip")
            await asyncio.wait_for(heard.get(), PATIENCE_S)
        await page.clock.run_for(140 if number == 1 else 990)
        assert site.refreshed.empty()
        await page.clock.run_for(10)
        await site.next_refresh()
        await expect(page.locator("#a")).to_have_text(str(number))
    assert site.refreshed.empty()


async def test_events_during_a_question_are_one_more(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", "old"))
    going_on = asyncio.Event()
    answered = 0

    async def slowly(_: web.Request) -> web.Response:
        nonlocal answered
        await going_on.wait()
        answered += 1
        text = f'<body data-live="/events">{region("a", f"answer {answered}")}</body>'
        return web.Response(text=text, content_type="text/html")

    site.on("/", slowly)
    site.tell("push")
    await site.next_refresh()
    site.tell("push", "claim", "succeed")
    assert site.refreshed.empty()
    going_on.set()
    await site.next_refresh()
    await expect(page.locator("#a")).to_have_text("answer 2")


async def test_it_asks_even_when_nothing_is_told(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", "old"))
    put(site, region("a", "new"))
    await page.clock.fast_forward(15_000)
    await expect(page.locator("#a")).to_have_text("new")


async def test_a_page_that_is_not_live_is_left_alone(site: Site, visit: Visit) -> None:
    await visit.page.clock.install()
    site.put("/", region("a", "old"))
    await visit.page.goto(site.url)
    await visit.page.clock.fast_forward(60_000)
    await expect(visit.page.locator("#live")).to_be_empty()
    assert site.refreshed.empty()
    assert site.joined.empty()


ROW = (
    '<li data-row><a data-open href="/items/{0}">{0}</a>'
    '<form action="/items/{0}/retry"><button>retry</button></form></li>'
)


@pytest.mark.parametrize(
    "focused",
    [
        "a[href='/items/b']",
        "form[action='/items/b/retry'] button",
        "#named",
        "summary",
    ],
)
async def test_focus_stays(site: Site, visit: Visit, focused: str) -> None:
    more = '<button id="named">x</button><details id="d"><summary>more</summary>y</details>'
    page = await live(site, visit, region("a", ROW.format("a") + ROW.format("b") + more), LAST)
    await page.focus(focused)
    new = ROW.format("0") + ROW.format("a") + ROW.format("b") + "new" + more
    await swapped(site, page, region("a", new))
    await expect(page.locator("#a")).to_contain_text("new")
    await expect(page.locator(focused)).to_be_focused()


async def test_focus_never_goes_to_another_row(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", ROW.format("a") + ROW.format("b")), LAST)
    await page.focus("form[action='/items/b/retry'] button")
    await swapped(site, page, region("a", ROW.format("a") + ROW.format("c")))
    await expect(page.locator("a[href='/items/c']")).to_be_attached()
    await expect(page.locator("body")).to_be_focused()


async def test_details_stay_open_or_closed(site: Site, visit: Visit) -> None:
    details = (
        '<details id="one"><summary>1</summary>x</details>'
        '<details id="two" open><summary>2</summary>x</details>'
    )
    page = await live(site, visit, region("a", details), LAST)
    await page.click("#one summary")
    await page.click("#two summary")
    await swapped(site, page, region("a", f"new{details}"))
    await expect(page.locator("#a")).to_contain_text("new")
    await expect(page.locator("#one")).to_have_attribute("open", "")
    await expect(page.locator("#two")).not_to_have_attribute("open", "")


SCROLL_BOX = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("#box { height: 50px; overflow: auto }");
  document.adoptedStyleSheets = [sheet];
  document.getElementById("box").scrollTop = 77;
}"""


async def test_scroll_positions_stay(site: Site, visit: Visit) -> None:
    lines = "<br>".join(map(str, range(200)))
    box = f'<div id="box">{lines}</div>'
    page = await live(site, visit, region("a", box), LAST)

    await page.evaluate(SCROLL_BOX)
    await swapped(site, page, region("a", f"{box}<p>new</p>"))
    await expect(page.locator("#a")).to_contain_text("new")
    assert await page.eval_on_selector("#box", "(box) => box.scrollTop") == 77


Act = Callable[[Page], Awaitable[object]]
FORM = (
    '<input id="text" value="was"><input type="checkbox" id="tick">'
    '<textarea id="area">was</textarea>'
    '<select id="choice"><option>1<option>2</select><p id="words">some words here</p>'
    '<button type="button" id="press">press</button>'
    '<dialog id="ask"><form method="dialog"><button id="sure">Sure?</button></form></dialog>'
)


async def pressed(page: Page) -> None:
    await page.hover("#press")
    await page.mouse.down()


@pytest.mark.parametrize(
    ("act", "undo"),
    [
        (lambda page: page.focus("#text"), lambda page: page.focus("#press")),
        (lambda page: page.fill("#area", "half"), lambda page: page.fill("#area", "was")),
        (lambda page: page.check("#tick"), lambda page: page.uncheck("#tick")),
        (
            lambda page: page.select_option("#choice", "2"),
            lambda page: page.select_option("#choice", "1"),
        ),
        (lambda page: page.dblclick("#words"), lambda page: page.click("#live", force=True)),
        (
            lambda page: page.eval_on_selector("#ask", "(dialog) => dialog.showModal()"),
            lambda page: page.click("#sure"),
        ),
        (pressed, lambda page: page.mouse.up()),
        (
            lambda page: page.eval_on_selector("#words", "(one) => (one.dataset.keep = '')"),
            lambda page: page.eval_on_selector("#words", "(one) => delete one.dataset.keep"),
        ),
    ],
    ids=["focus", "text", "tick", "choice", "selection", "dialog", "press", "keep"],
)
async def test_what_is_being_done_is_not_taken_away(
    site: Site, visit: Visit, act: Act, undo: Act
) -> None:
    page = await live(site, visit, region("a", FORM), LAST)
    await mark(page, "#text")
    await act(page)
    await swapped(site, page, region("a", f"{FORM}new"))
    assert await is_marked(page, "#text")
    await undo(page)
    if await page.evaluate("() => ['INPUT', 'TEXTAREA'].includes(document.activeElement.tagName)"):
        await page.focus("#press")
    site.tell("succeed")
    await expect(page.locator("#a")).to_contain_text("new")


async def test_a_select_that_was_preset_is_not_unsaved(site: Site, visit: Visit) -> None:
    choices = (
        "<select><option>1<option selected>2</select><select><option disabled>0<option>1</select>"
        "<select multiple><option selected>1<option>2</select><input type=radio checked>"
        '<input type="hidden" value="x"><input type="file"><input type="range" value="200">'
    )
    page = await live(site, visit, region("a", choices), LAST)
    await swapped(site, page, region("a", f"{choices}new"))
    await expect(page.locator("#a")).to_contain_text("new")


async def test_a_region_inside_of_one_that_waits_is_replaced(site: Site, visit: Visit) -> None:
    outer = '<input id="text">{}<b>{}</b>'
    page = await live(site, visit, region("a", outer.format(region("in", "old"), "old")), LAST)
    await page.focus("#text")
    await swapped(site, page, region("a", outer.format(region("in", "new"), "new")))
    await expect(page.locator("#in")).to_have_text("new")
    await expect(page.locator("#a b")).to_have_text("old")


async def test_regions_may_come_and_go(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", "stays"), '<p id="b">no region</p>', LAST)
    await swapped(site, page, region("b", "x"), region("c", "x"))
    await expect(page.locator("#a")).to_have_text("stays")
    await expect(page.locator("#b")).to_have_text("no region")
    await expect(page.locator("#c")).to_have_count(0)


async def test_what_comes_is_not_run(site: Site, visit: Visit) -> None:
    page = await live(site, visit, LAST)
    hostile = "&lt;img src=x onerror=alert(1)&gt;<script>alert(2)</script>"
    put(site, region("last", hostile))
    site.tell("push")
    await expect(page.locator("#last")).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(page.locator("img")).to_have_count(0)


async def unauthorized(_: web.Request) -> web.Response:
    return web.Response(status=401)


async def forbidden(_: web.Request) -> web.Response:
    return web.Response(status=403)


async def redirected(_: web.Request) -> web.Response:
    return web.Response(status=303, headers={"Location": "/login?next=/"})


@pytest.mark.parametrize("answer", [unauthorized, forbidden, redirected])
async def test_without_a_session_it_goes_to_the_login(
    site: Site, visit: Visit, answer: Callable[[web.Request], Awaitable[web.Response]]
) -> None:
    site.put("/login", "<h1>Log in</h1>")
    page = await live(site, visit, LAST, query="?page=2")
    if answer is not redirected:
        visit.expect(f"{FAILED}.*40[13]")
    site.on("/", answer)
    site.tell("push")
    await page.wait_for_url("**/login?next=%2F%3Fpage%3D2")
    await expect(page.locator("h1")).to_have_text("Log in")


async def test_what_is_half_typed_is_not_left_for_the_login(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", '<textarea id="text"></textarea>'))
    await page.fill("#text", "half a job")
    site.on("/", redirected)
    site.put("/login", "<h1>Log in</h1>")
    site.tell("push")
    await expect(page.locator("#live")).to_have_text("logged out")
    await expect(page.locator("#text")).to_have_value("half a job")


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "no longer there"), (410, "no longer there"), (500, "reconnecting…")],
)
async def test_it_says_what_is_wrong_and_comes_back(
    site: Site, visit: Visit, status: int, words: str
) -> None:
    page = await live(site, visit, region("a", "old"))
    visit.expect(f"{FAILED}.*{status}")
    is_well = False

    async def answer(_: web.Request) -> web.Response:
        good = f'<body data-live="/events">{region("a", "new")}</body>'
        bad = f'<body data-live="/events">{region("a", "an error page")}</body>'
        status_now = 200 if is_well else status
        return web.Response(
            text=good if is_well else bad, status=status_now, content_type="text/html"
        )

    site.on("/", answer)
    site.tell("push")
    await expect(page.locator("#live")).to_have_text(words)
    await expect(page.locator("#a")).to_have_text("old")
    is_well = True
    site.tell("push")
    await expect(page.locator("#live")).to_have_text("live")
    await expect(page.locator("#a")).to_have_text("new")


async def test_a_stream_that_breaks_goes_on_where_it_was(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", "old"))
    site.tell("push")
    await site.next_refresh()
    put(site, region("a", "new"))
    site.hang_up()
    assert await site.next_stream() == "1"
    await expect(page.locator("#a")).to_have_text("new")
    await expect(page.locator("#live")).to_have_text("live")


async def test_a_stream_that_is_refused_is_tried_again(site: Site, visit: Visit) -> None:
    refused = asyncio.Event()
    visit.expect(f"{FAILED}.*503")

    async def events(_: web.Request) -> web.StreamResponse:
        if refused.is_set():
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            response.headers.update(PROTECTED)
            await response.prepare(_)
            await response.write(b"event: push\ndata:\n\n")
            await asyncio.sleep(PATIENCE_S)
            return response
        refused.set()
        return web.Response(status=503)

    site.on("/events", events)
    put(site, region("a", "old"))
    await visit.page.clock.install()
    await visit.page.goto(site.url)
    await expect(visit.page.locator("#live")).to_have_text("reconnecting…")
    await visit.page.clock.run_for(2000)
    await expect(visit.page.locator("#live")).to_have_text("live")


async def test_a_hidden_page_rests_and_catches_up(site: Site, visit: Visit) -> None:
    await visit.context.add_init_script(HIDE)
    page = await live(site, visit, region("a", "old"))
    await page.evaluate("() => setHidden(true)")
    await expect(page.locator("#live")).to_have_text("paused")
    await site.next_end()
    put(site, region("a", "new"))
    await page.evaluate("() => setHidden(false)")
    await site.next_stream()
    await expect(page.locator("#a")).to_have_text("new")
    await expect(page.locator("#live")).to_have_text("live")


async def test_a_page_opened_in_the_background_waits(site: Site, visit: Visit) -> None:
    await visit.context.add_init_script(HIDE.replace("hidden = false", "hidden = true"))
    put(site, region("a", "old"))
    await visit.page.goto(site.url)
    await expect(visit.page.locator("#live")).to_have_text("paused")
    assert site.joined.empty()
    await visit.page.evaluate("() => setHidden(false)")
    await site.next_stream()
    await expect(visit.page.locator("#live")).to_have_text("live")


async def test_after_a_days_sleep_the_stream_is_a_new_one(site: Site, visit: Visit) -> None:
    page = await live(site, visit, region("a", "old"))
    put(site, region("a", "new"))
    await page.clock.fast_forward("24:00:00")
    await site.next_end()
    await site.next_stream()
    await expect(page.locator("#a")).to_have_text("new")
