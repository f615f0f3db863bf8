"""The HTTP API: authenticate, route, authorise, call one handler, answer.

Owns: the order of those steps, the error answers, and the log of what admins do. Never decides
anything about jobs.
Invariant: every request gets one JSON document and an `x-request-id`, never a redirect; a bug
shows nothing of the inside but that id.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import unquote_to_bytes

from aiohttp import HttpVersion10, HttpVersion11, web
from msgspec.structs import replace

from lq import wire
from lq.clock import Clock
from lq.config import Limits, Network
from lq.daemon.api import (
    activity,
    alerts,
    attention,
    backup,
    batch,
    callbacks,
    checkup,
    draining,
    endpoints,
    events,
    items,
    listeners,
    many,
    metrics,
    openapi,
    panel,
    queues,
    schedules,
    scriptlets,
    settings,
    system,
    tokens,
)
from lq.daemon.api.call import Asked, Call, Inside, Reply
from lq.daemon.api.limits import Connections, Refusals, Verdict
from lq.daemon.api.peer import Proxies, group
from lq.daemon.api.router import Route, Router, parted
from lq.daemon.api.server import MAX_LINE, Answer, Connection, Printer, Server
from lq.daemon.engine import Engine
from lq.daemon.waiting import PATH
from lq.errors import (
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    RequestError,
    RequestTimeout,
    StartError,
    Unauthorized,
    Unavailable,
    ValidationError,
)
from lq.model import ById, Principal, ScheduleKey, Scope

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset(
    {"/healthz", "/readyz", *(openapi.template(route.pattern)[0] for route in callbacks.ROUTES)}
)
"""What is answered without a token of the API."""

ROUTES: Final = openapi.describing(
    (
        *(*batch.ROUTES, *items.ROUTES, *many.ROUTES, *schedules.ROUTES, *queues.ROUTES),
        *(*callbacks.ROUTES, *scriptlets.ROUTES, *alerts.ROUTES),
        *listeners.ROUTES,
        *(*tokens.ROUTES, *system.ROUTES, *draining.ROUTES, *checkup.ROUTES, *events.ROUTES),
        *(
            *activity.ROUTES,
            *metrics.ROUTES,
            *endpoints.ROUTES,
            *settings.ROUTES,
            *attention.ROUTES,
        ),
        *backup.ROUTES,
        *panel.ROUTES,
    ),
    OPEN_PATHS,
)

_OWNER: Final = Principal("socket", frozenset({Scope.ADMIN}))
_NOBODY: Final = Principal("nobody", frozenset())
_BEARER: Final = re.compile(r"Bearer:?[ \t]+(\S+)", re.IGNORECASE)  # the SDK sends the colon
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_ADMIN: Final = (Scope.ADMIN,)
_CALLBACKS: Final = f"{PATH}/"
_DEFAULTS: Final = Limits()


class Visitor(NamedTuple):
    """Somebody who asks for a page. Shape: `address` is theirs, `target` a path and its query."""

    request: web.BaseRequest
    target: str
    address: str
    request_id: str


class Pages(Protocol):
    """What is served beside the API, over TCP."""

    def serve(self, request: web.BaseRequest, target: str) -> bool:
        """Whether this is a request for a page, and not for the API."""

    async def answer(self, visitor: Visitor) -> Reply:
        """The page, or the one that tells what is wrong with the request."""

    def refuse(self, error: RequestError, visitor: Visitor) -> Reply:
        """The page of an error that comes from inside lq."""


class Api:
    """The API of one engine, served on any number of sockets."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        data_dir: str | None = None,
        limits: Limits = _DEFAULTS,
        trusted_proxy: Sequence[Network] = (),
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._data_dir = data_dir
        self._header_timeout_s = limits.header_timeout_ms / 1000
        self._body_timeout_s = limits.body_timeout_ms / 1000
        self._proxies = Proxies(trusted_proxy)
        self._slots = Connections(limits, self._counted_as)
        self._refusals = Refusals(limits)
        self._router = Router(ROUTES)
        self._printer = Printer(self._body_timeout_s)
        self._under_way: set[bytes] = set()
        self.pages: Pages | None = None
        self._boot = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def server(self, *, trusted: bool) -> Server:
        """What a socket is served by. Peers of a `trusted` one (the unix socket) are admin."""
        return Server(
            partial(self._handle, trusted=trusted),
            partial(self._refuse, trusted=trusted),
            header_timeout_s=self._header_timeout_s,
            slots=None if trusted else self._slots,
            bar=self._bar,
            turn_away=self._turn_away,
        )

    async def _handle(self, request: web.BaseRequest, *, trusted: bool) -> Answer:
        if not _understood(request):
            return self._refuse(request, trusted=trusted)
        request_id = self._next_id()
        known, visitor = trusted, None
        try:
            target = _normalised(request.raw_path)
            if self.pages is not None and not trusted and self.pages.serve(request, target):
                visitor = Visitor(request, target, self._client(request), request_id)
                reply = await self.pages.answer(visitor)
                return self._printer.answer(request, reply, request_id, self._clock.now())
            principal = self._who(request, target, trusted=trusted)
            known = principal is not _NOBODY
            reply = await self._reply(request, target, principal, request_id)
        except RequestError as error:
            reply = self._refusal(request, error, request_id, known=known)
        except StartError as error:  # the store is lost, and the daemon about to say so and end
            lost = Unavailable(error.message, hint=error.hint)
            reply = self._sorry(request, lost, request_id, visitor)
        except Exception:  # a bug must not take the daemon down, nor show itself outside
            path = request.raw_path.partition("?")[0]
            log.exception("request %s failed: %s %r", request_id, request.method, _loggable(path))
            bug = RequestError(
                "something went wrong inside lq",
                hint=f"the daemon's log tells more about request {request_id}",
            )
            reply = self._sorry(request, bug, request_id, visitor)
        return self._printer.answer(request, reply, request_id, self._clock.now())

    def _sorry(
        self,
        request: web.BaseRequest,
        error: RequestError,
        request_id: str,
        visitor: Visitor | None,
    ) -> Reply:
        """The answer when lq itself has failed: a page for whoever asked for one."""
        if visitor is not None and self.pages is not None:
            return self.pages.refuse(error, visitor)
        return _error(request, error, request_id)

    def _refuse(self, request: web.BaseRequest, *, trusted: bool) -> Answer:
        """The answer to what is not HTTP."""
        request_id = self._next_id()
        error = ValidationError.of(
            "request",
            f"expected HTTP/1.1 with lines of at most {MAX_LINE} bytes, an ASCII path, one Host,"
            " one framing and no control characters",
            "malformed",
        )
        reply = self._refusal(request, error, request_id, known=trusted)
        closing = replace(reply, close=True)
        return self._printer.answer(request, closing, request_id, self._clock.now())

    def _turn_away(self) -> bytes:
        """What one connection too many is told."""
        return self._farewell(
            Unavailable(
                "there are too many connections",
                hint="use one for many requests; [limits] in lq.toml says how many there may be",
            )
        )

    def _bar(self, peer: str) -> bytes | None:
        """What an address is told that may not come in the clear; None when it may."""
        if self._proxies.may_come_in_the_clear(peer):
            return None
        return self._farewell(
            Forbidden(
                "lq speaks plain http here, with its own machine and its proxies alone",
                hint="ask the proxy in front of it, by https; trusted_proxy in lq.toml lists those",
            )
        )

    def _farewell(self, error: RequestError) -> bytes:
        request_id = self._next_id()
        reply = Reply(wire.encode_error(error, request_id), error.status, _headers(error))
        return self._printer.farewell(reply, request_id, self._clock.now())

    def _counted_as(self, peer: str) -> str | None:
        """Whose connection it is; a proxy's are those of many."""
        return None if self._proxies.include(peer) else group(peer)

    def _refusal(
        self, request: web.BaseRequest, error: RequestError, request_id: str, *, known: bool
    ) -> Reply:
        """The answer to a request that is refused; another one to strangers, if that is often.

        Who is `known` gets to see what is wrong, and counts for nobody: the address may be shared.
        """
        if known:
            return _error(request, error, request_id)
        guessed = isinstance(error, Unauthorized) and "Authorization" in request.headers
        verdict = self.judge(self._client(request), error, guessed=guessed)
        return replace(_error(request, verdict.error, request_id), hold=verdict.hold)

    def judge(self, address: str, error: RequestError, *, guessed: bool = False) -> Verdict:
        """Count what a stranger is refused, here or by a page, and say what they are told."""
        of = group(address)
        verdict = self._refusals.judge(of, error, self._clock.monotonic(), guessed=guessed)
        if verdict.is_first:
            log.warning("%s: %s; it gets 429 for a minute", of, verdict.error.message)
        return verdict

    def _client(self, request: web.BaseRequest) -> str:
        """The address of who asks, over TCP."""
        peer = cast(Connection, request.protocol).peer
        return self._proxies.client(peer, request.headers)

    def _who(self, request: web.BaseRequest, target: str, *, trusted: bool) -> Principal:
        """Who asks; nobody, where no token is needed. Raises: Unauthorized."""
        if trusted:
            return _OWNER
        path = target.partition("?")[0]
        if path in OPEN_PATHS or path.startswith(_CALLBACKS):
            return _NOBODY
        return self._authenticate(request)

    async def ask(self, asked: Inside, target: str, principal: Principal) -> Reply:
        """Answer what the panel asks for whoever is logged in there, as if they asked themselves.

        Raises: RequestError.
        """
        return await self._reply(asked, target, principal, self._next_id())

    async def _reply(
        self, request: Asked, target: str, principal: Principal, request_id: str
    ) -> Reply:
        path, mark, query = parted(target)
        route, parts = self._router.match(request.method, path)
        call = Call(
            engine=self._engine,
            request=request,
            principal=principal,
            now=self._clock.now(),
            clock=self._clock,
            data_dir=self._data_dir,
            body_timeout_s=self._body_timeout_s,
            under_way=self._under_way,
            request_id=request_id,
            query=query,
        )
        await self._authorise(call, route, parts, mark + query)
        reply = await route.handler(call)
        level = logging.INFO if route.scopes == _ADMIN else logging.DEBUG
        if log.isEnabledFor(level):
            self._note(level, call, path, reply.status, request_id)
        return reply

    def _note(self, level: int, call: Call, path: str, status: int, request_id: str) -> None:
        """Write into the log who did what: each thing that is for admins only, at info."""
        if isinstance(call.request, Inside):
            who = f"{call.principal.name!r} at {call.request.address}, by the panel"
        elif call.principal is _OWNER:
            who = f"the owner of the socket ({cast(Connection, call.over_the_wire.protocol).peer})"
        else:
            who = f"{call.principal.name!r} at {self._client(call.over_the_wire)}"
        shown = _loggable(path)
        log.log(
            level, "%s: %s %r: %d (%s)", who, call.request.method, shown, status, request_id,
            extra={"request": request_id, "status": status},
        )  # fmt: skip

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
        elif route.scopes and not (route.limited and call.has(*route.scopes)):
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
        elif "token" in parts:
            call.token = parts["token"]
        elif "name" in parts:
            call.name = _found(parts["name"])

    def _next_id(self) -> str:
        return f"{self._boot}-{next(self._numbers)}"


def _understood(request: web.BaseRequest) -> bool:
    """Whether it is HTTP that we speak; aiohttp's parser lets pass more than that.

    A body that is compressed on its way (`gzip, chunked`) would be kept as it came, and one
    whose end HTTP/1.0 does not know could hide a second request from a proxy.
    """
    coding = request.headers.get("Transfer-Encoding")
    if request.version == HttpVersion11:
        return coding is None or coding.strip().lower() == "chunked"
    return request.version == HttpVersion10 and coding is None


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


def _loggable(path: str) -> str:
    """A path without the token that it may hold."""
    return f"{_CALLBACKS}..." if _CALLBACKS in path else path


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
    problem = "application/problem+json" in request.headers.get("Accept", "").lower()
    return Reply(
        wire.encode_error(error, request_id),
        error.status,
        _headers(error),
        content_type="application/problem+json" if problem else "application/json",
        close=isinstance(error, PayloadTooLarge | RequestTimeout),
    )


def _headers(error: RequestError) -> tuple[tuple[str, str], ...]:
    if isinstance(error, Unauthorized):
        return (("WWW-Authenticate", "Bearer"),)
    if isinstance(error, MethodNotAllowed):
        return (("Allow", ", ".join(error.allowed)),)
    if isinstance(error, Unavailable | RateLimited):
        return (("Retry-After", str(error.retry_after_s)),)
    return ()
