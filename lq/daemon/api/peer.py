"""Who is at the other end of a connection: a process on this machine, or an address.

Owns: reading the credentials of a unix socket, deciding which of the addresses that proxies name
is the client's, and who may speak without TLS. Never trusts a header of somebody who is not a
listed proxy.
Invariant: a client's address was said by the connection itself, or by a trusted proxy.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network
from typing import Final

from multidict import CIMultiDictProxy

from lq.config import Network
from lq.exposure import plain

_UNKNOWN: Final = "unknown"
_PORT: Final = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")
_FOR: Final = re.compile(r'(?:^|;)\s*for=("?)([^";]*)\1\s*(?:;|$)', re.IGNORECASE)
_PREFIX_V6: Final = 64  # what one customer is given at least


def credentials(connection: socket.socket) -> str:
    """The user and process at the other end of a unix socket, as the kernel knows them."""
    if connection.family != socket.AF_UNIX:
        return _UNKNOWN
    try:
        uid, pid = _credentials(connection)
    except OSError:  # it has gone away, or this system does not say
        return _UNKNOWN
    return f"uid {uid}, pid {pid}"


def _credentials(connection: socket.socket) -> tuple[int, int]:
    """Raises: OSError."""
    if sys.platform == "darwin":  # <sys/un.h>: LOCAL_PEERCRED (a struct xucred), LOCAL_PEERPID
        _, uid = struct.unpack_from("=II", connection.getsockopt(0, 1, 76))
        (pid,) = struct.unpack("=i", connection.getsockopt(0, 2, 4))
    else:
        form = struct.Struct("=iII")
        option = getattr(socket, "SO_PEERCRED", 0)  # nowhere but on Linux
        pid, uid, _ = form.unpack(connection.getsockopt(socket.SOL_SOCKET, option, form.size))
    return uid, pid


def group(address: str) -> str:
    """Whom a limit holds: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = plain(address)
    except ValueError:
        return _UNKNOWN
    if found.version == 4:
        return str(found)
    return str(IPv6Network((int(found), _PREFIX_V6), strict=False))


class Proxies:
    """The proxies in front of lq, and what they say of those whom they speak for."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    def include(self, address: str) -> bool:
        """Whether this is the address of one of them."""
        if not self._trusted:
            return False
        try:
            found = plain(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)

    def may_come_in_the_clear(self, address: str) -> bool:
        """Whether no token crosses a network unencrypted when this address sends it.

        What lies between a proxy and lq is for whoever has listed the proxy.
        """
        try:
            found = plain(address)
        except ValueError:  # it has gone away already
            return False
        return found.is_loopback or self.include(address)

    def client(self, peer: str, headers: CIMultiDictProxy[str]) -> str:
        """The address of who asks: the last one in the chain that is no proxy of ours.

        Shape: each proxy adds at the right whom it heard from. Where the two headers contradict
        each other, one of them came from the client: then the proxy's own address stands.
        """
        if not headers or not self.include(peer):  # what was not understood has none
            return peer
        found = {
            self._last_untrusted(peer, chain)
            for chain in (_forwarded_for(headers), _forwarded(headers))
            if chain
        }
        return found.pop() if len(found) == 1 else peer

    def _last_untrusted(self, peer: str, chain: Sequence[str]) -> str:
        for entry in reversed(chain):
            try:
                found = plain(entry)
            except ValueError:  # "unknown", an invented name: who sent it answers for it
                break
            if getattr(found, "scope_id", None) is not None:
                break  # it means nothing elsewhere, and can hold any text
            peer = str(found)
            if not self.include(peer):
                break
        return peer


def _forwarded_for(headers: CIMultiDictProxy[str]) -> list[str]:
    return [_bare(entry) for entry in _entries(headers.getall("X-Forwarded-For", ()))]


def _forwarded(headers: CIMultiDictProxy[str]) -> list[str]:
    """The `for` of each element of RFC 7239.

    Taken apart at every comma, quoted or not: a quote that a client left open must not swallow
    what the proxy added.
    """
    found = [_FOR.search(entry) for entry in _entries(headers.getall("Forwarded", ()))]
    return [_bare(match[2]) if match else _UNKNOWN for match in found]


def _entries(values: Iterable[str]) -> list[str]:
    return [entry.strip() for value in values for entry in value.split(",")]


def _bare(entry: str) -> str:
    """An address without brackets and port."""
    found = _PORT.fullmatch(entry)
    if found is None:
        return entry
    return found[1] if found[1] is not None else found[2]
