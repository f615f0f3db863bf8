"""`make screenshots`: pictures of every page of the panel, light, dark and on a phone.

They are of the real panel of a real daemon, in a real browser; `tests/support/scene.py` is what is
seen. Pictures that look the same still differ in their times: make them when the panel has changed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, async_playwright

from tests.e2e.browser import ARGUMENTS, MISSING, NAMES
from tests.support.scene import Scene, playing

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"
_WIDE: Final = {"width": 1280, "height": 860}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"viewport": _WIDE, "color_scheme": "light"},
    "dark": {"viewport": _WIDE, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def pages(scene: Scene) -> dict[str, str]:
    """Every page by its name: where it is."""
    items, schedules = scene.items, scene.schedules
    return {
        "overview": "/",
        "queues": "/queues",
        "queue": "/queues/mail",
        "queue-settings": "/queues/mail/settings",
        "push": "/queues/mail/push",
        "items": "/items",
        "item": f"/items/{items['failing']}",
        "item-scriptlet": f"/items/{items['backup']}",
        "item-encrypted": f"/items/{items['sealed']}",
        "schedules": "/schedules",
        "schedule": f"/schedules/{schedules['digest']}",
        "schedule-new": "/schedules/new?x-lq-schedule=30+2+*+*+*&x-lq-tz=Europe/Berlin&queue=ops",
        "history": "/history",
        "failures": "/failures",
        "replay": "/history/replay?state=FAILED",
        "endpoints": "/endpoints",
        "tokens": "/tokens",
        "settings": "/settings",
    }


async def _take(browser: Browser, scene: Scene, look: str, folder: Path) -> None:
    context = await browser.new_context(
        **LOOKS[look], locale="en-GB", timezone_id="Europe/Berlin", reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto(f"{scene.url}/login")
    await page.screenshot(path=folder / f"login-{look}.png")
    await page.goto(await scene.link())
    await page.wait_for_url(f"{scene.url}/")
    for name, path in pages(scene).items():
        answer = await page.goto(f"{scene.url}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        for chart in await page.locator("[data-chart]").all():
            await chart.locator("canvas").wait_for()
        await page.screenshot(path=folder / f"{name}-{look}.png")
    await context.close()


async def take(chromium: str, place: Path, folder: Path) -> None:
    """Play the scene in one folder, and put pictures of it into the other."""
    async with playing(place) as scene, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for look in LOOKS:
            await _take(browser, scene, look, folder)
        await browser.close()


def main(folder: Path) -> None:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        sys.exit(MISSING)
    logging.disable()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lq-scene-") as place:
        asyncio.run(take(found, Path(place), folder))
    print(f"{len(list(folder.glob('*.png')))} pictures are in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
