"""Small pages with the panel's own scripts, served as the panel serves its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from aiohttp import web

from tests.e2e.process import PATIENCE_S

STATIC: Final = Path(__file__).parents[3] / "lq/daemon/panel/static"
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server for one test. `put` makes a page, `on` answers a path in another way."""

    def __init__(self) -> None:
        self.refreshed: asyncio.Queue[str] = asyncio.Queue()
        """The page of each question that a page asked by itself."""
        self.joined: asyncio.Queue[str] = asyncio.Queue()
        """The Last-Event-ID of each stream that was opened."""
        self.left: asyncio.Queue[str] = asyncio.Queue()
        """The same of each that ended."""
        self._pages: dict[str, str] = {}
        self._handlers: dict[str, Handler] = {}
        self._streams: list[asyncio.Queue[bytes]] = []
        app = web.Application()
        app.router.add_static("/static/", STATIC)
        app.router.add_get("/events", self._tell)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.on_response_prepare.append(_protect)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0
        )
        self.url = ""

    def put(
        self,
        path: str,
        body: str,
        *,
        live: str | None = None,
        scripts: Sequence[str] = ("panel.js",),
        head: str = "",
    ) -> None:
        """Serve a page from now on, in the place of the one before."""
        attribute = "" if live is None else f' data-live="{live}"'
        tags = "".join(f'<script type="module" src="/static/{name}"></script>' for name in scripts)
        self._pages[path] = (
            f'<!doctype html><html lang="en"><head><title>lq</title>{head}{tags}</head>'
            f'<body{attribute}><span id="live" role="status"></span>{body}</body></html>'
        )

    def on(self, path: str, handler: Handler) -> None:
        """Have a path answered by a function."""
        self._handlers[path] = handler

    def tell(self, *verbs: str) -> None:
        """Send events to all who listen."""
        for verb in verbs:
            for stream in self._streams:
                stream.put_nowait(b"event: %b\ndata: {}\nid: 1\n\n" % verb.encode())

    def hang_up(self) -> None:
        """End all streams."""
        for stream in self._streams:
            stream.put_nowait(b"")

    async def next_refresh(self) -> str:
        return await asyncio.wait_for(self.refreshed.get(), PATIENCE_S)

    async def next_stream(self) -> str:
        return await asyncio.wait_for(self.joined.get(), PATIENCE_S)

    async def next_end(self) -> str:
        return await asyncio.wait_for(self.left.get(), PATIENCE_S)

    async def __aenter__(self) -> Site:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hang_up()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "X-Lq-Live" in request.headers:
            self.refreshed.put_nowait(request.path)
        if (handler := self._handlers.get(request.path)) is not None:
            return await handler(request)
        if (page := self._pages.get(request.path)) is not None:
            return web.Response(text=page, content_type="text/html")
        if request.path == "/favicon.ico":
            return web.Response(status=204)
        return web.Response(status=404, text="no such page")

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        if (handler := self._handlers.get("/events")) is not None:
            return await handler(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.headers.update(PROTECTED)
        stream: asyncio.Queue[bytes] = asyncio.Queue()
        await response.prepare(request)
        await response.write(b"retry: 10\nid: 0\n\n")
        self._streams.append(stream)
        last = request.headers.get("Last-Event-ID", "")
        self.joined.put_nowait(last)
        try:
            while frame := await stream.get():
                await response.write(frame)
        except ConnectionResetError:
            pass  # the page has closed it
        finally:
            self._streams.remove(stream)
            self.left.put_nowait(last)
        return response


PROTECTED: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(PROTECTED)
