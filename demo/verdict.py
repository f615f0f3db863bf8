"""Whether all of it really happened: the daemon's history held against the handler's words.

Pure. Each check is one sentence about what a person was promised, and if it does not hold, why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .story import DELAY_MS, WAITS_MS, Job

Json = dict[str, Any]

AT_ONCE_MS = 1_000
"""What counts as at once on a busy machine; idle it is a few milliseconds."""


class Check(NamedTuple):
    """One promise. Shape: `fault` is None when it was kept."""

    text: str
    fault: str | None = None


def judge(jobs: Sequence[Job], told: Sequence[Json], stopped: int) -> list[Check]:
    """Hold what the daemon remembers of each job against what the handler says it saw."""
    calls = [one for one in told if "called" in one]
    by_name = {job.part.name: job for job in jobs}
    seen = {name: [one for one in calls if one["called"] == f"/{name}"] for name in by_name}
    return [
        _at_once(by_name["welcome"], seen["welcome"]),
        _delayed(by_name["reminder"], seen["reminder"]),
        _replaced(by_name["report"], seen["report"]),
        _retried(by_name["payment"], seen["payment"]),
        _proved(jobs, told),
        _agree(jobs, calls),
        Check(
            "asked to stop, the daemon ended in order",
            None if stopped == 0 else f"its exit code was {stopped}",
        ),
    ]


def _at_once(job: Job, seen: list[Json]) -> Check:
    text = "welcome ran at once"
    if fault := _course(job, seen, [200]):
        return Check(text, fault)
    late = job.late_ms(1)
    if late > AT_ONCE_MS:
        return Check(text, f"it started {late} ms after its push")
    return Check(f"{text}: it started {late} ms after its push")


def _delayed(job: Job, seen: list[Json]) -> Check:
    text = f"reminder waited its {DELAY_MS / 1000:g} s"
    if fault := _course(job, seen, [200]):
        return Check(text, fault)
    early = job.due_at(1) - min(job.started_at(1), seen[0]["at"])
    if early > 0:
        return Check(text, f"it started {early} ms too early")
    return Check(f"{text}, and started {job.late_ms(1)} ms after them, never early")


def _replaced(job: Job, seen: list[Json]) -> Check:
    text = "report was replaced by its key: the second payload alone arrived"
    outcomes = [pushed["outcome"] for pushed in job.pushed]
    if outcomes != ["created", "replaced"]:
        return Check(text, f"its pushes were {_words(outcomes)}")
    if job.pushed[0]["id"] != job.pushed[1]["id"]:
        return Check(text, "its two pushes made two items")
    if fault := _course(job, seen, [200]):
        return Check(text, fault)
    arrived = [one["payload"] for one in seen]
    wanted = [dict(job.part.pushes[-1].payload)]
    return Check(text, None if arrived == wanted else f"what arrived was {arrived}")


def _retried(job: Job, seen: list[Json]) -> Check:
    text = "payment failed twice, then succeeded"
    if fault := _course(job, seen, [500, 500, 200]):
        return Check(text, fault)
    for n, wait_ms in enumerate(WAITS_MS, start=2):
        if job.late_ms(n) < 0:
            return Check(text, f"attempt {n} did not wait its {wait_ms} ms")
    return Check(f"{text}: 3 attempts, {_words(f'{ms / 1000:g} s' for ms in WAITS_MS)} apart")


def _course(job: Job, seen: list[Json], statuses: list[int]) -> str | None:
    """What is wrong with the course of a job, in the daemon's history or at the handler."""
    if job.item.get("state") != "COMPLETED":
        return f"it is {job.item.get('state')}: {job.item.get('error', 'not finished in time')}"
    remembered = [one.get("status") for one in job.attempts]
    if remembered != statuses or job.item["attempts"] != len(statuses):
        return f"the daemon remembers the answers {_words(remembered)}"
    answered = [one["status"] for one in seen]
    if answered != statuses:
        return f"the handler gave the answers {_words(answered)}"
    return None


def _proved(jobs: Sequence[Job], told: Sequence[Json]) -> Check:
    text = "the handler proved itself first, and verified each call's signature"
    if refused := [one["reason"] for one in told if "refused" in one]:
        return Check(text, f"it refused a call: {refused[0]}")
    for job in jobs:
        paths = [one.get("proved") or one.get("called") for one in told]
        kinds = ["proof" if "proved" in one else "call" for one in told]
        own = [kind for kind, path in zip(kinds, paths, strict=True) if path == job.part.path]
        if own[:1] != ["proof"]:
            return Check(text, f"{job.part.name} was called without a proof")
    return Check(text)


def _agree(jobs: Sequence[Job], calls: Sequence[Json]) -> Check:
    text = f"daemon and handler agree on all {len(calls)} calls"
    return Check(text, next(_disagreements(jobs, calls), None))


def _disagreements(jobs: Sequence[Job], calls: Sequence[Json]) -> Iterator[str]:
    known = {job.item["id"] for job in jobs if job.item}
    yield from (f"a call for {one['id']}" for one in calls if one["id"] not in known)
    for job in jobs:
        item = job.item.get("id")
        own = [one for one in calls if one["id"] == item]
        remembered = [
            (one["n"], one.get("status"), one.get("responseBody")) for one in job.attempts
        ]
        answered = [(one["attempt"], one["status"], one["said"]) for one in own]
        if remembered != answered:
            yield f"{job.part.name}: {remembered} is remembered, {answered} was answered"
        if {one["once"] for one in own} != {f'"{item}"'}:
            yield f"{job.part.name}: its attempts do not share one Idempotency-Key"


def _words(many: Iterable[object]) -> str:
    return " and ".join(map(str, many)) or "none"
