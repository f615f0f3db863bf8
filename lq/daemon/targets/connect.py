"""Connections to targets: each address is judged when it is dialled, each server by its name.

Owns: the connectors of aiohttp, their guard, and the TLS context. Decides nothing itself: the
rule on addresses is `egress`.

Invariant: no socket is made for an address that egress does not permit, whatever a URL spells,
a resolver answers or a configuration said when the job was pushed.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lq.daemon.egress import Address, Egress

log = logging.getLogger(__name__)

_MOST_TOLD: Final = 1_000
# Shorter than the 5 s after which node closes an idle connection: a request sent at that
# moment would be lost and cost the job an attempt.
_IDLE_S: Final = 4.0


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


def connector(guard: Guard, tls: ssl.SSLContext, *, keep: bool) -> aiohttp.TCPConnector:
    """A guarded connector; `keep` is whether connections are used again."""
    return aiohttp.TCPConnector(
        socket_factory=guard.open_socket,
        resolver=guard,
        use_dns_cache=False,
        ssl=tls,
        limit=0,
        keepalive_timeout=_IDLE_S if keep else None,
        force_close=not keep,
    )


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """What servers are verified with: the system's authorities, or only those of a file.

    Raises: ValueError when the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificate (PEM)") from None
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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
