"""Calls of lq in a view of one's own of Starlette or FastAPI.

Owns: Starlette's requests as a Request, and a Response as Starlette's. Routes, mounts and
middleware need nothing of this: they take `lq.sdk.asgi.Handlers` as it is.
"""

from __future__ import annotations

from starlette import datastructures, requests, responses

from lq.sdk.adapter import MAX_BODY, framed, refuses, too_large
from lq.sdk.http import Endpoint, Request, Response


async def respond(
    endpoint: Endpoint, request: requests.Request, *, max_body: int = MAX_BODY
) -> responses.Response:
    """Answer a call inside a view; `await request.body()` gives its body afterwards, too.

    Units: `max_body` is in bytes; a chunked body is measured once Starlette has read it.
    """
    response = await _answer(endpoint, request, max_body)
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in framed(response)]
    return responses.Response(response.body, response.status, datastructures.Headers(raw=raw))


async def _answer(endpoint: Endpoint, request: requests.Request, max_body: int) -> Response:
    length = request.headers.get("content-length")
    if (refused := refuses(length, max_body)) is not None:
        return refused
    body = await request.body()
    if len(body) > max_body:
        return too_large(max_body)
    headers = tuple(request.headers.items())
    return await endpoint.respond(Request(request.method, endpoint.path, headers, body))
