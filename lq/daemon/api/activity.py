"""What has happened, as the charts of the last hour, day and week show it."""

from __future__ import annotations

from typing import Final

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.model import Scope
from lq.wire import describe


async def show(call: Call) -> Reply:
    wanted = wire.decode_activity(call.query)
    if wanted.queue is not None:
        call.require(Scope.READ, queue=wanted.queue)
    found = await call.engine.activities.show(
        wanted.span, queue=wanted.queue, patterns=call.principal.queues
    )
    return Reply(wire.encode_activity(found))


_SHOW: Final = Operation(
    "Show throughput, failures and lateness over the last hour, day or week",
    {200: "Activity"},
    query=describe.ACTIVITY,
)

ROUTES: Final = (Route("GET", "/api/v1/activity/?", show, (Scope.READ,), _SHOW),)
