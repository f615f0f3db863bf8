"""Endpoints: what is known of each, and a check by hand."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import TargetNotAllowed, Unavailable
from lq.model import Scope
from lq.wire import describe


async def listing(call: Call) -> Reply:
    wanted = wire.decode_endpoint_filter(call.query)
    if wanted.queue is not None:
        call.require(Scope.READ, queue=wanted.queue)
    found = await call.engine.survey.all(call.principal.queues, wanted.queue)
    return Reply(wire.encode_endpoints(found, wanted.limit))


async def check(call: Call) -> Reply:
    wire.refuse_query(call.query)
    wanted = wire.decode_endpoint_check(await call.document())
    return Reply(wire.encode_endpoint(await call.engine.survey.check(wanted.url, wanted.queue)))


_LISTING = Operation(
    "List endpoints, what is known of each, and what holds it",
    {200: "Endpoints"},
    (Unavailable,),
    query=describe.ENDPOINTS,
)
_CHECK = Operation(
    "Ask an endpoint now whether it knows the secret, and forget what has held it",
    {200: "Endpoint"},
    (TargetNotAllowed, Unavailable),
    document=describe.ENDPOINT,
)

ROUTES = (
    Route("GET", "/api/v1/endpoints/?", listing, (Scope.READ,), _LISTING),
    Route("POST", "/api/v1/endpoints/check", check, (Scope.ADMIN,), _CHECK),
)
