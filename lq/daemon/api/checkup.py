"""A check-up: what a daemon can tell of itself."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.model import Scope
from lq.wire import describe


async def look(call: Call) -> Reply:
    deep = wire.decode_deep(call.query)
    return Reply(wire.encode_checkup(await call.engine.examiner.look(deep=deep)))


_LOOK = Operation(
    "Check the database, the machine and the targets; each target gets a HEAD",
    {200: "Checkup"},
    query=describe.DEEP,
)

ROUTES = (Route("GET", "/api/v1/checkup", look, (Scope.ADMIN,), _LOOK),)
