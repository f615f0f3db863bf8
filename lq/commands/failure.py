"""How a command says what went wrong, and the exit code that goes with it.

Owns: the exit codes, and the one place where an error becomes a sentence and a hint on stderr.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from lq.client import ApiError, Unreachable
from lq.errors import (
    ConfigError,
    ConfigInvalid,
    IdempotencyMismatch,
    LqError,
    RequestError,
    StartError,
    ValidationError,
)

NEGATIVE, USAGE, NOT_FOUND, NOT_ALLOWED, CONFLICT, UNREACHABLE, TIMED_OUT = range(1, 8)
INTERRUPTED, BROKEN_PIPE = 130, 141

_OF_STATUS: Mapping[int, int] = {
    400: USAGE,
    401: NOT_ALLOWED,
    403: NOT_ALLOWED,
    404: NOT_FOUND,
    409: CONFLICT,
    413: USAGE,
    422: NOT_ALLOWED,
    429: UNREACHABLE,
    503: UNREACHABLE,
    507: UNREACHABLE,
}
_HINTS: Mapping[int, str] = {
    401: "Put one into LQ_TOKEN; `lq tokens create NAME --scope push` makes it at the daemon.",
}
_HELP = "The same with --help shows what each option takes."
_HEADER = re.compile(
    r"x-lq-(?:(headers)|(validate(?:: none)?)|(target|key|delay|on|method|retry|timeout"
    r"|if-exists|expires|label|queue|schedule|tz|start|until|times|jitter|misfire|overlap))\b"
    r"|(Idempotency-Key)"
)


class NotFinished(LqError):
    """An item was still unfinished when the wait for it ran out."""


def explain(error: LqError) -> int:
    """Say what went wrong and what to do about it; the exit code of a command that ends so."""
    message, hint = error.message, error.hint
    if isinstance(error, ApiError | ValidationError) and error.issues:
        message = "; ".join(f"{issue.path}: {issue.message}" for issue in error.issues)
        hint = hint or _HELP
        if any((issue.path, issue.code) == ("x-lq-target", "required") for issue in error.issues):
            hint = "Say --target URL, or set `target` for the queue in lq.toml, at [queues.NAME]."
    if isinstance(error, ApiError):
        hint = _HINTS.get(error.status, hint)
    if isinstance(error, ApiError | ValidationError):
        message, hint = _in_options(message), hint and _in_options(hint)
    complain(message, hint)
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, NotFinished):
        return TIMED_OUT
    if isinstance(error, StartError):
        return error.exit_code
    if isinstance(error, ApiError) and error.type == ConfigInvalid.type:
        return ConfigError.exit_code
    if isinstance(error, ApiError) and error.type == IdempotencyMismatch.type:
        return CONFLICT
    status = error.status if isinstance(error, ApiError | RequestError) else 0
    return _OF_STATUS.get(status, NEGATIVE)


def complain(message: str, hint: str | None) -> None:
    """One sentence and one hint on stderr."""
    from lq.render import clean

    print(f"lq: {clean(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {clean(hint)}", file=sys.stderr, flush=True)


def _in_options(text: str) -> str:
    """What the API says of headers, said of the options that give them."""
    return _HEADER.sub(_option, text)


def _option(header: re.Match[str]) -> str:
    if header[1]:
        return "--header"
    if header[2]:
        return "--no-validate"
    return f"--{header[3] or header[4].lower()}"
