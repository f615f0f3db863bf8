"""Somebody who reads a stream of events from a raw socket, frame by frame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from .raw import GIVE_UP_S, Answer, Connection, Peer


class Frame(NamedTuple):
    """One event as it came. Shape: `verb` is "" where there is an id alone."""

    id: str
    verb: str
    data: Any

    @property
    def item(self) -> str:
        return str(self.data["id"])


class Listener:
    """Reads events. Shape: `head` is the answer's, `last_id` the id that came last."""

    def __init__(self, connection: Connection, head: Answer) -> None:
        self._connection = connection
        self.head = head
        self.last_id = ""

    async def block(self) -> list[str]:
        """The lines up to the next empty one."""
        async with asyncio.timeout(GIVE_UP_S):
            text = await self._connection.reader.readuntil(b"\n\n")
        return text.decode().splitlines()[:-1]

    async def fields(self) -> Mapping[str, str]:
        """The fields of the next block."""
        lines = [line for line in await self.block() if not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        self.last_id = fields.get("id", self.last_id)
        return fields

    async def next(self) -> Frame:
        """The next event; ids and comments alone are passed over."""
        while True:
            if "data" in (fields := await self.fields()):
                return Frame(self.last_id, fields["event"], json.loads(fields["data"]))

    async def take(self, number: int) -> list[Frame]:
        return [await self.next() for _ in range(number)]

    async def all(self) -> list[Frame]:
        """The events that come until the other side closes."""
        frames = []
        while True:
            try:
                frames.append(await self.next())
            except asyncio.IncompleteReadError:
                return frames

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        async with asyncio.timeout(GIVE_UP_S):
            return await self._connection.reader.read()

    async def close(self) -> None:
        await self._connection.close()


async def listen(peer: Peer, query: str = "", *headers: str) -> Listener:
    """Begin to listen: what happens after this returns is heard."""
    connection = await peer.connect()
    await connection.send(peer.written(f"GET events{query}", *headers))
    async with asyncio.timeout(GIVE_UP_S):
        head = await connection.head()
    assert head.status == 200, await connection.body(head)
    listener = Listener(connection, head)
    assert "retry" in await listener.fields()  # and where it begins
    return listener
