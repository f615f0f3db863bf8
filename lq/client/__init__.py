"""The HTTP API as Python methods, one per verb: `Client` for threads, `AsyncClient` for a loop.

`verbs` says what each verb asks, once; `session` how a call is carried out: connections,
repetitions, time. What is left to `blocking` and `aio` is the input and output. Loading this
loads no asyncio, because `lq push` waits for it; `AsyncClient` brings it when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lq.client.blocking import Client
from lq.client.errors import (
    AccessError,
    ApiError,
    BusyError,
    ConflictError,
    KeyExistsError,
    NotFoundError,
)
from lq.client.options import PushOptions, QueueSettings, ScheduleOptions
from lq.client.servers import Unreachable
from lq.client.verbs import ByKey, Json, Ref

if TYPE_CHECKING:
    from lq.client.aio import AsyncClient

__all__ = [
    "AccessError",
    "ApiError",
    "AsyncClient",
    "BusyError",
    "ByKey",
    "Client",
    "ConflictError",
    "Json",
    "KeyExistsError",
    "NotFoundError",
    "PushOptions",
    "QueueSettings",
    "Ref",
    "ScheduleOptions",
    "Unreachable",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from lq.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
