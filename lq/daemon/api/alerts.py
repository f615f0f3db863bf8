"""Alerts: what is watched and what is wrong, and a test of the way to whoever is told."""

from __future__ import annotations

from lq import wire
from lq.alerts import QUEUE
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import NotFound
from lq.model import Scope


async def listing(call: Call) -> Reply:
    call.require(Scope.READ, queue=QUEUE)  # what is wrong anywhere is said there
    return Reply(wire.encode_alerts(call.engine.alerts.statuses()))


async def test(call: Call) -> Reply:
    wire.refuse_query(call.query)
    job = await call.engine.test_alert(call.name)
    return Reply(wire.encode_item(job, call.engine.redactions), 201)


_LISTING = Operation("List the alerts of lq.toml, and what is wrong", {200: "Alerts"})
_TEST = Operation("Send a test message", {201: "Item"}, (NotFound,))

ROUTES = (
    Route("GET", "/api/v1/alerts/?", listing, (Scope.READ,), _LISTING),
    Route("POST", "/api/v1/alerts/(?P<name>[^/]+)/test", test, (Scope.ADMIN,), _TEST),
)
