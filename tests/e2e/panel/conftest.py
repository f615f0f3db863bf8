"""The panel of a real daemon in a real browser: somebody who is logged in, a scene to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.e2e.browser import Visit, Visitor
from tests.e2e.node import NotInstalled, install_packages
from tests.e2e.process import Daemon
from tests.support.scene import Scene, playing


@pytest_asyncio.fixture(loop_scope="session")
async def admin(lq: Daemon, visit: Visit) -> Page:
    """The page of somebody who came by `lq panel`."""
    await log_in(lq, visit.page)
    return visit.page


async def log_in(lq: Daemon, page: Page) -> None:
    """Come in by the link that the command prints."""
    done = lq.cli("panel", "--print")
    assert done.code == 0, done.stderr
    await page.goto(done.stdout.strip())
    await page.wait_for_url(f"{lq.url}/")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A daemon in the middle of a day's work; nobody changes it."""
    async with playing(tmp_path_factory.mktemp("scene")) as played:
        yield played


@pytest_asyncio.fixture(loop_scope="session")
async def looking(scene: Scene, visitor: Visitor) -> Page:
    """Somebody who looks at the scene."""
    return await watching(scene, visitor)


async def watching(scene: Scene, visitor: Visitor, **options: object) -> Page:
    """The same with a browser of these options."""
    visit = await visitor(**options)
    await visit.page.goto(await scene.link())
    await visit.page.wait_for_url(f"{scene.url}/")
    return visit.page


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config) -> str:
    """The script of axe-core, which finds what shuts people out."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("lq-axe")
    try:
        install_packages(Path(__file__).with_name("axe"), folder)
    except NotInstalled as error:
        pytest.skip(str(error))
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()
