"""Nouns of listening: who wants which calls on a machine of its own, and what that one answered.

Owns: the records, and which jobs a listener is for. Knows neither HTTP nor the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from lq.model import Job
from lq.patterns import meant


class Wanted(Struct, frozen=True, kw_only=True):
    """What a listener asks for: copies of calls, or to take them over.

    Shape: shell patterns; without `queues` or `targets` it is for all of them. One that is
    `only_sent` gets what is sent to it by hand, and nothing else.
    """

    name: str
    take_over: bool = False
    queues: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    only_sent: bool = False

    def covers(self, job: Job) -> bool:
        """Whether it is for the calls of a job."""
        if self.only_sent:
            return False
        return meant(job.queue, self.queues) and meant(job.target, self.targets)


class Answered(Struct, frozen=True, kw_only=True):
    """What a listener's application answered to a call, or, in `error`, why it did not."""

    number: int
    status: int | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    truncated: bool = False
    error: str | None = None
