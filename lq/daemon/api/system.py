"""The daemon itself: whether it is well, which one it is, its secret, its configuration."""

from __future__ import annotations

import os

from lq import __version__, wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Route
from lq.model import Scope
from lq.signature import webhook_secret


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
    text = call.engine.secret()
    return Reply(wire.encode_secret(text, webhook_secret(text)), headers=(NOT_STORED,))


async def reload(call: Call) -> Reply:
    return Reply(wire.encode_reload(await call.engine.reload(dry=wire.decode_dry(call.query))))


def _health(well: bool, reasons: tuple[str, ...]) -> Reply:
    if well:
        return Reply(wire.encode_health(()))
    return Reply(wire.encode_health(reasons or ("stopping",)), 503, (("Retry-After", "1"),))


ROUTES = (
    Route("GET", "/healthz", live),
    Route("GET", "/readyz", ready),
    Route("GET", "/api/v1/info", info),
    Route("GET", "/api/v1/secret", secret, (Scope.ADMIN,)),
    Route("POST", "/api/v1/reload/?", reload, (Scope.ADMIN,)),
)
