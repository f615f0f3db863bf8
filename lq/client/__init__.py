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
from lq.client.servers import Unreachable
from lq.client.verbs import ByKey, Json, Ref

if TYPE_CHECKING:
    from lq.client.aio import AsyncClient
    from lq.client.keywords import Filter, PushOptions, QueueSettings, ScheduleOptions

__all__ = [
    "AccessError",
    "ApiError",
    "AsyncClient",
    "BusyError",
    "ByKey",
    "Client",
    "ConflictError",
    "Filter",
    "Json",
    "KeyExistsError",
    "NotFoundError",
    "PushOptions",
    "QueueSettings",
    "Ref",
    "ScheduleOptions",
    "Unreachable",
]


_LATER = {
    "AsyncClient": "lq.client.aio",
    "Filter": "lq.client.keywords",
    "PushOptions": "lq.client.keywords",
    "QueueSettings": "lq.client.keywords",
    "ScheduleOptions": "lq.client.keywords",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
