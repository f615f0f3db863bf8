"""Requests that may be repeated: under an Idempotency-Key each is carried out once.

Owns: which of them are under way. What they were answered is the store's.
Invariant: who asks with another token, or over the socket, has keys of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TypeVar

from lq import wire
from lq.daemon.api.call import Call
from lq.errors import IdempotencyInProgress, RequestError
from lq.model import Idempotency, Principal

T = TypeVar("T")


async def once(
    call: Call,
    path: tuple[str, ...],
    before: Callable[[Idempotency], Awaitable[T | None]],
    act: Callable[[bytes, Idempotency | None], Awaitable[T]],
    read: Callable[[], Awaitable[bytes]],
) -> T:
    """Read the body and act on it; of a repetition, what the first request has come to.

    Shape: `path` is what is asked. `act` does nothing if the same was asked before, and returns
    what `before` finds that it came to. What was refused has come to nothing.
    Raises: IdempotencyInProgress, IdempotencyMismatch, ValidationError.
    """
    given = call.request.headers.getall(wire.IDEMPOTENCY_KEY, ())
    if not given:
        return await act(await read(), None)
    key = _digest(call.principal, wire.read_idempotency_key(given))
    with _under_way(call.under_way, key):
        payload = await read()
        request = wire.digest_request(path, call.request.raw_headers, payload)
        asked = Idempotency(key, request, call.now)
        try:
            return await act(payload, asked)
        except RequestError:
            # What was carried out once would be refused by now: its queue has no target any more.
            found = await before(asked)
            if found is None:
                raise
            return found


def _digest(principal: Principal, key: str) -> bytes:
    return sha256(b"%d:%b%b" % (len(principal.digest), principal.digest, key.encode())).digest()


@contextmanager
def _under_way(keys: set[bytes], key: bytes) -> Iterator[None]:
    if key in keys:
        raise IdempotencyInProgress(
            "a request with this Idempotency-Key is under way",
            hint="repeat this one in a moment, to get the same answer",
        )
    keys.add(key)
    try:
        yield
    finally:
        keys.remove(key)
