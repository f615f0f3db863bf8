"""A call of lq made to an application on this machine, and what came of it.

Owns: the connection to the application. An answer is bounded in size and time, redirects are not
followed, and whatever is wrong is a value. Never speaks to lq.
"""

from __future__ import annotations

import base64
import io
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import typer
from yarl import URL

from lq.signature import SignatureError, verify
from lq.when import format_duration

Json = dict[str, Any]

_MOST_BODY = 64 * 1024
_KEPT = ("Content-Type", "Location", "Retry-After", "x-lq-retry", "x-request-id")
_MOST_VALUE = 500
# Above this aiohttp warns that one write would hold up the loop.
_MOST_AT_ONCE = 1 << 20
_SKIPPED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Said(NamedTuple):
    """What an application answered, or why it did not. Units: `ms` is how long that took."""

    status: int | None
    error: str | None
    headers: dict[str, str]
    body: bytes
    truncated: bool
    ms: int


def check_base(url: str) -> str:
    """The URL to forward to, without a slash at its end. Raises: BadParameter."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or parts.username is not None:
        raise typer.BadParameter(
            f'expected a URL such as "http://localhost:3000", got {url!r}',
            param_hint="--forward-to",
        )
    return url.rstrip("/")


class Forwarder:
    """Makes calls to the application. Open between `__aenter__` and `__aexit__`."""

    def __init__(self, base: str, path: str | None, secret: str | None) -> None:
        """Shape: `path` is called in place of that of the target, if it is given."""
        self._base = base
        self._path = path
        self._secret = secret

    async def __aenter__(self) -> Forwarder:
        self._session = aiohttp.ClientSession(
            # A connection each: on a kept one aiohttp may send a request twice.
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_SKIPPED,
            read_bufsize=_MOST_BODY,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def path(self, call: Json) -> str:
        """The path that a call goes to."""
        return str(call["path"]) if self._path is None else self._path

    def signature(self, call: Json) -> str:
        """Whether a call is signed with the secret that is known here: one word."""
        if self._secret is None:
            return "unverified"
        given, now = call["headers"].get("x-lq-signature", ""), time.time_ns() // 1_000_000
        try:
            verify(given, payload_of(call), [self._secret], now)
        except SignatureError:
            return "invalid"
        return "verified"

    async def make(self, call: Json) -> Said:
        """Make a call."""
        began = time.monotonic()
        try:
            said = await self._made(call)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = _reason(error, int(call["timeout"]))
            said = Said(None, reason, {}, b"", False, 0)
        return said._replace(ms=round((time.monotonic() - began) * 1000))

    async def _made(self, call: Json) -> Said:
        path = self.path(call)
        if not path.startswith("/"):
            raise ValueError("the path of the call does not begin with a slash")
        async with self._session.request(
            call["method"],
            URL(self._base + path, encoded=True),
            headers=call["headers"],
            data=_data(payload_of(call)),
            timeout=aiohttp.ClientTimeout(total=call["timeout"] / 1000),
            allow_redirects=False,
        ) as response:
            body = bytearray()
            while len(body) <= _MOST_BODY and (chunk := await response.content.readany()):
                body += chunk
            truncated = len(body) > _MOST_BODY
            if truncated:
                response.close()
            kept = {
                name: _clean(response.headers[name]) for name in _KEPT if name in response.headers
            }
            return Said(response.status, None, kept, bytes(body[:_MOST_BODY]), truncated, 0)


def payload_of(call: Json) -> bytes:
    """The payload of a call, byte for byte."""
    return base64.b64decode(call.get("payload", ""))


def _data(payload: bytes) -> bytes | io.BytesIO | None:
    """A payload as aiohttp should send it: small ones in one write, large ones in steps."""
    return payload or None if len(payload) <= _MOST_AT_ONCE else io.BytesIO(payload)


def _clean(text: str) -> str:
    """A header's value as it may be told: printable ASCII, not endless."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:_MOST_VALUE]


def _reason(error: BaseException, timeout_ms: int) -> str:
    """One line for a call that got no answer, beginning with a stable word."""
    match error:
        case TimeoutError():
            return f"timeout: no complete answer within {format_duration(timeout_ms)}"
        case aiohttp.ClientConnectorError():
            return f"connect_error: {_clean(error.os_error.strerror or str(error.os_error))}"
        case aiohttp.ClientPayloadError():
            return "incomplete_response: the connection was closed in the middle of the answer"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "closed: the connection was closed before an answer came"
        case aiohttp.ClientResponseError():
            return "protocol_error: the answer is not HTTP"
        case _:
            return f"protocol_error: {_clean(str(error))[:200]}"
