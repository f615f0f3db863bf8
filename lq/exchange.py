"""HTTP/1.1 as a client of one server speaks it, without doing any input or output itself.

Owns: the bytes of a request, and reading an answer from bytes as they come. Knows no sockets,
never retries, never follows a redirect.
Invariant: an answer is returned whole or not at all, and no peer can make it grow without bound.

Why not http.client: `lq push` waits for this module. http.client and the email parser it
brings cost 16 ms to import, 1.4 times the start of a bare Python; this one costs 2. And it
serves the event loop as well as blocking sockets.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from lq import __version__
from lq.errors import ValidationError

MAX_LINE = 65_536
MAX_HEAD = 1 << 18
MAX_BODY = 1 << 28

Need = Generator[None, None, str]


class Request(NamedTuple):
    """What to send; `path` is percent-encoded and begins with a slash."""

    method: str
    path: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


class Answer(NamedTuple):
    """One answer; header names are lower case. `reusable`: its connection takes another request."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


def request_head(request: Request, host: str, base: str, token: str | None) -> bytes:
    """The head of a request to a server whose paths begin with `base`.

    Raises: ValidationError when a header's value cannot be sent.
    """
    everything = {
        "Host": host,
        "User-Agent": f"lq/{__version__}",
        "Accept": "application/json",
        "Content-Length": str(len(request.body)),
        **request.headers,
    }
    if token:
        everything["Authorization"] = f"Bearer {token}"
    lines = [f"{request.method} {base}{request.path} HTTP/1.1"]
    for name, value in everything.items():
        if any((c < " " and c != "\t") or c == "\x7f" for c in value):
            raise ValidationError.of(name, "must not hold control characters")
        lines.append(f"{name}: {value}")
    try:
        return "\r\n".join([*lines, "", ""]).encode()
    except UnicodeEncodeError:
        raise ValidationError.of("argument", "must be UTF-8 text") from None


class Incoming:
    """Reads one answer. `started` is true once a byte of it has come."""

    def __init__(self) -> None:
        self.started = False
        self._buffer = bytearray()
        self._ended = False
        self._head_left = MAX_HEAD
        self._reading = self._answer()

    def feed(self, data: bytes) -> Answer | None:
        """Take the bytes that came, none at their end; the answer, once it is whole.

        Raises: EOFError when it ends early, ValueError when it is not HTTP.
        """
        self.started = self.started or bool(data)
        self._buffer += data
        self._ended = not data
        try:
            next(self._reading)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        return None

    def _answer(self) -> Generator[None, None, Answer]:
        status, version, headers = yield from self._head()
        return (yield from self._whole(status, version, headers))

    def _head(self) -> Generator[None, None, tuple[int, str, dict[str, str]]]:
        status, version, headers = 100, "", {}
        while 100 <= status < 200:
            version, _, rest = (yield from self._line()).partition(" ")
            if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
                raise ValueError("no status line")
            status = int(rest[:3])
            headers = yield from self._headers()
        return status, version, headers

    def _whole(
        self, status: int, version: str, headers: dict[str, str]
    ) -> Generator[None, None, Answer]:
        framed = True
        if status in {204, 304}:
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = yield from self._chunks()
        elif "content-length" in headers:
            body = yield from self._exactly(_length(headers["content-length"], 10))
        else:
            framed = False
            body = yield from self._rest()
        closing = "close" in headers.get("connection", "").lower()
        reusable = framed and version == "HTTP/1.1" and not closing and not self._buffer
        return Answer(status, headers, body, reusable)

    def _headers(self) -> Generator[None, None, dict[str, str]]:
        headers = {}
        while line := (yield from self._line()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while size := _length((yield from self._line()).partition(";")[0], 16):
            body += yield from self._exactly(size)
            if len(body) > MAX_BODY:
                raise ValueError("an answer of that size")
            self._head_left = MAX_HEAD
            yield from self._line()
        while (yield from self._line()):
            pass  # trailers
        return bytes(body)

    def _line(self) -> Need:
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0 and len(self._buffer) <= MAX_LINE:
            seen = len(self._buffer)
            self._refuse_the_end()
            yield
        self._head_left -= end
        if not 0 <= end <= MAX_LINE or self._head_left < 0:
            raise ValueError("a line or a head without end")
        line = self._buffer[:end].rstrip(b"\r").decode("latin-1")
        del self._buffer[: end + 1]
        return line

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            self._refuse_the_end()
            yield
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _rest(self) -> Generator[None, None, bytes]:
        while not self._ended:
            if len(self._buffer) > MAX_BODY:
                raise ValueError("an answer without end")
            yield
        return bytes(self._buffer)

    def _refuse_the_end(self) -> None:
        if self._ended:
            raise EOFError("the answer is incomplete")


class Flow(Incoming):
    """Reads an answer that goes on and on, as it comes.

    Shape: `answer` is there if a whole one came in place of such; `begun` and `over` say where an
    endless one is.
    """

    def __init__(self, media_type: str) -> None:
        super().__init__()
        self.answer: Answer | None = None
        self.begun = self.over = False
        self._media_type = media_type
        self._came = bytearray()
        self._reading = self._flow()

    def take(self, data: bytes) -> bytes:
        """What of the body is in the bytes that came, none at their end.

        Raises: EOFError when it ends before it has begun, ValueError when it is not HTTP.
        """
        try:
            self.answer = self.feed(data)
        except EOFError:
            if not self.begun:
                raise
            self.over = True
        came = bytes(self._came)
        self._came.clear()
        return came

    def _flow(self) -> Generator[None, None, Answer]:
        status, version, headers = yield from self._head()
        if status != 200 or not headers.get("content-type", "").startswith(self._media_type):
            return (yield from self._whole(status, version, headers))
        self.begun = True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while left := _length((yield from self._line()).partition(";")[0], 16):
                while left:
                    left -= yield from self._some(left)
                self._head_left = MAX_HEAD
                yield from self._line()
            raise EOFError("it has ended")
        while True:
            yield from self._some(MAX_BODY)

    def _some(self, most: int) -> Generator[None, None, int]:
        """Take what has come of the body, at most so much: how much that is."""
        while not self._buffer:
            self._refuse_the_end()
            yield
        self._came += self._buffer[:most]
        size = min(len(self._buffer), most)
        del self._buffer[:size]
        return size


def _length(text: str, base: int) -> int:
    size = int(text, base)
    if not 0 <= size <= MAX_BODY:
        raise ValueError("an answer of that size")
    return size
