"""`[metrics]`: what is told to whatever watches lq."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from lq.config.kinds import Kind, integer


class MetricsConfig(Struct, frozen=True, kw_only=True):
    """How much is told at /metrics."""

    queues: int = 200  # so many have metrics of their own; the others share one set


METRICS: Final[Mapping[str, Kind]] = {"queues": integer(0, 10_000)}
