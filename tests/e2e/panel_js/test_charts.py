"""Charts from tables of numbers."""

from __future__ import annotations

import re

import pytest
from aiohttp import web
from playwright.async_api import Page, ViewportSize, expect

from tests.e2e.browser import Visit, Visitor

from .site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOURS = 12
STYLE = '<link rel="stylesheet" href="/style.css">'
COLOURS = """
:root { color-scheme: light dark; --chart-1: light-dark(#0000ff, #ffff00); --chart-2: #00aa00;
  --chart-bad: #ff0000; --chart-grid: #cccccc; --text-muted: rgb(80 80 80); }
body { background: white; } figure { margin: 0; padding: 8px; }
"""
COLUMNS = ("taken", "completed", "failed", "retried", "late_mean", "late_max")
COUNT = """(canvas, colour) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    const near = colour.every((value, index) => Math.abs(value - data[at + index]) < 40);
    found += near && data[at + 3] > 200 ? 1 : 0;
  }
  return found;
}"""
BLUE, YELLOW, GREEN, RED = [0, 0, 255], [255, 255, 0], [0, 170, 0], [255, 0, 0]


def row(hour: int, *values: object) -> str:
    cells = "".join(f'<td data-v="{value}">{value}</td>' for value in values)
    at = f"2026-11-28T{hour:02}:00:00.000Z"
    return f'<tr><td><time datetime="{at}">{at}</time></td>{cells}</tr>'


def charts(rows: str, *kinds: str) -> str:
    heads = "".join(f'<th data-col="{name}">{name}</th>' for name in ("at", *COLUMNS))
    figures = "".join(
        f'<figure class="chart" id="{kind}" data-chart="{kind}" data-table="activity-numbers">'
        f"<figcaption>{kind.title()}</figcaption></figure>"
        for kind in kinds or ("throughput", "failures", "lateness")
    )
    return (
        f'{figures}<details id="numbers"><summary>Numbers</summary>'
        f'<div data-region id="activity"><table id="activity-numbers">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def rising() -> str:
    return "".join(row(hour, hour, hour // 2, 1, 2, 40, 1500 * hour) for hour in range(HOURS))


async def put(site: Site, body: str, live: str | None = None) -> None:
    async def style(_: web.Request) -> web.Response:
        return web.Response(text=COLOURS, content_type="text/css")

    site.on("/style.css", style)
    site.put("/", body, head=STYLE, scripts=("panel.js", "charts.js"), live=live)


async def drawn(page: Page, colour: list[int], kind: str = "throughput") -> int:
    canvas = page.locator(f"#{kind} canvas")
    await expect(canvas).to_be_attached()
    counted: int = await canvas.evaluate(COUNT, colour)
    return counted


async def comes(page: Page, colour: list[int], kind: str = "throughput") -> None:
    """Wait for frames until a colour is there."""
    while not await drawn(page, colour, kind):
        await page.evaluate("() => new Promise(requestAnimationFrame)")


async def test_each_is_drawn_in_the_colours_of_the_page(site: Site, visitor: Visitor) -> None:
    await put(site, charts(rising()))
    visit = await visitor(timezone_id="Europe/Berlin", color_scheme="light")
    await visit.page.goto(site.url)
    for kind, colours in (
        ("throughput", (BLUE, GREEN)),
        ("failures", (RED, GREEN)),
        ("lateness", (BLUE, GREEN)),
    ):
        for colour in colours:
            await comes(visit.page, colour, kind)


async def test_what_it_shows_is_said_in_words(site: Site, visitor: Visitor) -> None:
    await put(site, charts(rising()))
    visit = await visitor(timezone_id="Europe/Berlin")
    await visit.page.goto(site.url)
    for kind, words in (
        (
            "throughput",
            "Throughput: pushed: 66, most 11 at 28 Nov 12:00;"
            " completed: 30, most 5 at 28 Nov 11:00",
        ),
        (
            "failures",
            "Failures: failed: 12, most 1 at 28 Nov 01:00; retried: 24, most 2 at 28 Nov 01:00",
        ),
        (
            "lateness",
            "Lateness: mean: up to 40 ms, at 28 Nov 01:00; worst: up to 17 s, at 28 Nov 12:00",
        ),
    ):
        canvas = visit.page.locator(f"#{kind}").get_by_role("img")
        await expect(canvas).to_have_attribute("aria-label", words)


async def test_colours_follow_the_scheme(site: Site, visitor: Visitor) -> None:
    await put(site, charts(rising(), "throughput"))
    visit = await visitor(color_scheme="light")
    await visit.page.goto(site.url)
    await comes(visit.page, BLUE)
    assert await drawn(visit.page, YELLOW) == 0
    await visit.page.emulate_media(color_scheme="dark")
    await comes(visit.page, YELLOW)
    assert await drawn(visit.page, BLUE) == 0
    await expect(visit.page.locator("#throughput canvas")).to_have_count(1)


async def test_new_numbers_are_drawn(site: Site, visit: Visit) -> None:
    await put(site, charts(row(1, 0, 0, 0, 0, "", "")), live="/events")
    await visit.page.goto(site.url)
    image = visit.page.locator("#throughput").get_by_role("img")
    await expect(image).to_have_attribute("aria-label", "Throughput: pushed: 0; completed: 0")
    await site.next_stream()
    await put(site, charts(rising()), live="/events")
    site.tell("succeed")
    await expect(image).to_have_attribute(
        "aria-label", re.compile("^Throughput: pushed: 66, most 11")
    )
    await expect(visit.page.locator("#throughput canvas")).to_have_count(1)


async def test_another_chart_takes_the_place_of_one(site: Site, visit: Visit) -> None:
    figures = '<section data-region id="all">{}</section>'
    await put(site, figures.format(charts(row(1, 0, 0, 0, 0, "", ""))), live="/events")
    await visit.page.goto(site.url)
    await expect(visit.page.locator("canvas")).to_have_count(3)
    await site.next_stream()
    await put(site, figures.format(charts(rising())), live="/events")
    site.tell("succeed")
    image = visit.page.locator("#throughput").get_by_role("img")
    await expect(image).to_have_attribute("aria-label", re.compile("pushed: 66"))
    await expect(visit.page.locator("canvas")).to_have_count(3)
    assert await visit.page.evaluate("() => uPlot.sync('lq').plots.length") == 3


async def test_the_cursor_shows_the_values(site: Site, visitor: Visitor) -> None:
    await put(site, charts(rising()))
    visit = await visitor(timezone_id="Europe/Berlin")
    await visit.page.goto(site.url)
    over = visit.page.locator("#throughput .u-over")
    box = await over.bounding_box()
    assert box is not None
    await over.hover(position={"x": box["width"] - 2, "y": 20})
    for kind, values in (
        ("throughput", ["28 Nov 12:00", "11", "5"]),
        ("lateness", ["28 Nov 12:00", "40 ms", "17 s"]),
    ):
        await expect(visit.page.locator(f"#{kind} .u-value")).to_have_text(values)


async def test_it_is_as_wide_as_there_is_room(site: Site, visit: Visit) -> None:
    await put(site, charts(rising()))
    for width in (1000, 320):
        await visit.page.set_viewport_size(ViewportSize(width=width, height=800))
        await visit.page.goto(site.url)
        await comes(visit.page, BLUE)
    narrow = visit.page.locator("#throughput .u-wrap")
    await expect(narrow).to_have_css("width", "288px")
    await visit.page.set_viewport_size(ViewportSize(width=1000, height=800))
    await expect(narrow).to_have_css("width", "968px")
    await comes(visit.page, BLUE)


async def test_without_the_library_the_numbers_are_opened(site: Site, visit: Visit) -> None:
    await put(site, charts(rising()))
    visit.expect("ERR_FAILED.*uPlot")
    await visit.page.route("**/uPlot.iife.min.js", lambda route: route.abort())
    await visit.page.goto(site.url)
    await expect(visit.page.locator("#activity-numbers")).to_be_visible()
    await expect(visit.page.locator("canvas")).to_have_count(0)


async def test_a_million_and_the_order_of_rows(site: Site, visitor: Visitor) -> None:
    hours = [row(hour, 10**6 + hour, 3, 0, 0, "", 90_000_000) for hour in range(HOURS)]
    await put(site, charts("".join(reversed(hours))))
    visit = await visitor(timezone_id="UTC")
    await visit.page.goto(site.url)
    label = (
        "Throughput: pushed: 12,000,066, most 1,000,011 at 28 Nov 11:00; completed: 36, most 3 at"
    )
    image = visit.page.locator("#throughput").get_by_role("img")
    await expect(image).to_have_attribute("aria-label", re.compile(f"^{label}"))
    late = visit.page.locator("#lateness").get_by_role("img")
    await expect(late).to_have_attribute("aria-label", re.compile("worst: up to 1 d, at"))


@pytest.mark.parametrize("rows", ["", row(1, *[""] * 6), row(1, *["x"] * 6), "<tr><td>?</td></tr>"])
async def test_without_numbers_there_is_an_axis_and_nothing_else(
    site: Site, visit: Visit, rows: str
) -> None:
    await put(site, charts(rows))
    await visit.page.goto(site.url)
    await comes(visit.page, [204, 204, 204])
    assert await drawn(visit.page, BLUE) == await drawn(visit.page, GREEN) == 0
    label = "Throughput: pushed: no numbers; completed: no numbers"
    image = visit.page.locator("#throughput").get_by_role("img")
    await expect(image).to_have_attribute("aria-label", label)
