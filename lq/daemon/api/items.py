"""Items: push, listings, history, and all that can be done to one, by id or by key."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Route
from lq.model import JobFilter, PushOutcome, Scope

_QUEUE = "/api/v1/queues/(?P<queue>.*?)/items"
_BY_KEY = f"{_QUEUE}/byKey/(?P<key>.*)"
_ITEM = "/api/v1/items/(?P<id>[^/]+)"
_ANY_ITEM = "/api/v1/items/(?P<id>.+)"  # the SDK asks for queue names here; they are not found

# Whoever may push an item may also look after it.
_OWNER = (Scope.PUSH,)
_READER = (Scope.READ, Scope.PUSH)


async def push(call: Call) -> Reply:
    wire.refuse_query(call.query)
    payload = await call.payload()
    wanted = wire.decode_push(call.queue, call.request.raw_headers, payload)
    if not wanted.validate:
        call.require_trust(call.queue)
    pushed = await call.engine.push(wanted)
    created = pushed.outcome is PushOutcome.CREATED
    location = ("Location", f"/api/v1/items/{pushed.job.id}")
    return Reply(wire.encode_pushed(pushed), 201 if created else 200, (location,))


async def show(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_full_item(await call.engine.get(call.ref)))


async def cancel(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_item(await call.engine.cancel(call.ref)))


async def edit(call: Call) -> Reply:
    wire.refuse_query(call.query)
    payload = await call.payload()
    wanted = wire.decode_edit(call.request.raw_headers, payload)
    if wanted.target is not UNSET:
        job = await call.engine.get(call.ref)
        if not job.validate:
            call.require_trust(job.queue)
    return Reply(wire.encode_item(await call.engine.edit(call.ref, wanted)))


async def run(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_item(await call.engine.run_now(call.ref)))


async def retry(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_item(await call.engine.retry(call.ref)))


async def attempts(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_attempts(await call.engine.attempts(call.ref)))


async def of_queue(call: Call) -> Reply:
    wanted = wire.decode_filter(call.query, queue=call.queue)
    return Reply(wire.encode_items(await call.engine.items(wanted)))


async def unfinished(call: Call) -> Reply:
    wanted = _visible(call, wire.decode_filter(call.query))
    return Reply(wire.encode_items(await call.engine.items(wanted)))


async def history(call: Call) -> Reply:
    wanted = _visible(call, wire.decode_history_filter(call.query))
    return Reply(wire.encode_items(await call.engine.history(wanted)))


def _visible(call: Call, wanted: JobFilter) -> JobFilter:
    """The filter, narrowed to the queues that the token may see."""
    if wanted.queue is not None:
        call.require(Scope.READ, queue=wanted.queue)
    return replace(wanted, queues=call.principal.queues)


ROUTES = (
    Route("GET", _BY_KEY, show, _READER),  # first: a key may end like a path of items
    Route("DELETE", _BY_KEY, cancel, _OWNER),
    Route("PATCH", _BY_KEY, edit, _OWNER),
    Route("POST", f"{_QUEUE}/?", push, _OWNER),
    Route("GET", f"{_QUEUE}/?", of_queue, (Scope.READ,)),
    Route("POST", f"{_ITEM}/run", run, _OWNER),
    Route("POST", f"{_ITEM}/retry", retry, _OWNER),
    Route("GET", f"{_ITEM}/attempts", attempts, (Scope.READ,)),
    Route("GET", _ANY_ITEM, show, _READER),
    Route("DELETE", _ANY_ITEM, cancel, _OWNER),
    Route("PATCH", _ANY_ITEM, edit, _OWNER),
    Route("GET", "/api/v1/items/?", unfinished, (Scope.READ,)),
    Route("GET", "/api/v1/history/?", history, (Scope.READ,)),
)
