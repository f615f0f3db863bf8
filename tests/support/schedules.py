"""Schedules of tests: made in one call, and what came of them."""

from __future__ import annotations

from typing import Any

from lq.daemon.main import Daemon
from lq.model import ById, Job, JobFilter, Push, Schedule, ScheduleSpec
from tests.support.home import Home, heard

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def allowed(push: Push) -> None:
    """Whoever asks may have everything pushed by a schedule."""


def spec(
    home: Home, rule: str, *, push: dict[str, Any] | None = None, **members: Any
) -> ScheduleSpec:
    """A schedule that calls the handler."""
    wanted: Push = home.push(**(push or {}))
    return ScheduleSpec(rule=rule, push=wanted, **members)


async def make(daemon: Daemon, home: Home, rule: str, **members: Any) -> Schedule:
    """A schedule that calls the handler, made."""
    made, _ = await daemon.engine.schedules.create(spec(home, rule, **members), allowed)
    return made


async def stored(daemon: Daemon, schedule: Schedule) -> Schedule:
    """The schedule as it is now."""
    return await daemon.engine.schedules.get(ById(schedule.id))


async def jobs_of(daemon: Daemon, schedule: Schedule) -> list[Job]:
    """All jobs of a schedule, finished or not, in the order they were made."""
    wanted = JobFilter(schedule=schedule.id, limit=1000)
    pages = [await daemon.engine.items(wanted), await daemon.engine.history(wanted)]
    jobs = {job.seq: job for page in pages for job in page.items}  # one may finish in between
    return [jobs[seq] for seq in sorted(jobs)]


async def fired(daemon: Daemon, schedule: Schedule) -> list[tuple[int, int]]:
    """The nominal times of the jobs that a schedule has made, and how many each stands for."""
    jobs = await jobs_of(daemon, schedule)
    firings = [job.firing for job in jobs if job.firing is not None and not is_skip(job)]
    return [(firing.at, firing.missed) for firing in firings if firing.at is not None]


def is_skip(job: Job) -> bool:
    """Whether history has this job only to say that there was none."""
    return job.error is not None and job.error.startswith(("overlap:", "misfire:"))


async def pass_time(daemon: Daemon, home: Home, ms: int) -> None:
    """Let time pass, and return when all schedules have fired that are due by then.

    One more fires at that very moment, with or after them: due ones go in the order of their
    times, those of one moment in one transaction.
    """
    with daemon.events.subscribe() as events:
        canary = await make(
            daemon, home, "E=1d", push={"queue": "canary"}, start_at=home.clock.now() + ms, times=1
        )
        home.clock.advance(ms)
        while (await heard(events, "push")).queue != "canary":
            pass
    await daemon.engine.schedules.delete(ById(canary.id))
