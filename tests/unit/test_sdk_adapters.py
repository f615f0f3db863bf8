"""What adapters do without a server: where endpoints are found, and what surrounds them."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lq import Mount, Queue
from lq.config import Config
from lq.sdk import asgi, wsgi
from lq.sdk.adapter import MAX_BODY, find, framed
from lq.sdk.http import Response

work = Queue[Any]("work", path="/lq/work", secret="s")


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/lq/work", ""),
        ("/lq/work", "/"),
        ("/lq/work", "/lq"),  # Starlette since 0.33
        ("/work", "/lq"),  # before, and WSGI
        ("/shop/lq/work", "/shop"),  # a server that is told of a proxy's prefix
        ("/lq/work", "/shop"),  # an application that is
        ("/shop/lq/work", "/shop/lq"),
        ("/work", "/shop/lq"),
        ("/prod/lq/work", "/prod"),
        ("/lq/w%6Frk", ""),
    ],
)
def test_it_is_found_wherever_it_is_mounted(path: str, root: str) -> None:
    assert find(Mount(work), path, root) is work


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/", ""),
        ("", ""),
        ("/work", ""),
        ("/other/lq/work", ""),
        ("/shopping/lq/work", "/shop"),
        ("/work", "/shop"),
        ("/lq/work/more", "/lq"),
        ("//lq/work", "/"),
    ],
)
def test_it_is_found_nowhere_else(path: str, root: str) -> None:
    assert find(Mount(work), path, root) is None


def test_an_inner_path_can_be_its_name() -> None:
    inner = Queue[Any]("work", path="/work", secret="s")
    assert find(Mount(inner), "/lq/work", "/lq") is inner


def test_a_body_may_be_as_large_as_the_daemon_takes() -> None:
    config = Config(data_dir=Path(), socket=Path())
    assert config.max_payload == MAX_BODY


def test_a_length_that_a_handler_claims_is_not_believed() -> None:
    claimed = Response(200, (("content-LENGTH", "7"), ("X-Other", "1")), b"ab")
    assert framed(claimed) == (("X-Other", "1"), ("Content-Length", "2"))
    assert framed(Response(204, (("Content-Length", "0"),), b"")) == ()


async def exchange(app: asgi.App, kind: str, *received: str) -> list[str]:
    """What an application says to these messages."""
    messages = iter(received)
    sent = []

    async def receive() -> asgi.Message:
        return {"type": next(messages)}

    async def send(message: asgi.Message) -> None:
        sent.append(message["type"])

    await app({"type": kind, "path": "/lq/work", "headers": []}, receive, send)
    return sent


async def test_alone_it_lives_and_ends_with_its_server() -> None:
    app = asgi.Handlers(work)
    life = await exchange(app, "lifespan", "lifespan.startup", "lifespan.shutdown")
    assert life == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_alone_it_takes_no_websockets() -> None:
    sent = await exchange(asgi.Handlers(work), "websocket", "websocket.connect")
    assert sent == ["websocket.close"]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_no_http_reaches_the_application_as_it_came(kind: str) -> None:
    seen: asyncio.Queue[object] = asyncio.Queue()

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        seen.put_nowait((scope, receive, send))

    async def receive() -> asgi.Message:
        raise AssertionError("it is the application's to receive")

    async def send(_: asgi.Message) -> None:
        raise AssertionError("it is the application's to send")

    scope: asgi.Scope = {"type": kind, "path": "/lq/work"}
    await asgi.Handlers(work, app=app)(scope, receive, send)
    passed = seen.get_nowait()
    assert isinstance(passed, tuple)
    assert all(one is other for one, other in zip(passed, (scope, receive, send), strict=True))


def test_an_environ_that_is_not_for_it_is_left_alone() -> None:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/shop", "wsgi.input": object()}
    before = dict(environ)

    def app(given: wsgi.Environ, start_response: wsgi.StartResponse) -> list[bytes]:
        assert given is environ
        return [b"its own"]

    assert wsgi.Handlers(work, app=app)(environ, print) == [b"its own"]
    assert environ == before


@pytest.mark.parametrize("adapter", ["asgi", "wsgi", "aws_lambda"])
def test_it_needs_no_framework(adapter: str) -> None:
    ask = f"import sys, lq.sdk.{adapter}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    frameworks = {"aiohttp", "aiosqlite", "django", "flask", "starlette", "werkzeug"}
    assert loaded & frameworks == set()


def test_a_head_is_answered_without_a_body_whatever_is_wrong() -> None:
    heads: list[object] = []
    environ = {"REQUEST_METHOD": "HEAD", "PATH_INFO": "/shop", "wsgi.input": io.BytesIO()}
    answer = wsgi.Handlers(work)(environ, lambda *head: heads.extend(head))
    assert b"".join(answer) == b""
    assert heads[0] == "404 Not Found"
