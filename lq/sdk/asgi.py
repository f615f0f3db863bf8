"""Calls of lq over ASGI: an application of its own, a part of another, or around one.

Owns: what ASGI says about a request, as a Request, and a Response as ASGI messages. Imports no
framework: Starlette, FastAPI, Django and Vercel take an ASGI application as it is. Never touches
what is not for an endpoint: other paths, websockets and the lifespan reach the application around
which it stands as they came.

Invariant: an endpoint sees a whole body, or none at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from lq.sdk.adapter import MAX_BODY, body_after, find, framed, not_found, refuses, too_large
from lq.sdk.http import Endpoint, Mount, Request, Response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Handlers:
    """An ASGI application that answers the calls of its endpoints.

    Run it alone, mount it (`app.mount("/lq", Handlers(…))`), or give it the `app` that answers
    everything else.
    """

    def __init__(
        self, *endpoints: Endpoint, app: App | None = None, max_body: int = MAX_BODY
    ) -> None:
        """Units: `max_body` is in bytes."""
        self._mount = Mount(*endpoints)
        self._app = app or _nothing
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint(scope)
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        response = await _answer(endpoint, scope, receive, self._max_body)
        if response is not None:
            await _send(scope["method"], send, response)

    def _endpoint(self, scope: Scope) -> Endpoint | None:
        if scope["type"] != "http":
            return None
        return find(self._mount, scope["path"], scope.get("root_path", ""))


def middleware(app: App, *endpoints: Endpoint, max_body: int = MAX_BODY) -> Handlers:
    """Put handlers around an application, for `app.add_middleware(middleware, welcome)`."""
    return Handlers(*endpoints, app=app, max_body=max_body)


async def _answer(
    endpoint: Endpoint, scope: Scope, receive: Receive, max_body: int
) -> Response | None:
    """What the endpoint says, or None when the caller has gone before all of its body was here."""
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    )
    length = next((value for name, value in headers if name.lower() == "content-length"), None)
    if (refused := refuses(length, max_body)) is not None:
        return refused
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > max_body:
            return too_large(max_body)
        if not message.get("more_body", False):
            return await endpoint.respond(
                Request(scope["method"], endpoint.path, headers, bytes(body))
            )


async def _send(method: str, send: Send, response: Response) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in framed(response)
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    # Said in full: servers that do not read the defaults of ASGI exist.
    body = body_after(method, response)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """What is around handlers that stand alone."""
    match scope["type"]:
        case "http":
            await _send(scope["method"], send, not_found())
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        case "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        case other:
            raise ValueError(f"{other!r} is no kind of ASGI scope that is known here")
