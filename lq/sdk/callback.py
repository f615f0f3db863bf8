"""Completion by callback: telling lq how a job ended, and that it still runs.

Owns: the calls to the address that a call of lq's carried. Blocks; never called on a loop's
thread.
Invariant: a report is repeated until it was answered, and then never again. An attempt that has
ended without it is no error: that is lq's to say.
"""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

from lq import __version__
from lq.sdk.http import Headers

log = logging.getLogger("lq")

_TIMEOUT_S = 10.0
_WAITS_S = (0.5, 2.0, 8.0)
_BUSY = frozenset({429, 500, 502, 503, 504, 507})


def address(text: str | None) -> str | None:
    """Where to report to, as a call says; None when it says nothing that can be called."""
    try:
        parts = urlsplit(text or "")
        is_url = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return text if is_url else None


def report(callback: str, verb: str, headers: Headers, body: bytes) -> bool:
    """Say "complete" or "fail" until it was heard; False when that could not be done."""
    for wait_s in (*_WAITS_S, None):
        status = _post(f"{callback}/{verb}", headers, body)
        if status is not None and status not in _BUSY:
            if not 200 <= status < 300:
                log.warning("lq answered %d to a report that a job is to %s", status, verb)
            return True
        if wait_s is not None:
            time.sleep(wait_s)
    log.error("lq could not be told that a job is to %s; it will be retried", verb)
    return False


def heartbeat(callback: str) -> bool:
    """Ask for more time; False once the attempt has ended."""
    status = _post(f"{callback}/heartbeat", (), b"")
    if status is None:
        log.warning("lq did not hear a heartbeat")
    return status is None or 200 <= status < 300 or status in _BUSY


def _post(url: str, headers: Headers, body: bytes) -> int | None:
    """The status that a POST was answered with; None when there was no answer."""
    # Loaded here, because it takes longer than all the rest of the SDK, and few handlers need it.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)
    own = {"User-Agent": f"lq/{__version__}", "Content-Length": str(len(body))}
    try:
        connection.request("POST", parts.path, body, own | dict(headers))
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
