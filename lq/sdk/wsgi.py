"""Calls of lq over WSGI: an application of its own, or around another.

Owns: what WSGI says about a request, as a Request, and a Response as WSGI wants it. Imports no
framework. Never touches what is not for an endpoint.

Invariant: an endpoint sees a whole body, or none at all; never one read past its end, where a
server without a `wsgi.input_terminated` would wait for ever.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import IO, Any

from lq.sdk.adapter import (
    MAX_BODY,
    body_after,
    endless,
    find,
    framed,
    not_found,
    refuses,
    too_large,
)
from lq.sdk.http import Endpoint, Mount, Request, Response, text

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_CHUNK = 1 << 16
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_OF_THE_BODY = ("CONTENT_TYPE", "CONTENT_LENGTH")


class Handlers:
    """A WSGI application that answers the calls of its endpoints, and `app` everything else."""

    def __init__(
        self, *endpoints: Endpoint, app: App | None = None, max_body: int = MAX_BODY
    ) -> None:
        """Units: `max_body` is in bytes."""
        self._mount = Mount(*endpoints)
        self._app = app or _nothing
        self._max_body = max_body

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path, root = _path(environ, "PATH_INFO"), _path(environ, "SCRIPT_NAME")
        endpoint = find(self._mount, path, root)
        if endpoint is None:
            return self._app(environ, start_response)
        return _send(environ, start_response, _answer(endpoint, environ, self._max_body))


def middleware(app: App, *endpoints: Endpoint, max_body: int = MAX_BODY) -> Handlers:
    """Put handlers around an application.

    Shape: `app.wsgi_app = middleware(app.wsgi_app, welcome)` for Flask.
    """
    return Handlers(*endpoints, app=app, max_body=max_body)


def guesses_type(environ: Environ) -> bool:
    """Whether a Content-Type is wsgiref's own, which names one for each request that has none."""
    server: str = environ.get("SERVER_SOFTWARE", "")
    return server.startswith("WSGIServer/") and environ.get("CONTENT_TYPE") == "text/plain"


def _answer(endpoint: Endpoint, environ: Environ, max_body: int) -> Response:
    length = environ.get("CONTENT_LENGTH") or None
    if (refused := refuses(length, max_body)) is not None:
        return refused
    body = _body(environ, length, max_body)
    if isinstance(body, Response):
        return body
    # Whatever stands around this application and looks at the body later finds it again.
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    headers = tuple(_headers(environ))
    return endpoint.respond_sync(Request(environ["REQUEST_METHOD"], endpoint.path, headers, body))


def _body(environ: Environ, length: str | None, max_body: int) -> bytes | Response:
    stream: IO[bytes] = environ["wsgi.input"]
    if length is not None:
        body = _read(stream, int(length))
        if len(body) < int(length):
            return text(400, "the body is shorter than its Content-Length")
        return body
    if environ.get("wsgi.input_terminated"):
        body = _read(stream, max_body + 1)
        return too_large(max_body) if len(body) > max_body else body
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return endless()
    return b""


def _read(stream: IO[bytes], size: int) -> bytes:
    """So many bytes, or all that come."""
    body = bytearray()
    while len(body) < size and (chunk := stream.read(min(_CHUNK, size - len(body)))):
        body += chunk
    return bytes(body)


def _headers(environ: Environ) -> Iterator[tuple[str, str]]:
    for name in _OF_THE_BODY:
        if environ.get(name) and not (name == "CONTENT_TYPE" and guesses_type(environ)):
            yield name.replace("_", "-").lower(), environ[name]
    for name, value in environ.items():
        # Some servers name the two above a second time.
        if name.startswith("HTTP_") and name[5:] not in _OF_THE_BODY:
            yield name[5:].replace("_", "-").lower(), value


def _path(environ: Environ, name: str) -> str:
    """A path as people write it: WSGI hands over its bytes as Latin-1."""
    path: str = environ.get(name, "")
    return path.encode("latin-1").decode("utf-8", "replace")


def _send(environ: Environ, start_response: StartResponse, response: Response) -> Iterable[bytes]:
    phrase = _PHRASES.get(response.status, "Other")
    start_response(f"{response.status} {phrase}", list(framed(response)))
    return [body_after(environ["REQUEST_METHOD"], response)]


def _nothing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What is around handlers that stand alone."""
    return _send(environ, start_response, not_found())
