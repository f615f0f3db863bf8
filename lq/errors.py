"""Every error lq raises on purpose, each with its wire type, HTTP status and a hint.

What is *expected* to go wrong with a job (a handler's 500, a timeout) is a value, an
`Outcome`, never an exception. An exception here means: this request, this file or this
command line cannot be carried out, and here is what to do about it.

    LqError
    ├── RequestError               the API answers with `type` and `status`
    │   ├── ValidationError        400  VALIDATION_ERROR (carries issues)
    │   ├── Unauthorized           401
    │   ├── Forbidden              403
    │   ├── NotFound               404
    │   ├── MethodNotAllowed       405
    │   ├── RequestTimeout         408
    │   ├── KeyExists              409  KEY_EXISTS
    │   ├── IdempotencyInProgress  409  IDEMPOTENCY_IN_PROGRESS
    │   ├── Conflict               409  CONFLICT
    │   │   └── ConfigInvalid      409  CONFIG_INVALID
    │   ├── PayloadTooLarge        413
    │   ├── Misdirected            421
    │   ├── IdempotencyMismatch    422  IDEMPOTENCY_MISMATCH
    │   ├── TargetNotAllowed       422  TARGET_NOT_ALLOWED
    │   ├── RateLimited            429
    │   ├── StorageFull            507
    │   └── Unavailable            503
    └── StartError                 the daemon cannot start or go on; has an exit code
        ├── ConfigError            78   sysexits EX_CONFIG
        ├── DataError              65   EX_DATAERR: damaged or too new a database
        ├── StoreFailed            74   EX_IOERR: the disk failed under a running daemon
        └── InUse                  75   EX_TEMPFAIL: another daemon, or the port is taken
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class Issue(NamedTuple):
    """One thing wrong with one field of a request.

    Shape: `path` names the field as the caller wrote it (`x-lq-delay`, `target`);
    `code` is a stable word (`invalid`, `too_long`, `unknown_timezone` …).
    """

    path: str
    message: str
    code: str = "invalid"


class LqError(Exception):
    """Base of all errors of lq. `message` is one sentence, `hint` says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RequestError(LqError):
    """A request that cannot be carried out. `type` and `status` go on the wire."""

    type: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"


class ValidationError(RequestError):
    """The request is malformed; `issues` (never empty) names each field and what it accepts."""

    type = "VALIDATION_ERROR"
    status = 400
    title = "The request is not valid"

    def __init__(self, issues: Sequence[Issue], *, hint: str | None = None) -> None:
        super().__init__("; ".join(f"{i.path}: {i.message}" for i in issues), hint=hint)
        self.issues = tuple(issues)

    @classmethod
    def of(cls, path: str, message: str, code: str = "invalid") -> ValidationError:
        """A ValidationError with a single issue."""
        return cls([Issue(path, message, code)])


class Unauthorized(RequestError):
    """No token, or one that is unknown, expired or revoked: never says which."""

    type = "UNAUTHORIZED"
    status = 401
    title = "A valid token is required"


class Forbidden(RequestError):
    """The token is valid but its scope or queue patterns do not reach this far."""

    type = "FORBIDDEN"
    status = 403
    title = "The token may not do this"


class NotFound(RequestError):
    type = "NOT_FOUND"
    status = 404
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The path exists, the method does not; `allowed` becomes the Allow header."""

    type = "METHOD_NOT_ALLOWED"
    status = 405
    title = "Method not allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"this path answers {', '.join(allowed)}")
        self.allowed = tuple(allowed)


class RequestTimeout(RequestError):
    """The request's body did not arrive in time."""

    type = "REQUEST_TIMEOUT"
    status = 408
    title = "The body did not arrive in time"


class KeyExists(RequestError):
    """A push with `if-exists: reject` found its key waiting, or a schedule its key taken."""

    type = "KEY_EXISTS"
    status = 409
    title = "This key is taken"


class IdempotencyInProgress(RequestError):
    """The first request under this idempotency key has not been answered yet."""

    type = "IDEMPOTENCY_IN_PROGRESS"
    status = 409
    title = "The same request is under way"


class Conflict(RequestError):
    """The verb does not fit the state the item or queue is in."""

    type = "CONFLICT"
    status = 409
    title = "Not possible in this state"


class ConfigInvalid(Conflict):
    """A reload found an lq.toml that cannot be followed; nothing was changed."""

    type = "CONFIG_INVALID"
    title = "The configuration is wrong"


class PayloadTooLarge(RequestError):
    type = "PAYLOAD_TOO_LARGE"
    status = 413
    title = "The payload is too large"


class Misdirected(RequestError):
    """The Host that the request names is none that the panel is served for."""

    type = "MISDIRECTED"
    status = 421
    title = "Misdirected request"


class IdempotencyMismatch(RequestError):
    """The idempotency key was given to another request before."""

    type = "IDEMPOTENCY_MISMATCH"
    status = 422
    title = "This idempotency key belongs to another request"


class TargetNotAllowed(RequestError):
    """The target is well formed, but lq may not call it (see `[egress]`)."""

    type = "TARGET_NOT_ALLOWED"
    status = 422
    title = "lq may not call this target"


class RateLimited(RequestError):
    """Too much of the same from one address; `retry_after_s` says when it may go on."""

    type = "RATE_LIMITED"
    status = 429
    title = "Too many requests"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StorageFull(RequestError):
    """The disk (or the database's page limit) is full; nothing was stored."""

    type = "STORAGE_FULL"
    status = 507
    title = "No room left to store this"


class Unavailable(RequestError):
    """The daemon cannot store just now (locked, read-only, stopping); try again."""

    type = "UNAVAILABLE"
    status = 503
    title = "Not available just now"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StartError(LqError):
    """The daemon cannot start, or cannot go on; the process ends with `exit_code`."""

    exit_code: ClassVar[int] = 1


class ConfigError(StartError):
    exit_code = 78


class DataError(StartError):
    exit_code = 65


class StoreFailed(StartError):
    exit_code = 74


class InUse(StartError):
    exit_code = 75
