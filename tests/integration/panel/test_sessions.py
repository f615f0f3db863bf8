"""Sessions of the panel against those who would take them, use them up, or hold them open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lq.config import Config, Limits
from lq.daemon.api.app import Api
from lq.daemon.main import Daemon
from lq.daemon.panel import login
from lq.daemon.panel.app import Panel
from lq.daemon.panel.assets import Assets
from lq.daemon.panel.pages import Pages
from lq.model import Scope
from tests.integration.api.conftest import SteppedClock
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


async def test_what_is_told_once_is_kept_for_who_means_to_see_it(panel: Browser) -> None:
    """Neither for the head of it, nor by a link at another port of this host."""
    made = await panel.post("/tokens", name="shop", scopes="push")
    assert (await panel.ask("HEAD", made.location, headers={"Accept": "text/html"})).status == 200
    assert (await panel.get(made.location, Sec_Fetch_Site="same-site")).status == 200
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


async def test_who_logs_in_is_in_the_log_and_what_with_is_not(
    running: Daemon, stranger: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = await token_of(running, "t")
    for _ in range(7):
        await stranger.log_in("wrong-token")
    await stranger.log_in(token)
    told = [record.getMessage() for record in caplog.records if record.name == login.__name__]
    refused = "127.0.0.1: a login to the panel was refused: this token is not valid here"
    too_many = "127.0.0.1: too many logins to the panel were refused"
    assert told == [*[refused] * 5, too_many, "'t' logged in to the panel, at 127.0.0.1"]
    assert not any(secret in caplog.text for secret in (token, "wrong-token"))


async def test_many_wrong_logins_are_answered_late(running: Daemon, clock: SteppedClock) -> None:
    door = login.Login(running.engine, Pages(Assets(), "1"), clock)
    replies = [door.enter({}, b"token=wrong", "127.0.0.1") for _ in range(7)]
    assert [(reply.status, reply.hold) for reply in replies] == [(401, False)] * 5 + [
        (429, True)
    ] * 2


@asynccontextmanager
async def at_limits(running: Daemon, clock: SteppedClock, **limits: int) -> AsyncIterator[Browser]:
    """A stranger at a port of its own, where an address may take so much of the same daemon."""
    served = Api(running.engine, clock=clock, limits=Limits(**limits))
    config = Config(data_dir=running.engine.data_dir, socket=running.engine.data_dir / "socket")
    served.pages = Panel(config, running.engine, served, clock)
    protocol = served.server(trusted=False)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with Browser(server.sockets[0].getsockname()[1]) as stranger:
        yield stranger
    server.close()
    await protocol.shutdown(1)


async def test_what_strangers_are_refused_counts_for_their_address(
    running: Daemon, panel: Browser, clock: SteppedClock
) -> None:
    async with at_limits(running, clock, refused=2) as stranger:
        asked = [await stranger.get("/", Host="evil.example") for _ in range(3)]
        assert [page.status for page in asked] == [421, 421, 429]
        assert 0 < int(asked[-1].headers["Retry-After"]) <= 60
        assert "were refused" in asked[-1].text
        # Whoever is in, at the same address, goes on.
        known = {"Accept": "text/html", "Cookie": cookie_with(panel, stranger)}
        assert (await stranger.ask("GET", "/nothing", headers=known)).status == 404


@pytest.mark.parametrize("path", ["/", "/login", "/queues/x"])
async def test_pages_for_strangers_count_as_well(
    running: Daemon, clock: SteppedClock, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """They are answered all the same, late: somebody at that address may want to log in."""
    async with at_limits(running, clock, refused=2) as stranger:
        statuses = {(await stranger.get(path)).status for _ in range(3)}
        assert statuses <= {200, 303}
        assert (await stranger.get("/", Host="evil.example")).status == 429
    assert "127.0.0.1: too many requests" in caplog.text


def cookie_with(browser: Browser, at: Browser) -> str:
    """The cookie of one browser, as it would be called at the port of another."""
    (name,) = browser.cookies.values()
    return f"lq-{at.origin.rpartition(':')[2]}={name}"


async def test_a_form_that_comes_after_the_end_of_its_session_does_nothing(
    running: Daemon, panel: Browser
) -> None:
    (cookie,) = panel.cookies.values()
    peer = Peer(port=running.port)
    connection = await peer.connect()
    await connection.send(
        b"POST /tokens HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n"
        b"Expect: 100-continue\r\nOrigin: http://127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n"
        b"Cookie: lq-80=" + cookie.encode() + b"\r\nContent-Length: 21\r\n\r\n"
    )
    assert (await connection.head()).status == 100  # it was let in, and its form is waited for
    await panel.post("/logout")
    await connection.send(b"name=shop&scopes=push")
    answer = await connection.receive()
    await peer.close()
    assert answer.status == 401
    assert [token.name for token in await running.engine.tokens()] == ["ada"]
