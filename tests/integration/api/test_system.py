"""The daemon over HTTP: identity, secret, tokens, reloads."""

from __future__ import annotations

import json
import os

import pytest

from lq import __version__

from .given import token
from .raw import Peer


async def test_info_tells_an_admin_more(api: Peer) -> None:
    info = (await api.ask("GET info")).json
    assert (info["version"], info["pid"]) == (__version__, os.getpid())
    body = b'{"name": "reader", "scopes": ["read"]}'
    reader = api.having((await api.ask("POST tokens", body=body)).json["token"])
    assert set((await reader.ask("GET info")).json) == {"version", "now"}


async def test_a_token_is_shown_once(api: Peer) -> None:
    body = json.dumps({"name": "ci", "scopes": ["push"], "queues": ["mail-*"], "expires": "90d"})
    created = await api.ask("POST tokens", body=body.encode())
    assert created.status == 201
    assert created.headers["cache-control"] == "no-store"
    assert created.json["token"].startswith("lq_")
    shown = {name: value for name, value in created.json.items() if name != "token"}
    (listed,) = [t for t in (await api.ask("GET tokens")).json if t["name"] == "ci"]
    assert {**listed, **shown} == listed
    assert "token" not in listed


async def test_the_name_of_a_live_token_is_taken(api: Peer) -> None:
    body = b'{"name": "ci", "scopes": ["push"]}'
    assert (await api.ask("POST tokens", body=body)).status == 201
    taken = await api.ask("POST tokens", body=body)
    assert (taken.status, taken.json["type"]) == (409, "CONFLICT")
    assert (await api.ask("DELETE tokens/ci")).status == 200
    assert (await api.ask("POST tokens", body=body)).status == 201


@pytest.mark.parametrize("name", ["unknown", "%00", "%FF", "a/b"])
async def test_a_token_that_does_not_exist(api: Peer, name: str) -> None:
    assert (await api.ask(f"DELETE tokens/{name}")).status == 404


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{}", ["name", "scopes"]),
        (b'{"name": "a b", "scopes": ["root"]}', ["name", "scopes"]),
        (b'{"name": "a", "scopes": ["push"], "expires": "2020-01-01T00:00:00Z"}', ["expires"]),
    ],
)
async def test_a_token_that_is_refused(api: Peer, body: bytes, fields: list[str]) -> None:
    assert (await api.ask("POST tokens", body=body)).issues == fields


async def test_a_reload_is_the_admins(api: Peer) -> None:
    for scope in ("push", "read"):
        assert (await (await token(api, scope)).ask("POST reload")).status == 403
    limited = await token(api, "admin", queues=("mail",))
    assert (await limited.ask("POST reload")).status == 403
    dry = await api.ask("POST reload?dry=1")
    assert (dry.status, dry.json) == (200, {"schedules": [], "settings": [], "restart": []})
    assert (await api.ask("POST reload")).json == dry.json
    assert (await api.ask("POST reload?force=1")).issues == ["force"]
