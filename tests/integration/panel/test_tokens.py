"""Tokens and the signing secret in the panel: made, shown once, rotated, revoked."""

from __future__ import annotations

import re

import pytest

from lq.daemon.main import Daemon
from lq.model import Scope
from lq.signature import webhook_secret
from tests.integration.api.raw import Peer
from tests.support.pages import Browser, Page

from .conftest import logged_in

TOKEN = re.compile(r"lq_[A-Za-z0-9]{20,}")
ADMINS = [
    *("/tokens", "/tokens/new", "/tokens/made", "/tokens/revoke/ada"),
    *("/secret", "/secret/rotate", "/secret/revoke-old"),
]


async def made(panel: Browser, **fields: str | list[str]) -> tuple[Page, str]:
    """The page that shows a new token, and the token."""
    page = await panel.post("/tokens", **{"name": "shop", "scopes": ["push"], **fields})
    assert page.status == 303, page.text
    assert page.location == "/tokens/made"
    shown = await panel.follow(page)
    return shown, TOKEN.findall(shown.text)[0]


async def test_a_token_is_made_shown_once_and_works(
    api: Peer, panel: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    page, token = await made(panel, queues="shop-*, mail\n", expires="90d")
    assert "shop-*, mail" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    peer = api.having(token)
    pushed = "POST queues/shop-1/items", "x-lq-target: https://example.com/hook"
    assert (await peer.ask(*pushed)).status == 201
    assert (await peer.ask(pushed[0].replace("shop-1", "pay"), pushed[1])).status == 403
    again = await panel.get("/tokens/made")
    assert "It has been shown" in again.text
    for path in ("/tokens/made", "/tokens", "/", "/history"):
        assert token not in (await panel.get(path)).html
    assert token not in caplog.text
    listed = await panel.get("/tokens")
    assert "shop-*" in listed.text
    names = [one["name"] for one in (await api.ask("GET tokens")).json]
    assert names.count("shop") == 1


async def test_a_form_that_is_sent_twice_shows_its_token(api: Peer, panel: Browser) -> None:
    for _ in range(2):
        page = await panel.post("/tokens", name="shop", scopes="push")
        assert page.location == "/tokens/made"
    shown = await panel.follow(page)
    [token] = set(TOKEN.findall(shown.text))
    assert f"export LQ_API_URL={panel.origin} LQ_TOKEN={token}" in shown.text
    assert (await api.having(token).ask("GET queues")).status == 403
    assert (await panel.post("/tokens", name="shop", scopes="push")).status == 409


async def test_what_is_shown_once_is_no_live_page(panel: Browser) -> None:
    """A live page asks for itself again, and would find the token gone."""
    await panel.post("/tokens", name="shop", scopes="push")
    for path in ("/tokens/made", "/tokens", "/secret"):
        [body] = [given for tag, given in (await panel.get(path)).tags if tag == "body"]
        assert "data-live" not in body


async def test_a_token_is_shown_to_nobody_else(running: Daemon, panel: Browser) -> None:
    assert (await panel.post("/tokens", name="shop", scopes="push")).status == 303
    async with await logged_in(running, "eve", Scope.ADMIN) as other:
        assert "It has been shown" in (await other.get("/tokens/made")).text
    assert TOKEN.search((await panel.get("/tokens/made")).text)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": ""}, "letters, digits, dots"),
        ({"name": "a b"}, "letters, digits, dots"),
        ({"scopes": []}, "choose at least one"),
        ({"scopes": ["root"]}, '"push", "read" or "admin"'),
        ({"expires": "whenever"}, "expected a duration"),
        ({"expires": "0s"}, "in the future"),
        ({"queues": " ".join(f"q{n}" for n in range(40))}, "at most 32"),
        ({"name": "ada"}, "ada"),
    ],
)
async def test_a_token_that_cannot_be_keeps_what_was_typed(
    api: Peer, panel: Browser, fields: dict[str, str | list[str]], complaint: str
) -> None:
    given = {"name": "shop", "scopes": ["push"], "queues": "a b", "expires": "1d", **fields}
    page = await panel.post("/tokens", **given)
    assert page.status == (409 if fields.get("name") == "ada" else 400)
    assert complaint in page.text
    typed = page.form("/tokens").fields
    assert [typed[name] for name in ("name", "queues", "expires")] == [
        given[name] for name in ("name", "queues", "expires")
    ]
    assert ("scopes" in typed) is (given["scopes"] == ["push"])
    assert {one["name"] for one in (await api.ask("GET tokens")).json} == {"ada", "tests"}


async def test_a_token_is_revoked_after_a_question(api: Peer, panel: Browser) -> None:
    _, token = await made(panel, scopes=["read"])
    listed = await panel.get("/tokens")
    asked = await panel.get(listed.links["Revoke… shop"])
    assert "Revoke the token shop?" in asked.text
    assert "logs you out" not in asked.text
    assert (await api.having(token).ask("GET queues")).status == 200
    done = await panel.post("/tokens/revoke/shop")
    assert "shop is revoked" in (await panel.follow(done)).text
    assert (await api.having(token).ask("GET queues")).status == 401
    assert "1 token revoked or expired" in (await panel.get("/tokens")).text
    assert (await panel.get("/tokens/revoke/shop")).status == 404
    done = await panel.post("/tokens/revoke/shop")
    assert "no live token" in (await panel.follow(done)).text


async def test_who_revokes_their_own_token_is_told_and_out(panel: Browser) -> None:
    assert "logs you out" in (await panel.get("/tokens/revoke/ada")).text
    assert (await panel.post("/tokens/revoke/ada")).location == "/tokens"
    assert (await panel.get("/tokens")).location.startswith("/login")


async def test_tokens_and_secrets_are_for_admins_of_all(
    running: Daemon, panel: Browser, reader: Browser
) -> None:
    secret = running.engine.ring.newest
    few = await logged_in(running, "few", Scope.ADMIN, queues=("mail-*",))
    async with few:
        for path in ADMINS:
            for browser in (reader, few):
                page = await browser.get(path)
                assert page.status == 403, path
                assert secret not in page.html
        for path in ("/tokens", "/tokens/revoke/ada", "/secret/rotate", "/secret/revoke-old"):
            for browser in (reader, few):
                refused = await browser.post(path, name="x", scopes="read", overlap="1h")
                assert refused.status == 403, path
        assert "/tokens" not in (await few.get("/")).links.values()
    assert running.engine.ring.secrets()[0].text == secret
    assert (await panel.get("/tokens")).status == 200


async def test_the_secret_is_hidden_until_asked_for(running: Daemon, panel: Browser) -> None:
    secret = running.engine.ring.newest
    page = await panel.get("/secret")
    assert page.html.count(secret) == 1
    assert re.search(
        rf"<details id=\"secret-hidden\"><summary>.*</summary><code[^>]*>{secret}<", page.html
    )
    assert webhook_secret(secret) in page.text
    assert "LQ_SECRET" in page.text
    assert "None: only the present one is valid." in page.text


async def test_a_rotation_shows_the_overlap(running: Daemon, panel: Browser) -> None:
    ring = running.engine.ring
    old = ring.newest
    page = await panel.get("/secret/rotate")
    form = page.form("/secret/rotate")
    assert form.fields["overlap"] == "24h"
    for wrong in ("", "soon", "91d", "-1h"):
        refused = await panel.post(form.action, **form.fields | {"overlap": wrong})
        assert refused.status == 400
        assert refused.form(form.action).fields["overlap"] == wrong
        assert "expected 0s to 90d" in refused.text or "expected a number" in refused.text
    assert ring.newest == old
    done = await panel.post(form.action, **form.fields | {"overlap": "7d"})
    shown = await panel.follow(done)
    assert "The secret is rotated." in shown.text
    assert ring.newest != old
    assert {ring.newest, old} <= set(re.findall(r"[\w]{40,}", shown.text))
    assert [one.text for one in ring.secrets()] == [ring.newest, old]
    twice = await panel.post(form.action, **form.fields | {"overlap": "7d"})
    assert twice.status == 409
    assert "rotated meanwhile" in twice.text.lower()
    assert len(ring.secrets()) == 2


async def test_no_more_secrets_than_can_be_valid_at_once(running: Daemon, panel: Browser) -> None:
    for _ in range(2):
        form = (await panel.get("/secret/rotate")).form("/secret/rotate")
        assert (await panel.post(form.action, **form.fields)).status == 303
    form = (await panel.get("/secret/rotate")).form("/secret/rotate")
    refused = await panel.post(form.action, **form.fields)
    assert refused.status == 409
    assert "3 secrets are live" in refused.text
    asked = await panel.get("/secret/revoke-old")
    assert "Revoke 2 older secrets?" in asked.text
    assert len(running.engine.ring.secrets()) == 3
    done = await panel.post("/secret/revoke-old")
    assert "Only the newest secret is valid now." in (await panel.follow(done)).text
    assert len(running.engine.ring.secrets()) == 1
    assert "There is none" in (await panel.get("/secret/revoke-old")).text
    form = (await panel.get("/secret/rotate")).form("/secret/rotate")
    done = await panel.post(form.action, **form.fields | {"overlap": "0s"})
    assert "No other is valid any more" in (await panel.follow(done)).text
    assert len(running.engine.ring.secrets()) == 1
