"""An HTTP client that sends exactly the bytes it is given, and reads exactly one answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from . import described

GIVE_UP_S = 10
WAITING = ("x-lq-target: https://example.com/hook", "x-lq-delay: 1h")
"""Headers of a push that stays where it is."""


class Answer(NamedTuple):
    """One answer. Shape: header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What every answer holds: JSON, declared as such."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def issues(self) -> list[str]:
        """The fields that a VALIDATION_ERROR names."""
        assert (self.status, self.json["type"]) == (400, "VALIDATION_ERROR")
        return [issue["path"][0] for issue in self.json["issues"]]


class Connection:
    """One connection, kept open between exchanges."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, raw: bytes) -> None:
        self._writer.write(raw)
        await self._writer.drain()

    async def receive(self, *, to_head: bool = False) -> Answer:
        """One answer, as long as its Content-Length says."""
        async with asyncio.timeout(GIVE_UP_S):
            answer = await self.head()
            return answer._replace(body=b"" if to_head else await self.body(answer))

    async def head(self) -> Answer:
        """An answer without its body, which follows."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
        return Answer(int(status_line.split(" ")[1]), headers, b"")

    async def body(self, head: Answer) -> bytes:
        """The body, as long as its head says."""
        return await self.reader.readexactly(int(head.headers.get("content-length", 0)))

    async def ended(self) -> bool:
        """Whether the other side closes now, having sent nothing more."""
        async with asyncio.timeout(GIVE_UP_S):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:  # it has closed before it had read all that was sent
                return True

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Peer:
    """Somebody who talks to the API over TCP or its unix socket, as the owner of a token."""

    def __init__(
        self, *, port: int = 0, socket_path: str = "", token: str = "", source: str = ""
    ) -> None:
        """Shape: `source` is the address that it has; any will do if it is not said."""
        self.port = port
        self._source = source
        self._socket_path = socket_path
        self.token = token
        self._connections: list[Connection] = []

    def having(self, token: str) -> Peer:
        """The same with another token ("" for none)."""
        peer = Peer(port=self.port, socket_path=self._socket_path, token=token, source=self._source)
        peer._connections = self._connections
        return peer

    def at(self, source: str) -> Peer:
        """The same at another address."""
        peer = Peer(port=self.port, token=self.token, source=source)
        peer._connections = self._connections
        return peer

    async def connect(self) -> Connection:
        if self._socket_path:
            streams = await asyncio.open_unix_connection(self._socket_path)
        else:
            mine = (self._source, 0) if self._source else None
            streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=mine)
        connection = Connection(*streams)
        self._connections.append(connection)
        return connection

    async def raw(self, request: bytes) -> Answer:
        """Send these bytes, on a connection of their own."""
        connection = await self.connect()
        await connection.send(request)
        return await connection.receive()

    async def ask(
        self,
        request_line: str,
        *headers: str | bytes,
        body: bytes = b"",
    ) -> Answer:
        """Send `METHOD /path` with these header lines, a length, and the token.

        Shape: `/path` is sent as it is; without a slash it is one below `/api/v1/`.
        The answer is one that the description of the API knows.
        """
        connection = await self.connect()
        written = self.written(request_line, *headers, body=body)
        await connection.send(written)
        answer = await connection.receive(to_head=request_line.startswith("HEAD "))
        method, target, _ = written.decode("latin-1").split(" ", 2)
        described.check(method, target, answer.status, answer.headers["content-type"], answer.body)
        return answer

    def written(self, request_line: str, *headers: str | bytes, body: bytes = b"") -> bytes:
        """The bytes of a request."""
        method, _, path = request_line.partition(" ")
        target = path if "/" in path[:1] or "://" in path else f"/api/v1/{path}"
        lines: list[str | bytes] = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines += headers
        encoded = [line.encode() if isinstance(line, str) else line for line in lines]
        return b"\r\n".join(encoded) + b"\r\n\r\n" + body

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()
