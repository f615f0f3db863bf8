"""The HTTP API: authenticate, route, authorise, call one handler, answer.

Owns: the order of those steps, and the error answers. Never decides anything about jobs.
Invariant: every request gets one JSON document and an `x-request-id`, never a redirect; a bug
shows nothing of the inside but that id.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from lq import wire
from lq.clock import Clock
from lq.daemon.api import items, queues, schedules, system, tokens
from lq.daemon.api.body import BODY_TIMEOUT_S
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Route, Router
from lq.daemon.api.server import MAX_LINE, Answer, Printer, Server
from lq.daemon.engine import Engine
from lq.errors import (
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestError,
    RequestTimeout,
    StartError,
    Unauthorized,
    Unavailable,
    ValidationError,
)
from lq.model import ById, Principal, ScheduleKey, Scope

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What is answered without a token."""

_OWNER: Final = Principal("socket", frozenset({Scope.ADMIN}))
_NOBODY: Final = Principal("nobody", frozenset())
_BEARER: Final = re.compile(r"Bearer:?[ \t]+(\S+)", re.IGNORECASE)  # the SDK sends the colon
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


class Api:
    """The API of one engine, served on any number of sockets."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        data_dir: str | None = None,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._data_dir = data_dir
        self._body_timeout_s = body_timeout_s
        self._router = Router(
            (
                *items.ROUTES,
                *schedules.ROUTES,
                *queues.ROUTES,
                *tokens.ROUTES,
                *system.ROUTES,
            )
        )
        self._printer = Printer()
        self._boot = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def server(self, *, trusted: bool) -> web.Server:
        """What a socket is served by. Peers of a `trusted` one (the unix socket) are admin."""
        return Server(partial(self._handle, trusted=trusted), self._refuse)

    async def _handle(self, request: web.BaseRequest, *, trusted: bool) -> Answer:
        request_id = self._next_id()
        try:
            reply = await self._reply(request, trusted=trusted)
        except RequestError as error:
            reply = _error(request, error, request_id)
        except StartError as error:  # the store is lost, and the daemon about to say so and end
            reply = _error(request, Unavailable(error.message, hint=error.hint), request_id)
        except Exception:  # a bug must not take the daemon down, nor show itself outside
            path = request.raw_path.partition("?")[0]
            log.exception("request %s failed: %s %r", request_id, request.method, path)
            bug = RequestError(
                "something went wrong inside lq",
                hint=f"the daemon's log tells more about request {request_id}",
            )
            reply = _error(request, bug, request_id)
        return self._printer.answer(request, reply, request_id, self._clock.now())

    def _refuse(self, request: web.BaseRequest) -> Answer:
        """The answer to what is not HTTP."""
        request_id = self._next_id()
        error = ValidationError.of(
            "request",
            f"expected HTTP/1.1 with lines of at most {MAX_LINE} bytes, an ASCII path, one Host,"
            " one framing and no control characters",
            "malformed",
        )
        reply = _error(request, error, request_id)
        return self._printer.answer(request, reply, request_id, self._clock.now())

    async def _reply(self, request: web.BaseRequest, *, trusted: bool) -> Reply:
        target = _normalised(request.raw_path)
        path, mark, query = target.partition("?")
        if trusted:
            principal = _OWNER
        elif path in OPEN_PATHS:
            principal = _NOBODY
        else:
            principal = self._authenticate(request)
        route, parts = self._router.match(request.method, path)
        call = Call(
            engine=self._engine,
            request=request,
            principal=principal,
            now=self._clock.now(),
            data_dir=self._data_dir,
            body_timeout_s=self._body_timeout_s,
            query=query,
        )
        await self._authorise(call, route, parts, mark + query)
        return await route.handler(call)

    def _authenticate(self, request: web.BaseRequest) -> Principal:
        given = request.headers.getall("Authorization", ())
        found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        return self._engine.authenticate(found[1] if found else "")

    async def _authorise(
        self, call: Call, route: Route, parts: Mapping[str, str], rest: str
    ) -> None:
        """Read what the path names, and refuse what the principal may not reach.

        Shape: `rest` is the query as it came; after a key it belongs to the key, because the
        SDK does not encode keys.
        """
        if "queue" in parts:
            call.queue = _named("queue", parts["queue"], wire.check_queue)
            call.require(*route.scopes, queue=call.queue)
            if "key" in parts:
                call.key, call.query = _named("key", parts["key"] + rest, wire.check_key), ""
        elif route.scopes:
            call.require(*route.scopes)
        if "id" in parts:
            call.id = _found(parts["id"])
            await call.require_item(*route.scopes)
        elif "schedule" in parts:
            call.schedule = ById(_found(parts["schedule"]))
            await call.require_schedule(*route.scopes)
        elif "schedule_key" in parts:
            key = _named("key", parts["schedule_key"] + rest, wire.check_key)
            call.schedule, call.query = ScheduleKey(key), ""
            await call.require_schedule(*route.scopes)
        elif "name" in parts:
            call.name = _found(parts["name"])

    def _next_id(self) -> str:
        return f"{self._boot}-{next(self._numbers)}"


def _normalised(raw_path: str) -> str:
    """The request target as text, from its path on, without what clients put before it.

    An `apiUrl` with a trailing slash yields `//api/v1`; an absolute-form target names a host,
    which decides nothing.
    """
    if not raw_path.isascii():
        raise ValidationError.of("path", "must be percent-encoded where it is not ASCII")
    if raw_path.startswith("/") and not raw_path.startswith("//"):
        return raw_path
    return "/" + _AUTHORITY.sub("", raw_path, count=1).lstrip("/")


def _decoded(raw: str) -> str:
    """Percent-decode once; a stray % stands for itself. Raises: UnicodeDecodeError."""
    return unquote_to_bytes(raw).decode() if "%" in raw else raw


def _named(field: str, raw: str, check: Callable[[str], str]) -> str:
    try:
        return check(_decoded(raw))
    except UnicodeDecodeError:
        raise ValidationError.of(field, "is not UTF-8 once percent-decoded") from None
    except ValueError as error:
        raise ValidationError.of(field, str(error)) from None


def _found(raw: str) -> str:
    try:
        return _decoded(raw)
    except UnicodeDecodeError:
        raise NotFound("nothing has this name") from None


def _error(request: web.BaseRequest, error: RequestError, request_id: str) -> Reply:
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Unauthorized):
        headers = (("WWW-Authenticate", "Bearer"),)
    elif isinstance(error, MethodNotAllowed):
        headers = (("Allow", ", ".join(error.allowed)),)
    elif isinstance(error, Unavailable):
        headers = (("Retry-After", str(error.retry_after_s)),)
    problem = "application/problem+json" in request.headers.get("Accept", "").lower()
    return Reply(
        wire.encode_error(error, request_id),
        error.status,
        headers,
        content_type="application/problem+json" if problem else "application/json",
        close=isinstance(error, PayloadTooLarge | RequestTimeout),
    )
