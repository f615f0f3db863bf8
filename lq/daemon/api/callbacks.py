"""Callbacks: what a handler says of its item later. The token in the path is the credential.

Invariant: nothing of a request is read, and nothing looked up, before its token has proved itself.
"""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.daemon.callbacks import Taken
from lq.daemon.waiting import PATH
from lq.errors import Conflict, NotFound
from lq.wire import describe

_CALLBACK = f"{PATH}/(?P<token>[^/]+)"


async def complete(call: Call) -> Reply:
    call.engine.callbacks.check(call.token)
    wire.refuse_query(call.query)
    answer = wire.decode_complete(call.request.raw_headers, await call.payload())
    return _taken(await call.engine.callbacks.complete(call.token, answer))


async def fail(call: Call) -> Reply:
    call.engine.callbacks.check(call.token)
    wire.refuse_query(call.query)
    answer = wire.decode_fail(call.request.raw_headers, await call.payload())
    return _taken(await call.engine.callbacks.fail(call.token, answer), failed=True)


async def heartbeat(call: Call) -> Reply:
    call.engine.callbacks.check(call.token)
    wire.refuse_query(call.query)
    return _taken(await call.engine.callbacks.heartbeat(call.token))


def _taken(taken: Taken, *, failed: bool = False) -> Reply:
    shown = wire.encode_callback(
        taken.job_id, taken.state, failed=failed, deadline_at=taken.deadline_at
    )
    return Reply(shown)


_LATE = (NotFound, Conflict)
_COMPLETE = Operation(
    "Complete an item that was called with x-lq-callback; the body is the result",
    {200: "Callback"},
    _LATE,
    payload=True,
)
_FAIL = Operation(
    "Fail an attempt; the body is the reason, and what follows is as after a failed call",
    {200: "Callback"},
    _LATE,
    headers=describe.FAIL,
    payload=True,
)
_HEARTBEAT = Operation(
    "Say that the work goes on: its time-out begins anew", {200: "Callback"}, _LATE
)

ROUTES = (
    Route("POST", f"{_CALLBACK}/complete", complete, (), _COMPLETE),
    Route("POST", f"{_CALLBACK}/fail", fail, (), _FAIL),
    Route("POST", f"{_CALLBACK}/heartbeat", heartbeat, (), _HEARTBEAT),
)
