"""Which way a run takes: over HTTP, or to a program of this machine."""

from __future__ import annotations

from typing import Protocol

from lq.model import Outcome, Run
from lq.scriptlets import name_of


class Target(Protocol):
    """Whatever carries a run out."""

    async def deliver(self, run: Run) -> Outcome: ...


class ByKind:
    """Sends each run the way that its target names."""

    def __init__(self, http: Target, local: Target) -> None:
        self._http = http
        self._local = local

    async def deliver(self, run: Run) -> Outcome:
        """Carry a run out."""
        way = self._http if name_of(run.job.target) is None else self._local
        return await way.deliver(run)
