"""The settings that are in force. They are changed in lq.toml and by variables alone."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import Forbidden
from lq.model import Scope


async def listing(call: Call) -> Reply:
    wire.refuse_query(call.query)
    if call.principal.queues:
        raise Forbidden(
            "this token is limited to some queues, and settings are about all of lq",
            hint="make one of scope read without --queue to look at them",
        )
    return Reply(wire.encode_settings(call.engine.settings))


_LISTING = Operation(
    "List the settings in force, with where each comes from", {200: "Settings"}, (Forbidden,)
)

ROUTES = (Route("GET", "/api/v1/config/?", listing, (Scope.READ,), _LISTING),)
