"""Every way to have the handler in an application, and the application on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import fastapi
import flask
from aiohttp import web
from aiohttp.typedefs import Handler
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from starlette import applications, requests, responses, routing
from starlette.middleware import base

from lq.sdk import aiohttp as lq_aiohttp
from lq.sdk import asgi, wsgi
from lq.sdk import flask as lq_flask
from lq.sdk import starlette as lq_starlette

from . import MOST, PATH, ROUTE, queue_at, read_after, servers
from . import django_project as project

Serve = Callable[[], AbstractContextManager[int]]
"""Serves an application; the context is its port."""


class Shape(NamedTuple):
    """One way. Shape: `reads` says that the application reads a body once more afterwards."""

    serve: Serve
    path: str = PATH
    reads: bool = False
    echoes: bool = True
    chunked: bool = True


def asgi_alone() -> AbstractContextManager[int]:
    return servers.asgi(asgi.Handlers(queue_at(), max_body=MOST))


def starlette_mount() -> AbstractContextManager[int]:
    mount = routing.Mount("/lq", asgi.Handlers(queue_at(is_async=True), max_body=MOST))
    return servers.asgi(applications.Starlette(routes=[mount, *_starlette_echo()]))


def starlette_route() -> AbstractContextManager[int]:
    route = routing.Route(ROUTE, asgi.Handlers(queue_at(is_async=True), max_body=MOST))
    return servers.asgi(applications.Starlette(routes=[route, *_starlette_echo()]))


def starlette_middleware() -> AbstractContextManager[int]:
    app = applications.Starlette(routes=_starlette_echo())
    app.add_middleware(asgi.middleware, queue_at(is_async=True), max_body=MOST)
    return servers.asgi(app)


def starlette_view() -> AbstractContextManager[int]:
    work = queue_at(is_async=True)

    async def view(request: requests.Request) -> responses.Response:
        answer = await lq_starlette.respond(work, request, max_body=MOST)
        if answer.status_code == 200:
            read_after.put(await request.body())
        return answer

    routes = [routing.Route(ROUTE, view, methods=METHODS), *_starlette_echo()]
    return servers.asgi(applications.Starlette(routes=routes))


def starlette_read_before() -> AbstractContextManager[int]:
    """Below a middleware that reads every body, as one that logs would."""
    mount = routing.Mount("/lq", asgi.Handlers(queue_at(), max_body=MOST))
    app = applications.Starlette(routes=[mount, *_starlette_echo()])

    async def read(
        request: requests.Request, call_next: base.RequestResponseEndpoint
    ) -> responses.Response:
        body = await request.body()
        answer = await call_next(request)
        assert await request.body() == body
        if answer.status_code == 200:
            read_after.put(body)
        return answer

    app.add_middleware(base.BaseHTTPMiddleware, dispatch=read)
    return servers.asgi(app)


def fastapi_mount() -> AbstractContextManager[int]:
    """Behind a proxy that takes a prefix off each path."""
    app = _fastapi()
    app.mount("/lq", asgi.Handlers(queue_at(), max_body=MOST))
    return servers.asgi(app, root_path="/shop")


def fastapi_middleware() -> AbstractContextManager[int]:
    app = _fastapi()
    app.add_middleware(asgi.middleware, queue_at(), max_body=MOST)
    return servers.asgi(app)


def fastapi_view() -> AbstractContextManager[int]:
    app = _fastapi()
    work = queue_at()

    @app.api_route(ROUTE, methods=METHODS)
    async def view(request: fastapi.Request) -> fastapi.Response:
        answer = await lq_starlette.respond(work, request, max_body=MOST)
        if answer.status_code == 200:
            read_after.put(await request.body())
        return answer

    return servers.asgi(app)


def django_asgi() -> AbstractContextManager[int]:
    return servers.asgi(get_asgi_application(), lifespan="off")


def around_django_asgi() -> AbstractContextManager[int]:
    app = asgi.Handlers(queue_at(), app=get_asgi_application(), max_body=MOST)
    return servers.asgi(app, lifespan="off")


def wsgi_alone() -> AbstractContextManager[int]:
    return servers.wsgi(wsgi.Handlers(queue_at(), max_body=MOST))


def wsgi_plain() -> AbstractContextManager[int]:
    return servers.plain_wsgi(wsgi.Handlers(queue_at(is_async=True), max_body=MOST))


def flask_blueprint() -> AbstractContextManager[int]:
    app = _flask()
    app.register_blueprint(lq_flask.blueprint(queue_at(), max_body=MOST))
    return servers.wsgi(app)


def flask_middleware() -> AbstractContextManager[int]:
    app = _flask()
    return servers.wsgi(wsgi.middleware(app.wsgi_app, queue_at(), max_body=MOST))


def flask_view() -> AbstractContextManager[int]:
    app = _flask()
    work = queue_at(is_async=True)

    @app.route(ROUTE, methods=METHODS, provide_automatic_options=False)
    def view() -> flask.Response:
        answer = lq_flask.respond(work, max_body=MOST)
        if answer.status_code == 200:
            read_after.put(flask.request.get_data())
        return answer

    return servers.wsgi(app)


def flask_read_before() -> AbstractContextManager[int]:
    """In an application that reads every body before its views, as one that logs would."""
    app = _flask()
    app.register_blueprint(lq_flask.blueprint(queue_at(), max_body=MOST))
    app.before_request(_read_early)
    app.after_request(_read_late)
    return servers.wsgi(app)


def wsgi_read_after() -> AbstractContextManager[int]:
    """Below a WSGI middleware that looks at the body once all is done."""
    handlers = wsgi.Handlers(queue_at(), max_body=MOST)

    def around(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        answer = handlers(environ, start_response)
        length: str = environ.get("CONTENT_LENGTH") or "0"
        if len(length) < 9 and length.isdigit():
            read_after.put(environ["wsgi.input"].read(int(length)))
        return answer

    return servers.wsgi(around)


def django_wsgi() -> AbstractContextManager[int]:
    return servers.wsgi(get_wsgi_application())


def django_plain() -> AbstractContextManager[int]:
    """As `manage.py runserver` does, whose server this is."""
    return servers.plain_wsgi(get_wsgi_application())


def aiohttp_routes() -> AbstractContextManager[int]:
    app = web.Application(client_max_size=MOST)
    app.add_routes([*lq_aiohttp.routes(queue_at()), web.post("/echo", _aiohttp_echo)])
    return servers.aiohttp(app)


def aiohttp_view() -> AbstractContextManager[int]:
    work = queue_at(is_async=True)

    async def view(request: web.Request) -> web.Response:
        answer = await lq_aiohttp.respond(work, request)
        if answer.status == 200:
            read_after.put(await request.read())
        return answer

    app = web.Application(client_max_size=MOST)
    app.add_routes([web.route("*", ROUTE, view), web.post("/echo", _aiohttp_echo)])
    return servers.aiohttp(app)


def aiohttp_read_before() -> AbstractContextManager[int]:
    """Below a middleware that reads every body, as one that logs would."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read()
        answer = await handler(request)
        if answer.status == 200:
            read_after.put(body)
        return answer

    app = web.Application(client_max_size=MOST, middlewares=[read])
    app.add_routes([*lq_aiohttp.routes(queue_at()), web.post("/echo", _aiohttp_echo)])
    return servers.aiohttp(app)


METHODS = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"]

SHAPES: Mapping[str, Shape] = {
    "ASGI alone": Shape(asgi_alone, echoes=False),
    "Starlette, mounted": Shape(starlette_mount),
    "Starlette, as a route": Shape(starlette_route),
    "Starlette, around it": Shape(starlette_middleware),
    "Starlette, in a view": Shape(starlette_view, reads=True),
    "Starlette, read before": Shape(starlette_read_before, reads=True),
    "FastAPI, mounted": Shape(fastapi_mount),
    "FastAPI, around it": Shape(fastapi_middleware),
    "FastAPI, in a view": Shape(fastapi_view, reads=True),
    "Django over ASGI": Shape(django_asgi, project.URLS),
    "Django over ASGI, async": Shape(django_asgi, project.AURLS),
    "Django over ASGI, in a view": Shape(django_asgi, project.VIEW, reads=True),
    "Django over ASGI, in an async view": Shape(django_asgi, project.AVIEW, reads=True),
    "Django over ASGI, around it": Shape(around_django_asgi),
    "WSGI alone": Shape(wsgi_alone, echoes=False),
    "WSGI, the standard library's": Shape(wsgi_plain, echoes=False, chunked=False),
    "Flask": Shape(flask_blueprint),
    "Flask, around it": Shape(flask_middleware),
    "Flask, in a view": Shape(flask_view, reads=True),
    "Flask, read before": Shape(flask_read_before, reads=True),
    "WSGI, read after": Shape(wsgi_read_after, reads=True, echoes=False),
    "Django over WSGI": Shape(django_wsgi, project.URLS, chunked=False),
    "Django over WSGI, the standard library's": Shape(django_plain, project.URLS, chunked=False),
    "Django over WSGI, async": Shape(django_wsgi, project.AURLS, chunked=False),
    "Django over WSGI, in a view": Shape(django_wsgi, project.VIEW, reads=True, chunked=False),
    "aiohttp": Shape(aiohttp_routes),
    "aiohttp, read before": Shape(aiohttp_read_before, reads=True),
    "aiohttp, in a view": Shape(aiohttp_view, reads=True),
}


def _starlette_echo() -> list[routing.BaseRoute]:
    async def echo(request: requests.Request) -> responses.Response:
        return responses.Response(await request.body())

    return [routing.Route("/echo", echo, methods=["POST"])]


def _fastapi() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.post("/echo")
    async def echo(request: fastapi.Request) -> fastapi.Response:
        return fastapi.Response(await request.body())

    return app


def _flask() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.post("/echo")
    def echo() -> bytes:
        return flask.request.get_data()

    return app


def _read_early() -> None:
    flask.g.body = flask.request.get_data()


def _read_late(answer: flask.Response) -> flask.Response:
    if answer.status_code == 200:
        read_after.put(flask.g.body)
    return answer


async def _aiohttp_echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())
