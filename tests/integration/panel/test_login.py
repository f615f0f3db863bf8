"""Getting into the panel, staying in it, and being kept out."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from lq.clock import SystemClock
from lq.config import Config, PanelConfig
from lq.daemon.main import Daemon
from lq.daemon.panel import guard
from lq.errors import Misdirected
from lq.model import Scope
from tests.integration.api.raw import Peer
from tests.support.pages import Browser
from tests.support.serving import serving

PAGES = ["/", "/events"]


async def link(owner: Peer) -> str:
    """The code of a one-time link, as `lq panel` gets it."""
    made = await owner.ask("POST panel/links")
    assert made.status == 201
    return str(made.json["url"]).partition("#")[2]


async def link_of(running: Daemon, token: str) -> str:
    """The same for a token."""
    peer = Peer(port=running.port, token=token)
    code = await link(peer)
    await peer.close()
    return code


async def test_a_token_opens_the_panel(panel: Browser) -> None:
    page = await panel.get("/")
    assert page.status == 200
    assert "Overview" in page.text
    assert "ada" in page.text


async def test_who_is_not_logged_in_is_led_to_the_login(stranger: Browser) -> None:
    page = await stranger.get("/queues/a%2Fb?x=1")
    assert page.status == 303
    assert page.location == "/login?next=%2Fqueues%2Fa%252Fb%3Fx%3D1"
    login = await stranger.get(page.location)
    assert login.form("/login").fields["next"] == "/queues/a%2Fb?x=1"


async def test_after_a_login_one_is_where_one_wanted_to_be(
    running: Daemon, stranger: Browser
) -> None:
    _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
    page = await stranger.post("/login", token=f"  {token}\n", next="/queues?x=1")
    assert (page.status, page.location) == (303, "/queues?x=1")


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", ""),
        *("/\t/evil.example", "/a\r\nSet-Cookie: x=1", " //evil", "/%0d%0a" + "a" * 3000, "évil"),
    ],
)
async def test_a_login_leads_nowhere_else(
    running: Daemon, stranger: Browser, elsewhere: str
) -> None:
    _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
    page = await stranger.post("/login", token=token, next=elsewhere)
    assert (page.status, page.location) == (303, "/")


async def test_a_link_logs_in_once(owner: Peer, running: Daemon, stranger: Browser) -> None:
    code = await link(owner)
    assert (await stranger.log_in(code)).status == 303
    assert "socket" in (await stranger.get("/")).text
    async with Browser(running.port) as second:
        page = await second.log_in(code)
        assert page.status == 401
        assert "has been used, or is too old" in page.text
        assert (await second.get("/")).status == 303


async def test_two_who_follow_a_link_at_once_are_not_both_let_in(
    owner: Peer, running: Daemon
) -> None:
    code = await link(owner)
    async with Browser(running.port) as one, Browser(running.port) as other:
        pages = await asyncio.gather(one.log_in(code), other.log_in(code))
    assert sorted(page.status for page in pages) == [303, 401]


async def test_a_link_of_a_token_is_worth_that_token(running: Daemon, stranger: Browser) -> None:
    _, token = await running.engine.create_token("rob", frozenset({Scope.READ}), ("a*",), None)
    code = await link_of(running, token)
    await stranger.log_in(code)
    assert "read only" in (await stranger.get("/")).text
    await running.engine.revoke_token("rob")
    assert (await stranger.get("/")).status == 303


async def test_a_link_dies_with_its_token(running: Daemon, stranger: Browser) -> None:
    _, token = await running.engine.create_token("rob", frozenset({Scope.READ}), (), None)
    code = await link_of(running, token)
    await running.engine.revoke_token("rob")
    assert (await stranger.log_in(code)).status == 401


async def test_who_may_only_push_gets_neither_link_nor_session(
    running: Daemon, stranger: Browser
) -> None:
    _, token = await running.engine.create_token("p", frozenset({Scope.PUSH}), (), None)
    page = await stranger.log_in(token)
    assert page.status == 403
    assert "may only push" in page.text
    pusher = Peer(port=running.port, token=token)
    assert (await pusher.ask("POST panel/links")).status == 403
    await pusher.close()


@pytest.mark.parametrize("wrong", ["", "x", "lq_" + "A" * 49, "\0", "0" * 48, "ü" * 600])
async def test_a_wrong_token_is_told_so(stranger: Browser, wrong: str) -> None:
    page = await stranger.log_in(wrong)
    assert page.status == 401
    assert "Set-Cookie" not in page.headers
    assert page.form("/login").fields == {"next": "/", "token": ""}


async def test_a_login_of_a_megabyte_is_refused(stranger: Browser) -> None:
    page = await stranger.post("/login", token="a" * 1_000_000)
    assert page.status in {401, 413}
    assert "Set-Cookie" not in page.headers


async def test_wrong_tokens_are_limited_per_address(running: Daemon, stranger: Browser) -> None:
    statuses = [(await stranger.log_in("wrong")).status for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    page = await stranger.log_in("wrong")
    assert 0 < int(page.headers["Retry-After"]) <= 60
    _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
    assert (await stranger.log_in(token)).status == 303  # an address may be shared


async def test_the_cookie_cannot_be_read_or_sent_from_elsewhere(
    running: Daemon, stranger: Browser
) -> None:
    _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
    cookie = (await stranger.log_in(token)).headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")
    assert name == f"lq-{running.port}"
    assert rest.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Strict"


async def test_behind_tls_the_cookie_belongs_to_this_host_alone(
    running: Daemon, stranger: Browser
) -> None:
    _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
    origin = stranger.origin.replace("http:", "https:")
    page = await stranger.ask("POST", "/login", {"token": token}, {"Origin": origin})
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-lq-{running.port}=")
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
    session = cookie.partition(";")[0]
    headers = {"Accept": "text/html", "Cookie": session}
    assert (await stranger.ask("GET", "/", headers=headers)).status == 200
    # Under the name that any page of a neighbouring host could set, it is none.
    stolen = f"lq-{running.port}={session.partition('=')[2]}"
    assert (await stranger.ask("GET", "/", headers=headers | {"Cookie": stolen})).status == 303


async def test_a_session_that_was_brought_along_is_none(running: Daemon) -> None:
    _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
    async with Browser(running.port) as browser:
        planted = {"Cookie": f"lq-{running.port}=planted", **browser.own}
        page = await browser.ask("POST", "/login", {"token": token}, planted)
        assert "planted" not in page.headers["Set-Cookie"]
    async with Browser(running.port) as browser:
        assert (await browser.ask("GET", "/", headers=planted)).status == 303


async def test_logging_out_ends_the_session_on_the_server(panel: Browser) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in panel.cookies.items())
    left = await panel.post("/logout")
    assert left.location.startswith("/login")
    assert panel.cookies == {}
    again = await panel.ask("GET", "/", headers={"Cookie": cookies, "Accept": "text/html"})
    assert again.status == 303


async def test_revoking_the_token_ends_its_sessions(running: Daemon, panel: Browser) -> None:
    assert (await panel.get("/")).status == 200
    await running.engine.revoke_token("ada")
    assert (await panel.get("/")).status == 303
    assert (await panel.get("/", X_Lq_Live="1")).status == 401


async def test_a_stream_ends_with_its_session(running: Daemon, panel: Browser) -> None:
    reading = asyncio.create_task(panel.get("/events"))
    while not running.engine.feed.readers:
        await running.engine.queues.all()
    await panel.post("/logout")
    page = await reading
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/event-stream"


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "{origin}.evil.example"},
        {"Origin": "{origin}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{origin}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Referer": "{origin}/"},
    ],
    ids=str,
)
async def test_no_other_site_changes_anything(
    panel: Browser, path: str, method: str, said: dict[str, str]
) -> None:
    headers = {name: value.format(origin=panel.origin) for name, value in said.items()}
    page = await panel.ask(method, path, {"x": "1"}, headers)
    assert page.status == 403
    assert "does not come from a page of the panel" in page.text


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_no_other_site_logs_anybody_in_or_out(panel: Browser, path: str) -> None:
    page = await panel.ask("POST", path, {"token": "x"}, {"Origin": "https://evil.example"})
    assert page.status == 403
    assert (await panel.get("/")).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:80:80", "[::1", "localhost@evil", "a b"],
)
@pytest.mark.parametrize("path", ["/", "/login", "/static/000000000000/panel.css"])
async def test_under_another_name_there_is_no_panel(panel: Browser, host: str, path: str) -> None:
    page = await panel.get(path, Host=host)
    assert page.status in {400, 421}
    assert "Overview" not in page.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:7420", "127.0.0.1."])
async def test_this_machine_has_names(stranger: Browser, host: str) -> None:
    assert (await stranger.get("/login", Host=host)).status == 200


def test_names_come_from_the_configuration(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path, socket=tmp_path / "socket")
    public = replace(
        config, public_url="https://LQ.example.com/base", panel=PanelConfig(hosts=("a.b",))
    )
    for host in ("lq.example.com", "lq.example.com:443", "a.b", "A.B:1"):
        guard.check_host(host, guard.names(public))
        with pytest.raises(Misdirected):
            guard.check_host(host, guard.names(config))


async def test_a_link_of_another_site_arrives(stranger: Browser) -> None:
    """The browser keeps the cookie to itself then, and brings it when our own page leads on."""
    page = await stranger.get("/queues?x=%22%3E", Sec_Fetch_Site="cross-site")
    assert page.status == 200
    assert page.links == {"Go on to the panel": "/queues?x=%22%3E"}


@pytest.mark.parametrize("path", ["/", "/login", "/nothing"])
async def test_every_page_says_what_browsers_may_do_with_it(panel: Browser, path: str) -> None:
    headers = (await panel.get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "..%2f..%2fapp.py",
            "../app.py",
            "%2e%2e/app.py",
            "panel.css%00",
            "vendor/",
            "/",
            "x.css",
        ),
        *("..\\app.py", "....//app.py", "/etc/passwd", "templates/base.html", "__init__.py"),
    ],
)
async def test_static_files_are_those_of_the_table(panel: Browser, path: str) -> None:
    found = next(given["href"] for tag, given in (await panel.get("/")).tags if tag == "link")
    folder = found.rpartition("/")[0]
    page = await panel.get(f"{folder}/{path}")
    assert page.status == 404
    assert b"import" not in page.body


async def test_static_files_are_kept_for_ever_under_their_version(stranger: Browser) -> None:
    login = await stranger.get("/login")
    sheet = next(given["href"] for tag, given in login.tags if given.get("rel") == "stylesheet")
    page = await stranger.get(sheet)
    assert page.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "immutable" in page.headers["Cache-Control"]
    version = sheet.split("/")[2]
    older = await stranger.get(sheet.replace(version, "0" * 12))
    assert older.body == page.body
    assert older.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("takes", ["gzip", "deflate, gzip, br"])
async def test_static_files_are_smaller_on_their_way(stranger: Browser, takes: str) -> None:
    login = await stranger.get("/login")
    sheet = next(given["href"] for tag, given in login.tags if given.get("rel") == "stylesheet")
    packed = await stranger.get(sheet, Accept_Encoding=takes)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert 3 * int(packed.headers["Content-Length"]) < len(packed.body)
    for other in ("identity", "gzip;q=0", "xgzip"):
        plain = await stranger.get(sheet, Accept_Encoding=other)
        assert "Content-Encoding" not in plain.headers
        assert int(plain.headers["Content-Length"]) == len(plain.body)
        assert plain.body == packed.body


async def test_a_page_that_is_not_there_says_so(panel: Browser, stranger: Browser) -> None:
    assert (await panel.get("/nothing")).status == 404
    assert (await stranger.get("/nothing")).status == 303  # who asks is not told what there is


async def test_other_methods_are_refused(panel: Browser) -> None:
    page = await panel.ask("PUT", "/", b"", panel.own)
    assert page.status == 405
    assert page.headers["Allow"] == "GET"
    assert (await panel.ask("GET", "/logout", headers={"Accept": "text/html"})).status == 405


async def test_who_brings_a_token_is_answered_by_the_api(api: Peer) -> None:
    answer = await api.ask("GET /")
    assert answer.status == 404
    assert answer.json["type"] == "NOT_FOUND"


async def test_wrong_tokens_are_limited_over_all_addresses(tmp_path: Path) -> None:
    config = Config(
        data_dir=tmp_path,
        socket=tmp_path / "socket",
        listen="127.0.0.1:0",
        trusted_proxy=(ip_network("127.0.0.1"),),
    )
    async with serving(config, SystemClock()) as running, Browser(running.port) as browser:
        statuses = []
        for number in range(32):
            said = browser.own | {"X-Forwarded-For": f"203.0.113.{number}"}
            page = await browser.ask("POST", "/login", {"token": "wrong"}, said)
            statuses.append(page.status)
        assert statuses == [401] * 30 + [429] * 2
        _, token = await running.engine.create_token("t", frozenset({Scope.READ}), (), None)
        assert (await browser.log_in(token)).status == 303
