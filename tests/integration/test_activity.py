"""What a daemon tells of the last hour, day and week is what happened in it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lq.activity import Activity, Span, Tally, slot_at
from lq.client import AccessError, AsyncClient
from lq.config import Validate
from lq.daemon.activity import MOST_QUEUES, MOST_TALLIES, Activities
from lq.daemon.main import Daemon
from lq.daemon.store.sqlite import SqliteStore, open_store
from lq.errors import StorageFull, Unavailable
from lq.model import Push, QueueEdit, RetryPolicy, State
from lq.when import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from tests.clock import START, FakeClock
from tests.integration.api.raw import Peer
from tests.support.handler import answers
from tests.support.home import Home, eventually, reaches
from tests.support.jobs import new_job
from tests.support.sqlite import Disk, beside

NOTHING = Tally()


def points(activity: Activity) -> dict[int, Tally]:
    """Where something happened, by the beginning of the slot."""
    slots = {
        activity.first_at + number * activity.span.slot_ms: tally
        for number, tally in enumerate(activity.tallies)
    }
    return {at: tally for at, tally in slots.items() if tally != NOTHING}


# -- counting ---------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with working(await open_store(tmp_path)) as store:
        for name in ("q", "mail-a", "mail-b"):
            await store.push(new_job(queue=name))
        yield store


@contextlib.asynccontextmanager
async def working(store: SqliteStore) -> AsyncIterator[SqliteStore]:
    work = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        await store.close()
        await work


@pytest.fixture
def activities(store: SqliteStore, clock: FakeClock) -> Activities:
    return Activities(store, clock)


async def test_what_counts_as_what(activities: Activities) -> None:
    for verb in ("push", "revive", "claim", "claim", "claim", "succeed", "bury", "expire", "fail",
                 "fail", "cancel", "edit", "release", "missed"):  # fmt: skip
        activities.count("q", verb)
    activities.started("q", 30)
    activities.started("q", -5)
    counted = Tally(
        2, 1, failed=2, retried=2, cancelled=1, started=3, timed=2, late_ms=30, late_max_ms=30
    )
    for written in (False, True):
        if written:
            await activities.write()
        for span in Span:
            at = slot_at(START, span.slot_ms)
            assert points(await activities.show(span)) == {at: counted}
            assert points(await activities.show(span, queue="q")) == {at: counted}
            assert points(await activities.show(span, queue="mail-a")) == {}
            assert points(await activities.show(span, patterns=("mail-*",))) == {}


async def test_a_span_ends_with_the_present_slot(activities: Activities, clock: FakeClock) -> None:
    for span, number in ((Span.HOUR, 60), (Span.DAY, 96), (Span.WEEK, 168)):
        shown = await activities.show(span)
        assert len(shown.tallies) == number
        assert shown.end_at - span.slot_ms <= clock.now() < shown.end_at
        assert shown.end_at - shown.first_at == span.ms
        assert shown.first_at % span.slot_ms == 0
        assert points(shown) == {}


async def test_what_is_written_and_what_is_not_are_each_counted_once(
    activities: Activities, clock: FakeClock
) -> None:
    for _ in range(5):
        activities.count("q", "push")
        await activities.write()
        activities.count("q", "push")
        clock.advance(20_000)
    minutes = points(await activities.show(Span.HOUR))
    assert sum(tally.taken for tally in minutes.values()) == 10
    assert len(minutes) >= 2


async def test_reading_while_it_is_written_counts_nothing_twice(
    activities: Activities, clock: FakeClock
) -> None:
    for number in range(1, 50):
        activities.count("q", "push")
        writing = asyncio.create_task(activities.write())
        shown = await asyncio.gather(*(activities.show(Span.DAY) for _ in range(3)))
        assert [sum(one.taken for one in each.tallies) for each in shown] == [number] * 3
        await writing


async def test_days_and_weeks_are_sums(activities: Activities, clock: FakeClock) -> None:
    began = clock.now()
    for number in range(7 * 24):
        activities.count("q", "push")
        activities.started("q", number)
        clock.advance(HOUR_MS)
        if number % 10 == 0:
            await activities.write()
    clock.advance(-HOUR_MS)
    week = points(await activities.show(Span.WEEK))
    assert [tally.taken for tally in week.values()] == [1] * 168
    assert [tally.late_max_ms for tally in week.values()] == list(range(168))
    assert min(week) == slot_at(began, HOUR_MS)
    day = points(await activities.show(Span.DAY))
    assert sum(tally.taken for tally in day.values()) == 24
    assert sum(tally.taken for tally in points(await activities.show(Span.HOUR)).values()) == 1


async def test_what_is_over_is_not_shown(activities: Activities, clock: FakeClock) -> None:
    activities.count("q", "push")
    for written in (False, True):
        for span, ms in ((Span.HOUR, HOUR_MS), (Span.DAY, DAY_MS), (Span.WEEK, WEEK_MS)):
            clock.step(ms)
            assert points(await activities.show(span)) == {}
            clock.step(-ms)
            assert points(await activities.show(span)) != {}
        if not written:
            await activities.write()


async def test_a_clock_set_back_adds_to_slots_that_were_there(
    activities: Activities, clock: FakeClock
) -> None:
    minute = slot_at(clock.now(), MINUTE_MS)
    activities.count("q", "push")
    clock.advance(10 * MINUTE_MS)
    activities.count("q", "push")
    clock.step(-10 * MINUTE_MS)
    activities.count("q", "push")
    await activities.write()
    activities.count("q", "push")
    shown = points(await activities.show(Span.HOUR))
    assert shown == {minute: Tally(3)}  # what is to come is not shown
    clock.step(10 * MINUTE_MS)
    shown = points(await activities.show(Span.HOUR))
    assert shown == {minute: Tally(3), minute + 10 * MINUTE_MS: Tally(1)}


async def test_decades_of_lateness_are_no_trouble(activities: Activities, clock: FakeClock) -> None:
    for _ in range(3):
        for _ in range(1000):
            activities.started("q", 2**62)
        await activities.write()
    [week] = points(await activities.show(Span.WEEK)).values()
    assert week.timed == 3000
    assert week.late_mean_ms == week.late_max_ms == 366 * DAY_MS


async def test_nothing_is_written_when_nothing_has_happened(
    store: SqliteStore, activities: Activities, tmp_path: Path
) -> None:
    commits: list[int] = []
    store.observe(lambda writes, _: commits.append(writes))
    await activities.write()
    assert commits == []
    activities.count("q", "push")
    await activities.write()
    await activities.write()
    assert commits == [1]


async def test_more_queues_than_are_told_apart_are_in_the_sum(
    store: SqliteStore, activities: Activities
) -> None:
    activities.count("q", "push")
    for number in range(MOST_QUEUES + 500):
        activities.count(f"stranger-{number}", "push")
    for _ in range(2):
        [whole] = points(await activities.show(Span.HOUR)).values()
        assert whole == Tally(MOST_QUEUES + 501)
        [own] = points(await activities.show(Span.HOUR, queue="q")).values()
        assert own == Tally(1)
        told = points(await activities.show(Span.HOUR, patterns=("*",)))
        assert sum(one.taken for one in told.values()) <= MOST_QUEUES
        await activities.write()


# -- a disk in trouble --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_what_the_disk_does_not_take_is_kept_and_written_later(
    tmp_path: Path, clock: FakeClock, how: str
) -> None:
    opened, disk = await Disk.open(tmp_path)
    async with working(opened) as store:
        for number in range(300):
            await store.push(new_job(queue=f"q{number}"))
        activities = Activities(store, clock)
        disk.pages, disk.read_only = (0, False) if how == "full" else (None, True)
        for minute in range(3):
            for number in range(300):
                activities.count(f"q{number}", "push")
            with pytest.raises((StorageFull, Unavailable)):
                await activities.write()
            activities.count("q7", "push")
            shown = points(await activities.show(Span.HOUR))
            assert sum(one.taken for one in shown.values()) == 301 * (minute + 1)
            clock.advance(MINUTE_MS)
        disk.pages, disk.read_only = None, False
        await activities.write()
        fresh = Activities(store, clock)
        assert sum(one.taken for one in (await fresh.show(Span.DAY)).tallies) == 903
        own = points(await fresh.show(Span.HOUR, queue="q7"))
        assert [one.taken for one in own.values()] == [2, 2, 2]


async def test_a_disk_that_takes_nothing_for_long_does_not_fill_memory(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    opened, disk = await Disk.open(tmp_path)
    async with working(opened) as store:
        activities = Activities(store, clock)
        disk.read_only = True
        many = MOST_TALLIES // 20
        for _ in range(30):
            for number in range(many):
                activities.count(f"q{number}", "push")
            with pytest.raises(Unavailable):
                await activities.write()
            clock.advance(MINUTE_MS)
        activities.count("q1", "push")
        shown = points(await activities.show(Span.HOUR))
        assert len(shown) == 21  # the present minute on top
        assert max(shown) == slot_at(clock.now(), MINUTE_MS)
        assert "given up" in caplog.text
        for _ in range(200):
            clock.advance(MINUTE_MS)
            activities.count("q1", "push")
            with pytest.raises(Unavailable):
                await activities.write()
        day = await activities.show(Span.DAY)
        assert sum(one.taken for one in day.tallies) == 120


# -- a daemon -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(home: Home, **settings: Any) -> AsyncIterator[Daemon]:
    async with home.daemon(validate=Validate(default="none"), **settings) as daemon:
        yield daemon


async def work(daemon: Daemon, home: Home) -> None:
    """Two that succeed, one that fails at once, one that fails after another try."""
    home.handler.on("/bad", answers(500), answers(500), answers(500))
    for path, retry in (("/", 0), ("/", 0), ("/bad", 0), ("/bad", 1)):
        policy = RetryPolicy(retry, (0,))
        pushed = await daemon.engine.push(home.push(path, retry=policy))
        await reaches(daemon, pushed.job.id, State.COMPLETED if path == "/" else State.FAILED)


WORKED = Tally(4, 2, failed=2, retried=1, started=5, timed=5)


async def test_what_a_daemon_did(home: Home, clock: FakeClock) -> None:
    async with running(home) as daemon:
        await work(daemon, home)
        [hour] = points(await daemon.engine.activities.show(Span.HOUR)).values()
        assert hour == WORKED
        waiting = await daemon.engine.push(home.push(delay_ms=HOUR_MS))
        await daemon.engine.queues.edit("q", QueueEdit(paused=True))
        clock.advance(HOUR_MS + 5000)
        await daemon.engine.queues.edit("q", QueueEdit(paused=False))
        await reaches(daemon, waiting.job.id, State.COMPLETED)
        now = slot_at(clock.now(), MINUTE_MS)
        late = points(await daemon.engine.activities.show(Span.HOUR))[now]
        assert (late.started, late.late_mean_ms, late.late_max_ms) == (1, 5000, 5000)


async def test_a_fifo_queue_starts_what_is_neither_late_nor_in_time(home: Home) -> None:
    async with running(home) as daemon:
        await daemon.engine.queues.edit("q", QueueEdit(fifo=True))
        pushed = await daemon.engine.push(home.push())
        await reaches(daemon, pushed.job.id, State.COMPLETED)
        [hour] = points(await daemon.engine.activities.show(Span.HOUR)).values()
        assert hour == Tally(1, 1, started=1)


async def test_a_stop_writes_what_there_is_and_a_start_goes_on(home: Home) -> None:
    for lives in (1, 2):
        async with running(home) as daemon:
            await work(daemon, home)
            [hour] = points(await daemon.engine.activities.show(Span.HOUR)).values()
            assert (hour.taken, hour.started) == (4 * lives, 5 * lives)
    with beside(home.folder) as connection:
        rows = connection.execute(
            "SELECT slot_ms, taken, failed FROM activity WHERE queue_id = 0 ORDER BY slot_ms"
        ).fetchall()
    assert rows == [(MINUTE_MS, 8, 4), (15 * MINUTE_MS, 8, 4)]


async def test_a_daemon_that_dies_loses_a_minute_at_most(
    home: Home, clock: FakeClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The store of the daemon that died is its folder, copied at that moment."""
    async with running(home) as daemon:
        await work(daemon, home)

        async def written() -> bool:
            clock.advance(1000)
            await daemon.engine.queues.all()
            with beside(home.folder) as connection:
                return bool(connection.execute("SELECT 1 FROM activity").fetchall())

        await eventually(written)
        await daemon.engine.push(home.push(delay_ms=HOUR_MS))
        died = tmp_path_factory.mktemp("died") / "lq"
        shutil.copytree(home.folder, died, ignore=shutil.ignore_patterns("socket", "lq.lock"))
    home.folder = died
    home.config = Home(died, clock, home.handler).config
    async with running(home) as daemon:
        day = points(await daemon.engine.activities.show(Span.DAY))
        assert [one.taken for one in day.values()] == [4]


async def test_it_is_written_each_minute_also_after_the_clock_was_set_back(
    home: Home, clock: FakeClock
) -> None:
    async with running(home) as daemon:
        clock.step(-DAY_MS)

        async def written() -> bool:
            clock.advance(1000)
            await daemon.engine.queues.all()
            with beside(home.folder) as connection:
                [number] = connection.execute(
                    "SELECT sum(taken) FROM activity WHERE queue_id = 0 AND slot_ms = 60000"
                ).fetchone()
            return bool(number == pushed)

        pushed = 0
        while pushed < 3:
            await daemon.engine.push(home.push(delay_ms=WEEK_MS))
            pushed += 1
            await eventually(written)


# -- the API ------------------------------------------------------------------------------------


@pytest.fixture
async def api(home: Home) -> AsyncIterator[Peer]:
    async with running(home) as daemon:
        await work(daemon, home)
        far = Push(queue="mail/x y", payload=b"", target=home.handler.url("/"), delay_ms=HOUR_MS)
        await daemon.engine.push(far)
        peer = Peer(socket_path=str(home.config.socket))
        yield peer
        await peer.close()


async def test_the_answer(api: Peer, clock: FakeClock) -> None:
    answer = (await api.ask("GET activity")).json
    assert {name: answer[name] for name in ("span", "slot")} == {"span": "hour", "slot": "1m"}
    assert (answer["from"], answer["to"]) == (
        "2027-01-15T07:01:00.000Z",
        "2027-01-15T08:01:00.000Z",
    )
    assert len(answer["points"]) == 60
    assert [point["at"] for point in answer["points"]] == sorted(
        {point["at"] for point in answer["points"]}
    )
    assert answer["points"][0] == {
        "at": answer["from"], "taken": 0, "completed": 0, "failed": 0, "retried": 0,
        "cancelled": 0, "started": 0, "lateMeanMs": 0, "lateMaxMs": 0,
    }  # fmt: skip
    assert answer["points"][-1] == {
        "at": "2027-01-15T08:00:00.000Z", "taken": 5, "completed": 2, "failed": 2, "retried": 1,
        "cancelled": 0, "started": 5, "lateMeanMs": 0, "lateMaxMs": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "taken", "slot"),
    [
        ("?span=day", 5, "15m"),
        ("?span=WEEK", 5, "1h"),
        ("?queue=q", 4, "1m"),
        ("?queue=mail/x%20y&span=week", 1, "1h"),
        ("?queue=never-heard-of", 0, "1m"),
    ],
)
async def test_what_is_asked_for(api: Peer, query: str, taken: int, slot: str) -> None:
    answer = await api.ask(f"GET activity{query}")
    assert (answer.status, answer.json["slot"]) == (200, slot)
    assert sum(point["taken"] for point in answer.json["points"]) == taken


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("span=month", "span"),
        ("span=", "span"),
        ("span=hour&span=day", "span"),
        ("queue=", "queue"),
        ("queue=a%00b", "queue"),
        ("spam=hour", "spam"),
    ],
)
async def test_what_is_not_understood(api: Peer, query: str, path: str) -> None:
    refused = await api.ask(f"GET activity?{query}")
    assert (refused.status, refused.json["type"]) == (400, "VALIDATION_ERROR")
    assert [issue["path"] for issue in refused.json["issues"]] == [[path]]


async def test_a_limited_token_sees_its_queues_alone(home: Home, clock: FakeClock) -> None:
    async with running(home) as daemon:
        for name in ("mail-a", "mail-b", "secret"):
            await daemon.engine.push(home.push(queue=name, delay_ms=HOUR_MS))
        async with AsyncClient(socket=home.config.socket) as owner:
            made = await owner.create_token("t", ["read"], queues=["mail-*"])
            pusher = await owner.create_token("p", ["push"])
        url = f"http://127.0.0.1:{daemon.port}"
        async with AsyncClient(url, made["token"]) as limited:
            for span in Span:
                shown = await limited.activity(span)
                assert sum(point["taken"] for point in shown["points"]) == 2
            own = await limited.activity("day", "mail-b")
            assert sum(point["taken"] for point in own["points"]) == 1
            for queue in ("secret", "never-heard-of"):
                with pytest.raises(AccessError, match="limited to its queues"):
                    await limited.activity("hour", queue)
        async with AsyncClient(url, pusher["token"]) as other:
            with pytest.raises(AccessError, match="lacks the scope read"):
                await other.activity()


# -- backups ------------------------------------------------------------------------------------


async def test_a_backup_has_it(home: Home, clock: FakeClock, tmp_path: Path) -> None:
    async with running(home) as daemon:
        await work(daemon, home)
    store = await open_store(home.folder)
    async with working(store):
        assert await store.queues()  # it is at work
        made = await store.snapshot(clock.now(), lambda *_: None, lambda: False)
        with made.file as file:
            file.seek(0)
            copy = tmp_path / "copy"
            copy.mkdir(mode=0o700)
            (copy / "lq.db").write_bytes(file.read())
    async with working(await open_store(copy)) as restored:
        day = points(await Activities(restored, clock).show(Span.DAY))
        assert [one.failed for one in day.values()] == [2]
