"""Sessions of the panel against those who would take them, use them up, or hold them open."""

from __future__ import annotations

import asyncio

import pytest

from lq.daemon.main import Daemon
from lq.model import Scope
from tests.integration.api.raw import Peer
from tests.support.pages import Browser, Page


async def token_of(running: Daemon, name: str, *scopes: Scope) -> str:
    _, token = await running.engine.create_token(name, frozenset(scopes or {Scope.READ}), (), None)
    return token


async def by_https(browser: Browser, host: str, token: str) -> Page:
    """Log in as a browser does that has come through TLS, under this name."""
    headers = {"Host": host, "Origin": f"https://{host}", "Sec-Fetch-Site": "same-origin"}
    return await browser.ask("POST", "/login", {"token": token}, headers)


def cookie_of(page: Page) -> str:
    return page.headers["Set-Cookie"].partition(";")[0]


async def test_two_daemons_of_one_host_do_not_share_a_cookie(
    running: Daemon, stranger: Browser
) -> None:
    token = await token_of(running, "t")
    names = {
        host: cookie_of(await by_https(stranger, host, token)).partition("=")[0]
        for host in ("localhost:7420", "localhost:7421", "localhost")
    }
    assert names == {
        "localhost:7420": "__Host-lq-7420",
        "localhost:7421": "__Host-lq-7421",
        "localhost": "__Host-lq-443",
    }


async def test_a_cookie_of_somebody_else_hides_none_of_ours(running: Daemon) -> None:
    """Whatever else runs on this host may set cookies for all of its ports."""
    async with Browser(running.port) as browser:
        ours = cookie_of(await browser.log_in(await token_of(running, "t")))
        planted = f"__Host-lq=planted; __Host-lq-{running.port}=planted"
        headers = {"Accept": "text/html", "Cookie": f"{planted}; {ours}"}
        assert (await browser.ask("GET", "/", headers=headers)).status == 200


async def test_a_login_ends_the_session_that_was_there(running: Daemon) -> None:
    token = await token_of(running, "t")
    async with Browser(running.port) as browser, Browser(running.port) as other:
        before = {
            "Accept": "text/html",
            "Cookie": cookie_of(await browser.log_in(token)),
        }
        assert (await browser.log_in("wrong")).status == 401
        assert (await other.ask("GET", "/", headers=before)).status == 200
        assert (await browser.log_in(token)).status == 303
        assert (await other.ask("GET", "/", headers=before)).status == 303
        assert (await browser.get("/")).status == 200


async def test_a_stream_that_begins_anew_keeps_nobody_logged_in(
    running: Daemon, panel: Browser
) -> None:
    """A proxy that cuts connections has a page that nobody looks at open it again and again."""
    (name,) = panel.cookies.values()
    session = running.engine.sessions.find(name, secured=False, used=False)
    assert session is not None
    used = session.used
    assert (await panel.ask("HEAD", "/events")).status == 200
    assert session.used == used
    assert (await panel.get("/")).status == 200
    assert session.used > used


async def test_what_is_told_once_is_not_told_to_who_asks_for_the_head(panel: Browser) -> None:
    made = await panel.post("/tokens", name="shop", scopes="push")
    assert (await panel.ask("HEAD", made.location, headers={"Accept": "text/html"})).status == 200
    assert "lq_" in (await panel.get(made.location)).text
    assert "lq_" not in (await panel.get(made.location)).text
    await panel.post("/tokens/revoke/shop")
    assert (await panel.ask("HEAD", "/", headers={"Accept": "text/html"})).status == 200
    assert "The token shop is revoked" in (await panel.get("/")).text


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
@pytest.mark.parametrize(
    ("mode", "dest"),
    [
        *(("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")),
        *(("navigate", "object"), ("no-cors", "script")),
    ],
)
@pytest.mark.parametrize("path", ["/", "/events", "/tokens/made", "/login"])
async def test_the_panel_is_no_part_of_another_page(
    panel: Browser, path: str, site: str, mode: str, dest: str
) -> None:
    """Also of a page at another port of this host, to which browsers send its cookies."""
    said = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": dest}
    page = await panel.get(path, **said)
    assert page.status == 403
    assert "no part of another page" in page.text


async def test_streams_of_the_owner_count_when_they_come_from_a_browser(
    running: Daemon, owner: Peer, stranger: Browser
) -> None:
    made = await owner.ask("POST panel/links")
    await stranger.log_in(str(made.json["url"]).partition("#")[2])
    reading = asyncio.create_task(stranger.get("/events"))
    while not running.engine.feed.readers:
        await running.engine.queues.all()
    assert running.engine.feed.subscribers == 1
    await stranger.post("/logout")
    page = await reading
    assert page.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/queues/q/push", "/schedules/new", "/tokens", "/items/cancel"])
async def test_who_may_only_look_has_no_large_form_taken_apart(
    running: Daemon, reader: Browser, path: str
) -> None:
    page = await reader.post(path, payload="x" * 100_000)
    assert page.status == 413
    assert "limit is fixed" in page.text


async def test_only_a_form_with_a_payload_is_large(panel: Browser) -> None:
    assert (await panel.post("/tokens", name="x" * 100_000)).status == 413
    pushed = await panel.post(
        "/queues/q/push", payload="\n" * 300_000, **{"x-lq-target": "http://127.0.0.1:1/"}
    )
    assert pushed.status == 422, pushed.text  # as the API says: lq may not call that target
