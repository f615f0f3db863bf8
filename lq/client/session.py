"""A verb carried out: its steps as requests, on connections that are kept, tried again if safe.

Owns: which connection a request takes, when it is tried again, how long all of it may take, and
what a broken answer means. Does no input or output itself: a call is a generator that yields
the operations (`Dial`, `Send`, `Receive`, `Pause`) which the two clients carry out, each in its
own way, and which are failed by an OSError thrown in.

Invariant: what is not safe to repeat is sent a second time only if the daemon cannot have got it,
or has said that it did nothing. Cut off anywhere, a call closes its connection.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from json import loads
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lq.client.errors import api_error
from lq.client.servers import Server, Unreachable, reason
from lq.client.verbs import IDEMPOTENCY_KEY, Plan, Step
from lq.errors import LqError
from lq.exchange import Answer, Incoming, Request, request_head

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
MOST_KEPT = 16
KEPT_S = 10.0
"""How long a connection is kept unused; the daemon closes one after 15 s (`header_timeout`)."""
FIRST_WAIT_S = 0.25
WAIT_FACTOR = 4
CHUNK = 1 << 18
IN_PROGRESS = b'"IDEMPOTENCY_IN_PROGRESS"'


class Socket(socket.socket):
    """A socket that closes quietly when nobody holds it any more: a client need not be closed."""

    def __del__(self) -> None:
        self.close()


class Dial(NamedTuple):
    """Open a socket to the server: its result."""

    server: Server
    left_s: float


class Send(NamedTuple):
    """Send all of the data."""

    socket: Socket
    data: bytes
    left_s: float


class Receive(NamedTuple):
    """Receive some bytes: the result; none at the end."""

    socket: Socket
    left_s: float


class Pause(NamedTuple):
    """Let this much time pass."""

    seconds: float


Operation = Dial | Send | Receive | Pause
Effects = Generator[Operation, Any, T]


class Connection:
    """A socket to the daemon, with TLS on top of it where that is spoken."""

    _in: ssl.MemoryBIO
    _out: ssl.MemoryBIO

    def __init__(self, opened: Socket) -> None:
        self.used_at = 0.0
        self._socket = opened
        self._pid = os.getpid()
        self._tls: ssl.SSLObject | None = None

    def close(self) -> None:
        """Let go of it. In a forked child its parent can still use it."""
        self._socket.close()

    def is_recent(self) -> bool:
        """Whether it was used not long ago."""
        return time.monotonic() - self.used_at <= KEPT_S

    def is_usable(self) -> bool:
        """Whether it is ours, was used not long ago, and the daemon has said nothing since."""
        if self._pid != os.getpid() or not self.is_recent():
            return False
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # it was closed, or something came that nobody asked for

    def secure(self, context: ssl.SSLContext, name: str | None, until: float) -> Effects[None]:
        """Agree on TLS with the server of that name."""
        import ssl

        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield from self._flush(until)
                yield from self._fill(until)
        yield from self._flush(until)

    def send(self, data: bytes, until: float) -> Effects[None]:
        """Send all of the data."""
        if self._tls is None:
            yield Send(self._socket, data, _left(until))
            return
        sent = 0
        while sent < len(data):
            sent += self._tls.write(data[sent : sent + CHUNK])
            yield from self._flush(until)

    def receive(self, until: float) -> Effects[bytes]:
        """Some bytes; none at their end."""
        if self._tls is None:
            data: bytes = yield Receive(self._socket, _left(until))
            return data
        import ssl

        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                yield from self._flush(until)
                yield from self._fill(until)

    def _flush(self, until: float) -> Effects[None]:
        if data := self._out.read():
            yield Send(self._socket, data, _left(until))

    def _fill(self, until: float) -> Effects[None]:
        if data := (yield Receive(self._socket, _left(until))):
            self._in.write(data)
        else:
            self._in.write_eof()


class _Broken(Exception):
    """An exchange that came to no answer. `silent`: the daemon closed and had said nothing."""

    def __init__(self, why: str, *, silent: bool = False) -> None:
        super().__init__(why)
        self.silent = silent


class Session:
    """The connections to one daemon, and the calls made over them; for any number of threads."""

    def __init__(self, server: Server, *, timeout_s: float, retries: int) -> None:
        self.server = server
        self.is_open = True
        self._timeout_s = timeout_s
        self.retries = retries
        self._kept: deque[Connection] = deque()  # its append and pop need no lock

    def close(self) -> None:
        """Keep no connection any more; what is under way ends by itself."""
        self.is_open = False
        with suppress(IndexError):
            while True:
                self._kept.pop().close()

    def run(self, plan: Plan[T]) -> Effects[T]:
        """Carry out a verb, within the time that a call may take.

        Raises: ValidationError, ApiError, Unreachable.
        """
        until = time.monotonic() + self._timeout_s
        try:
            step = next(plan)
            while True:
                try:
                    value = yield from self._insist(step, until)
                except LqError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(value)
        except StopIteration as done:
            result: T = done.value
            return result

    def _insist(self, step: Step, until: float) -> Effects[Any]:
        """The answer to a step, asked again as long as that is safe and can help."""
        request = step.request
        if step.keyed and self.retries:
            headers = {**request.headers, IDEMPOTENCY_KEY: os.urandom(16).hex()}
            request = request._replace(headers=headers)
        tries = 0
        while True:
            answer, failure = None, None
            try:
                answer = yield from self._ask(request, until)
                wait_s = _wait_after(answer, step, request, tries)
            except Unreachable as error:
                failure = error
                helps = error.unsent or (_is_repeatable(request) and not error.lasting)
                wait_s = backoff_s(tries) if helps else None
            tries += 1
            if wait_s is None or tries > self.retries or time.monotonic() + wait_s >= until:
                if answer is None:
                    assert failure is not None
                    raise failure
                return _read(answer, step, self.server)
            yield Pause(wait_s)

    def _ask(self, request: Request, until: float) -> Effects[Answer]:
        """Send a request: once, or again if nobody was left at the other end of a kept connection.

        Raises: ValidationError when it cannot be sent; Unreachable.
        """
        server = self.server
        head = request_head(request, server.host, server.base, server.token)
        repeatable = _is_repeatable(request)
        kept = self._take() if repeatable else None  # it might be closed while we write to it
        while True:
            connection = kept or (yield from self.connect(until))
            try:
                return (yield from self._exchange(connection, head + request.body, until))
            except _Broken as broken:
                if kept is not None and broken.silent and repeatable:
                    kept = None
                    continue
                look = "It may have done what was asked all the same; look before you repeat it."
                raise Unreachable(
                    f"the daemon at {server.where} {broken}",
                    hint=None if request.method == "GET" else look,
                ) from None

    def connect(self, until: float) -> Effects[Connection]:
        """A new connection. Raises: Unreachable."""
        connection = None
        try:
            self.server.check()
            opened = yield Dial(self.server, min(CONNECT_TIMEOUT_S, _left(until)))
            connection = Connection(opened)
            if context := self.server.tls:
                limit = min(until, time.monotonic() + CONNECT_TIMEOUT_S)
                yield from connection.secure(context, self.server.name, limit)
        except (OSError, UnicodeError) as error:
            if connection is not None:
                connection.close()
            raise self.server.explained(error) from None
        except GeneratorExit:
            if connection is not None:
                connection.close()
            raise
        return connection

    def _exchange(self, connection: Connection, message: bytes, until: float) -> Effects[Answer]:
        """Raises: _Broken."""
        incoming, answer, sent = Incoming(), None, False
        try:
            # A server that refuses a large body answers and closes before it has read it all.
            with suppress(BrokenPipeError, ConnectionResetError):
                yield from connection.send(message, until)
                sent = True
            while answer is None:
                answer = incoming.feed((yield from connection.receive(until)))
        except TimeoutError:
            raise _Broken(f"did not answer within {self._timeout_s:g} s") from None
        except (OSError, EOFError) as error:
            why = f"broke off the connection ({reason(error)})"
            raise _Broken(why, silent=not incoming.started) from None
        except ValueError as error:
            raise _Broken(f"does not speak HTTP ({error})") from None
        finally:
            if sent and answer is not None and answer.reusable:
                self._keep(connection)
            else:
                connection.close()
        return answer

    def _take(self) -> Connection | None:
        """A kept connection, the one that was used last; None when none is usable."""
        with suppress(IndexError):
            while True:
                connection = self._kept.pop()
                if connection.is_usable():
                    return connection
                connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        connection.used_at = time.monotonic()
        self._kept.append(connection)
        with suppress(IndexError):
            while not self._kept[0].is_recent() or len(self._kept) > MOST_KEPT:
                self._kept.popleft().close()
        if not self.is_open:  # closed before it was put there, or just now by another thread
            self.close()


def _read(answer: Answer, step: Step, server: Server) -> Any:
    """The JSON of an answer. Raises: ApiError when it is a refusal; Unreachable."""
    try:
        value = loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if 200 <= answer.status < 300 or answer.status in step.answers:
        if isinstance(value, step.shape):
            return value
    elif isinstance(value, dict) and "type" in value:
        raise api_error(answer.status, value, answer.headers)
    said = f"{answer.status}"
    if location := answer.headers.get("location"):
        said += f" and points to {location}"
    raise Unreachable(
        f"what answers at {server.where} is not lq: it said {said}",
        hint="LQ_API_URL (or --url) is the daemon's own address, without a path after it.",
    )


def _wait_after(answer: Answer, step: Step, request: Request, tries: int) -> float | None:
    """How long to wait after a refusal that may not last; None for any other answer.

    Where the daemon says that it did nothing, even what is not safe may be repeated. Without its
    Retry-After a 503 may be of something before it that gave up waiting.
    """
    if answer.status in step.answers:
        return None
    if answer.status in {429, 503}:
        after = answer.headers.get("retry-after", "")
        if after.isdecimal():
            return spread(float(after))
        return backoff_s(tries) if _is_repeatable(request) else None
    if answer.status == 409 and IN_PROGRESS in answer.body:
        return backoff_s(tries)
    return None


def _is_repeatable(request: Request) -> bool:
    """Whether it may be sent twice: a DELETE or PATCH may not, as what it names may be another
    item by then; a cancel by key would end the next job of that key.
    """
    return request.method == "GET" or IDEMPOTENCY_KEY in request.headers


def backoff_s(tries: int) -> float:
    """How long to wait after so many tries."""
    return spread(float(FIRST_WAIT_S * WAIT_FACTOR**tries))


def spread(wait_s: float) -> float:
    """A wait, up to a quarter longer, so that clients do not all come back at one moment."""
    return wait_s * (1 + os.urandom(1)[0] / 1024)


def _left(until: float) -> float:
    """The time left for an operation. Raises: TimeoutError when there is none."""
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s
