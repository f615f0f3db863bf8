"""One call at the seam where it is made, and bare servers to make it to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from lq.daemon.targets.http import HttpTarget
from lq.daemon.targets.request import Signer
from lq.model import Job, Outcome, OutcomeKind, RetryPolicy, Run, State
from tests.clock import START
from tests.support.handler import GIVE_UP_S, Wire, listening

PATIENT_MS = GIVE_UP_S * 1000


def signing(secret: str) -> Signer:
    """A signer that knows a single secret, as every endpoint does."""
    return Signer(lambda: (secret,), lambda _: secret)


def run_of(port: int, **members: Any) -> Run:
    """The right to call what listens on a port."""
    plain = Job(
        seq=1,
        id="job_1",
        queue="q",
        state=State.RUNNING,
        created_at=START,
        not_before=START,
        due_at=START,
        target=f"http://127.0.0.1:{port}/",
        method="POST",
        retry=RetryPolicy(3),
        timeout_ms=PATIENT_MS,
        run_id=1,
        payload=b"payload",
    )
    return Run(1, replace(plain, **members), START)


async def call(target: HttpTarget, serve: Callable[[Wire], Awaitable[None]], **job: Any) -> Outcome:
    """What comes of calling a server that serves like this."""
    async with listening(serve) as port, asyncio.timeout(GIVE_UP_S):
        return await target.deliver(run_of(port, **job))


async def request(wire: Wire) -> bytes:
    """Read the request, which is small."""
    head = await wire.reader.readuntil(b"\r\n\r\n")
    return head + await wire.reader.readexactly(len(b"payload"))


def says(answer: bytes, *, then: str = "close") -> Callable[[Wire], Awaitable[None]]:
    """Read the request, say this, and close, or `wait` until the caller does."""

    async def serve(wire: Wire) -> None:
        await request(wire)
        await wire.send(answer)
        if then == "wait":
            await wire.gone()

    return serve


def failed(outcome: Outcome, error: str, status: int | None = None) -> None:
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.status == status
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert outcome.error.isprintable()
    assert len(outcome.error) < 500
