"""What a token that is limited to some queues learns of the others: nothing."""

from __future__ import annotations

import re

from tests.integration.api.handler import Handler
from tests.integration.api.raw import Peer
from tests.support.pages import Browser

PAGES = (
    *("/", "/?span=day", "/queues", "/items", "/schedules", "/history", "/failures", "/endpoints"),
    *("/history/replay", "/items/cancel", "/search?q=hidden-key", "/search?q=hidden"),
    *("/search?q=error:wrong", "/history?target=http*", "/history?schedule=hidden-rule"),
)
FORBIDDEN = (
    *("/queues/hidden", "/queues/hidden/settings", "/queues/hidden/purge", "/items?queue=hidden"),
    *("/history?queue=hidden", "/failures?queue=hidden", "/schedules?queue=hidden"),
    *("/events?queue=hidden", "/settings", "/tokens", "/tokens/new", "/tokens/made", "/secret"),
)


async def seen(browser: Browser) -> dict[str, str]:
    """All pages as they are, but for what time it is."""
    pages = {path: await browser.get(path) for path in PAGES}
    return {
        path: re.sub(r"<time .*?</time>|counted .*?</p>|value=\"\d{4}-.*?\"", "", page.html)
        + page.headers.get("Location", "")
        for path, page in pages.items()
    }


async def happen(api: Peer, handler: Handler) -> tuple[str, str]:
    """All kinds of things in a queue: an item that has failed, one that waits, a schedule."""
    handler.answers = [(500, b"wrong")]
    target = f"x-lq-target: {handler.url}?hidden"
    failed = await api.ask("POST queues/hidden/items", target, "x-lq-retry: 0", body=b"hidden")
    await handler.calls.get()
    while (await api.ask(f"GET items/{failed.json['id']}")).json["state"] != "FAILED":
        pass
    await api.ask("POST queues/hidden/items", target, "x-lq-delay: 1h", "x-lq-key: hidden-key")
    rule = await api.ask(
        *("POST schedules", "x-lq-schedule: @yearly", "x-lq-queue: hidden", target),
        "x-lq-key: hidden-rule",
    )
    await api.ask("PATCH queues/hidden", body=b'{"paused": true, "pauseReason": "hidden"}')
    return failed.json["id"], rule.json["id"]


async def test_pages_are_the_same_whatever_happens_elsewhere(
    api: Peer, panel: Browser, limited: Browser, handler: Handler
) -> None:
    before, for_all = await seen(limited), await seen(panel)
    await happen(api, handler)
    assert await seen(limited) == before
    after = await seen(panel)
    assert [path for path in PAGES if after[path] == for_all[path]] == ["/search?q=error:wrong"]


async def test_what_is_named_is_neither_shown_nor_changed(
    api: Peer, limited: Browser, handler: Handler
) -> None:
    item, rule = await happen(api, handler)
    for path in FORBIDDEN:
        assert (await limited.get(path)).status == 403, path
    for path in ("", "/payload", "/log", "/attempts/1", "/attempts/1/body", "/cancel", "/edit"):
        for one in (item, "job_0"):
            assert (await limited.get(f"/items/{one}{path}")).status == 404, path
    for path in ("run", "retry", "cancel", "reschedule", "edit"):
        assert (await limited.post(f"/items/{item}/{path}", when="5m")).status == 404, path
    for path in ("", "/edit", "/delete"):
        assert (await limited.get(f"/schedules/{rule}{path}")).status == 404, path
    for path in ("run", "pause", "resume", "edit", "delete"):
        assert (await limited.post(f"/schedules/{rule}/{path}")).status == 404, path
    for path in ("pause", "resume", "settings", "purge", "push"):
        page = await limited.post(f"/queues/hidden/{path}", payload="{}")
        assert page.status == 403, path
