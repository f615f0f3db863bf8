"""Servers of the three kinds, each in a thread, on a port of its own choosing."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import uvicorn
from aiohttp import web
from werkzeug.serving import make_server

Serve = Callable[[Any], Any]


@contextmanager
def asgi(app: Any, **options: Any) -> Iterator[int]:
    """An ASGI application on uvicorn."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, ws="none", log_level="error", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def wsgi(app: Any) -> Iterator[int]:
    """A WSGI application on Werkzeug, which takes chunked bodies."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with _running(server):
        yield server.server_port


@contextmanager
def plain_wsgi(app: Any) -> Iterator[int]:
    """A WSGI application on the standard library's server, which knows no chunked bodies."""
    server = WSGIServer(("127.0.0.1", 0), _Silent)
    server.set_app(app)
    with _running(server):
        yield server.server_port


@contextmanager
def aiohttp(app: web.Application) -> Iterator[int]:
    """An aiohttp application, as docs/handlers.md says for bodies that are compressed."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, auto_decompress=False)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def _running(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass
