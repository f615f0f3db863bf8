"""A job as its handler sees it, read from the call that lq made."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from lq.sdk import callback
from lq.sdk.http import Request
from lq.when import parse_rfc3339

T = TypeVar("T")


def _none() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Job(Generic[T]):
    """One attempt of a job.

    Shape: `attempt` counts from 1; `schedule` is the id of the schedule that made it,
    `fire_time` the moment it is for (the same at every retry), `missed` for how many times
    that were missed it makes up. `headers` has lower-case names.
    """

    id: str
    queue: str
    payload: T
    key: str | None = None
    attempt: int = 1
    max_attempts: int = 1
    schedule: str | None = None
    fire_time: datetime.datetime | None = None
    missed: int = 0
    headers: Mapping[str, str] = field(default_factory=_none, repr=False)
    callback: str | None = field(default=None, repr=False)

    async def heartbeat(self) -> bool:
        """Ask for more time; False once the attempt has ended, and nothing will come of it.

        Where completion is not by callback there is nothing to ask, and it is always True.
        """
        if self.callback is None:
            return True
        import asyncio

        return await asyncio.to_thread(self.heartbeat_sync)

    def heartbeat_sync(self) -> bool:
        """`heartbeat` for a handler that is not async."""
        return self.callback is None or callback.heartbeat(self.callback)


CURRENT: ContextVar[Job[Any] | None] = ContextVar("lq_job", default=None)
"""The job that is being handled, whose trace the pushes of its handler go on."""


def trace() -> dict[str, str]:
    """The trace context that a push made now belongs to, as its options."""
    job = CURRENT.get()
    names = ("traceparent", "tracestate")
    return {name: job.headers[name] for name in names if name in job.headers} if job else {}


def read_job(request: Request, queue: str, payload: T) -> Job[T]:
    """The job that a call is about. Shape: what is missing or malformed has its default."""
    headers: dict[str, str] = {}
    for given, value in request.headers:
        name = given.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    key = headers.get("x-lq-key")
    return Job(
        id=headers.get("x-lq-id", ""),
        queue=unquote(headers.get("x-lq-queue", queue)),
        payload=payload,
        key=None if key is None else unquote(key),
        attempt=_number(headers.get("x-lq-attempt"), 1),
        max_attempts=_number(headers.get("x-lq-max-attempts"), 1),
        schedule=headers.get("x-lq-schedule"),
        fire_time=_instant(headers.get("x-lq-fire-time")),
        missed=_number(headers.get("x-lq-missed"), 0),
        headers=MappingProxyType(headers),
        callback=callback.address(headers.get("x-lq-callback")),
    )


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else default


def _instant(text: str | None) -> datetime.datetime | None:
    try:
        at = parse_rfc3339(text or "")
    except ValueError:
        return None
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
