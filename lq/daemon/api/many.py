"""Many items at once: how they have failed, replays of what has finished, cancelling the rest."""

from __future__ import annotations

from msgspec.structs import replace

from lq import wire
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.router import Operation, Route
from lq.model import JobFilter, Scope, State
from lq.wire import describe

_OWNER = (Scope.PUSH,)
_READER = (Scope.READ,)


async def failures(call: Call) -> Reply:
    wanted = wire.decode_failure_filter(call.query)
    if wanted.queue is not None:
        call.require(*_READER, queue=wanted.queue)
    wanted = replace(wanted, queues=call.principal.queues, unsaid=call.engine.unsaid)
    page = await call.engine.bulk.failures(wanted)
    return Reply(wire.encode_failures(page, call.engine.redactions))


async def replay(call: Call) -> Reply:
    sweep = wire.decode_replay(call.query)
    wanted = _reached(call, sweep.wanted, dry=sweep.dry)
    swept = await call.engine.bulk.replay(wanted, sweep.rate, dry=sweep.dry)
    return Reply(wire.encode_replayed(swept))


async def cancel(call: Call) -> Reply:
    sweep = wire.decode_cancel(call.query)
    wanted = _reached(call, sweep.wanted, dry=sweep.dry)
    running = wanted.state in {None, State.RUNNING.value}
    swept = await call.engine.bulk.cancel(wanted, running=running, dry=sweep.dry)
    return Reply(wire.encode_cancelled_many(swept))


async def purge(call: Call) -> Reply:
    sweep = wire.decode_purge(call.query, call.queue)
    wanted = _reached(call, sweep.wanted, dry=sweep.dry)
    swept = await call.engine.bulk.cancel(wanted, running=False, dry=sweep.dry)
    return Reply(wire.encode_cancelled_many(swept))


def _reached(call: Call, wanted: JobFilter, *, dry: bool) -> JobFilter:
    """The filter, narrowed to the queues whose items the token may change.

    To learn how many there are, or what they have failed with, is to read.
    """
    if wanted.queue is not None:
        call.require(*_OWNER, queue=wanted.queue)
    if dry or wanted.error is not None or wanted.fingerprint is not None:
        call.require(*_READER, queue=wanted.queue)
    return replace(wanted, queues=call.principal.queues, unsaid=call.engine.unsaid)


_FAILURES = Operation(
    "Group what has failed by target, status and kind of error, the last seen first",
    {200: "Failures"},
    query=describe.FAILURES,
)
_REPLAY = Operation(
    "Let finished items wait again, newest first; with a cursor in the answer there may be more",
    {200: "Replayed"},
    query=describe.REPLAY,
)
_CANCEL = Operation(
    "Cancel unprocessed items; with a cursor in the answer there may be more",
    {200: "CancelledMany"},
    query=describe.CANCEL,
)
_PURGE = Operation(
    "Cancel the waiting items of a queue; with a cursor in the answer there may be more",
    {200: "CancelledMany"},
    query=describe.PURGE,
)

ROUTES = (
    Route("GET", "/api/v1/failures/?", failures, _READER, _FAILURES),
    Route("POST", "/api/v1/history/replay", replay, _OWNER, _REPLAY),
    Route("DELETE", "/api/v1/items/?", cancel, _OWNER, _CANCEL),
    Route("DELETE", "/api/v1/queues/(?P<queue>.*?)/items/?", purge, _OWNER, _PURGE),
)
