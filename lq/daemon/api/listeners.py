"""Listeners: they ask for calls, one at a time, and bring the answers of their applications.

Invariant: a listener gets no call of a queue that its token does not reach, and nobody but who
made it asks in its place. One whose connection is closed while it waits is let go at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

from lq import wire
from lq.daemon.api.call import NOT_STORED, Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.daemon.api.server import Connection
from lq.daemon.listeners import Listener, Listeners
from lq.errors import Conflict, NotFound, Unauthorized, Unavailable
from lq.model import Scope
from lq.wire import describe_listening

_LISTENERS: Final = "/api/v1/listeners"
_ADMIN: Final = (Scope.ADMIN,)
_LISTENER: Final = f"{_LISTENERS}/(?P<name>[^/]+)"


async def listen(call: Call) -> Reply:
    wire.refuse_query(call.query)
    wanted = wire.decode_listener(await call.document())
    listener = _listeners(call).listen(wanted, call.principal)
    return Reply(wire.encode_listener(_shown(call, listener), listener.id), 201, (NOT_STORED,))


async def listing(call: Call) -> Reply:
    wire.refuse_query(call.query)
    found = _listeners(call)
    shown = (
        _shown(call, one)
        for one in found
        if not call.principal.queues or one.owner.name == call.principal.name
    )
    return Reply(wire.encode_listeners(shown))


async def following(call: Call) -> Reply:
    query = wire.decode_next_call(call.query)
    listener = _mine(call)
    with _ended_with_connection(call):
        handed = await _listeners(call).next(listener, query.after, query.wait_ms, hold=query.hold)
    if not call.engine.still_knows(call.principal):  # while it waited
        _listeners(call).leave(listener, "has a token that is not good any more")
        raise Unauthorized("this token is not good any more")
    if handed is None:
        return Reply(wire.encode_no_call(listener.lost), headers=(NOT_STORED,))
    shown = wire.encode_call(
        handed.run.job,
        _listeners(call).headers(handed),
        handed.path,
        number=handed.number,
        copy=handed.copy,
        lost=listener.lost,
    )
    return Reply(shown, headers=(NOT_STORED,))


async def answer(call: Call) -> Reply:
    wire.refuse_query(call.query)
    given = wire.decode_answer(call.request.raw_headers, await call.payload())
    listener = _mine(call)
    _listeners(call).answer(listener, given)
    return Reply(wire.encode_answered(given.number))


async def leave(call: Call) -> Reply:
    wire.refuse_query(call.query)
    listener = _mine(call)
    shown = _shown(call, listener)
    _listeners(call).leave(listener)
    return Reply(wire.encode_listener(shown, listener.id))


async def copy(call: Call) -> Reply:
    only = _only(call)
    job = await call.engine.get(call.ref)
    sent = _listeners(call).send(job, only)
    return Reply(wire.encode_sent([one.name for one in sent]))


async def sample(call: Call) -> Reply:
    only = _only(call)
    push = wire.decode_sample(call.queue, call.request.raw_headers, await call.payload())
    sent = _listeners(call).send(call.engine.sample(push), only)
    return Reply(wire.encode_sent([one.name for one in sent]))


def _listeners(call: Call) -> Listeners:
    return call.engine.listeners


def _mine(call: Call) -> Listener:
    return _listeners(call).find(call.name, call.principal)


def _only(call: Call) -> Listener | None:
    listener_id = wire.decode_copy(call.query)
    return None if listener_id is None else _listeners(call).find(listener_id, call.principal)


def _shown(call: Call, listener: Listener) -> wire.Shown:
    ahead = tuple(one.name for one in _listeners(call).ahead_of(listener))
    return wire.Shown(listener.wanted, listener.name, listener.since, listener.lost, ahead)


@contextmanager
def _ended_with_connection(call: Call) -> Iterator[None]:
    """End what is done in here when the other end has gone."""
    connection = cast(Connection, call.over_the_wire.protocol)
    connection.streams = True
    try:
        yield
    finally:
        connection.streams = False


_LISTEN = Operation(
    "Listen: from now on calls can be asked for",
    {201: "Listener"},
    (Unavailable,),
    document=describe_listening.WANTED,
)
_LISTING = Operation("List who listens", {200: "Listeners"})
_NEXT = Operation(
    "Ask for the next call; without one, wait",
    {200: "Next"},
    (NotFound,),
    query=describe_listening.NEXT,
)
_ANSWER = Operation(
    "Answer a call that was taken over; the body is that of the application's answer",
    {200: "Answered"},
    (NotFound, Conflict),
    headers=describe_listening.ANSWER,
    payload=True,
)
_LEAVE = Operation("Listen no longer", {200: "Listener"}, (NotFound,))
_COPY = Operation(
    "Send a copy of an item's call to who listens; the item stays as it is",
    {200: "Sent"},
    (NotFound, Conflict),
    query=describe_listening.COPY,
)
_SAMPLE = Operation(
    "Send a call to who listens, without any item",
    {200: "Sent"},
    (NotFound, Conflict),
    headers=describe_listening.SAMPLE,
    query=describe_listening.COPY,
    payload=True,
)

ROUTES: Final = (
    Route("POST", _LISTENERS, listen, _ADMIN, _LISTEN, limited=True),
    Route("GET", _LISTENERS, listing, _ADMIN, _LISTING, limited=True),
    Route("GET", f"{_LISTENER}/next", following, _ADMIN, _NEXT, limited=True),
    Route("POST", f"{_LISTENER}/answers", answer, _ADMIN, _ANSWER, limited=True),
    Route("DELETE", _LISTENER, leave, _ADMIN, _LEAVE, limited=True),
    Route("POST", "/api/v1/items/(?P<id>[^/]+)/copy", copy, _ADMIN, _COPY),
    Route("POST", "/api/v1/queues/(?P<queue>.+?)/sample", sample, _ADMIN, _SAMPLE),
)
