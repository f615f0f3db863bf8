"""How a handler ends otherwise than by returning: what it raises, and what that means.

Whatever else it raises fails the attempt: it is retried as the job says, and the reason is kept.
"""

from __future__ import annotations

import math
from datetime import timedelta

from lq.when import parse_duration


class Retry(Exception):
    """The attempt failed; try again, no earlier than `after`.

    Shape: `after` is a duration ("10m") or a timedelta, a day at most; without it the job's own
    waits apply, which also count when they are longer.
    """

    def __init__(
        self, reason: str = "the handler asked to retry", *, after: str | timedelta | None = None
    ) -> None:
        """Raises: ValueError when `after` is no duration."""
        super().__init__(reason)
        self.reason = str(reason)
        self.after_ms = None if after is None else duration_ms(after)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Retry-After, in whole seconds and never too early."""
        if self.after_ms is None:
            return ()
        return (("Retry-After", str(math.ceil(self.after_ms / 1000))),)


class Fail(Exception):
    """The job has failed for good: no retry follows."""

    def __init__(self, reason: str = "the handler gave up") -> None:
        super().__init__(reason)
        self.reason = str(reason)


def duration_ms(duration: str | timedelta) -> int:
    """A duration in milliseconds. Raises: ValueError saying what is accepted."""
    if isinstance(duration, str):
        return parse_duration(duration)
    if not isinstance(duration, timedelta):
        raise ValueError(f'expected a duration such as "5m", or a timedelta, got {duration!r}')
    if duration < timedelta(0):
        raise ValueError(f"expected a duration from now on, got {duration!r}")
    return duration // timedelta(milliseconds=1)
