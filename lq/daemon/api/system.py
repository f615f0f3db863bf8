"""The daemon itself: whether it is well, which one it is, its secret, its configuration."""

from __future__ import annotations

import os

from lq import __version__, wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict
from lq.model import Scope
from lq.wire import describe


async def live(call: Call) -> Reply:
    health = call.engine.health()
    return _health(health.live, health.reasons)


async def ready(call: Call) -> Reply:
    health = call.engine.health()
    return _health(health.ready, health.reasons)


async def info(call: Call) -> Reply:
    admin = call.may(Scope.ADMIN)
    return Reply(
        wire.encode_info(
            __version__,
            call.now,
            pid=os.getpid() if admin else None,
            data_dir=call.data_dir if admin else None,
        )
    )


async def secret(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return _secrets(call)


async def rotate(call: Call) -> Reply:
    call.engine.ring.rotate(wire.decode_overlap(call.query))
    return _secrets(call)


async def revoke_old(call: Call) -> Reply:
    wire.refuse_query(call.query)
    call.engine.ring.revoke_old()
    return _secrets(call)


def _secrets(call: Call) -> Reply:
    return Reply(wire.encode_secrets(call.engine.ring.secrets()), headers=(NOT_STORED,))


async def reload(call: Call) -> Reply:
    return Reply(wire.encode_reload(await call.engine.reload(dry=wire.decode_dry(call.query))))


def _health(well: bool, reasons: tuple[str, ...]) -> Reply:
    if well:
        return Reply(wire.encode_health(()))
    return Reply(wire.encode_health(reasons or ("stopping",)), 503, (("Retry-After", "1"),))


_LIVE = Operation("Tell whether the daemon works", {200: "Health", 503: "Health"})
_READY = Operation("Tell whether it can take items now", {200: "Health", 503: "Health"})
_INFO = Operation("Tell which daemon this is", {200: "Info"})
_SECRET = Operation("Show the signing secrets that are valid", {200: "Secrets"})
_ROTATE = Operation(
    "Sign with a new secret from now on; the present one stays valid for a while",
    {200: "Secrets"},
    (Conflict,),
    query=describe.ROTATION,
)
_REVOKE_OLD = Operation("Let all secrets but the newest retire now", {200: "Secrets"})
_RELOAD = Operation("Apply lq.toml as it is now", {200: "Reload"}, (Conflict,), query=describe.DRY)

ROUTES = (
    Route("GET", "/healthz", live, (), _LIVE),
    Route("GET", "/readyz", ready, (), _READY),
    Route("GET", "/api/v1/info", info, (), _INFO),
    Route("GET", "/api/v1/secret", secret, (Scope.ADMIN,), _SECRET),
    Route("POST", "/api/v1/secret/rotate", rotate, (Scope.ADMIN,), _ROTATE),
    Route("POST", "/api/v1/secret/revoke-old", revoke_old, (Scope.ADMIN,), _REVOKE_OLD),
    Route("POST", "/api/v1/reload/?", reload, (Scope.ADMIN,), _RELOAD),
)
