"""Queues: what they hold, their settings, their pause."""

from __future__ import annotations

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict, NotFound, TargetNotAllowed
from lq.model import QueueEdit, Scope
from lq.wire import describe

# Up to a segment "items": from there on the path is about the items of a queue.
_QUEUE = "/api/v1/queues/(?P<queue>(?:(?!/items(?:/|$)).)+)"
_ADMIN = (Scope.ADMIN,)
_READ = (Scope.READ,)


async def listing(call: Call) -> Reply:
    queues = await call.engine.queues.all()
    return Reply(wire.encode_queues([q for q in queues if call.may(Scope.READ, queue=q.name)]))


async def show(call: Call) -> Reply:
    return Reply(wire.encode_queue(await call.engine.queues.get(call.queue)))


async def edit(call: Call) -> Reply:
    wire.refuse_query(call.query)
    wanted = wire.decode_queue_edit(await call.document(), call.now)
    return Reply(wire.encode_queue(await call.engine.queues.edit(call.queue, wanted)))


async def pause(call: Call) -> Reply:
    wanted = wire.decode_pause(call.query, call.now)
    return Reply(wire.encode_queue(await call.engine.queues.edit(call.queue, wanted)))


async def resume(call: Call) -> Reply:
    wire.refuse_query(call.query)
    await call.engine.queues.get(call.queue)  # nothing comes into being by going on
    wanted = QueueEdit(paused=False, paused_until=None)
    return Reply(wire.encode_queue(await call.engine.queues.edit(call.queue, wanted)))


async def delete(call: Call) -> Reply:
    force = wire.decode_force(call.query)
    return Reply(wire.encode_cancelled(await call.engine.queues.delete(call.queue, force=force)))


_LISTING = Operation("List queues", {200: "Queues"})
_PAUSE = Operation("Let nothing more start", {200: "Queue"}, (Conflict,), query=describe.PAUSE)
_RESUME = Operation("End a pause", {200: "Queue"}, (NotFound, Conflict))
_SHOW = Operation("Show a queue", {200: "Queue"}, (NotFound,))
_EDIT = Operation(
    "Change settings of a queue",
    {200: "Queue"},
    (Conflict, TargetNotAllowed),
    document=describe.SETTINGS,
)
_DELETE = Operation(
    "Forget a queue and its settings",
    {200: "Cancelled"},
    (NotFound, Conflict),
    query=describe.FORCE,
)

ROUTES = (
    Route("GET", "/api/v1/queues/?", listing, _READ, _LISTING),
    Route("POST", f"{_QUEUE}/pause", pause, _ADMIN, _PAUSE),
    Route("POST", f"{_QUEUE}/resume", resume, _ADMIN, _RESUME),
    Route("GET", _QUEUE, show, _READ, _SHOW),
    Route("PATCH", _QUEUE, edit, _ADMIN, _EDIT),
    Route("DELETE", _QUEUE, delete, _ADMIN, _DELETE),
)
