"""The way out with a rule, a resolver and authorities of a test's own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from lq.clock import Clock, SystemClock
from lq.daemon.egress import Egress, parse_pins
from lq.daemon.targets.http import HttpTarget
from lq.signature import new_secret
from tests.support.calls import signing
from tests.support.handler import Wire

LOOPBACK = ["127.0.0.1:1-65535", "[::1]:1-65535"]


class Dns:
    """Stands in for socket.getaddrinfo: what names mean, in turn, and what was asked.

    Shape: an Event in place of addresses is a resolver that says nothing until it is set, and
    then that there is no such name. The last answer of a name stays.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Sequence[str] | threading.Event]] = {}
        self.default: Sequence[str] = ()
        self.asked: list[str] = []

    def on(self, host: str, *answers: Sequence[str] | threading.Event) -> None:
        self.answers[host] = list(answers)

    def __call__(self, host: str, _: object, **__: object) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        answers = self.answers.get(host, [self.default])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, threading.Event):
            answer.wait(30)
            answer = ()
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in one], socket.SOCK_STREAM, 6, "", (one, 0)) for one in answer]


@contextlib.asynccontextmanager
async def way_out(
    allow: Sequence[str] = (),
    *,
    pins: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
    dns: Callable[..., Sequence[tuple[Any, ...]]] | None = None,
    clock: Clock | None = None,
    most_idle: int = 64,
) -> AsyncIterator[HttpTarget]:
    """The way out under a rule; without `dns` no name has an address."""
    signer = signing(new_secret(bytes(32)))
    egress = Egress("public", allow, parse_pins(pins))
    out = HttpTarget(signer, egress, clock or SystemClock(), tls, dns or Dns(), most_idle=most_idle)
    async with out as target:
        yield target


async def answers_ok(wire: Wire) -> None:
    """Read each request's head and body, and answer it 200."""
    while True:
        head = await wire.reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await wire.reader.readexactly(int(length or 0))
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
