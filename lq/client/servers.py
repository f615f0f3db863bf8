"""Where a daemon is: at a URL, or at its unix socket on this machine.

Owns: reading addresses and tokens, finding the daemon that is meant when none is named, and the
words for one that cannot be reached. Opens nothing: the two clients dial in their own ways.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from lq.errors import LqError, ValidationError
from lq.paths import find_socket

if TYPE_CHECKING:
    import ssl


class Unreachable(LqError):
    """No daemon answered, or what answered is not one.

    `unsent` is true when the daemon has certainly not been given the request and may come yet,
    `lasting` when asking again will not help.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        unsent: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.unsent = unsent
        self.lasting = lasting


class UnixServer:
    """A daemon on this machine, at its unix socket; being allowed to open it is the credential."""

    host = "lq"
    base = ""
    token = None
    name = None
    tls = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    def check(self) -> None:
        """In a folder where anyone may put one, trust only a socket that is ours.

        Raises: Unreachable; OSError when there is none.
        """
        shared = self.path.parent.stat().st_mode & stat.S_IWOTH
        owner = self.path.stat().st_uid
        if shared and owner != os.geteuid():
            raise Unreachable(
                f"the socket {self.path} belongs to user {owner} and is not to be trusted",
                hint="Remove it, or set `socket` in lq.toml to a path in a folder of your own.",
                lasting=True,
            )

    def explained(self, error: Exception) -> Unreachable:
        """What to say when it cannot be dialled."""
        start = "Start one with `lq serve`, or say where it is with --config, --url or LQ_API_URL."
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return Unreachable(f"no lq daemon is running at {self.path}", hint=start, unsent=True)
        if isinstance(error, PermissionError):
            return Unreachable(
                f"the socket {self.path} is not open to this user",
                hint="Use the daemon's own user, or LQ_API_URL with a token in LQ_TOKEN.",
                lasting=True,
            )
        return Unreachable(
            f"cannot reach the daemon at {self.path}: {reason(error)}", hint=start, unsent=True
        )


class UrlServer:
    """A daemon anywhere, at an http or https URL, with a token."""

    path = None

    def __init__(self, url: str, token: str | None, *, named: str = "url") -> None:
        """Shape: `named` is what to call the URL when it is wrong.

        Raises: ValidationError when the URL or the token cannot be used.
        """
        try:
            parts = urlsplit(url.strip())
            name, port = parts.hostname or "", parts.port
            host = parts.netloc if name.isascii() else _with_port(name.encode("idna"), port)
        except ValueError:
            raise _not_a_url(url, named) from None
        if parts.username is not None:
            raise ValidationError.of(named, "names a user; a token goes into LQ_TOKEN instead")
        if parts.scheme not in {"http", "https"} or not name or parts.query or parts.fragment:
            raise _not_a_url(url, named)
        if token is not None and not all("!" <= c <= "~" for c in token):
            raise ValidationError.of("token", "has characters that no token has")
        self.where = f"{parts.scheme}://{parts.netloc}"
        self.host = host
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/")
        self.base = path.removesuffix("/api/v1").rstrip("/")
        self.token = token
        self.name = name
        self.is_secured = parts.scheme == "https"
        self.port = port if port is not None else 443 if self.is_secured else 80

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """What certificates are checked with; None for plain http. It takes a while to load."""
        if not self.is_secured:
            return None
        import ssl

        return ssl.create_default_context()

    def check(self) -> None:
        """Nothing is known against any address."""

    def explained(self, error: Exception) -> Unreachable:
        """What to say when it cannot be dialled."""
        why = "not a host name" if isinstance(error, UnicodeError) else reason(error)
        hint = "Check LQ_API_URL (or --url), and that the daemon runs there."
        if distrust := getattr(error, "verify_message", None):
            why = f"its certificate is not to be trusted ({distrust})"
            hint = "Use the name it was made for; SSL_CERT_FILE can name an authority of yours."
        return Unreachable(
            f"cannot reach the daemon at {self.where}: {why}",
            hint=hint,
            unsent=not distrust,
            lasting=bool(distrust),
        )


Server = UnixServer | UrlServer


def find_server(
    url: str | None, token: str | None, socket: str | Path | None, environ: Mapping[str, str]
) -> Server:
    """The server that arguments or LQ_API_URL and LQ_TOKEN name, else the one on this machine.

    Raises: ValidationError when the URL or the token cannot be used; TypeError when URL and
    socket are both given; ConfigError when the lq.toml that would say where cannot be read.
    """
    if url is not None and socket is not None:
        raise TypeError("a daemon is reached by its url or by its socket; give one of them")
    if socket is not None:
        return UnixServer(Path(socket))
    token = token or environ.get("LQ_TOKEN") or None
    if url is not None:
        return UrlServer(url, token)
    if named := environ.get("LQ_API_URL"):
        return UrlServer(named, token, named="LQ_API_URL")
    return UnixServer(find_socket(None, environ))


def reason(error: BaseException) -> str:
    """The system's words for an error, without its number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _not_a_url(text: str, named: str) -> ValidationError:
    return ValidationError.of(named, f'expected one such as "https://lq.example.com", got "{text}"')


def _with_port(name: bytes, port: int | None) -> str:
    return name.decode() if port is None else f"{name.decode()}:{port}"
