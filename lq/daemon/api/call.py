"""One request on its way through the API, and what is answered to it.

Owns: what a handler may know of a request, and the questions about who asks.
Invariant: a handler is given a Call only when its principal may do what the route is for,
in the queue that the path names; `app` sees to that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, Protocol, cast

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace
from multidict import CIMultiDictProxy

from lq.clock import Clock
from lq.daemon.api.body import read_body, read_parts, within
from lq.daemon.auth import allows
from lq.daemon.engine import Engine
from lq.errors import Forbidden, NotFound
from lq.model import ById, ByKey, Principal, Ref, ScheduleKey, ScheduleRef, Scope
from lq.scriptlets import name_of

MAX_DOCUMENT: Final = 65_536
"""Bytes of JSON that an admin request may bring."""

NOT_STORED: Final = ("Cache-Control", "no-store")


Send = Callable[[bytes], Awaitable[None]]
"""Sends a part of an answer; returns once it has left the process, within a time."""


class Reply(Struct, frozen=True):
    """What a handler answers: JSON, ready to send.

    Shape: `close` ends the connection after it; `hold` lets whoever asked wait for it. What has a
    `stream` goes on for as long as that does, and then ends with the connection.
    """

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    close: bool = False
    hold: bool = False
    stream: Callable[[Send], Awaitable[None]] | None = None


class Asked(Protocol):
    """What a handler may look at of a request; its body it reads by its Call."""

    @property
    def method(self) -> str: ...
    @property
    def headers(self) -> CIMultiDictProxy[str]: ...
    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]: ...


class Inside(Struct, frozen=True):
    """A request that came over no connection of its own: the panel asks for whoever is logged in.

    Shape: `address` is theirs; `lives` tells whether they are logged in still.
    """

    method: str
    headers: CIMultiDictProxy[str]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    address: str
    lives: Callable[[], bool]


class Call(Struct, kw_only=True):
    """One request.

    Shape: of the members from `queue` on, those that its path names are set. `under_way` are the
    idempotency keys of requests that have not been answered, this one's among them.
    """

    engine: Engine
    request: Asked
    principal: Principal
    now: int
    clock: Clock
    data_dir: str | None
    body_timeout_s: float
    under_way: set[bytes]
    request_id: str = ""
    query: str = ""
    queue: str = ""
    key: str = ""
    id: str = ""
    name: str = ""
    token: str = ""
    schedule: ScheduleRef = ScheduleKey("")

    @property
    def ref(self) -> Ref:
        """The item that the path names."""
        return ById(self.id) if self.id else ByKey(self.queue, self.key)

    @property
    def welcome(self) -> bool:
        """Whether who asks would be let in still."""
        if isinstance(self.request, Inside) and not self.request.lives():
            return False
        return self.engine.still_knows(self.principal)

    def may(self, *scopes: Scope, queue: str | None = None) -> bool:
        """Whether any of these scopes reaches a queue, or what belongs to none."""
        return any(allows(self.principal, scope, queue) for scope in scopes)

    def has(self, *scopes: Scope) -> bool:
        """Whether any of these scopes is the token's, in whatever queues."""
        return any(allows(replace(self.principal, queues=()), scope, None) for scope in scopes)

    def require(self, *scopes: Scope, queue: str | None = None) -> None:
        """Refuse what the token may not do, in the same words whether the queue exists or not.

        Raises: Forbidden.
        """
        if self.may(*scopes, queue=queue):
            return
        name = self.principal.name
        unlimited = replace(self.principal, queues=())
        if any(allows(unlimited, scope, queue) for scope in scopes):
            place = "this belongs to none" if queue is None else "this is none of them"
            raise Forbidden(
                f"the token {name} is limited to its queues, and {place}",
                hint="make one for it with `lq tokens create`, or one without --queue for all",
            )
        raise Forbidden(
            f"the token {name} lacks the scope {' or '.join(scopes)}",
            hint="make one that has it with `lq tokens create NAME --scope SCOPE`",
        )

    def require_push(self, queue: str) -> None:
        """Refuse who may not push to a queue. Raises: Forbidden."""
        self.require(Scope.PUSH, queue=queue)

    def require_trust(self, queue: str) -> None:
        """Leave it to admins to have endpoints called that do not prove themselves.

        Raises: Forbidden.
        """
        if not self.may(Scope.ADMIN, queue=queue):
            raise Forbidden(
                "x-lq-validate: none needs the scope admin",
                hint="let the endpoint answer HEAD with a signature, or set validate in lq.toml",
            )

    def require_scriptlet(self, target: str | None, queue: str) -> None:
        """Leave it to admins to name a scriptlet that is not open to whoever may push.

        A queue or a schedule of lq.toml may have it as its target all the same. Raises: Forbidden.
        """
        name = None if target is None else name_of(target)
        if name is None or self.may(Scope.ADMIN, queue=queue):
            return
        scriptlet = self.engine.scriptlets.find(name)
        if scriptlet is None or scriptlet.push != "push":
            raise Forbidden(
                "a scriptlet as a target needs the scope admin",
                hint='lq.toml can open it with push = "push", or make it the target of a queue',
            )

    async def require_item(self, *scopes: Scope) -> None:
        """Hide the items of queues that the token does not reach: they are not found.

        Raises: NotFound, in the same words for an id that does not exist.
        """
        if not self.principal.queues:
            return
        hidden = NotFound("there is no such item")
        try:
            job = await self.engine.get(self.ref)
        except NotFound:
            raise hidden from None
        if not self.may(*scopes, queue=job.queue):
            raise hidden

    async def require_schedule(self, *scopes: Scope) -> None:
        """Hide the schedules of queues that the token does not reach: they are not found.

        Raises: NotFound, in the same words for one that does not exist.
        """
        if not self.principal.queues:
            return
        hidden = NotFound("there is no such schedule")
        try:
            schedule = await self.engine.schedules.get(self.schedule)
        except NotFound:
            raise hidden from None
        if not self.may(*scopes, queue=schedule.spec.push.queue):
            raise hidden

    async def payload(self) -> bytes:
        """The body, opaque bytes. Raises: PayloadTooLarge, RequestTimeout, ValidationError."""
        hint = "keep what is large elsewhere and push where it is (max_payload sets the limit)"
        return await self._body(self.engine.max_payload, hint)

    async def batch(self) -> bytes:
        """A batch that is held in memory whole. Raises: as `payload`."""
        hint = "push in smaller batches, or a stream of lines (max_batch sets the limit)"
        return await self._body(self.engine.max_batch, hint)

    def parts(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises: RequestTimeout, ValidationError."""
        return read_parts(self.over_the_wire, self.body_timeout_s)

    async def document(self) -> bytes:
        """The JSON body of an admin request. Raises: as `payload`."""
        hint = "this limit is fixed; payloads belong into a push"
        return await self._body(MAX_DOCUMENT, hint)

    @property
    def over_the_wire(self) -> web.BaseRequest:
        """The request with its connection; what the panel asks has none."""
        return cast(web.BaseRequest, self.request)

    async def _body(self, limit: int, hint: str) -> bytes:
        if isinstance(self.request, Inside):
            return within(self.request.body, limit, hint)
        return await read_body(self.over_the_wire, limit, self.body_timeout_s, hint)
