"""Events as they happen, over connections that break and are made anew.

Owns: reading server-sent events, and going on where the last connection ended. Does no input or
output itself: as in `session`, the two clients carry out the operations that it yields.

Invariant: an event is given once, in order; where that cannot be had, the daemon has said `missed`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from json import loads
from typing import Any
from urllib.parse import urlencode

from lq.client.errors import BusyError, api_error
from lq.client.servers import Unreachable, reason
from lq.client.session import Connection, Effects, Pause, Session, backoff_s, spread
from lq.client.verbs import API, Json
from lq.errors import LqError
from lq.exchange import Answer, Flow, Request, request_head

SILENCE_S = 45.0
"""The daemon says something every 15 s; three times that long it is not there any more."""
ANSWER_S = 10.0
LONGEST_WAIT_S = 5.0
MEDIA_TYPE = "text/event-stream"
_MOST = 1 << 20
_END = (b"", b"\r")

Watch = Callable[[LqError | None], None]
"""Told None of each connection that is there, and why one is lost."""


class Reader:
    """Takes server-sent events apart. Shape: `last_id` is where to go on after what was given."""

    def __init__(self, last_id: str | None) -> None:
        self.last_id = last_id
        self._id = last_id
        self._buffer = bytearray()
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Json]:
        """The events that are whole by now. Raises: ValueError when these are none of lq's."""
        found: list[Json] = []
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        if len(rest) > _MOST:
            raise ValueError("an event without end")
        self._buffer = rest
        for line in lines:
            if line in _END:
                found += self._dispatched()
            else:
                self._take(line.rstrip(b"\r").decode())
        return found

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "data":
            self._data.append(value)

    def _dispatched(self) -> list[Json]:
        self.last_id = self._id
        if not self._data:
            return []
        event = loads("\n".join(self._data))
        self._data.clear()
        if not isinstance(event, dict):
            raise ValueError("no event")
        return [{**event, "eventId": self.last_id}]


class Stream:
    """The events of one daemon that pass a filter, from now on or from behind `after`."""

    def __init__(
        self,
        session: Session,
        wanted: dict[str, str | None],
        after: str | None,
        watch: Watch | None,
    ) -> None:
        given = {name: value for name, value in wanted.items() if value is not None}
        self._path = f"{API}/events{'?' if given else ''}{urlencode(given)}"
        self._session = session
        self._watch = watch
        self._reader = Reader(after)
        self._held: deque[Json] = deque()
        self._connection: Connection | None = None
        self._flow = Flow(MEDIA_TYPE)
        self._has_begun = False
        self._is_there = False

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def begin(self) -> Effects[None]:
        """Connect: what happens from then on is given. Raises: Unreachable, ApiError."""
        yield from self._insist(lambda: self._has_begun)

    def next(self) -> Effects[Json]:
        """The next event. Raises: Unreachable before the first connection; ApiError."""
        yield from self._insist(lambda: bool(self._held))
        return self._held.popleft()

    def _insist(self, is_enough: Callable[[], bool]) -> Effects[None]:
        """Go on until there is enough, over as many connections as it takes."""
        tries = 0
        while not is_enough():
            try:
                yield from self._more()
                tries = 0
            except (Unreachable, BusyError) as error:
                self.close()
                self._tell(error)
                wait_s = min(backoff_s(tries), LONGEST_WAIT_S)
                if isinstance(error, BusyError) and error.retry_after_s is not None:
                    wait_s = spread(error.retry_after_s)
                elif self._has_begun and not tries:
                    wait_s = spread(0.1)  # a daemon that is started anew is back in a moment
                lasting = isinstance(error, Unreachable) and error.lasting
                tries += 1
                if lasting or (not self._has_begun and tries > self._session.retries):
                    raise
                yield Pause(wait_s)
            except BaseException:
                self.close()
                raise

    def _more(self) -> Effects[None]:
        """Some more of the stream. Raises: Unreachable, ApiError."""
        server = self._session.server
        try:
            if self._connection is None:
                yield from self._open()
            assert self._connection is not None
            patience_s = SILENCE_S if self._flow.begun else ANSWER_S
            data = yield from self._connection.receive(time.monotonic() + patience_s)
            self._held += self._reader.feed(self._flow.take(data))
        except TimeoutError:
            raise Unreachable(f"the daemon at {server.where} says nothing any more") from None
        except (OSError, EOFError) as error:
            raise Unreachable(
                f"the daemon at {server.where} broke off the connection ({reason(error)})"
            ) from None
        except (ValueError, RecursionError) as error:
            raise Unreachable(
                f"what answers at {server.where} is not lq ({error})", lasting=True
            ) from None
        if self._flow.answer is not None:
            raise _refusal(self._flow.answer, server.where)
        if self._flow.begun and not self._flow.over:
            self._has_begun = True
            self._tell(None)
        if self._flow.over and not self._held:
            raise Unreachable(f"the daemon at {server.where} has ended the connection")

    def _open(self) -> Effects[None]:
        until = time.monotonic() + ANSWER_S
        headers = {"Accept": MEDIA_TYPE}
        if self._reader.last_id is not None:
            headers["Last-Event-ID"] = self._reader.last_id
        server = self._session.server
        request = Request("GET", self._path, headers)
        head = request_head(request, server.host, server.base, server.token)
        self._connection = yield from self._session.connect(until)
        self._flow = Flow(MEDIA_TYPE)
        self._reader = Reader(self._reader.last_id)
        yield from self._connection.send(head, until)

    def _tell(self, error: LqError | None) -> None:
        """Tell whoever watches, once for each time that a connection is there or lost."""
        is_there = error is None
        if self._watch is not None and is_there != self._is_there:
            self._watch(error)
        self._is_there = is_there


def _refusal(answer: Answer, where: str) -> LqError:
    try:
        value: Any = loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and "type" in value:
        return api_error(answer.status, value, answer.headers)
    return Unreachable(
        f"what answers at {where} is not lq: it said {answer.status}",
        hint="LQ_API_URL (or --url) is the daemon's own address, without a path after it.",
        # Something between here and there may say so while the daemon is started anew.
        lasting=answer.status < 500,
    )
