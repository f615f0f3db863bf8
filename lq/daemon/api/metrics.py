"""The metrics, for Prometheus."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import Forbidden
from lq.exposition import CONTENT_TYPE
from lq.model import Scope


async def metrics(call: Call) -> Reply:
    wire.refuse_query(call.query)
    if call.principal.queues:
        raise Forbidden(
            "this token is limited to some queues, and metrics are about all of lq",
            hint="make one of scope read without --queue for whatever scrapes them",
        )
    text = await call.engine.scraper.scrape(await call.engine.queues.all())
    return Reply(text, content_type=CONTENT_TYPE)


_METRICS = Operation("Tell Prometheus how lq is", {200: ""}, (Forbidden,), text=CONTENT_TYPE)

ROUTES = (Route("GET", "/metrics/?", metrics, (Scope.READ,), _METRICS),)
