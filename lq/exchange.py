"""One HTTP/1.1 request and its answer, over a bare socket.

Owns: reaching a server by URL or unix socket, and the bytes on the wire. Never retries, never
follows a redirect, never reads a proxy from the environment.
Invariant: an answer is returned whole or not at all.

Why not http.client: `lq push` waits for this module. http.client and the email parser it
brings cost 16 ms to import, 1.4 times the start of a bare Python; this one costs 2, and what is
left of HTTP when one connection carries one request fits on a page. TLS is loaded when a URL
asks for it.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, urlsplit

from lq import __version__
from lq.errors import LqError, ValidationError

CONNECT_TIMEOUT_S = 5.0
MAX_LINE = 65_536
MAX_BODY = 1 << 30


class Unreachable(LqError):
    """No daemon answered, or what answered is not one."""


class Answer(NamedTuple):
    """One answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class UnixServer:
    """A daemon on this machine, at its unix socket; being allowed to open it is the credential."""

    host = "lq"
    base = ""
    token = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    def connect(self) -> socket.socket:
        """Raises: Unreachable."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            self._refuse_a_strangers_socket()
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            raise self._explained(error) from None
        except Unreachable:
            connection.close()
            raise
        return connection

    def _refuse_a_strangers_socket(self) -> None:
        """In a folder where anyone may put one, trust only a socket that is ours."""
        shared = self.path.parent.stat().st_mode & stat.S_IWOTH
        owner = self.path.stat().st_uid
        if shared and owner != os.geteuid():
            raise Unreachable(
                f"the socket {self.path} belongs to user {owner} and is not to be trusted",
                hint="Remove it, or set `socket` in lq.toml to a path in a folder of your own.",
            )

    def _explained(self, error: OSError) -> Unreachable:
        start = "Start one with `lq serve`, or say where it is with --config, --url or LQ_API_URL."
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return Unreachable(f"no lq daemon is running at {self.path}", hint=start)
        if isinstance(error, PermissionError):
            return Unreachable(
                f"the socket {self.path} is not open to this user",
                hint="Use the daemon's own user, or LQ_API_URL with a token in LQ_TOKEN.",
            )
        return Unreachable(f"cannot reach the daemon at {self.path}: {_reason(error)}", hint=start)


class UrlServer:
    """A daemon anywhere, at an http or https URL, with a token."""

    def __init__(self, url: str, token: str | None) -> None:
        """Raises: ValidationError when the URL or the token cannot be used."""
        try:
            parts = urlsplit(url.strip())
            name, port = parts.hostname or "", parts.port
            host = parts.netloc if name.isascii() else _with_port(name.encode("idna"), port)
        except ValueError:
            raise _not_a_url(url) from None
        if parts.username is not None:
            raise ValidationError.of("url", "names a user; a token goes into LQ_TOKEN instead")
        if parts.scheme not in {"http", "https"} or not name or parts.query or parts.fragment:
            raise _not_a_url(url)
        if token is not None and not all("!" <= c <= "~" for c in token):
            raise ValidationError.of("token", "has characters that no token has")
        self.where = f"{parts.scheme}://{parts.netloc}"
        self.host = host
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/")
        self.base = path.removesuffix("/api/v1").rstrip("/")
        self.token = token
        self._tls = parts.scheme == "https"
        self._address = (name, port if port is not None else 443 if self._tls else 80)

    def connect(self) -> socket.socket:
        """Raises: Unreachable."""
        try:
            connection = socket.create_connection(self._address, CONNECT_TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._secured(connection) if self._tls else connection
        except (OSError, UnicodeError) as error:
            reason = _reason(error) if isinstance(error, OSError) else "not a host name"
            hint = "Check LQ_API_URL (or --url), and that the daemon runs there."
            if distrust := getattr(error, "verify_message", None):
                reason = f"its certificate is not to be trusted ({distrust})"
                hint = "Use the name it was made for; SSL_CERT_FILE can name an authority of yours."
            raise Unreachable(
                f"cannot reach the daemon at {self.where}: {reason}", hint=hint
            ) from None

    def _secured(self, connection: socket.socket) -> socket.socket:
        import ssl

        try:
            return ssl.create_default_context().wrap_socket(
                connection, server_hostname=self._address[0]
            )
        except OSError:
            connection.close()
            raise


Server = UnixServer | UrlServer


class Request(NamedTuple):
    """What to send; `path` is percent-encoded and begins with a slash."""

    method: str
    path: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


def exchange(server: Server, request: Request, timeout_s: float) -> Answer:
    """Send one request and read its answer. Units: `timeout_s` bounds each wait for bytes.

    Raises: ValidationError when a header's value cannot be sent; Unreachable.
    """
    head = _head(server, request)
    connection = server.connect()
    with connection, connection.makefile("rb") as stream:
        connection.settimeout(timeout_s)
        try:
            # A server that refuses a large body answers and closes before it has read it all.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(head + request.body)
            return _read_answer(stream)
        except TimeoutError:
            why = f"did not answer within {timeout_s:g} s"
        except (OSError, EOFError) as error:
            why = f"broke off the connection ({_reason(error)})"
        except ValueError as error:
            why = f"does not speak HTTP ({error})"
    raise Unreachable(
        f"the daemon at {server.where} {why}",
        hint=None
        if request.method == "GET"
        else "It may have done what was asked all the same; look before you repeat it.",
    )


def _not_a_url(text: str) -> ValidationError:
    return ValidationError.of("url", f'expected one such as "https://lq.example.com", got "{text}"')


def _with_port(name: bytes, port: int | None) -> str:
    return name.decode() if port is None else f"{name.decode()}:{port}"


def _head(server: Server, request: Request) -> bytes:
    everything = {
        "Host": server.host,
        "User-Agent": f"lq/{__version__}",
        "Accept": "application/json",
        "Connection": "close",
        "Content-Length": str(len(request.body)),
        **request.headers,
    }
    if server.token:
        everything["Authorization"] = f"Bearer {server.token}"
    lines = [f"{request.method} {server.base}{request.path} HTTP/1.1"]
    for name, value in everything.items():
        if any((c < " " and c != "\t") or c == "\x7f" for c in value):
            raise ValidationError.of(name, "must not hold control characters")
        lines.append(f"{name}: {value}")
    try:
        return "\r\n".join([*lines, "", ""]).encode()
    except UnicodeEncodeError:
        raise ValidationError.of("argument", "must be UTF-8 text") from None


def _read_answer(stream: BinaryIO) -> Answer:
    """Raises: EOFError when it ends early, ValueError when it is not HTTP, OSError."""
    status = 100
    while 100 <= status < 200:
        version, _, rest = _line(stream).partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise ValueError("no status line")
        status = int(rest[:3])
        headers = {}
        while line := _line(stream):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
    if status in {204, 304}:
        body = b""
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join(iter(lambda: _chunk(stream), b""))
    elif "content-length" in headers:
        body = _exactly(stream, _length(headers["content-length"], 10))
    else:
        body = stream.read(MAX_BODY)
    return Answer(status, headers, body)


def _chunk(stream: BinaryIO) -> bytes:
    size = _length(_line(stream).partition(";")[0], 16)
    data = _exactly(stream, size)
    while size == 0 and _line(stream):
        pass  # trailers
    if size:
        _line(stream)
    return data


def _length(text: str, base: int) -> int:
    size = int(text, base)
    if not 0 <= size <= MAX_BODY:
        raise ValueError("an answer of that size")
    return size


def _line(stream: BinaryIO) -> str:
    line = stream.readline(MAX_LINE)
    if not line.endswith(b"\n"):
        if len(line) == MAX_LINE:
            raise ValueError("a line without end")
        raise EOFError("the answer is incomplete")
    return line.rstrip(b"\r\n").decode("latin-1")


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the answer is incomplete")
    return data


def _reason(error: BaseException) -> str:
    """The system's words for an error, without its number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
