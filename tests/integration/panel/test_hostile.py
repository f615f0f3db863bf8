"""What pages make of content and requests that mean harm."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from lq.config import Config
from lq.daemon.main import Daemon
from lq.daemon.panel import guard
from lq.errors import Forbidden
from tests.integration.api.raw import Answer, Peer
from tests.support.pages import Browser

RULE = ("x-lq-schedule: @yearly", "x-lq-queue: q", "x-lq-target: https://example.com/hook")
MEBIBYTE = 1_048_576


async def raw(running: Daemon, *lines: bytes) -> Answer:
    """Ask by these lines, and no others."""
    peer = Peer(port=running.port)
    connection = await peer.connect()
    await connection.send(b"\r\n".join((*lines, b"", b"")))
    answer = await connection.head()
    await peer.close()
    return answer


async def test_json_that_is_nested_deeply_is_laid_out_as_far_as_it_is_shown(
    api: Peer, panel: Browser
) -> None:
    """Each of its numbers would get a line of its own, and a thousand spaces before it."""
    payload = b"[" * 900 + b",".join([b"1"] * 100_000) + b"]" * 900
    made = await api.ask("POST schedules", *RULE, "Content-Type: application/json", body=payload)
    tracemalloc.start()
    try:
        page = await panel.get(f"/schedules/{made.json['id']}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert page.status == 200
    assert "[ [ [" in page.text
    assert peak < 16 * MEBIBYTE


@pytest.mark.parametrize("payload", ["[" * 60_000, "[" * 1100 + "]" * 1100])
async def test_a_form_with_json_that_is_too_deep_is_no_bug(panel: Browser, payload: str) -> None:
    fields = {
        "x-lq-schedule": "@yearly",
        "x-lq-queue": "q",
        "x-lq-target": "https://example.com/hook",
    }
    page = await panel.post("/schedules/new", payload=payload, **fields)
    assert page.status == 303, page.text


async def test_a_place_in_the_stream_that_is_no_text_is_none(
    running: Daemon, panel: Browser
) -> None:
    (cookie,) = panel.cookies.values()
    answer = await raw(
        running,
        b"GET /events HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Sec-Fetch-Site: same-origin",
        b"Cookie: lq-80=" + cookie.encode(),
        b"Last-Event-ID: \xff\xfe",
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"


async def test_a_page_that_leads_on_leads_nowhere_else(running: Daemon) -> None:
    """No browser sends a path like this; one that reads it takes it for another host."""
    peer = Peer(port=running.port)
    answer = await peer.raw(
        b"GET /\\evil.example HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n"
        b"Sec-Fetch-Site: cross-site\r\n\r\n"
    )
    await peer.close()
    assert answer.status == 200
    assert b'<a href="/">' in answer.body


def change_from(origin: str, public_url: str | None) -> None:
    """A change by a browser, through a proxy that asks lq for a name of its own."""
    folder = Path("/nowhere")
    config = Config(data_dir=folder, socket=folder / "socket", public_url=public_url)
    said = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    guard.check_origin(said, "127.0.0.1:7420", guard.public_origin(config))


@pytest.mark.parametrize(
    ("public_url", "origin"),
    [
        ("https://lq.example.com", "https://lq.example.com"),
        ("https://LQ.example.com:443", "https://lq.example.com"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://lq.example.com:80", "http://lq.example.com"),
        (None, "http://127.0.0.1:7420"),
    ],
)
def test_a_proxy_need_not_hand_on_the_host(public_url: str | None, origin: str) -> None:
    """nginx asks for the name that `proxy_pass` says, unless it is told otherwise."""
    change_from(origin, public_url)


@pytest.mark.parametrize(
    ("public_url", "origin"),
    [
        ("https://lq.example.com", "http://lq.example.com"),
        ("https://lq.example.com", "https://lq.example.com:8443"),
        ("https://lq.example.com", "https://lq.example.com.evil.example"),
        ("https://lq.example.com/jobs", "https://lq.example.com"),  # the API alone is below it
        (None, "null"),
        (None, "none"),
        (None, ""),
    ],
)
def test_who_is_not_the_proxy_changes_nothing(public_url: str | None, origin: str) -> None:
    with pytest.raises(Forbidden):
        change_from(origin, public_url)


async def test_a_password_for_a_proxy_is_no_token(panel: Browser) -> None:
    page = await panel.get("/", Authorization="Basic YWRhOng=")
    assert page.status == 200
    assert "Overview" in page.text
    assert (await panel.get("/", Authorization="Bearer x")).status == 401
    assert (await panel.get("/api/v1/queues", Authorization="Basic YWRhOng=")).status == 401
