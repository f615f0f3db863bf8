"""Whether lq may listen where it is told to, and the certificate that it shows there.

Owns: the rule that a token never travels in the clear through a network, and reading the files
of `[tls]`. Never opens a listening socket.
Invariant: a TLS context that exists holds a certificate and the key that belongs to it.
"""

from __future__ import annotations

import socket
import ssl
import stat
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, NoReturn

from lq.config import Config
from lq.errors import ConfigError

_OTHERS_MAY: Final = stat.S_IRWXO | stat.S_IWGRP


def plain(address: str) -> IPv4Address | IPv6Address:
    """An address as the network means it: IPv4 in IPv6 clothes is IPv4. Raises: ValueError."""
    found = ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def where(config: Config) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The family and the address that `listen` means. Raises: OSError."""
    found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return family, address


def is_exposed(config: Config) -> bool:
    """Whether other machines can reach what lq listens on."""
    try:
        _, address = where(config)
    except OSError:
        return False  # nothing can listen there by now; what is bound is judged again
    return _is_reachable(address)


def check(config: Config) -> None:
    """Refuse to serve tokens in the clear to other machines. Raises: ConfigError."""
    if is_exposed(config):
        _refuse_the_clear(config)


def check_bound(config: Config, listener: socket.socket) -> None:
    """The same of a socket that is bound: a name may lead elsewhere by then.

    Raises: ConfigError.
    """
    if _is_reachable(listener.getsockname()):
        _refuse_the_clear(config)


def _is_reachable(address: tuple[Any, ...]) -> bool:
    return not plain(str(address[0])).is_loopback


def _refuse_the_clear(config: Config) -> None:
    if config.tls.cert or config.trusted_proxy:
        return
    raise ConfigError(
        f"{config.origin.get('listen', 'default')}: listen: {config.listen} is open to other"
        " machines, and tokens would cross the network unencrypted",
        hint="let lq speak https: set cert and key in [tls]; or let a proxy do so in front of it"
        " and set trusted_proxy to its address; 127.0.0.1 is open to this machine alone",
    )


def server_context(config: Config) -> ssl.SSLContext | None:
    """What `[tls]` says, read from its files; None for plain http.

    Raises: ConfigError, naming the line and the file that cannot be used.
    """
    cert, key = config.tls.cert, config.tls.key
    if cert is None or key is None:
        return None
    certificate = _read(config, "cert", cert)
    _read(config, "key", key)
    if (mode := stat.S_IMODE(key.stat().st_mode)) & _OTHERS_MAY:
        _refuse(config, "key", f"{key} is open to others (mode {mode:04o})", f"chmod 600 {key}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except _PassphraseNeeded:
        _refuse(config, "key", f"{key} is locked with a passphrase", "give lq one without")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse(config, "key", f"{key} does not belong to the certificate {cert}")
        _refuse(config, *_unusable(certificate, cert, key))
    return context


class _PassphraseNeeded(Exception):
    pass


def _no_passphrase() -> str:
    """Stands where OpenSSL would ask on the terminal."""
    raise _PassphraseNeeded


def _read(config: Config, name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _refuse(config, name, f"{path} cannot be read: {error.strerror}")


def _unusable(certificate: bytes, cert: Path, key: Path) -> tuple[str, str]:
    """Which of the two OpenSSL did not understand; it does not say itself."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(
            cadata=certificate.decode("ascii")
        )
    except (ssl.SSLError, ValueError):
        return "cert", f"{cert} is not a certificate in PEM"
    return "key", f"{key} is not a key in PEM"


def _refuse(config: Config, name: str, why: str, hint: str | None = None) -> NoReturn:
    at = config.origin.get(f"tls.{name}", "default")
    raise ConfigError(f"{at}: [tls] {name}: {why}", hint=hint)
