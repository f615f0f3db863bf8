"""The metrics of a daemon as Prometheus reads them: their names, units, help and labels.

Owns what each is called, by the conventions of Prometheus: base units, `_total` for what only
grows. Counts nothing itself.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from lq.model import Queue

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OTHER: Final = "_other"
"""What the queues are counted as that have no counts of their own."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ENDED: Final = {
    "succeed": "completed",
    "bury": "failed",
    "expire": "failed",
    "cancel": "cancelled",
}


class Distribution(Struct, frozen=True):
    """How often a measure was how large: `counts[n]` are up to `bounds[n]`, the last above all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Counted(Struct, frozen=True, kw_only=True):
    """What was counted since the daemon started, by queue and word. Units: seconds."""

    moves: Mapping[tuple[str, str], int]
    attempts: Mapping[tuple[str, str], int]
    durations: Mapping[str, Distribution]
    lateness: Mapping[str, Distribution]
    commits: Distribution
    group_sizes: Distribution
    loop_lag: Distribution


class State(Struct, frozen=True, kw_only=True):
    """How a daemon is at this moment. Units: bytes, Unix milliseconds.

    Shape: of `queues` those that are counted by themselves; `others` are the rest. `endpoints` are
    how many there are by what is known of them.
    """

    now: int
    version: str
    queues: Sequence[Queue]
    others: Sequence[Queue]
    live: bool
    ready: bool
    in_flight: int
    slots: int
    unrecorded: int
    spared: int
    endpoints: Mapping[str, int]
    schedules: int
    schedules_overdue: int
    database_bytes: int
    wal_bytes: int
    disk_free_bytes: int


def expose(counted: Counted, state: State) -> bytes:
    """The text that Prometheus reads."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(counted, state))
    return generate_latest(registry)


class _Collector:
    """All families at once, each from one moment."""

    def __init__(self, counted: Counted, state: State) -> None:
        self._counted = counted
        self._state = state

    def collect(self) -> Iterator[Metric]:
        from prometheus_client import PROCESS_COLLECTOR

        yield from _queues(self._state)
        yield from _jobs(self._counted)
        yield from _daemon(self._state)
        yield from _insides(self._counted)
        yield from PROCESS_COLLECTOR.collect()


def _queues(state: State) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    jobs = GaugeMetricFamily("lq_queue_jobs", "Unfinished jobs.", labels=("queue", "state"))
    oldest = GaugeMetricFamily(
        "lq_queue_oldest_due_age_seconds",
        "How long the job that has been due for longest has waited.",
        labels=("queue",),
    )
    paused = GaugeMetricFamily("lq_queue_paused", "Whether it is paused.", labels=("queue",))
    shown = [(queue.name, [queue]) for queue in state.queues]
    if state.others:
        shown.append((OTHER, list(state.others)))
    for name, queues in shown:
        for word in ("pending", "retry", "running"):
            number = sum(getattr(queue.counts, word) for queue in queues)
            jobs.add_metric((name, word), number)
        ages = (state.now - queue.next_due_at for queue in queues if queue.next_due_at is not None)
        oldest.add_metric((name,), max(0, *ages, 0) / 1000)
        paused.add_metric((name,), max(int(queue.paused) for queue in queues))
    yield from (jobs, oldest, paused)


def _jobs(counted: Counted) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    pushed = CounterMetricFamily("lq_jobs_pushed", "Jobs that were made.", labels=("queue",))
    ended = CounterMetricFamily(
        "lq_jobs_finished", "Jobs that were finished.", labels=("queue", "state")
    )
    sums: dict[tuple[str, str], int] = {}
    for (queue, verb), number in counted.moves.items():
        if verb == "push":
            pushed.add_metric((queue,), number)
        elif verb in _ENDED:
            place = queue, _ENDED[verb]
            sums[place] = sums.get(place, 0) + number
    for place, number in sums.items():
        ended.add_metric(place, number)
    attempts = CounterMetricFamily(
        "lq_attempts", "Attempts, by what came of them.", labels=("queue", "outcome")
    )
    for place, number in counted.attempts.items():
        attempts.add_metric(place, number)
    yield from (pushed, ended, attempts)
    yield _by_queue("lq_attempt_duration_seconds", "How long attempts take.", counted.durations)
    yield _by_queue(
        "lq_job_start_lateness_seconds", "How long after their time jobs start.", counted.lateness
    )


def _daemon(state: State) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    yield InfoMetricFamily("lq", "Which lq this is.", value={"version": state.version})
    endpoints = GaugeMetricFamily(
        "lq_endpoints", "Endpoints, by what is known of them.", labels=("state",)
    )
    for word, number in state.endpoints.items():
        endpoints.add_metric((word,), number)
    yield endpoints
    for name, about, value in (
        ("live", "Whether the daemon works: /healthz.", state.live),
        ("ready", "Whether it can take jobs: /readyz.", state.ready),
        ("calls_in_flight", "Runs that have not ended.", state.in_flight),
        ("slots", "How many may run at once, over all queues.", state.slots),
        ("results_unrecorded", "Ends of runs that could not be stored yet.", state.unrecorded),
        ("targets_spared", "Servers and pages that are held for failing.", state.spared),
        ("schedules", "Schedules.", state.schedules),
        ("schedules_overdue", "Schedules that should have fired.", state.schedules_overdue),
        ("database_bytes", "Size of the database.", state.database_bytes),
        ("database_wal_bytes", "Size of its write-ahead log.", state.wal_bytes),
        ("disk_free_bytes", "Room where the data is.", state.disk_free_bytes),
    ):
        yield GaugeMetricFamily(f"lq_{name}", about, value=float(value))


def _insides(counted: Counted) -> Iterator[Metric]:
    for name, about, seen in (
        ("event_loop_lag_seconds", "How late the event loop wakes up.", counted.loop_lag),
        ("commit_duration_seconds", "How long commits take.", counted.commits),
        ("commit_writes", "How many writes one commit holds.", counted.group_sizes),
    ):
        yield _by_queue(f"lq_{name}", about, {"": seen}, labelled=False)


def _by_queue(
    name: str, about: str, seen: Mapping[str, Distribution], *, labelled: bool = True
) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, about, labels=("queue",) if labelled else ())
    for queue, one in seen.items():
        total, buckets = 0, []
        for bound, count in zip((*map(str, one.bounds), "+Inf"), one.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric((queue,) if labelled else (), buckets, sum_value=one.total)
    return family
