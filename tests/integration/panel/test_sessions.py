"""Sessions of the panel against those who would take them, use them up, or hold them open."""

from __future__ import annotations

from lq.daemon.main import Daemon
from lq.model import Scope
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
