"""Schedules when the clock does what clocks do: downtime, steps, a boot in 1970, new zone rules.

B1 to B14 of the faults that lq must survive. Nothing fires twice for one nominal time, nothing
is lost that the misfire policy keeps, and no storm follows.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import time
import zoneinfo
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lq.config import HistoryConfig
from lq.daemon.main import Daemon
from lq.daemon.store import Store
from lq.daemon.store.database import open_database
from lq.daemon.store.sqlite import JobBook, SqliteStore
from lq.firing import times
from lq.model import (
    Misfire,
    QueueEdit,
    Schedule,
    ScheduleEdit,
    ScheduleKey,
    State,
)
from lq.when import UnknownZone, parse_rfc3339
from tests.clock import START, FakeClock
from tests.support.home import Home, eventually, heard, reaches
from tests.support.schedules import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    allowed,
    fired,
    is_skip,
    jobs_of,
    make,
    pass_time,
    stored,
)


async def made_anew(daemon: Daemon, home: Home, schedule: Schedule) -> int:
    """Wait until a schedule fires, time standing still but for the second until lq looks."""
    before = len(await fired(daemon, schedule))
    with daemon.events.subscribe() as events:
        home.clock.advance(SECOND)
        await heard(events, "push")

    async def more() -> bool:
        return len(await fired(daemon, schedule)) > before

    await eventually(more)
    return len(await fired(daemon, schedule)) - before


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        (Misfire.ONCE, [(START + 60 * MINUTE, 4)]),
        (Misfire.SKIP, [(START + 60 * MINUTE, 0)]),
        (Misfire.ALL, [(START + n * MINUTE, 1) for n in (15, 30, 45)] + [(START + HOUR, 0)]),
    ],
)
async def test_b1_an_hour_forward_follows_the_policy(
    daemon: Daemon,
    home: Home,
    misfire: Misfire,
    expected: list[tuple[int, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    quarterly = await make(daemon, home, "*/15 * * * *", misfire=misfire)
    delayed = await daemon.engine.push(home.push("/delayed", delay_ms=30 * MINUTE))
    with caplog.at_level(logging.WARNING):
        home.clock.step(HOUR)
        await made_anew(daemon, home, quarterly)
    assert "clock stepped +3600 s" in caplog.text
    assert await fired(daemon, quarterly) == expected
    await reaches(daemon, delayed.job.id, State.COMPLETED)
    skips = [job.error for job in await jobs_of(daemon, quarterly) if is_skip(job)]
    assert bool(skips) == (misfire is Misfire.SKIP)


async def test_a_catch_up_tells_its_handler_how_many_it_stands_for(
    daemon: Daemon, home: Home
) -> None:
    quarterly = await make(daemon, home, "*/15 * * * *")
    home.clock.step(HOUR)
    await made_anew(daemon, home, quarterly)
    (job,) = await jobs_of(daemon, quarterly)
    await reaches(daemon, job.id, State.COMPLETED)
    (call,) = home.handler.calls
    assert call.headers["x-lq-missed"] == "4"
    assert call.headers["x-lq-fire-time"] == "2027-01-15T09:00:00.000Z"


async def test_b2_an_hour_back_fires_nothing_twice(daemon: Daemon, home: Home) -> None:
    hourly = await make(daemon, home, "0 * * * *")
    await pass_time(daemon, home, HOUR)
    await pass_time(daemon, home, 30 * MINUTE)
    home.clock.step(-HOUR)
    home.clock.advance(SECOND)
    await pass_time(daemon, home, HOUR)
    assert await fired(daemon, hourly) == [(START + HOUR, 0)]
    await pass_time(daemon, home, START + 2 * HOUR - home.clock.now())
    assert await fired(daemon, hourly) == [(START + HOUR, 0), (START + 2 * HOUR, 0)]


async def test_b3_a_clock_that_swings_makes_one_job_for_each_time(
    daemon: Daemon, home: Home
) -> None:
    quarterly = await make(daemon, home, "*/15 * * * *", misfire=Misfire.ALL)
    for _ in range(20):
        home.clock.step(HOUR)
        await pass_time(daemon, home, 10 * SECOND)
        home.clock.step(-HOUR)
        await pass_time(daemon, home, 10 * SECOND)
    await pass_time(daemon, home, 2 * HOUR)
    times = [at for at, _ in await fired(daemon, quarterly)]
    assert times == sorted(set(times))
    end = home.clock.now()
    assert times == list(range(START + 15 * MINUTE, end + 1, 15 * MINUTE))


async def test_b4_a_slew_changes_nothing(
    daemon: Daemon, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(4)
    minutely = await make(daemon, home, "* * * * *")
    with caplog.at_level(logging.WARNING):
        for _ in range(60):
            home.clock.step(chance.randint(-200, 200))
            await pass_time(daemon, home, 10 * SECOND)
    times = await fired(daemon, minutely)
    assert times == [(START + n * MINUTE, 0) for n in range(1, len(times) + 1)]
    assert 9 <= len(times) <= 10
    assert "stepped" not in caplog.text


async def test_b5_after_a_suspend_each_schedule_catches_up_once(daemon: Daemon, home: Home) -> None:
    schedules = [await make(daemon, home, rule) for rule in ("0 10 * * *", "* * * * *", "E=90s")]
    home.clock.step(8 * HOUR)  # the monotonic clock has stopped meanwhile
    await made_anew(daemon, home, schedules[0])
    assert [await fired(daemon, schedule) for schedule in schedules] == [
        [(START + 2 * HOUR, 1)],
        [(START + 8 * HOUR, 480)],
        [(START + 8 * HOUR, 320)],
    ]


@pytest.mark.parametrize(
    ("misfire", "made", "missed"),
    [(Misfire.ONCE, 1, 14), (Misfire.SKIP, 0, 0), (Misfire.ALL, 14, 14)],
)
async def test_two_weeks_off_follow_the_policy(
    home: Home, misfire: Misfire, made: int, missed: int
) -> None:
    async with home.daemon() as daemon:
        nightly = await make(daemon, home, "0 2 * * *", misfire=misfire)
        await pass_time(daemon, home, MINUTE)
    home.clock.advance(14 * DAY)
    async with home.daemon() as daemon:
        await pass_time(daemon, home, SECOND)
        times = await fired(daemon, nightly)
        assert (len(times), sum(number for _, number in times)) == (made, missed)
        next_at = (await stored(daemon, nightly)).next_at
        assert next_at == START + 14 * DAY + 18 * HOUR
        await pass_time(daemon, home, next_at - home.clock.now())
        assert (await fired(daemon, nightly))[made:] == [(next_at, 0)]


async def test_a_short_restart_loses_no_nightly_job_and_calls_it_on_time(home: Home) -> None:
    async with home.daemon() as daemon:
        nightly = await make(daemon, home, "0 9 * * *", misfire=Misfire.SKIP)
        await pass_time(daemon, home, HOUR - 10 * SECOND)
    home.clock.advance(30 * SECOND)
    async with home.daemon() as daemon:
        await pass_time(daemon, home, SECOND)
        assert await fired(daemon, nightly) == [(START + HOUR, 0)]


async def test_b6_a_boot_in_1970_holds_schedules_until_the_time_is_known(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async with home.daemon() as daemon:
        hourly = await make(daemon, home, "0 * * * *")
        await pass_time(daemon, home, HOUR)
    home.clock.step(-home.clock.now())
    with caplog.at_level(logging.WARNING):
        async with home.daemon() as daemon:
            assert "schedules wait" in caplog.text
            born_in_1970 = await make(daemon, home, "0 * * * *")
            assert born_in_1970.next_at == START + 2 * HOUR
            home.clock.step(START + 4 * HOUR - home.clock.now())
            await made_anew(daemon, home, hourly)
            assert await fired(daemon, hourly) == [(START + HOUR, 0), (START + 4 * HOUR, 3)]
            assert await fired(daemon, born_in_1970) == [(START + 4 * HOUR, 3)]


async def test_b6_after_five_minutes_the_clock_is_believed(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async with home.daemon() as daemon:
        hourly = await make(daemon, home, "0 * * * *")
        await pass_time(daemon, home, HOUR)
    home.clock.step(-home.clock.now())
    with caplog.at_level(logging.WARNING):
        async with home.daemon() as daemon:
            for _ in range(4):
                home.clock.advance(MINUTE)
                await eventually(lambda: _waits(home.clock))
            assert (await stored(daemon, hourly)).next_at == START + 2 * HOUR
            home.clock.advance(MINUTE + SECOND)

            async def from_now() -> bool:
                return (await stored(daemon, hourly)).next_at == HOUR

            await eventually(from_now)
            assert "went back" in caplog.text
            await pass_time(daemon, home, HOUR - home.clock.now())
            assert (await fired(daemon, hourly))[1:] == [(HOUR, 0)]


async def _waits(clock: FakeClock) -> bool:
    await asyncio.sleep(0)
    return clock.waiting > 0


async def test_a_clock_that_was_wrong_for_a_day_does_not_silence_schedules(
    daemon: Daemon, home: Home
) -> None:
    hourly = await make(daemon, home, "0 * * * *")
    home.clock.step(20 * HOUR)
    await made_anew(daemon, home, hourly)
    assert await fired(daemon, hourly) == [(START + 20 * HOUR, 20)]
    home.clock.step(-20 * HOUR)
    home.clock.advance(SECOND)

    async def from_now() -> bool:
        return (await stored(daemon, hourly)).next_at == START + HOUR

    await eventually(from_now)
    for _ in range(21):
        await pass_time(daemon, home, HOUR)
    times = [at for at, _ in await fired(daemon, hourly)]
    assert sorted(times) == [START + n * HOUR for n in range(1, 22)]


async def test_b7_a_schedule_fires_in_2038_and_in_2100(home: Home) -> None:
    async with home.daemon() as daemon:
        yearly = await make(daemon, home, "0 0 1 1 *", misfire=Misfire.ALL)
    for year in (2039, 2101):
        home.clock.step(parse_rfc3339(f"{year}-01-01T00:00:00Z") - home.clock.now())
        async with home.daemon() as daemon:
            await pass_time(daemon, home, SECOND)
            assert (await fired(daemon, yearly))[-1] == (
                parse_rfc3339(f"{year}-01-01T00:00:00Z"),
                0,
            )
    async with home.daemon() as daemon:
        assert (await stored(daemon, yearly)).fired == 2101 - 2028 + 1


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[Path]:
    """A folder of zones of our own, looked into before those of the machine."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([tmp_path, *before])
    yield tmp_path
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()


def rule_zone(zones: Path, like: str) -> None:
    """Let the zone Lq/Test have the rules of another one."""
    source = next(path for folder in zoneinfo.TZPATH if (path := Path(folder) / like).exists())
    (zones / "Lq").mkdir(exist_ok=True)
    shutil.copy(source, zones / "Lq" / "Test")


async def test_b8_new_rules_of_a_zone_count_from_a_start_or_a_reload(
    home: Home, zones: Path
) -> None:
    rule_zone(zones, "Etc/UTC")
    async with home.daemon() as daemon:
        nightly = await make(daemon, home, "0 9 * * *", zone="Lq/Test")
        await pass_time(daemon, home, HOUR)
        assert await fired(daemon, nightly) == [(START + HOUR, 0)]
        rule_zone(zones, "Etc/GMT-2")  # two hours ahead of UTC: 09:00 is at 07:00Z
        await daemon.engine.reload(dry=False)
        assert (await stored(daemon, nightly)).next_at == START + 23 * HOUR
    rule_zone(zones, "Etc/GMT+2")  # 09:00 is at 11:00Z: today's is still to come
    zoneinfo.ZoneInfo.clear_cache()
    async with home.daemon() as daemon:
        assert (await stored(daemon, nightly)).next_at == START + 3 * HOUR
        await pass_time(daemon, home, 2 * HOUR)
        assert [at for at, _ in await fired(daemon, nightly)] == [START + HOUR, START + 3 * HOUR]


async def test_b9_a_zone_that_is_gone_pauses_its_schedules_only(
    home: Home, zones: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rule_zone(zones, "Etc/UTC")
    async with home.daemon() as daemon:
        lost = await make(daemon, home, "0 9 * * *", key="lost", zone="Lq/Test")
        kept = await make(daemon, home, "0 9 * * *")
    (zones / "Lq" / "Test").unlink()
    zoneinfo.ZoneInfo.clear_cache()
    with caplog.at_level(logging.WARNING):
        async with home.daemon() as daemon:
            paused = await stored(daemon, lost)
            assert (paused.paused, paused.next_at) == (True, None)
            assert "there is no time zone 'Lq/Test'" in (paused.reason or "")
            assert "schedule lost is paused" in caplog.text
            await pass_time(daemon, home, HOUR)
            assert await fired(daemon, kept) == [(START + HOUR, 0)]
            with pytest.raises(Exception, match="Lq/Test"):
                await daemon.engine.schedules.resume(ScheduleKey("lost"))
            edit = ScheduleEdit(spec={"zone": "UTC"})
            resumed = await daemon.engine.schedules.edit(ScheduleKey("lost"), edit, allowed)
            assert (resumed.paused, resumed.reason) == (False, None)
            assert resumed.next_at == START + 25 * HOUR


def test_b9_an_unknown_zone_cannot_be_named(zones: Path) -> None:
    with pytest.raises(UnknownZone):
        times("@daily", "Lq/Test", START, 1)


class Weighed(JobBook):
    """A Book that remembers the most jobs that one transaction has made."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    async def open_store(self, folder: Path) -> Store:
        return SqliteStore(await open_database(folder, self))

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        before = _last_job(connection)
        answers = super().apply(connection, group)
        self.most = max(self.most, _last_job(connection) - before)
        return answers


def _last_job(connection: sqlite3.Connection) -> int:
    [last] = connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()
    return int(last)


async def test_b12_ten_thousand_schedules_do_not_hold_up_the_loop(home: Home) -> None:
    number = 10_000
    book = Weighed()
    async with home.daemon(open_store=book.open_store) as daemon:
        await asyncio.gather(
            *(make(daemon, home, "0 0 * * *", push={"queue": f"q{n % 3}"}) for n in range(number))
        )
        longest = 0.0

        async def watch() -> None:
            """See how much the loop works between two turns, however long the machine takes."""
            nonlocal longest
            while True:
                started = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - started)

        for name in ("q0", "q1", "q2"):
            await daemon.engine.queues.edit(name, QueueEdit(paused=True))
        watching = asyncio.create_task(watch())
        with daemon.events.subscribe() as events:
            home.clock.advance(16 * HOUR)
            for _ in range(number):
                await heard(events, "push")
        watching.cancel()
        counts = [queue.counts.pending for queue in await daemon.engine.queues.all()]
        assert sum(counts) == number
        assert 0 < book.most <= 500
        assert longest < 0.25


async def test_b14_a_schedule_updated_while_it_fires_keeps_the_job_it_made(
    daemon: Daemon, home: Home
) -> None:
    minutely = await make(daemon, home, "E=1m", key="k")
    for n in range(30):
        home.clock.advance(MINUTE)
        edit = ScheduleEdit(push={"payload": b"%d" % n})
        await daemon.engine.schedules.edit(ScheduleKey("k"), edit, allowed)
    await pass_time(daemon, home, SECOND)
    times = await fired(daemon, minutely)
    assert [at for at, _ in times] == sorted({at for at, _ in times})
    assert times[-1][0] == START + 30 * MINUTE
    assert sum(missed or 1 for _, missed in times) == 30


async def test_the_mark_goes_on_while_nothing_fires(home: Home) -> None:
    async with home.daemon() as daemon:
        yearly = await make(daemon, home, "0 0 1 1 *")
        for _ in range(60):
            await pass_time(daemon, home, HOUR)
    home.clock.step(-36 * HOUR)
    async with home.daemon() as daemon:
        born_in_doubt = await make(daemon, home, "E=1h")
        assert (born_in_doubt.next_at or 0) > START + 60 * HOUR
        assert (await stored(daemon, yearly)).next_at == yearly.next_at


async def test_the_mark_follows_a_clock_that_was_years_ahead(home: Home) -> None:
    async with home.daemon() as daemon:
        yearly = await make(daemon, home, "0 0 1 1 *")
        await pass_time(daemon, home, MINUTE)
        home.clock.step(10 * 365 * DAY)
        await pass_time(daemon, home, 2 * MINUTE)
        home.clock.step(-10 * 365 * DAY)

        async def believed() -> bool:
            home.clock.advance(SECOND)
            return (await stored(daemon, yearly)).next_at == yearly.next_at

        await eventually(believed)
        for _ in range(48):
            await pass_time(daemon, home, HOUR)
    home.clock.step(-30 * HOUR)
    async with home.daemon() as daemon:
        born_in_doubt = await make(daemon, home, "E=1h")
        assert (born_in_doubt.next_at or 0) > START + 48 * HOUR


async def test_a_first_boot_in_1970_waits_for_the_time_too(home: Home) -> None:
    now = home.clock.now()
    home.clock.step(-now)
    async with home.daemon() as daemon:
        minutely = await make(daemon, home, "* * * * *")
        home.clock.step(now)
        home.clock.advance(SECOND)
        await pass_time(daemon, home, SECOND)
        [(at, missed)] = await fired(daemon, minutely)
        assert (at, missed) == (START, 1 + (START - (minutely.next_at or 0)) // MINUTE)
        assert (minutely.next_at or 0) > parse_rfc3339("2026-11-01T00:00:00Z")


async def test_what_was_fired_is_known_when_the_clock_goes_back_though_nothing_is_kept(
    home: Home,
) -> None:
    async with home.daemon(history=HistoryConfig(keep_ms=0)) as daemon:
        hourly = await make(daemon, home, "0 * * * *")
        for _ in range(5):
            await pass_time(daemon, home, HOUR)
        home.clock.step(-4 * HOUR)
        home.clock.advance(SECOND)

        async def from_now() -> bool:
            return (await stored(daemon, hourly)).next_at == START + 2 * HOUR

        await eventually(from_now)
        for _ in range(5):
            await pass_time(daemon, home, HOUR)
        assert (await stored(daemon, hourly)).fired == 6
    mine = [call for call in home.handler.calls if call.headers["x-lq-schedule"] == hourly.id]
    called = [call.headers["x-lq-fire-time"] for call in mine]
    assert len(called) == len(set(called)) > 3


async def test_b14_a_rule_changed_while_it_fires_makes_one_job_for_each_time(
    daemon: Daemon, home: Home
) -> None:
    made = await make(daemon, home, "* * * * *", key="k")
    schedules = daemon.engine.schedules
    for n in range(40):
        home.clock.advance(20 * SECOND)
        rule = ("* * * * *", "*/20 * * * * *", "E=30s")[n % 3]
        edit = ScheduleEdit(spec={"rule": rule})
        changed = await schedules.edit(ScheduleKey("k"), edit, allowed)
        assert (changed.next_at or 0) > home.clock.now()
    await pass_time(daemon, home, MINUTE)
    times = [at for at, _ in await fired(daemon, made)]
    assert len(times) == len(set(times)) > 5


async def test_a_clock_goes_back_from_what_its_schedules_have_seen(
    home: Home, clock: FakeClock
) -> None:
    """The last daemon ended before it had marked how late it was."""
    async with home.daemon() as daemon:
        await make(daemon, home, "* * * * *", key="k")
    with closing(sqlite3.connect(home.folder / "lq.db")) as database, database:
        database.execute("UPDATE clock SET mark_at = mark_at - 5000")
    clock.step(-3 * HOUR - 2 * SECOND)
    async with home.daemon() as daemon:
        await pass_time(daemon, home, SECOND)
        now = await daemon.engine.schedules.get(ScheduleKey("k"))
        assert now.next_at is not None
        assert clock.now() < now.next_at <= clock.now() + MINUTE
