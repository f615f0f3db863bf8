"""Calls of lq in a Flask application: a blueprint, or a view of one's own.

Owns: Flask's request as a Request, and a Response as Flask's. A handler runs inside the
application's context, so that `current_app` and extensions work in it.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import unquote

import flask

from lq.sdk.adapter import MAX_BODY, framed, refuses, too_large
from lq.sdk.http import METHODS, Endpoint, Request, Response


def blueprint(*endpoints: Endpoint, name: str = "lq", max_body: int = MAX_BODY) -> flask.Blueprint:
    """A route for each endpoint, for `app.register_blueprint(blueprint(welcome))`."""
    routes = flask.Blueprint(name, __name__)
    for number, endpoint in enumerate(endpoints):

        def view(endpoint: Endpoint = endpoint) -> flask.Response:
            return respond(endpoint, max_body=max_body)

        routes.add_url_rule(
            unquote(endpoint.path),
            f"handler-{number}",
            view,
            methods=METHODS,
            provide_automatic_options=False,
        )
    return routes


def respond(endpoint: Endpoint, *, max_body: int = MAX_BODY) -> flask.Response:
    """Answer a call inside a view; `request.get_data()` gives its body afterwards, too.

    Units: `max_body` is in bytes.
    """
    response = _answer(endpoint, flask.request, max_body)
    answer = flask.Response(response.body, response.status)
    answer.headers.clear()  # Flask guesses a type
    answer.headers.extend(framed(response))
    return answer


def _answer(endpoint: Endpoint, request: flask.Request, max_body: int) -> Response:
    length = request.headers.get("Content-Length")
    if (refused := refuses(length, max_body)) is not None:
        return refused
    if length is None:
        with suppress(AttributeError):  # before 3.1 Flask cannot be told where to stop
            request.max_content_length = max_body + 1
    body = request.get_data()
    if len(body) > max_body:
        return too_large(max_body)
    headers = tuple(request.headers.items())
    return endpoint.respond_sync(Request(request.method, endpoint.path, headers, body))
