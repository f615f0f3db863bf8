"""Connections to targets: each address is judged when it is dialled, each server by its name.

Owns: the connectors of aiohttp, their guard, and the TLS context. Decides nothing itself: the
rule on addresses is `egress`.

Invariant: no socket is made for an address that egress does not permit, whatever a URL spells,
a resolver answers or a configuration said when the job was pushed. What a server may cost before
it has answered is bounded: in interim answers, and in connections that wait for another call.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import StreamReader

from lq.daemon.egress import Address, Egress

log = logging.getLogger(__name__)

_MOST_TOLD: Final = 1_000
# Shorter than the 5 s after which node closes an idle connection: a request sent at that
# moment would be lost and cost the job an attempt.
_IDLE_S: Final = 4.0
# A server says one or two (100, 102, 103) where it says any.
_MOST_INTERIM: Final = 16
_SWITCHING_PROTOCOLS: Final = 101


class Blocked(OSError):
    """The address that was about to be dialled is not permitted.

    Invariant: it looks the same for all addresses. Which one a name leads to is told to the
    log, not to whoever pushed.
    """

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "blocked")


class Guard(AbstractResolver):
    """The addresses and the sockets of a connector: only those that egress permits.

    What a name has besides is left out, so that an error is about what may be called. But the
    verdict is that on the socket: an address in a URL is never resolved.
    """

    def __init__(self, egress: Egress, scheme: str, names: AbstractResolver) -> None:
        self._egress = egress
        self._scheme = scheme
        self._names = names
        self._told: set[tuple[str, str, int]] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name that may be called. Raises: Unresolved, Blocked."""
        found = await self._names.resolve(host, port, family)
        permitted = [one for one in found if self._permits(host, one["host"], port)]
        if not permitted:
            raise Blocked
        return permitted

    async def close(self) -> None:
        """The names are shared, and closed by their owner."""

    def open_socket(self, addr_info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for this address, about to be dialled. Raises: Blocked."""
        family, kind, protocol, _, (host, port, *_) = addr_info
        if not self._permits(host, host, port):
            raise Blocked
        return socket.socket(family, kind, protocol)

    def _permits(self, host: str, address: str, port: int) -> bool:
        if self._egress.permits(self._scheme, ip_address(address), port):
            return True
        self._tell(host, address, port)
        return False

    def _tell(self, host: str, address: str, port: int) -> None:
        """Say once where a call would have gone."""
        if (host, address, port) in self._told:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told.add((host, address, port))
        log.warning("blocked %s to %s, port %d: it is %s", self._scheme, host, port, address)


class _Answers(ResponseHandler):
    """One connection: hands on final answers alone, and ends it where too many others come.

    aiohttp reads interim answers in a loop that never yields while more of them are there, so
    that a flood of them would stop all that the daemon does.
    """

    _interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        code = data[0].code
        if not 100 <= code < 200 or code == _SWITCHING_PROTOCOLS:
            self._interim = 0
            super().feed_data(data, size)
            return
        self._interim += 1
        if self._interim > _MOST_INTERIM and self.exception() is None:
            self.set_exception(BadHttpMessage("too many interim answers"))
            if self.transport is not None:
                self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Guarded, and with an end to the connections that are kept: the longest unused makes room."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, most_idle: int) -> None:
        super().__init__(
            socket_factory=guard.open_socket,
            resolver=guard,
            use_dns_cache=False,
            ssl=tls,
            limit=0,
            keepalive_timeout=_IDLE_S if most_idle else None,
            force_close=not most_idle,
        )
        self._most_idle = most_idle
        answers: Callable[..., ResponseHandler] = _Answers
        self._factory = partial(answers, loop=self._loop)

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        super()._release(key, protocol, should_close=should_close)
        if sum(map(len, self._conns.values())) > self._most_idle:
            # Of each host the first is the one that has waited for longest, with its time.
            longest = min(self._conns, key=lambda host: self._conns[host][0][1])
            self._conns[longest].popleft()[0].close()
            if not self._conns[longest]:
                del self._conns[longest]


def connector(guard: Guard, tls: ssl.SSLContext, *, most_idle: int) -> aiohttp.TCPConnector:
    """A guarded connector that keeps at most `most_idle` connections to use them again."""
    return _Connector(guard, tls, most_idle)


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """What servers are verified with: the system's authorities, or only those of a file.

    Raises: ValueError when the file cannot be read or holds no certificate.
    """
    # Not the default context: that writes its keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificate (PEM)") from None
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    return context


def is_this_machine(address: Address) -> bool:
    """Whether an address is this machine's own: only such can be bound. Sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}:
            return False
        raise
    return True
