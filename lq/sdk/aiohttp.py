"""Calls of lq in an aiohttp application: a route for each endpoint, or a view of one's own.

Owns: aiohttp's requests as a Request, and a Response as aiohttp's. How large a body may be is the
application's `client_max_size`, which is lq's default, too.
"""

from __future__ import annotations

from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler

from lq.sdk.adapter import framed
from lq.sdk.http import Endpoint, Request


async def respond(endpoint: Endpoint, request: web.Request) -> web.Response:
    """Answer a call inside a view; `await request.read()` gives its body afterwards, too.

    Raises: aiohttp's HTTPRequestEntityTooLarge, which aiohttp answers with 413.
    """
    body = await request.read()
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
    )
    response = await endpoint.respond(Request(request.method, endpoint.path, headers, body))
    return web.Response(status=response.status, headers=list(framed(response)), body=response.body)


def routes(*endpoints: Endpoint) -> list[web.RouteDef]:
    """A route for each endpoint, for `app.add_routes(routes(welcome))`."""
    return [web.route("*", unquote(endpoint.path), view(endpoint)) for endpoint in endpoints]


def view(endpoint: Endpoint) -> Handler:
    """An aiohttp handler that answers the calls of an endpoint."""

    async def answer(request: web.Request) -> web.Response:
        return await respond(endpoint, request)

    return answer
