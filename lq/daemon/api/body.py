"""Reading the body of a request: opaque bytes, up to a limit, within a time.

aiohttp by itself would wait for a body for ever, and decompress it; a push's bytes are kept
as they came.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from aiohttp import web

from lq.errors import PayloadTooLarge, RequestTimeout, ValidationError

LEAST_BYTES_PER_S: Final = 16_384
"""What a body must bring on average once its first seconds are over."""


async def read_body(request: web.BaseRequest, limit: int, timeout_s: float, hint: str) -> bytes:
    """The whole body.

    Shape: it has `timeout_s`, and as much longer as its bytes take at `LEAST_BYTES_PER_S`;
    `hint` is for who brings too much. Units: `limit` is bytes. Raises: PayloadTooLarge (before
    reading, where the length is declared), RequestTimeout, ValidationError when it ends early
    or is badly framed.
    """
    content = request.content
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit, hint)
    try:
        if content.is_eof():
            body = content.read_nowait(-1)
        else:
            body = await _receive(request, limit, timeout_s)
    except (web.RequestPayloadError, OSError):
        raise _broken() from None
    return within(body, limit, hint)


def within(body: bytes, limit: int, hint: str) -> bytes:
    """A body that is there already. Units: `limit` is bytes. Raises: PayloadTooLarge."""
    if len(body) > limit:
        raise _too_large(limit, hint)
    return body


async def read_parts(request: web.BaseRequest, timeout_s: float) -> AsyncGenerator[bytes, None]:
    """The body in the parts that come, however many; what its reader does with them takes no time.

    Shape: as of `read_body`. Raises: RequestTimeout, ValidationError.
    """
    try:
        async with contextlib.aclosing(_parts(request, timeout_s)) as parts:
            async for part in parts:
                yield part
    except (web.RequestPayloadError, OSError):
        raise _broken() from None


async def _receive(request: web.BaseRequest, limit: int, timeout_s: float) -> bytes:
    """What comes of a body, which is over when it is more than `limit`."""
    received = bytearray()
    async with contextlib.aclosing(_parts(request, timeout_s)) as parts:
        async for part in parts:
            received += part
            if len(received) > limit:
                break
    return bytes(received)


async def _parts(request: web.BaseRequest, timeout_s: float) -> AsyncGenerator[bytes, None]:
    content = request.content
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    now = asyncio.get_running_loop().time
    received, left_s = 0, timeout_s
    while True:
        asked_at = now()
        try:
            async with asyncio.timeout(left_s):
                part = await content.readany()
        except TimeoutError:
            raise RequestTimeout(
                f"the body was not there after {timeout_s:g} s, {received} bytes of it were",
                hint=f"send at least {LEAST_BYTES_PER_S // 1024} KiB a second",
            ) from None
        if not part:
            return
        received += len(part)
        left_s += len(part) / LEAST_BYTES_PER_S - (now() - asked_at)
        yield part


def _broken() -> ValidationError:
    return ValidationError.of("body", "ended early, or is not framed as HTTP says")


def _too_large(limit: int, hint: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"a body has at most {limit} bytes here", hint=hint)
