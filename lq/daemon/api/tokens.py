"""API tokens: making, listing, revoking. The token itself is in one answer, once."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict, NotFound
from lq.model import Scope
from lq.wire import describe

_ADMIN = (Scope.ADMIN,)


async def create(call: Call) -> Reply:
    wanted = wire.decode_token_request(await call.document(), call.now)
    token, text = await call.engine.create_token(
        wanted.name, wanted.scopes, wanted.queues, wanted.expires_at
    )
    return Reply(wire.encode_token(token, text), 201, (NOT_STORED,))


async def listing(call: Call) -> Reply:
    return Reply(wire.encode_tokens(await call.engine.tokens()))


async def revoke(call: Call) -> Reply:
    return Reply(wire.encode_token(await call.engine.revoke_token(call.name)))


_LISTING = Operation("List tokens", {200: "Tokens"})
_CREATE = Operation(
    "Make a token; it is in this answer, and never shown again",
    {201: "Token"},
    (Conflict,),
    document=describe.TOKEN,
)
_REVOKE = Operation("Revoke a token", {200: "Token"}, (NotFound,))

ROUTES = (
    Route("GET", "/api/v1/tokens/?", listing, _ADMIN, _LISTING),
    Route("POST", "/api/v1/tokens/?", create, _ADMIN, _CREATE),
    Route("DELETE", "/api/v1/tokens/(?P<name>.+)", revoke, _ADMIN, _REVOKE),
)
