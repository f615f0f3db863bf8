"""Batches: many items of one queue in one request.

Owns what is held in memory whole and what is stored while it is read: an array, an atomic batch
and one under an idempotency key are one transaction; any other stream of lines is one for each
GROUP of them, so that it may be of any size.

Invariant: what was stored of a batch is in its answer, also when it was cut short.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from lq import wire
from lq.batch import Batched, Entry, Result
from lq.daemon.api.call import Call, Reply
from lq.daemon.api.once import once
from lq.daemon.api.router import Operation, Route
from lq.errors import Conflict, IdempotencyMismatch, RequestError, StorageFull, Unavailable
from lq.model import Idempotency, Push, Scope
from lq.wire import describe

GROUP: Final = 1000
"""Entries of a stream that are stored together."""
_TURN: Final = 200
"""Entries that are read before others get their turn: a few milliseconds."""
_TURN_BYTES: Final = 256 << 10
"""The same of entries that are large."""


async def push(call: Call) -> Reply:
    atomic = wire.decode_atomic(call.query)
    headers = call.request.raw_headers
    reader = wire.BatchReader(call.queue, headers, call.engine.max_payload)
    if reader.in_lines and not atomic and wire.IDEMPOTENCY_KEY not in call.request.headers:
        return await _stream(call, reader)

    async def act(body: bytes, asked: Idempotency | None) -> Batched:
        entries, turns = [], _Turns()
        for entry in reader.whole(body):
            entries.append(_permitted(call, entry))
            await turns.took(entry)
        return await call.engine.batches.push(entries, atomic=atomic, asked=asked)

    path = ("push batch", call.queue, str(atomic))
    done = await once(call, path, call.engine.batches.pushed_before, act, call.batch)
    return Reply(wire.encode_batch(done.results))


class _Turns:
    """Lets others have their turn while entries are read."""

    def __init__(self) -> None:
        self._entries = self._bytes = 0

    async def took(self, entry: Entry) -> None:
        """One more was read."""
        self._entries += 1
        self._bytes += len(entry.push.payload) if isinstance(entry.push, Push) else 0
        if self._entries == _TURN or self._bytes >= _TURN_BYTES:
            self._entries = self._bytes = 0
            await asyncio.sleep(0)


async def _stream(call: Call, reader: wire.BatchReader) -> Reply:
    """Store a stream while it is read."""
    sink, cut = _Sink(call), None
    try:
        await _read(call, reader, sink)
    except RequestError as error:
        cut = error
    if not isinstance(cut, StorageFull | Unavailable):
        try:
            await sink.store()  # what was read whole is good, whatever ended the stream
        except RequestError as error:
            cut = cut or error
    if cut is None:
        return Reply(wire.encode_batch(sink.results))
    if not sink.results:
        raise cut
    waits = (("Retry-After", str(cut.retry_after_s)),) if isinstance(cut, Unavailable) else ()
    told = wire.encode_error(cut, call.request_id, sink.results)
    return Reply(told, cut.status, waits, close=True)


async def _read(call: Call, reader: wire.BatchReader, sink: _Sink) -> None:
    async with contextlib.aclosing(call.parts()) as parts:
        async for part in parts:
            for entry in reader.feed(part):
                await sink.take(entry)
    for entry in reader.end():
        await sink.take(entry)


class _Sink:
    """Stores entries in groups, and keeps what became of them."""

    def __init__(self, call: Call) -> None:
        self.results: list[Result] = []
        self._call = call
        self._group: list[Entry] = []
        self._turns = _Turns()

    async def take(self, entry: Entry) -> None:
        """Take one more. Raises: StorageFull, Unavailable."""
        self._group.append(_permitted(self._call, entry))
        if len(self._group) == GROUP:
            await self.store()
        else:
            await self._turns.took(entry)

    async def store(self) -> None:
        """Store those that are not yet. Raises: StorageFull, Unavailable."""
        if self._group:
            done = await self._call.engine.batches.push(self._group)
            self.results += done.results
            self._group.clear()


def _permitted(call: Call, entry: Entry) -> Entry:
    """The entry, refused if the token may push to its queue, but not this."""
    push = entry.push
    if isinstance(push, RequestError):
        return entry
    try:
        if not push.validate:
            call.require_trust(call.queue)
        call.require_scriptlet(push.target, call.queue)
    except RequestError as error:
        return Entry(error, entry.line)
    return entry


_PUSH = Operation(
    "Push many items: a JSON array of entries, or a line for each",
    {200: "Batch"},
    (Conflict, IdempotencyMismatch),
    headers=describe.BATCH,
    query=describe.ATOMIC,
    entries=describe.ENTRY,
)

ROUTES = (Route("POST", "/api/v1/queues/(?P<queue>.*?)/items/batch", push, (Scope.PUSH,), _PUSH),)
