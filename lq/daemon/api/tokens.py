"""API tokens: making, listing, revoking. The token itself is in one answer, once."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Route
from lq.model import Scope

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


ROUTES = (
    Route("GET", "/api/v1/tokens/?", listing, _ADMIN),
    Route("POST", "/api/v1/tokens/?", create, _ADMIN),
    Route("DELETE", "/api/v1/tokens/(?P<name>.+)", revoke, _ADMIN),
)
