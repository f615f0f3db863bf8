"""What the API refused, as exceptions of the client.

    LqError
    ├── ApiError                the daemon understood the request and refused it
    │   ├── AccessError         401 or 403: no valid token, or one that does not reach so far
    │   ├── NotFoundError       404: nothing has this id, key or name
    │   ├── ConflictError       409: the state does not allow it
    │   │   └── KeyExistsError  409 KEY_EXISTS: the key is taken
    │   └── BusyError           429, 503 or 507: the same can work later
    └── Unreachable             no daemon answered; it may have done what was asked

The errors of the same names in `lq.errors`, without the suffix, are what the daemon itself raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lq.errors import Issue, LqError


class ApiError(LqError):
    """The daemon understood the request and refused it.

    `type` is the API's word for why (`NOT_FOUND`), `status` the one of HTTP; `issues` names each
    field that is wrong, `request_id` is what the daemon's log calls the request.
    Units: `retry_after_s` is seconds, None where waiting was not advised.
    """

    def __init__(
        self, status: int, answer: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(str(answer.get("message") or answer["type"]), hint=answer.get("hint"))
        headers = headers or {}
        self.type = str(answer["type"])
        self.status = status
        self.issues = tuple(_issue(issue) for issue in _objects(answer.get("issues")))
        self.request_id = headers.get("x-request-id")
        after = headers.get("retry-after", "")
        self.retry_after_s = float(after) if after.isdecimal() else None


class AccessError(ApiError):
    """The token is missing or not valid, or its scope or queues do not reach this far."""


class NotFoundError(ApiError):
    """Nothing has this id, key or name, as far as the token can see."""


class ConflictError(ApiError):
    """The state that the item, queue or schedule is in does not allow it."""


class KeyExistsError(ConflictError):
    """The key is taken, and was not to be replaced."""


class BusyError(ApiError):
    """The daemon cannot do it just now; nothing was done. `retry_after_s` says when it may."""


_OF_STATUS: Mapping[int, type[ApiError]] = {
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    429: BusyError,
    503: BusyError,
    507: BusyError,
}


def api_error(status: int, answer: Mapping[str, Any], headers: Mapping[str, str]) -> ApiError:
    """The error that a refusal is."""
    kind = _OF_STATUS.get(status, ApiError)
    if answer["type"] == "KEY_EXISTS":
        kind = KeyExistsError
    return kind(status, answer, headers)


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _issue(issue: Mapping[str, Any]) -> Issue:
    path = issue.get("path", "")
    name = ".".join(map(str, path)) if isinstance(path, list) else str(path)
    return Issue(name, str(issue.get("message", "")), str(issue.get("code", "invalid")))
