"""Calls of lq in a Django project: URL patterns, or a view of one's own.

Owns: Django's requests as a Request, and a Response as Django's. Names that begin with `a` are
asynchronous, as Django's own are. How large a body may be is DATA_UPLOAD_MAX_MEMORY_SIZE.

Invariant: its views are exempt from the check against forged forms (CSRF) and from a login: a call
proves itself by its signature, and carries no cookie that somebody could ride on.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from lq.sdk.adapter import body_after, endless, framed, refuses
from lq.sdk.http import Endpoint, Request, Response, text
from lq.sdk.wsgi import guesses_type

_ANY_LENGTH = 1 << 60  # Django itself refuses what is too large


def urls(*endpoints: Endpoint) -> list[Any]:
    """A pattern for each endpoint, for the `urlpatterns` of a project."""
    return [_pattern(endpoint, view(endpoint)) for endpoint in endpoints]


def aurls(*endpoints: Endpoint) -> list[Any]:
    """The same with asynchronous views, for projects that are served over ASGI."""
    return [_pattern(endpoint, aview(endpoint)) for endpoint in endpoints]


def view(endpoint: Endpoint) -> Any:
    """A view that answers the calls of an endpoint."""

    def answer(request: HttpRequest) -> HttpResponse:
        return respond(endpoint, request)

    return _exempt(answer)


def aview(endpoint: Endpoint) -> Any:
    """An asynchronous view that answers the calls of an endpoint."""

    async def answer(request: HttpRequest) -> HttpResponse:
        return await arespond(endpoint, request)

    return _exempt(answer)


def respond(endpoint: Endpoint, request: HttpRequest) -> HttpResponse:
    """Answer a call inside a view; `request.body` gives its body afterwards, too.

    The view that does this has to be exempt from CSRF.
    """
    call = _request(endpoint, request)
    response = call if isinstance(call, Response) else endpoint.respond_sync(call)
    return _response(request, response)


async def arespond(endpoint: Endpoint, request: HttpRequest) -> HttpResponse:
    """Answer a call inside an asynchronous view; see `respond`."""
    call = _request(endpoint, request)
    response = call if isinstance(call, Response) else await endpoint.respond(call)
    return _response(request, response)


def _exempt(answer: Any) -> Any:
    exempt = csrf_exempt(answer)
    exempt.login_required = False  # what LoginRequiredMiddleware looks at
    return exempt


def _pattern(endpoint: Endpoint, answer: Any) -> Any:
    route = unquote(endpoint.path).removeprefix("/")
    return re_path(rf"^{re.escape(route)}\Z", answer)


def _request(endpoint: Endpoint, request: HttpRequest) -> Request | Response:
    """The call, or why it is not heard."""
    length = request.META.get("CONTENT_LENGTH")
    if (refused := refuses(length, _ANY_LENGTH)) is not None:
        return refused
    if not length and "wsgi.input" in request.META and "HTTP_TRANSFER_ENCODING" in request.META:
        return endless()
    try:
        body = request.body
    except RequestDataTooBig as error:
        return text(413, str(error))
    except UnreadablePostError:
        return text(400, "the body could not be read to its end")
    headers = tuple(
        (name, value)
        for name, value in request.headers.items()
        if name != "Content-Type" or not guesses_type(request.META)
    )
    return Request(request.method, endpoint.path, headers, body)


def _response(request: HttpRequest, response: Response) -> HttpResponse:
    answer = HttpResponse(body_after(request.method, response), status=response.status)
    del answer["Content-Type"]  # Django's guess
    for name, value in framed(response):
        answer[name] = value
    return answer
