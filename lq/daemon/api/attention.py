"""What needs a person now."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.model import Scope


async def look(call: Call) -> Reply:
    wire.refuse_query(call.query)
    queues = await call.engine.queues.all()
    return Reply(
        wire.encode_attention(await call.engine.attention.look(queues, call.principal.queues))
    )


_LOOK = Operation("Tell what needs a person now, the worst first", {200: "Attention"})

ROUTES = (Route("GET", "/api/v1/attention/?", look, (Scope.READ,), _LOOK),)
