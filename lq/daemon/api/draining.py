"""Draining by hand: nothing more starts, what runs ends."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.daemon.draining import Drained
from lq.model import Scope

_DRAIN = "/api/v1/drain"


async def show(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return _state(call, await call.engine.draining.state())


async def begin(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return _state(call, await call.engine.draining.begin())


async def end(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return _state(call, await call.engine.draining.end())


def _state(call: Call, drained: Drained) -> Reply:
    shown = wire.encode_drain(
        drained.jobs, call.engine.redactions, draining=drained.draining, running=drained.running
    )
    return Reply(shown)


_SHOW = Operation("Tell whether lq drains, and what runs still", {200: "Drain"})
_BEGIN = Operation("Start nothing more; what runs ends, what comes in waits", {200: "Drain"})
_END = Operation("Go on after a drain", {200: "Drain"})

ROUTES = (
    Route("GET", _DRAIN, show, (Scope.ADMIN,), _SHOW),
    Route("POST", _DRAIN, begin, (Scope.ADMIN,), _BEGIN),
    Route("POST", f"{_DRAIN}/resume", end, (Scope.ADMIN,), _END),
)
