"""Schedules while they run: what they make, what they skip, what a change of one moves."""

from __future__ import annotations

import asyncio

import pytest

from lq.daemon.main import Daemon
from lq.errors import Conflict, Forbidden, NotFound, TargetNotAllowed, ValidationError
from lq.model import (
    ById,
    Firing,
    JobFilter,
    Misfire,
    Overlap,
    Push,
    PushOutcome,
    QueueEdit,
    ScheduleEdit,
    ScheduleFilter,
    ScheduleKey,
    ScheduleSpec,
    State,
)
from lq.when import parse_rfc3339
from tests.clock import START, FakeClock
from tests.support.handler import Gate, answers
from tests.support.home import Home, reaches
from tests.support.schedules import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    allowed,
    fired,
    jobs_of,
    make,
    pass_time,
    spec,
    stored,
)

# FakeClock starts at 2027-01-15T08:00:00Z.
assert parse_rfc3339("2027-01-15T08:00:00Z") == START


async def test_a_cron_schedule_fires_at_its_times_and_not_before(
    daemon: Daemon, home: Home
) -> None:
    hourly = await make(daemon, home, "30 * * * *", push={"payload": b"tick"})
    assert hourly.next_at == START + 30 * MINUTE
    await pass_time(daemon, home, 30 * MINUTE - 1)
    assert await fired(daemon, hourly) == []
    await pass_time(daemon, home, 1)
    await pass_time(daemon, home, HOUR)
    assert await fired(daemon, hourly) == [
        (START + 30 * MINUTE, 0),
        (START + 90 * MINUTE, 0),
    ]
    for job in await jobs_of(daemon, hourly):
        await reaches(daemon, job.id, State.COMPLETED)
    calls = [call for call in home.handler.calls if call.headers.get("x-lq-schedule") == hourly.id]
    assert [call.at for call in calls] == [START + 30 * MINUTE, START + 90 * MINUTE]
    assert [call.headers["x-lq-fire-time"] for call in calls] == [
        "2027-01-15T08:30:00.000Z",
        "2027-01-15T09:30:00.000Z",
    ]
    assert all(call.body == b"tick" and "x-lq-missed" not in call.headers for call in calls)
    now = await stored(daemon, hourly)
    assert (now.fired, now.last_at, now.next_at) == (
        2,
        START + 90 * MINUTE,
        START + 150 * MINUTE,
    )
    assert now.last is not None
    assert now.last.state is State.COMPLETED


async def test_a_zone_moves_a_rule(daemon: Daemon, home: Home) -> None:
    nightly = await make(daemon, home, "30 2 * * *", zone="America/New_York")
    assert nightly.next_at == parse_rfc3339("2027-01-16T02:30:00-05:00")


async def test_an_interval_counts_from_its_making_or_its_start(daemon: Daemon, home: Home) -> None:
    home.clock.advance(1234)
    made = await make(daemon, home, "E=90s")
    assert made.next_at == START + 1234 + 90 * SECOND
    later = await make(daemon, home, "E=90s", start_at=START + 10 * MINUTE)
    assert later.next_at == START + 10 * MINUTE
    since = await make(daemon, home, "E=7m", start_at=START - HOUR)
    assert since.next_at == START + 3 * MINUTE


async def test_times_end_a_schedule(daemon: Daemon, home: Home) -> None:
    twice = await make(daemon, home, "E=1m", key="twice", times=2)
    await pass_time(daemon, home, MINUTE)
    await pass_time(daemon, home, MINUTE)
    await pass_time(daemon, home, 10 * MINUTE)
    assert len(await fired(daemon, twice)) == 2
    ended = await stored(daemon, twice)
    assert (ended.next_at, ended.fired, ended.paused) == (None, 2, False)
    again, outcome = await daemon.engine.schedules.create(
        spec(home, "E=1m", key="twice", times=2), allowed
    )
    assert (again.id, again.next_at, outcome) == (twice.id, None, PushOutcome.KEPT)


async def test_more_times_let_an_ended_schedule_go_on_without_catching_up(
    daemon: Daemon, home: Home
) -> None:
    once = await make(daemon, home, "E=1m", times=1)
    await pass_time(daemon, home, MINUTE)
    await pass_time(daemon, home, HOUR)
    edit = ScheduleEdit(spec={"times": 2})
    more = await daemon.engine.schedules.edit(ById(once.id), edit, allowed)
    assert more.next_at == home.clock.now() + MINUTE
    await pass_time(daemon, home, MINUTE)
    assert [missed for _, missed in await fired(daemon, once)] == [0, 0]


async def test_until_is_the_last_instant(daemon: Daemon, home: Home) -> None:
    bounded = await make(daemon, home, "0 * * * *", until_at=START + 2 * HOUR)
    for _ in range(4):
        await pass_time(daemon, home, HOUR)
    assert [at for at, _ in await fired(daemon, bounded)] == [START + HOUR, START + 2 * HOUR]
    with pytest.raises(ValidationError, match="no time to fire"):
        await make(daemon, home, "0 * * * *", until_at=home.clock.now() + MINUTE)


async def test_a_change_that_would_never_fire_is_refused(daemon: Daemon, home: Home) -> None:
    made = await make(daemon, home, "0 * * * *", key="k")
    for members in ({"until_at": START + MINUTE}, {"start_at": START + 2, "until_at": START + 1}):
        with pytest.raises(ValidationError, match="no time to fire"):
            await daemon.engine.schedules.edit(
                ScheduleKey("k"), ScheduleEdit(spec=members), allowed
            )
        with pytest.raises(ValidationError, match="no time to fire"):
            await make(daemon, home, "0 * * * *", key="k", **members)
    assert await stored(daemon, made) == made


async def test_what_has_ended_may_be_made_again_unchanged(daemon: Daemon, home: Home) -> None:
    wanted = spec(home, "0 * * * *", key="k", until_at=START + HOUR)
    made, _ = await daemon.engine.schedules.create(wanted, allowed)
    await pass_time(daemon, home, 2 * HOUR)
    again, outcome = await daemon.engine.schedules.create(wanted, allowed)
    assert (again.id, again.next_at, outcome) == (made.id, None, PushOutcome.KEPT)
    payload = spec(home, "0 * * * *", key="k", until_at=START + HOUR, push={"payload": b"2"})
    again, outcome = await daemon.engine.schedules.create(payload, allowed)
    assert (again.next_at, outcome) == (None, PushOutcome.REPLACED)


async def test_jitter_puts_each_start_off_but_not_its_nominal_time(
    daemon: Daemon, home: Home
) -> None:
    spread = await make(daemon, home, "0 * * * *", jitter_ms=10 * MINUTE)
    for _ in range(5):
        await pass_time(daemon, home, HOUR)
    jobs = await jobs_of(daemon, spread)
    offsets = [job.not_before - (job.firing.at or 0) for job in jobs if job.firing]
    assert [job.firing.at for job in jobs if job.firing] == [START + n * HOUR for n in range(1, 6)]
    assert all(0 <= offset < 10 * MINUTE for offset in offsets)
    assert len(set(offsets)) == 5


async def test_expiry_counts_from_when_a_job_is_due(daemon: Daemon, home: Home) -> None:
    await daemon.engine.queues.edit("q", QueueEdit(paused=True))
    brief = await make(daemon, home, "0 * * * *", push={"expires_ms": 10 * MINUTE})
    await pass_time(daemon, home, HOUR)
    (job,) = await jobs_of(daemon, brief)
    assert job.expires_at == START + HOUR + 10 * MINUTE
    home.clock.advance(10 * MINUTE)
    await reaches(daemon, job.id, State.FAILED)


async def test_overlap_skip_makes_no_job_while_one_is_unfinished(
    daemon: Daemon, home: Home
) -> None:
    gate = Gate()
    home.handler.on("/", gate)
    careful = await make(daemon, home, "E=1m", overlap=Overlap.SKIP)
    eager = await make(daemon, home, "E=1m", push={"path": "/eager"})
    for _ in range(3):
        await pass_time(daemon, home, MINUTE)
    assert len(await fired(daemon, eager)) == 3
    assert await fired(daemon, careful) == [(START + MINUTE, 0)]
    first, *skips = await jobs_of(daemon, careful)
    assert [job.state for job in skips] == [State.CANCELLED] * 2
    assert {job.error for job in skips} == {
        f"overlap: item {first.id} of this schedule is unfinished"
    }
    with pytest.raises(Conflict, match="unfinished"):
        await daemon.engine.schedules.run_now(ById(careful.id))
    gate.open()
    await reaches(daemon, first.id, State.COMPLETED)
    await pass_time(daemon, home, MINUTE)
    assert (await fired(daemon, careful))[-1] == (START + 4 * MINUTE, 0)
    history = await daemon.engine.history(JobFilter(schedule=careful.id, state="CANCELLED"))
    assert {job.id for job in skips} <= {job.id for job in history.items}


async def test_pause_and_resume_make_up_for_nothing(daemon: Daemon, home: Home) -> None:
    minutely = await make(daemon, home, "E=1m", key="m")
    by_key = ScheduleKey("m")
    paused = await daemon.engine.schedules.pause(by_key)
    assert (paused.paused, paused.next_at) == (True, None)
    await pass_time(daemon, home, 10 * MINUTE + 30 * SECOND)
    assert await daemon.engine.schedules.next(by_key, 2, None) == [
        START + 11 * MINUTE,
        START + 12 * MINUTE,
    ]
    resumed = await daemon.engine.schedules.resume(by_key)
    assert resumed.next_at == START + 11 * MINUTE  # the phase is kept
    await pass_time(daemon, home, 30 * SECOND)
    assert await fired(daemon, minutely) == [(START + 11 * MINUTE, 0)]


async def test_run_now_is_besides_the_plan(daemon: Daemon, home: Home) -> None:
    once = await make(daemon, home, "E=1h", times=1)
    job = await daemon.engine.schedules.run_now(ById(once.id))
    assert job.firing == Firing(once.id, None)
    await reaches(daemon, job.id, State.COMPLETED)
    (call,) = home.handler.calls
    assert call.headers["x-lq-schedule"] == once.id
    assert call.headers["x-lq-fire-time"] == "2027-01-15T08:00:00.000Z"
    now = await stored(daemon, once)
    assert (now.fired, now.next_at, now.last_at) == (0, START + HOUR, None)
    assert now.last is not None
    assert now.last.id == job.id
    await daemon.engine.schedules.pause(ById(once.id))
    again = await daemon.engine.schedules.run_now(ById(once.id))
    await reaches(daemon, again.id, State.COMPLETED)
    assert (await stored(daemon, once)).paused


async def test_making_the_same_schedule_again_changes_nothing(daemon: Daemon, home: Home) -> None:
    first, outcome = await daemon.engine.schedules.create(spec(home, "E=1h", key="k"), allowed)
    assert outcome is PushOutcome.CREATED
    home.clock.advance(20 * MINUTE)
    again, outcome = await daemon.engine.schedules.create(spec(home, "E=1h", key="k"), allowed)
    assert outcome is PushOutcome.KEPT
    assert again == first


async def test_a_new_payload_leaves_the_next_time_alone(daemon: Daemon, home: Home) -> None:
    first = await make(daemon, home, "E=1h", key="k")
    await pass_time(daemon, home, HOUR)
    home.clock.advance(20 * MINUTE)
    changed = spec(home, "E=1h", key="k", push={"payload": b"new"})
    now, outcome = await daemon.engine.schedules.create(changed, allowed)
    assert (outcome, now.id, now.next_at) == (PushOutcome.REPLACED, first.id, START + 2 * HOUR)
    await pass_time(daemon, home, 40 * MINUTE)
    old, new = await jobs_of(daemon, first)
    assert (await daemon.engine.get(ById(old.id))).payload == b"payload-canary"
    assert (await daemon.engine.get(ById(new.id))).payload == b"new"


async def test_a_new_rule_counts_from_now(daemon: Daemon, home: Home) -> None:
    await make(daemon, home, "E=1h", key="k", times=5)
    await pass_time(daemon, home, HOUR + 20 * MINUTE)
    now = await make(daemon, home, "E=30m", key="k", times=5)
    assert (now.next_at, now.fired) == (START + 110 * MINUTE, 0)
    zoned = await make(daemon, home, "0 9 * * *", key="k", zone="Asia/Tokyo")
    assert zoned.next_at == parse_rfc3339("2027-01-16T09:00:00+09:00")


async def test_a_key_names_one_schedule_over_all_queues(daemon: Daemon, home: Home) -> None:
    first = await make(daemon, home, "@hourly", key="k")
    moved = await make(daemon, home, "@hourly", key="k", push={"queue": "other"})
    assert moved.id == first.id
    page = await daemon.engine.schedules.list(ScheduleFilter())
    assert [found.id for found in page.items] == [first.id]
    assert (await daemon.engine.schedules.list(ScheduleFilter(queue="q"))).items == ()


async def test_edit_changes_what_it_names(daemon: Daemon, home: Home) -> None:
    made = await make(daemon, home, "0 * * * *", key="k", misfire=Misfire.ALL)
    edit = ScheduleEdit(spec={"rule": "15 * * * *"}, push={"payload": b"p2", "method": "PUT"})
    now = await daemon.engine.schedules.edit(ScheduleKey("k"), edit, allowed)
    assert (now.spec.rule, now.spec.misfire) == ("15 * * * *", Misfire.ALL)
    assert (now.spec.push.payload, now.spec.push.method) == (b"p2", "PUT")
    assert (now.next_at, now.id) == (START + 15 * MINUTE, made.id)
    with pytest.raises(NotFound):
        await daemon.engine.schedules.edit(ScheduleKey("nobody"), edit, allowed)


async def test_who_may_change_one_is_judged_by_what_it_has_become(
    daemon: Daemon, home: Home
) -> None:
    """Two changes at once: the second one is about what the first has left."""

    def proven_only(push: Push) -> None:
        if not push.validate:
            raise Forbidden("leave that to admins")

    made = await make(daemon, home, "@hourly", push={"validate": True})
    schedules = daemon.engine.schedules
    trusting = ScheduleEdit(push={"validate": False})
    elsewhere = ScheduleEdit(push={"target": home.handler.url("/evil")})
    _, refused = await asyncio.gather(
        schedules.edit(ById(made.id), trusting, allowed),
        schedules.edit(ById(made.id), elsewhere, proven_only),
        return_exceptions=True,
    )
    assert isinstance(refused, Forbidden)
    now = (await stored(daemon, made)).spec.push
    assert (now.validate, now.target) == (False, made.spec.push.target)


async def test_delete_leaves_jobs_as_they_are(daemon: Daemon, home: Home) -> None:
    made = await make(daemon, home, "E=1m")
    await pass_time(daemon, home, MINUTE)
    await daemon.engine.schedules.delete(ById(made.id))
    (job,) = await jobs_of(daemon, made)
    await reaches(daemon, job.id, State.COMPLETED)
    await pass_time(daemon, home, 5 * MINUTE)
    assert len(await jobs_of(daemon, made)) == 1
    with pytest.raises(NotFound):
        await daemon.engine.schedules.delete(ById(made.id))


async def test_a_schedule_needs_a_target_that_may_be_called(daemon: Daemon, home: Home) -> None:
    def to(target: str | None) -> ScheduleSpec:
        return ScheduleSpec(rule="@daily", push=Push(queue="q", payload=b"", target=target))

    with pytest.raises(ValidationError, match="x-lq-target"):
        await daemon.engine.schedules.create(to(None), allowed)
    with pytest.raises(TargetNotAllowed):
        await daemon.engine.schedules.create(to("http://127.0.0.1:9/"), allowed)
    target = home.handler.url("/default")
    await daemon.engine.queues.edit("q", QueueEdit(target=target))
    made, _ = await daemon.engine.schedules.create(to(None), allowed)
    assert made.spec.push.target == target
    await daemon.engine.queues.edit("q", QueueEdit(target=None))
    await pass_time(daemon, home, DAY)
    paused = await stored(daemon, made)
    assert paused.paused
    assert "no default target" in (paused.reason or "")
    assert await jobs_of(daemon, made) == []


async def test_a_failing_job_does_not_stop_its_schedule(daemon: Daemon, home: Home) -> None:
    home.handler.on("/", answers(500))
    failing = await make(daemon, home, "E=1m")
    for _ in range(3):
        await pass_time(daemon, home, MINUTE)
    assert [at for at, _ in await fired(daemon, failing)] == [
        START + n * MINUTE for n in range(1, 4)
    ]


async def test_schedules_due_together_fire_each_in_its_queue(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    made = [await make(daemon, home, "0 9 * * *", push={"queue": f"q{n % 7}"}) for n in range(600)]
    await pass_time(daemon, home, HOUR)
    for schedule in made:
        assert await fired(daemon, schedule) == [(START + HOUR, 0)]
