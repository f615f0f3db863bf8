"""The log of what admins do: who, from where, what; in one line, and without what is secret."""

from __future__ import annotations

import logging
import os

import pytest

from .conftest import Door
from .given import token
from .raw import WAITING, Peer

LOGGER = "lq.daemon.api.app"


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines so far, which are forgotten then."""
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    caplog.clear()
    return lines


async def test_the_owner_of_the_socket_is_named_by_user_and_process(
    owner: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await owner.ask("POST queues/q/pause?until=2030-01-01T00:00:00Z")
    (line,) = said(caplog)
    who = f"the owner of the socket (uid {os.getuid()}, pid {os.getpid()})"
    number = answer.headers["x-request-id"]
    assert line == f"{who}: POST '/api/v1/queues/q/pause': 200 ({number})"


async def test_a_token_is_named_with_its_address(
    api: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    await token(api, "push")
    (line,) = said(caplog)
    assert line.startswith("'tests' at 127.0.0.1: POST '/api/v1/tokens': 201 (")


async def test_behind_a_proxy_it_is_the_clients_address(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await door("127.0.0.1")
    said(caplog)
    await peer.ask("GET secret", "X-Forwarded-For: 203.0.113.1, 2001:db8::7")
    (line,) = said(caplog)
    assert line.startswith("'tests' at 2001:db8::7: GET '/api/v1/secret': 200 (")


async def test_what_only_admins_may_is_logged_and_daily_work_is_not(
    owner: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = ["GET queues", "GET items", "GET history", "GET info", "GET /healthz"]
    for request in quiet:
        await owner.ask(request)
    pushed = await owner.ask("POST queues/q/items", *WAITING)
    await owner.ask(f"DELETE items/{pushed.json['id']}")
    assert said(caplog) == []
    for request in ("GET tokens", "GET secret", "PATCH queues/q", "DELETE queues/q", "POST reload"):
        await owner.ask(request, body=b"{}" if "PATCH" in request else b"")
        (line,) = said(caplog)
        assert request.split(" ")[0] in line


async def test_pushes_are_there_for_who_debugs(
    owner: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    await owner.ask("POST queues/q/items", *WAITING, body=b"canary")
    (line,) = said(caplog)
    assert "POST '/api/v1/queues/q/items': 201" in line
    assert "canary" not in line


async def test_what_is_refused_is_not_said_to_be_done(
    api: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    pusher = await token(api, "push")
    said(caplog)
    assert (await pusher.ask("POST queues/q/pause")).status == 403
    assert (await api.ask("DELETE tokens/nobody")).status == 404
    assert said(caplog) == []


async def test_no_name_makes_a_second_line(api: Peer, caplog: pytest.LogCaptureFixture) -> None:
    await api.ask("PATCH queues/%0a%1b%5b31m?token=canary", body=b"{}")
    await api.ask("POST queues/q%20x/pause?token=canary")
    for line in said(caplog):
        assert line.isprintable()
        assert "canary" not in line
