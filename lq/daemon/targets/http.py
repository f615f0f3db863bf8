"""Calls HTTP targets with aiohttp: one run in, one Outcome (never an exception) out.

Owns the client sessions and what their exceptions mean. Decides nothing about the job:
whether and when it is tried again is the dispatcher's.
"""

from __future__ import annotations

import asyncio
import email.utils
import io
import logging
import os
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC
from functools import lru_cache

import aiohttp
from aiohttp import hdrs
from yarl import URL

from lq.clock import Clock
from lq.daemon.egress import Egress, Target, parse_target
from lq.daemon.targets.connect import Blocked, Guard, connector, tls_context
from lq.daemon.targets.names import SHORTAGES, GetAddrInfo, Names
from lq.daemon.targets.request import USER_AGENT, Signer, traceparent
from lq.daemon.tracing import Sent
from lq.errors import RequestError
from lq.model import HeadAnswer, Outcome, OutcomeKind, Run
from lq.when import format_duration

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024
_MOST_TARGETS = 10_000
_MOST_RETRY_AFTER_MS = 24 * 3_600_000
_KEPT_HEADERS = ("Content-Type", "Location", "Retry-After", "x-lq-retry", "x-request-id")
# The published JavaScript handlers read only the first chunk of a body; it was seen to hold
# what one write brings, up to about 60 kB, and less on slow networks.
_FIRST_CHUNK = 16 * 1024
_MOST_WARNED = 10_000
# Above this aiohttp warns that one write would hold up the loop.
_MOST_AT_ONCE = 1 << 20
_SKIPPED = frozenset({hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


class HttpTarget:
    """The way out over HTTP. Open between `__aenter__` and `__aexit__`."""

    def __init__(
        self,
        signer: Signer,
        egress: Egress,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        *,
        most_idle: int = 64,
        sent: Sent | None = None,
    ) -> None:
        """Shape: without `tls`, the system's authorities vouch for servers. `sent` is told of each
        attempt.

        `most_idle` connections of each scheme are kept for the next call.
        """
        self._signer = signer
        self._egress = egress
        self._clock = clock
        self._tls = tls or tls_context()
        self._getaddrinfo = getaddrinfo
        self._most_idle = most_idle
        self._sent = sent
        self._targets: dict[str, Target | str] = {}
        self._warned: set[str] = set()

    async def __aenter__(self) -> HttpTarget:
        names = Names(self._egress, self._clock, self._getaddrinfo)
        guards = {scheme: Guard(self._egress, scheme, names) for scheme in ("http", "https")}
        self._sessions = {
            scheme: _session(connector(guard, self._tls, most_idle=self._most_idle))
            for scheme, guard in guards.items()
        }
        # What may be repeated gets a connection each: aiohttp cannot be caught by a kept one
        # that the handler closes at that moment.
        self._singles = {
            scheme: _session(connector(guard, self._tls, most_idle=0), _once)
            for scheme, guard in guards.items()
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (*self._sessions.values(), *self._singles.values()):
            await session.close()

    async def deliver(self, run: Run) -> Outcome:
        """Make the call of a run and say what came of it."""
        span = os.urandom(8).hex()
        if self._sent is None:
            return await self._deliver(run, span)
        started_at = self._clock.now()
        outcome = await self._deliver(run, span)
        trace = traceparent(run.job.id, run.job.traceparent, span)
        self._sent(run, trace, outcome, started_at, self._clock.now())
        return outcome

    async def _deliver(self, run: Run, span: str) -> Outcome:
        job = run.job
        target = self._target(job.target)
        if isinstance(target, str):
            return Outcome(kind=OutcomeKind.FAILED, error=target)
        if job.payload is not None and len(job.payload) > _FIRST_CHUNK:
            self._warn_of_size(job.target, len(job.payload))
        try:
            headers = self._signer.headers(run, self._clock.now(), span)
            sessions = self._sessions if job.method in {"POST", "PATCH"} else self._singles
            async with sessions[target.scheme].request(
                job.method,
                _url(target.url),
                headers=headers,
                data=_data(job.payload),
                timeout=_timeout(job.timeout_ms),
                allow_redirects=False,
            ) as response:
                body, truncated = await _read(response)
            now = self._clock.now()
            return answered(
                run, response.status, response.headers, body, truncated=truncated, now=now
            )
        except _EXPECTED as error:
            if shortage := _shortage(error):
                return Outcome(kind=OutcomeKind.INTERRUPTED, error=shortage)
            return Outcome(kind=OutcomeKind.FAILED, error=_reason(error, target, job.timeout_ms))

    def _warn_of_size(self, target: str, size: int) -> None:
        """Say once for each target that its handler may not read all that it is sent."""
        if target in self._warned:
            return
        if len(self._warned) >= _MOST_WARNED:
            self._warned.clear()
        self._warned.add(target)
        log.warning(
            "a payload of %d bytes goes to %s: handlers built on the JavaScript SDK read only its"
            " first chunk, which %d bytes are sure to fit",
            size,
            target.partition("?")[0],  # a query may hold a credential
            _FIRST_CHUNK,
        )

    async def get(self, url: str, timeout_ms: int) -> str | None:
        """Call a URL that wants to be called and nothing else: what went wrong, or None."""
        called = self._target(url)
        if isinstance(called, str):
            return called
        try:
            async with self._singles[called.scheme].get(
                _url(called.url),
                headers={"User-Agent": USER_AGENT},
                timeout=_timeout(timeout_ms),
                allow_redirects=False,
            ) as response:
                return None if 200 <= response.status < 300 else f"status {response.status}"
        except _EXPECTED as error:
            return _shortage(error) or _reason(error, called, timeout_ms)

    async def head(self, target: str, headers: Mapping[str, str], timeout_ms: int) -> HeadAnswer:
        """Ask an endpoint to prove that it knows the secret."""
        called = self._target(target)
        if isinstance(called, str):
            return HeadAnswer(error=called)
        if not any(name.lower() == "user-agent" for name in headers):
            headers = {"User-Agent": USER_AGENT, **headers}
        try:
            async with self._singles[called.scheme].head(
                _url(called.url),
                headers=headers,
                timeout=_timeout(timeout_ms),
                allow_redirects=False,
            ) as response:
                signatures = tuple(response.headers.getall("x-lq-signature", ()))
                return HeadAnswer(status=response.status, signatures=signatures)
        except _EXPECTED as error:
            if shortage := _shortage(error):
                return HeadAnswer(error=shortage, asked=False)
            return HeadAnswer(error=_reason(error, called, timeout_ms))

    def _target(self, text: str) -> Target | str:
        """A stored target, or why it may not be called any more: what was allowed can change."""
        target = self._targets.get(text)
        if target is None:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            try:
                target = parse_target(text)
                self._egress.check(target)
            except RequestError as error:
                target = f"target_blocked: {error.message}"
                if text.startswith("handler:"):
                    target = (
                        f"no_handler: {printable(text)} is a function of an application that embeds"
                        " lq; a daemon calls URLs"
                    )
            self._targets[text] = target
        return target


# What a hostile or absent peer can make of a call. ValueError: a URL or header that aiohttp
# itself refuses to send.
_EXPECTED = (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError, ValueError)


def _shortage(error: BaseException) -> str | None:
    """What lq itself lacked, if that is what ended a call before anything was sent."""
    if isinstance(error, OSError) and error.errno in SHORTAGES:
        return f"lq itself lacks something to call with: {os.strerror(error.errno)}"
    return None


class _Closed(aiohttp.ClientConnectionError):
    """The connection was closed before an answer came."""


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending GET, PUT, DELETE and HEAD again: an attempt is one request."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise _Closed from error


def _session(
    connector: aiohttp.TCPConnector, *middlewares: aiohttp.ClientMiddlewareType
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=_SKIPPED,
        # Read no further than is kept, plus one buffer.
        read_bufsize=MAX_BODY,
        middlewares=middlewares,
    )


def _data(payload: bytes | None) -> bytes | io.BytesIO | None:
    """A payload as aiohttp should send it: small ones in one write, large ones in steps."""
    if payload is None or len(payload) <= _MOST_AT_ONCE:
        return payload or None
    return io.BytesIO(payload)


@lru_cache(maxsize=4096)
def _url(target: str) -> URL:
    return URL(target, encoded=True)


@lru_cache(maxsize=256)
def _timeout(timeout_ms: int) -> aiohttp.ClientTimeout:
    # Only the total ends a handler that drips a byte at a time.
    return aiohttp.ClientTimeout(total=timeout_ms / 1000, ceil_threshold=float("inf"))


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The first MAX_BODY bytes of an answer, and whether there was more (which is not read)."""
    length = response.content_length
    if length is not None and length <= MAX_BODY:
        return await response.read(), False
    kept = bytearray()
    while chunk := await response.content.readany():
        kept += chunk
        if len(kept) > MAX_BODY:
            response.close()
            return bytes(kept[:MAX_BODY]), True
    return bytes(kept), False


def answered(
    run: Run, status: int, headers: Mapping[str, str], body: bytes, *, truncated: bool, now: int
) -> Outcome:
    """What an answer means. Shape: the case of the names in `headers` does not matter to it."""
    kind, error, retry_after_ms = OutcomeKind.SUCCEEDED, None, None
    if not 200 <= status < 300:
        final = status == 410 or headers.get("x-lq-retry", "").strip().lower() == "no"
        kind = OutcomeKind.REJECTED if final else OutcomeKind.FAILED
        error = _status_text(run, status, headers, body)
        retry_after_ms = retry_after(headers.get(hdrs.RETRY_AFTER), now)
    kept = {name: _text(headers[name]) for name in _KEPT_HEADERS if name in headers}
    return Outcome(
        kind=kind,
        status=status,
        error=error,
        headers=kept,
        body=body,
        truncated=truncated,
        retry_after_ms=retry_after_ms,
    )


def _status_text(run: Run, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """One line that lets a person see why: status, and the beginning of what the handler said."""
    if 300 <= status < 400:
        where = printable(headers.get(hdrs.LOCATION, "nowhere"))
        return f"redirect {status} -> {where[:200]} (redirects are never followed)"
    if not 200 <= status < 600:
        return f"bad_status {status}"
    text = f"status {status}"
    if said := printable(body[:1000].decode("utf-8", "replace")):
        text += f": {said[:200]}"
    size = len(run.job.payload or b"")
    if size > _FIRST_CHUNK:
        text += (
            f" (the payload has {size} bytes; handlers built on the JavaScript SDK read only its"
            " first chunk)"
        )
    return text


def printable(text: str) -> str:
    """Foreign text on one line, without control and direction characters."""
    return _CONTROL.sub(" ", _text(text)).strip()


def _text(text: str) -> str:
    """Foreign text that can be stored: aiohttp hands on bytes that are no UTF-8 as surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def retry_after(text: str | None, now: int) -> int | None:
    """The wait a Retry-After asks for, seconds or HTTP date, clamped to 0..24 h. Units: ms."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,20}", text):
        wait_ms = int(text) * 1000
    else:
        try:
            at = email.utils.parsedate_to_datetime(text)
            # The oldest of the three forms names no zone, and means GMT like the others.
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            wait_ms = int(at.timestamp() * 1000) - now
        except (ValueError, OverflowError):
            return None
    return min(max(wait_ms, 0), _MOST_RETRY_AFTER_MS)


def _reason(error: BaseException, target: Target, timeout_ms: int) -> str:
    """One line for a failed exchange, beginning with a stable word."""
    if tls := _tls_error(error):
        return f"tls_error: {tls}"
    match error:
        case TimeoutError():
            return f"timeout: no complete answer within {format_duration(timeout_ms)}"
        case aiohttp.ClientConnectorError(os_error=Blocked()):
            return (
                f"target_blocked: {target.host} leads to an address that lq may not call"
                " ([egress] allow; lq's log names it)"
            )
        case aiohttp.ClientConnectorDNSError():
            return f"dns_error: {printable(str(error.os_error))}"
        case aiohttp.ClientConnectorError(os_error=ConnectionError(errno=None)):
            return "tls_error: the connection was closed in the handshake"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            what = os.strerror(number) if number else "none of its addresses can be reached"
            return f"connect_error: {what}"
        case aiohttp.ClientPayloadError():
            return "incomplete_response: the connection was closed in the middle of the answer"
        case _Closed() | aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "closed: the connection was closed before an answer came"
        case aiohttp.ClientResponseError():
            # aiohttp says "status 400" here, for an answer that was no HTTP at all.
            # What follows a colon is a drawing of the bytes.
            what = printable(error.message.partition(":")[0])[:200]
            return f"protocol_error: the answer is not HTTP: {what[:1].lower()}{what[1:]}"
        case aiohttp.InvalidURL():
            return "protocol_error: the target is not a URL that can be called"
        case _:
            return f"protocol_error: {printable(str(error))[:200]}"


def _tls_error(error: BaseException | None) -> str | None:
    """What TLS made of a connection, if that is what ended it."""
    while error is not None:
        match error:
            case aiohttp.ClientError():
                pass  # some are SSL errors by their class, but know nothing of what happened
            case ssl.SSLCertVerificationError():
                return printable(error.verify_message)
            case ssl.SSLError():
                return printable((error.reason or str(error)).replace("_", " ").lower())
        error = error.__cause__
    return None
