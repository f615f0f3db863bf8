"""What the SDK is told by arguments, or by the environment at the moment it is needed.

Owns: the names LQ_SECRET and LQ_BASE_URL, and the sentence about one that is missing. Reads
nothing at import, so that an app can set its environment after it has imported its handlers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from lq.errors import LqError


class SettingMissing(LqError):
    """Something the SDK needs was given neither as an argument nor in the environment."""

    def __init__(self, what: str, variable: str, argument: str) -> None:
        super().__init__(f"{what}: set {variable}, or give {argument}")


def secrets(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The signing secrets, the newest first. Raises: SettingMissing."""
    found = several(given, "LQ_SECRET")
    if not found:
        raise SettingMissing("there is no signing secret", "LQ_SECRET", "Queue(secret=…)")
    return found


def several(given: str | Sequence[str] | None, variable: str) -> tuple[str, ...]:
    """The values of a setting that may have more than one, separated by commas as text."""
    if given is None:
        given = os.environ.get(variable, "")
    parts = given.split(",") if isinstance(given, str) else given
    return tuple(part.strip() for part in parts if part.strip())


def base_url(given: str | None) -> str:
    """Where lq reaches this app, without a slash at the end. Raises: SettingMissing."""
    url = (given or os.environ.get("LQ_BASE_URL", "")).strip().rstrip("/")
    if not url:
        raise SettingMissing(
            "lq is not told where this app can be called", "LQ_BASE_URL", "Queue(base_url=…)"
        )
    return url


def freezes() -> bool:
    """Whether the platform stops an app that has answered, until the next call: Lambda, Vercel."""
    return any(os.environ.get(variable) for variable in ("AWS_LAMBDA_RUNTIME_API", "VERCEL"))
