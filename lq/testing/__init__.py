"""For the tests of apps: handlers called without a daemon, and a daemon that is gone after a test.

`call` and `signed_request` need nothing but the queue; the pytest fixture `lq_daemon` is there once
lq is installed. Loads what it needs on first use: pytest imports plugins whether or not they are
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lq.testing.calls import SECRET as SECRET
    from lq.testing.calls import Result as Result
    from lq.testing.calls import SignedRequest as SignedRequest
    from lq.testing.calls import call as call
    from lq.testing.calls import call_async as call_async
    from lq.testing.calls import signed_request as signed_request
    from lq.testing.daemon import Daemon as Daemon
    from lq.testing.daemon import running as running

_ORIGINS = {
    **dict.fromkeys(("SECRET", "Result", "SignedRequest"), "lq.testing.calls"),
    **dict.fromkeys(("call", "call_async", "signed_request"), "lq.testing.calls"),
    **dict.fromkeys(("Daemon", "running"), "lq.testing.daemon"),
}

__all__ = [
    "SECRET",
    "Daemon",
    "Result",
    "SignedRequest",
    "call",
    "call_async",
    "running",
    "signed_request",
]


def __getattr__(name: str) -> object:
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_ORIGINS[name]), name)
    return found
