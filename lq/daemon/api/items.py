"""Items: push, listings, history, and all that can be done to one, by id or by key."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.once import once
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict, IdempotencyMismatch, KeyExists, NotFound, TargetNotAllowed
from lq.model import ById, Edit, Idempotency, Job, JobFilter, Page, Pushed, PushOutcome, Scope
from lq.wire import describe

_QUEUE = "/api/v1/queues/(?P<queue>.*?)/items"
_BY_KEY = f"{_QUEUE}/byKey/(?P<key>.*)"
_ITEM = "/api/v1/items/(?P<id>[^/]+)"
_ANY_ITEM = "/api/v1/items/(?P<id>.+)"  # the SDK asks for queue names here; they are not found

# Whoever may push an item may also look after it.
_OWNER = (Scope.PUSH,)
_READER = (Scope.READ, Scope.PUSH)


async def push(call: Call) -> Reply:
    wire.refuse_query(call.query)

    async def act(payload: bytes, asked: Idempotency | None) -> Pushed:
        wanted = wire.decode_push(call.queue, call.request.raw_headers, payload)
        if not wanted.validate:
            call.require_trust(call.queue)
        call.require_scriptlet(wanted.target, call.queue)
        return await call.engine.push(wanted, asked)

    pushed = await once(call, ("push", call.queue), call.engine.pushed_before, act, call.payload)
    created = pushed.outcome is PushOutcome.CREATED
    location = ("Location", f"/api/v1/items/{pushed.job.id}")
    shown = wire.encode_pushed(pushed, call.engine.redactions)
    return Reply(shown, 201 if created else 200, (location,))


async def show(call: Call) -> Reply:
    as_base64 = wire.decode_item_query(call.query)
    job = await call.engine.get(call.ref)
    return Reply(wire.encode_full_item(job, call.engine.redactions, as_base64=as_base64))


async def cancel(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return _item(call, await call.engine.cancel(call.ref))


async def edit(call: Call) -> Reply:
    return _item(call, await call.engine.edit(call.ref, await _edit(call)))


async def _edit(call: Call) -> Edit:
    """The changes that a request asks for, if it may."""
    wire.refuse_query(call.query)
    payload = await call.payload()
    wanted = wire.decode_edit(call.request.raw_headers, payload)
    if wanted.target is not UNSET:
        job = await call.engine.get(call.ref)
        if not job.validate:
            call.require_trust(job.queue)
        call.require_scriptlet(wanted.target, job.queue)
    return wanted


async def run(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return _item(call, await call.engine.run_now(call.ref))


async def retry(call: Call) -> Reply:
    changes = await _edit(call)
    return _item(call, await call.engine.retry(call.ref, changes if changes != Edit() else None))


async def attempts(call: Call) -> Reply:
    wire.refuse_query(call.query)
    job = await call.engine.get(call.ref)
    found = await call.engine.attempts(ById(job.id))
    return Reply(wire.encode_attempts(found, call.engine.redactions(job.queue)))


async def why(call: Call) -> Reply:
    wire.refuse_query(call.query)
    return Reply(wire.encode_why(await call.engine.why(call.ref), call.engine.redactions))


async def logs(call: Call) -> Reply:
    wanted = wire.decode_log_query(call.query)
    job = await call.engine.get(call.ref)
    part = await call.engine.logs(ById(job.id), wanted.attempt, wanted.offset, wanted.wait_ms)
    return Reply(wire.encode_log(part, call.engine.redactions(job.queue)))


async def of_queue(call: Call) -> Reply:
    wanted = _visible(call, wire.decode_filter(call.query, queue=call.queue))
    return _page(call, await call.engine.items(wanted))


async def unfinished(call: Call) -> Reply:
    wanted = _visible(call, wire.decode_filter(call.query))
    return _page(call, await call.engine.items(wanted))


async def history(call: Call) -> Reply:
    wanted = _visible(call, wire.decode_history_filter(call.query))
    return _page(call, await call.engine.history(wanted))


def _item(call: Call, job: Job) -> Reply:
    return Reply(wire.encode_item(job, call.engine.redactions))


def _page(call: Call, page: Page[Job]) -> Reply:
    return Reply(wire.encode_items(page, call.engine.redactions))


def _visible(call: Call, wanted: JobFilter) -> JobFilter:
    """The filter, narrowed to the queues that the token may see."""
    if wanted.queue is not None:
        call.require(Scope.READ, queue=wanted.queue)
    return replace(wanted, queues=call.principal.queues, unsaid=call.engine.unsaid)


_BOUND = (NotFound, Conflict)
_SHOW = Operation("Show an item", {200: "FullItem"}, (NotFound,), query=describe.ITEM)
_SHOW_BY_KEY = _SHOW._replace(query=())  # what follows a key belongs to it
_CANCEL = Operation("Cancel an item; of one that runs no retry follows", {200: "Item"}, _BOUND)
_EDIT = Operation(
    "Change an item that waits: headers of a push, and a new payload unless the body is empty",
    {200: "Item"},
    (*_BOUND, TargetNotAllowed),
    headers=describe.EDIT,
    payload=True,
)
_PUSH = Operation(
    "Push an item; the body is its payload",
    {201: "Item", 200: "Item"},
    (Conflict, IdempotencyMismatch, KeyExists, TargetNotAllowed),
    headers=describe.PUSH,
    payload=True,
)
_RUN = Operation("Make an item that waits due now", {200: "Item"}, _BOUND)
_RETRY = Operation(
    "Let a finished item wait again, with a fresh budget; changed as by PATCH on the way",
    {200: "Item"},
    (*_BOUND, TargetNotAllowed),
    headers=describe.EDIT,
    payload=True,
)
_ATTEMPTS = Operation("List the attempts of an item, oldest first", {200: "Attempts"}, (NotFound,))
_WHY = Operation("Explain what holds an item, and until when", {200: "Why"}, (NotFound,))
_LOGS = Operation(
    "Show what a scriptlet has written, and wait for more",
    {200: "Log"},
    (NotFound,),
    query=describe.LOGS,
)
_OF_QUEUE = Operation("List the items of a queue", {200: "Items"}, query=describe.OF_QUEUE)
_UNFINISHED = Operation("List unprocessed items", {200: "Items"}, query=describe.UNFINISHED)
_HISTORY = Operation("List finished items, newest first", {200: "Items"}, query=describe.HISTORY)

ROUTES = (
    Route("GET", _BY_KEY, show, _READER, _SHOW_BY_KEY),  # first: a key may end like a path of items
    Route("DELETE", _BY_KEY, cancel, _OWNER, _CANCEL),
    Route("PATCH", _BY_KEY, edit, _OWNER, _EDIT),
    Route("POST", f"{_QUEUE}/?", push, _OWNER, _PUSH),
    Route("GET", f"{_QUEUE}/?", of_queue, (Scope.READ,), _OF_QUEUE),
    Route("POST", f"{_ITEM}/run", run, _OWNER, _RUN),
    Route("POST", f"{_ITEM}/retry", retry, _OWNER, _RETRY),
    Route("GET", f"{_ITEM}/attempts", attempts, (Scope.READ,), _ATTEMPTS),
    Route("GET", f"{_ITEM}/why", why, _READER, _WHY),
    Route("GET", f"{_ITEM}/logs", logs, (Scope.READ,), _LOGS),
    Route("GET", _ANY_ITEM, show, _READER, _SHOW),
    Route("DELETE", _ANY_ITEM, cancel, _OWNER, _CANCEL),
    Route("PATCH", _ANY_ITEM, edit, _OWNER, _EDIT),
    Route("GET", "/api/v1/items/?", unfinished, (Scope.READ,), _UNFINISHED),
    Route("GET", "/api/v1/history/?", history, (Scope.READ,), _HISTORY),
)
