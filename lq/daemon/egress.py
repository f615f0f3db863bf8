"""Which targets lq may call.

Owns: the strict reading of a target's URL, and the rule on addresses. Resolves no names: `check`
judges what a URL says by itself, at push, and `permits` each address that is really dialled,
where the connection is made (`targets.connect`).

Invariant: an address has one spelling. What a resolver or an HTTP library might read as an
address that lq did not see is refused before anything is decided.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from lq.errors import TargetNotAllowed, ValidationError

Address = IPv4Address | IPv6Address

MAX_TARGET: Final = 2048

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# A well-formed request sent to one of these speaks to something that is no HTTP server.
_FOREIGN_PORTS: Final = {
    21: "FTP",
    22: "SSH",
    23: "Telnet",
    25: "SMTP",
    53: "DNS",
    110: "POP3",
    143: "IMAP",
    445: "SMB",
    465: "SMTP",
    587: "SMTP",
    993: "IMAP",
    995: "POP3",
    3306: "MySQL",
    5432: "PostgreSQL",
    6379: "Redis",
    11211: "memcached",
    27017: "MongoDB",
}

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f-\xa0\s\\\ud800-\udfff]")
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))
_URL: Final = re.compile(r"(?ai)(https?)://([^/?#]*)([^#]*)")
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What the old resolvers take for a part of an IPv4 address, octal and hexadecimal included.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Source: the IANA special-purpose registries, and what lies outside global unicast.
_NOT_PUBLIC_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # public by number, but the host of every Azure machine
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
_MAPPED_V4: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")

# What hands credentials to whoever asks from this machine, and what is next to it: a network
# in `allow` that happens to hold one of these does not open it.
_SENSITIVE: Final = (
    IPv4Network("169.254.0.0/16"),  # link-local; the metadata service of nearly every cloud
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure
    IPv4Network("192.0.0.192/32"),  # Oracle
    IPv6Network("fe80::/10"),  # link-local
    IPv6Network("fd00:ec2::/32"),  # Amazon
    IPv6Network("fd20:ce::254/128"),  # Google
    IPv6Network("fd00:42::42/128"),  # Scaleway
)

# What carries any IPv4 address within its own, so that a gateway near lq may lead to it.
_CARRYING_V4: Final = tuple(
    map(
        IPv6Network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b:1::/48",  # NAT64 of one's own; that of all, 64:ff9b::/96, is looked into
            "2002::/16",  # 6to4
        ),
    )
)

_LOCALHOST: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_ENTRY: Final = re.compile(r"(?:\[([^\]%]*)\]|([^\[\]:]*)):([0-9]{1,5})(?:-([0-9]{1,5}))?")
_ENTRY_FORMS: Final = '"127.0.0.1:3000", "[::1]:3000" or "10.1.2.0/24:8000-8099"'
_PIN: Final = re.compile(r"([^:\[\]]+):([0-9]{1,5}):(?:\[([^\]%]*)\]|([^\[\]:]*))")
_PIN_FORMS: Final = '"example.com:443:127.0.0.1" or "example.com:443:[::1]"'

Pins = Mapping[tuple[str, int], tuple[Address, ...]]


class Target(Struct, frozen=True):
    """A URL lq can call, in its one spelling.

    Shape: `host` is lower case, ASCII, without the brackets of IPv6. Path and query stay as
    given, but for characters outside ASCII, which are percent-encoded.
    """

    url: str
    scheme: str
    host: str
    port: int


class Egress:
    """The rule of `[egress]`: https to the public Internet, and what `allow` lists.

    Shape: `pins` are the addresses that `[dispatch] resolve` gives to names; they are judged
    like any other. Raises: ValueError naming the entry that cannot be read.
    """

    def __init__(self, mode: str, allow: Sequence[str], pins: Pins = MappingProxyType({})) -> None:
        if mode != "public":
            raise ValueError(f'the mode must be "public", got {mode!r}')
        self._allowed = tuple(map(_parse_entry, allow))
        self._pins = pins
        self._listener: tuple[int, Callable[[Address], bool]] | None = None

    def protect(self, port: int, is_here: Callable[[Address], bool]) -> None:
        """Keep lq from calling itself: this port, on any address of which `is_here` is true."""
        self._listener = port, is_here

    def check(self, target: Target) -> None:
        """Let a target pass. Raises: TargetNotAllowed.

        Whoever pushes shall not learn this machine's addresses: which of them lq listens on, but
        for the loopback ones, is left to `permits`.
        """
        addresses = self.known(target.host, target.port)
        for address in addresses:
            own = self._is_listener(address, target.port, lambda _: False)
            if self._opens(target.scheme, address, target.port, alone=own):
                return
        if addresses or target.scheme == "http":
            raise _blocked(target)

    def permits(self, scheme: str, address: Address, port: int) -> bool:
        """Whether a connection may be made to this very address."""
        own = self._listener is not None and self._is_listener(address, port, self._listener[1])
        return self._opens(scheme, address, port, alone=own)

    def known(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses a host means without asking anybody; none when it has to be looked up."""
        return self._pins.get((host, port)) or _addresses(host)

    def _opens(self, scheme: str, address: Address, port: int, *, alone: bool) -> bool:
        """Whether the rule lets an address pass; `alone`, only by an entry of exactly it."""
        address = _unmapped(address)
        entries = [n for n, ports in self._allowed if port in ports and address in n]
        if alone or _is_sensitive(address):
            return any(map(_is_one_address, entries))
        return bool(entries) or (scheme == "https" and is_public(address))

    def _is_listener(self, address: Address, port: int, is_here: Callable[[Address], bool]) -> bool:
        """Whether lq itself is what listens there."""
        if self._listener is None or self._listener[0] != port:
            return False
        inner = _inner(_unmapped(address))
        return inner.is_loopback or inner.is_unspecified or is_here(inner)


def _blocked(target: Target) -> TargetNotAllowed:
    """The refusal of a target. It says nothing that the target does not: no address of a pin."""
    called = f"{target.scheme} to {_host_and_port(target.host, target.port)}"
    written = _addresses(target.host)
    if target.scheme == "http" and not written:
        return TargetNotAllowed(
            f"{called} is blocked: plain http may only go to addresses listed in [egress] allow",
            hint="use https, or call the host by its address and add that to lq.toml: "
            f'[egress] allow = ["ADDRESS:{target.port}"]',
        )
    entry = _host_and_port(str(written[0]) if written else "ADDRESS", target.port)
    where = "" if written else ", with the address that [dispatch] resolve gives it"
    return TargetNotAllowed(
        f"{called} is blocked: only https to a public address needs no entry in [egress] allow;"
        " link-local and metadata addresses, and lq's own, need an entry of exactly that address",
        hint=f'to let lq call it, add to lq.toml: [egress] allow = ["{entry}"]{where}',
    )


def parse_pins(entries: Iterable[str]) -> Pins:
    """Read `[dispatch] resolve`. Raises: ValueError naming the entry that cannot be read."""
    pins: dict[tuple[str, int], tuple[Address, ...]] = {}
    for entry in entries:
        name, address = _parse_pin(entry)
        pins[name] = (*pins.get(name, ()), address)
    return MappingProxyType(pins)


def parse_target(text: str) -> Target:
    """Read a target's URL. Raises: ValidationError naming the rule it breaks."""
    if len(text) > MAX_TARGET:
        raise _invalid(f"a target has at most {MAX_TARGET} characters", "too_long")
    if _FORBIDDEN.search(text):
        raise _invalid("a target has no spaces, control characters or backslashes")
    match = _URL.fullmatch(text)
    if match is None:
        if "#" in text:
            raise _invalid("a target has no fragment (#…)")
        raise _invalid("a target starts with https:// or http://")
    scheme = match[1].lower()
    host, port = _parse_authority(match[2], _DEFAULT_PORTS[scheme])
    tail = match[3] if match[3].startswith("/") else f"/{match[3]}"
    bracketed = f"[{host}]" if ":" in host else host
    suffix = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    url = f"{scheme}://{bracketed}{suffix}{quote(tail, safe=_ASCII)}"
    if len(url) > MAX_TARGET:
        raise _invalid(f"a target has at most {MAX_TARGET} characters, encoded", "too_long")
    return Target(url, scheme, host, port)


def is_public(address: Address) -> bool:
    """Whether an address is reachable, and meant to be, from anywhere on the Internet."""
    address = _unmapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def _parse_authority(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        raise _invalid("a target has no user or password; send them with x-lq-headers")
    if authority.count(":") > 1 and not authority.startswith("["):
        raise _invalid("an IPv6 address stands in brackets: http://[::1]:3000/")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _invalid("what follows the host is not a port")
    host = _parse_host(match[1])
    if match[2] is None:
        return host, default_port
    if not _PORT.fullmatch(match[2]) or int(match[2]) > 65_535:
        raise _invalid("the port is a number from 1 to 65535")
    port = int(match[2])
    if port in _FOREIGN_PORTS:
        raise _invalid(f"port {port} is {_FOREIGN_PORTS[port]}, not HTTP")
    return host, port


def _parse_host(written: str) -> str:
    """The one spelling of a host."""
    if not written:
        raise _invalid("a target names a host")
    if "%" in written:
        raise _invalid("the host has no percent-encoding and no zone id")
    if written.startswith("["):
        try:
            return str(_unmapped(IPv6Address(written[1:-1])))
        except ValueError:
            raise _invalid(f"{written} is no IPv6 address") from None
    host = written.lower()
    if not written.isascii():
        host = _to_ascii(written)
    if host.endswith("."):
        raise _invalid("the host has no dot at its end")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise _invalid("an IPv4 address is four decimal numbers: 192.0.2.1") from None
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise _invalid(f"{host!r} is no valid host name")
    return host


def _to_ascii(written: str) -> str:
    """A host name with characters outside ASCII as DNS knows it (IDNA 2008, nothing mapped)."""
    import idna

    # Lower case is the one mapping made; it must not turn look-alikes (the Kelvin sign) ASCII.
    if any(not char.isascii() and char.lower()[0].isascii() for char in written):
        raise _invalid(f"{written!r} is no valid host name")
    try:
        return idna.encode(written.lower(), strict=True).decode("ascii")
    except idna.IDNAError as error:
        raise _invalid(f"{written!r} is no valid host name: {error}") from None


def _invalid(message: str, code: str = "invalid") -> ValidationError:
    return ValidationError.of("target", message, code)


@lru_cache(maxsize=1024)
def _addresses(host: str) -> tuple[Address, ...]:
    """The addresses a host is known to mean without asking a resolver."""
    if host == "localhost":
        return _LOCALHOST
    try:
        return (ipaddress.ip_address(host),)
    except ValueError:
        return ()


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _is_one_address(network: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen == network.max_prefixlen


def _is_sensitive(address: Address) -> bool:
    """Whether only an entry of exactly this address opens it, wherever lq listens."""
    inner = _inner(address)
    if any(inner in network for network in _SENSITIVE):
        return True
    plain = inner.is_loopback or inner.is_unspecified  # numbered as if they carried 0.0.0.0/31
    return not plain and any(inner in network for network in _CARRYING_V4)


def _opens_nothing(network: IPv4Network | IPv6Network) -> bool:
    """Whether all of a network is sensitive: its first and its last address, in one range."""
    ends = network.network_address, network.broadcast_address
    return any(all(end in other for end in ends) for other in _SENSITIVE + _CARRYING_V4)


def _inner(address: Address) -> Address:
    """What an address leads to: NAT64 carries IPv4 addresses in its own."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address


def _parse_pin(entry: str) -> tuple[tuple[str, int], Address]:
    """One entry of `[dispatch] resolve`: a name and port, and the address to call for them."""
    match = _PIN.fullmatch(entry)
    if match is None:
        raise ValueError(f"expected {_PIN_FORMS}, got {entry!r}")
    try:
        host, port = _parse_authority(f"{match[1]}:{match[2]}", 0)
    except ValidationError as error:
        raise ValueError(f"{error.issues[0].message}, got {entry!r}") from None
    if host != "localhost" and _addresses(host):
        raise ValueError(f"expected a name before the port, not an address, got {entry!r}")
    try:
        address = IPv4Address(match[4]) if match[3] is None else IPv6Address(match[3])
    except ValueError:
        raise ValueError(f"expected an address as in {_PIN_FORMS}, got {entry!r}") from None
    return (host, port), _unmapped(address)


def _parse_entry(entry: str) -> tuple[IPv4Network | IPv6Network, range]:
    """One entry of `[egress] allow`: an address or network, and a port or range of ports."""
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"expected {_ENTRY_FORMS}, got {entry!r}")
    try:
        network = IPv4Network(match[2]) if match[1] is None else IPv6Network(match[1])
    except ValueError:
        raise ValueError(
            f"expected an address such as {_ENTRY_FORMS}, got {entry!r}{_instead(match)}"
        ) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED_V4):
        raise ValueError(f"an IPv4 address is written as one, as in {_ENTRY_FORMS}, got {entry!r}")
    if not _is_one_address(network) and _opens_nothing(network):
        raise ValueError(
            "link-local and metadata addresses, and those that carry an IPv4 address, are listed"
            f" singly, got {entry!r}"
        )
    ports = range(int(match[3]), int(match[4] or match[3]) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65_535:
        raise ValueError(f"ports are numbers from 1 to 65535, the lower first, got {entry!r}")
    return network, ports


def _instead(entry: re.Match[str]) -> str:
    """How an entry that cannot be read may be meant."""
    host, ports = entry[2] or "", entry[0].rpartition(":")[2]
    if host == "localhost":
        return f", not a name: write 127.0.0.1:{ports}"
    if re.fullmatch(r"[a-z0-9.-]*[a-z][a-z0-9.-]*", host, re.IGNORECASE):
        return ", not a name: write the address it stands for"
    with suppress(ValueError):
        return f", whose network is {IPv4Network(host, strict=False)}"
    return ""


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
