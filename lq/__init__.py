"""lq: a self-hosted job queue and scheduler, one daemon and one SQLite file.

Owns: the names of the SDK, each imported when it is first used. The daemon and the command line
import this package first, and `lq push` must not wait for what it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lq.client import ApiError as ApiError
    from lq.client import AsyncClient as AsyncClient
    from lq.client import ByKey as ByKey
    from lq.client import Client as Client
    from lq.client import Unreachable as Unreachable
    from lq.sdk.codec import PayloadError as PayloadError
    from lq.sdk.http import Mount as Mount
    from lq.sdk.http import Request as Request
    from lq.sdk.http import Response as Response
    from lq.sdk.job import Job as Job
    from lq.sdk.orchestrator import Orchestrator as Orchestrator
    from lq.sdk.outcomes import Fail as Fail
    from lq.sdk.outcomes import Retry as Retry
    from lq.sdk.queue import Queue as Queue
    from lq.sdk.schedules import schedule as schedule

__version__ = "0.1.0"

_ORIGINS = {
    "ApiError": "lq.client",
    "AsyncClient": "lq.client",
    "ByKey": "lq.client",
    "Client": "lq.client",
    "Fail": "lq.sdk.outcomes",
    "Job": "lq.sdk.job",
    "Mount": "lq.sdk.http",
    "Orchestrator": "lq.sdk.orchestrator",
    "PayloadError": "lq.sdk.codec",
    "Queue": "lq.sdk.queue",
    "Request": "lq.sdk.http",
    "Response": "lq.sdk.http",
    "Retry": "lq.sdk.outcomes",
    "Unreachable": "lq.client",
    "schedule": "lq.sdk.schedules",
}

__all__ = [
    "ApiError",
    "AsyncClient",
    "ByKey",
    "Client",
    "Fail",
    "Job",
    "Mount",
    "Orchestrator",
    "PayloadError",
    "Queue",
    "Request",
    "Response",
    "Retry",
    "Unreachable",
    "schedule",
]


if not TYPE_CHECKING:  # a checker would take it to know every name

    def __getattr__(name: str) -> object:
        if name not in _ORIGINS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found: object = getattr(import_module(_ORIGINS[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_ORIGINS})
