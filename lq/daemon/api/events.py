"""Events as they happen, and a daemon at one glance.

Owns the form of the stream: server-sent events, whose ids a reader gives back to go on where it
was.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

Invariant: nothing is sent for a token that would not be let in at that moment, nor of a queue that
it does not reach; and no reader holds up the daemon, which keeps nothing for it but its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from lq import wire
from lq.daemon.api.call import NOT_STORED, Call, Inside, Reply, Send
from lq.daemon.api.router import Operation, Route
from lq.daemon.feed import Entry, Feed, Gap, Reader
from lq.errors import Unavailable
from lq.event import EventFilter
from lq.model import Scope
from lq.wire import describe

HEARTBEAT_S: Final = 15.0
PACE_S: Final = 0.02
"""What is told at once and what is told together: readers look at most so often."""
_AGAIN_MS: Final = 1000
_HEADERS: Final = (NOT_STORED, ("X-Accel-Buffering", "no"))


async def stream(call: Call) -> Reply:
    wanted = wire.decode_event_filter(call.query, call.principal.queues)
    if wanted.queue is not None:
        call.require(Scope.READ, queue=wanted.queue)
    call.engine.feed.refuse_more(counted=_is_counted(call))
    return Reply(
        b"",
        headers=_HEADERS,
        content_type="text/event-stream",
        stream=partial(_tell, call, wanted),
    )


async def overview(call: Call) -> Reply:
    limit = wire.decode_overview(call.query)
    queues = await call.engine.queues.all()
    taken = await call.engine.overviews.take(queues, call.principal.queues, limit)
    return Reply(wire.encode_overview(taken))


def _is_counted(call: Call) -> bool:
    """Whether this stream is one of those of which there may be only so many.

    Shape: all that come over TCP. The owner of the socket has no token; nor has their browser,
    which comes by the panel.
    """
    return call.principal.digest != b"" or isinstance(call.request, Inside)


async def _tell(call: Call, wanted: EventFilter, send: Send) -> None:
    """Send what happens until the daemon stops, or the token is not good any more."""
    feed = call.engine.feed
    given = call.request.headers.getall(wire.LAST_EVENT_ID, ())
    last_id = ",".join(given) if given else None
    try:
        with feed.reader(last_id, counted=_is_counted(call)) as reader:
            await send(b"retry: %d\n" % _AGAIN_MS + (_place(feed) if last_id is None else b"\n"))
            await _follow(call, wanted, send, reader)
    except Unavailable:
        return  # others were quicker; asked again it is told why


async def _follow(call: Call, wanted: EventFilter, send: Send, reader: Reader) -> None:
    engine, clock = call.engine, call.clock
    feed = engine.feed
    beat_at = clock.monotonic() + HEARTBEAT_S
    while call.welcome:
        entries, gap = reader.take()
        frames = [] if gap is None else [_missed(feed, gap, entries, clock.now())]
        frames += [_frame(call, entry) for entry in entries if wanted.passes(entry.event)]
        if not frames and clock.monotonic() >= beat_at:
            # With a new place, so that who hears of little does not come back to what is long gone.
            frames = [b": nothing new\n", _place(feed)] if reader.is_up_to_date else [b":\n\n"]
        if frames:
            await send(b"".join(frames))
            beat_at = clock.monotonic() + HEARTBEAT_S
        if entries:
            await asyncio.sleep(PACE_S)
        elif feed.ended:
            return
        else:
            left_s = max(beat_at - clock.monotonic(), 0)
            await reader.more(_patience_ms(call, clock.now(), round(left_s * 1000)))


def _patience_ms(call: Call, now: int, beat_ms: int) -> int:
    """How long to wait for more: not beyond the end of the token."""
    expires_at = call.principal.expires_at
    return max(beat_ms if expires_at is None else min(beat_ms, expires_at - now), 1)


def _frame(call: Call, entry: Entry) -> bytes:
    """An event as it goes over the wire, the same for all readers."""
    if entry.frame is None:
        event = entry.event
        data = wire.encode_event(event, call.engine.redactions(event.queue))
        entry.frame = _written(call.engine.feed.id_of(entry.number), event.verb, data)
    return entry.frame


def _missed(feed: Feed, gap: Gap, entries: Sequence[Entry], now: int) -> bytes:
    """Says that events are missing before these. Shape: who goes on from it is not told again."""
    place = feed.id_of(entries[0].number - 1) if entries else feed.mark()
    return _written(place, wire.MISSED, wire.encode_missed(gap, now))


def _written(place: str, verb: str, data: bytes) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (place.encode(), verb.encode(), data)


def _place(feed: Feed) -> bytes:
    """An id without an event: where to go on from."""
    return b"id: %b\n\n" % feed.mark().encode()


_STREAM: Final = Operation(
    "Follow what happens, as server-sent events; the data of each is an Event",
    {200: "Event"},
    (Unavailable,),
    headers=describe.RESUME,
    query=describe.EVENTS,
    stream=True,
)
_OVERVIEW: Final = Operation(
    "Show queues with their rates, what runs, and what fires next",
    {200: "Overview"},
    query=describe.OVERVIEW,
)

ROUTES: Final = (
    Route("GET", "/api/v1/events/?", stream, (Scope.READ,), _STREAM),
    Route("GET", "/api/v1/overview/?", overview, (Scope.READ,), _OVERVIEW),
)
