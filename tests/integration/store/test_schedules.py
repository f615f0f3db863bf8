"""Schedules in the store: what is put is found again, listed, and due when it should be."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from lq.daemon.store import Store
from lq.errors import KeyExists, StorageFull, ValidationError
from lq.model import (
    ById,
    Completion,
    IfExists,
    LastJob,
    Misfire,
    Origin,
    Overlap,
    Page,
    Push,
    RetryPolicy,
    Schedule,
    ScheduleFilter,
    ScheduleKey,
    ScheduleSpec,
    State,
)
from tests.clock import START
from tests.support.jobs import FAR, HOUR, new_fire, new_schedule, succeed
from tests.support.jobs import claim as claim_jobs
from tests.support.sqlite import Disk

from .conftest import Opener, OpenStore, at_work

FULL = new_schedule(
    id="sch_full",
    rule="0 30 2 * * MON-FRI",
    zone="Europe/Berlin",
    key="ночь/'%_\\ 🌙",
    times=7,
    start_at=START - 5,
    until_at=START + 1000 * HOUR,
    jitter_ms=1234,
    misfire=Misfire.ALL,
    overlap=Overlap.SKIP,
    push=Push(
        queue="a queue/with slashes & 'quotes' 📬",
        payload=bytes(range(256)),
        content_type="application/json; charset=utf-8",
        target="scriptlet:backup",
        method="PUT",
        headers=MappingProxyType({"X-Ünïcode": "wert\t✓", "authorization": "Bearer x"}),
        key="odd",
        if_exists=IfExists.KEEP,
        delay_ms=1,
        on_at=2,
        retry=RetryPolicy(3, (10, 2_000, 30_000)),
        timeout_ms=1234,
        expires_ms=3,
        expires_at=4,
        labels=("a", "b-c"),
        validate=False,
        completion=Completion.CALLBACK,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate="vendor=1",
    ),
    created_at=START - 4,
    anchor_at=START - 3,
    seen_at=START - 2,
    next_at=START - 1,
    fired=6,
    last_at=START - 6,
    last=LastJob(id="job_gone"),
    origin=Origin.FILE,
)


def test_the_full_schedule_leaves_nothing_at_its_default() -> None:
    plain = new_schedule(push=Push(queue="", payload=b""))
    for full, other in ((FULL, plain), (FULL.spec, plain.spec), (FULL.spec.push, plain.spec.push)):
        same = {name for name, value in asdict(full).items() if value == getattr(other, name)}
        assert same <= {"paused", "reason"}  # what is paused has no next time


async def test_all_members_come_back(opened: OpenStore) -> None:
    stopped = new_schedule(key="stopped", next_at=None, paused=True, reason="unknown zone")
    async with opened() as store:
        for schedule in (FULL, stopped):
            await store.put_schedule(schedule)
    async with opened() as store:
        for schedule in (FULL, stopped):
            assert schedule.spec.key is not None
            assert await store.schedule(ById(schedule.id)) == schedule
            assert await store.schedule(ScheduleKey(schedule.spec.key)) == schedule


_instants = st.none() | st.integers(0, 2**53)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_pushes = st.builds(
    Push,
    queue=_texts,
    payload=st.binary(max_size=8),
    content_type=st.none() | _texts,
    target=st.none() | _texts,
    method=st.none() | _texts,
    headers=st.dictionaries(_texts, _texts, max_size=3).map(MappingProxyType),
    retry=st.none() | st.builds(RetryPolicy, st.integers(0, 9), st.just((1, 2)) | st.just(())),
    timeout_ms=_instants,
    expires_ms=_instants,
    labels=st.lists(_texts, max_size=3).map(tuple),
    validate=st.booleans(),
    traceparent=st.none() | _texts,
    tracestate=st.none() | _texts,
)
_specs = st.builds(
    ScheduleSpec,
    rule=_texts,
    push=_pushes,
    zone=_texts,
    key=st.none() | _texts.filter(bool),
    times=st.none() | st.integers(1, 2**53),
    start_at=_instants,
    until_at=_instants,
    jitter_ms=st.integers(0, 2**53),
    misfire=st.sampled_from(Misfire),
    overlap=st.sampled_from(Overlap),
)


def test_what_is_read_back_equals_what_was_put(opener: Opener, tmp_path: Path) -> None:
    """It decides whether putting a schedule again changes anything."""

    async def put_and_get(store: Store, spec: ScheduleSpec) -> None:
        schedule = new_schedule(id="sch_same", **asdict(spec))
        await store.put_schedule(schedule)
        assert await store.schedule(ById("sch_same")) == schedule

    @settings(max_examples=100, deadline=None)
    @given(spec=_specs)
    def each_spec(spec: ScheduleSpec) -> None:
        loop.run(put_and_get(store, spec))

    with asyncio.Runner() as loop:
        opened = AsyncExitStack()
        store = loop.run(opened.enter_async_context(opener(tmp_path / "data")))
        try:
            each_spec()
        finally:
            loop.run(opened.aclose())


async def test_nothing_is_found_under_a_name_that_nothing_has(store: Store) -> None:
    await store.put_schedule(new_schedule(id="sch_there"))
    for ref in (ById("sch_none"), ById(""), ScheduleKey("sch_there"), ScheduleKey("")):
        assert await store.schedule(ref) is None
    assert await store.delete_schedule("sch_none") is False


async def test_a_schedule_takes_the_place_of_the_one_with_its_id(store: Store) -> None:
    await store.put_schedule(new_schedule(id="sch_full", key="before"))
    await store.put_schedule(replace(FULL, last=None))
    assert await store.schedule(ById("sch_full")) == replace(FULL, last=None)
    assert await store.schedule(ScheduleKey("before")) is None
    bare = new_schedule(id="sch_full", push=Push(queue="q", payload=b""))
    await store.put_schedule(bare)
    assert await store.schedule(ById("sch_full")) == bare
    assert len((await store.schedules(ScheduleFilter())).items) == 1


async def test_the_last_job_stays_whatever_is_put(store: Store) -> None:
    schedule = new_schedule()
    await store.put_schedule(schedule)
    [job] = await store.fire([new_fire(schedule, START)], START)
    for last in (None, LastJob(id="job_other")):
        await store.put_schedule(replace(schedule, last=last))
        found = await store.schedule(ById(schedule.id))
        assert found is not None
        assert found.last == LastJob(id=job.id, state=State.PENDING, queue=job.queue)


@pytest.mark.parametrize("members", [{"paused": True}, {"times": 3, "fired": 3}])
async def test_what_is_paused_or_has_had_its_times_is_never_due(
    store: Store, members: dict[str, Any]
) -> None:
    schedule = new_schedule(next_at=START, **members)
    await store.put_schedule(new_schedule(id=schedule.id))
    await store.put_schedule(schedule)
    assert await store.schedule(ById(schedule.id)) == replace(schedule, next_at=None)
    assert await store.due_schedules(START, 10) == []


async def test_a_key_names_one_schedule(store: Store) -> None:
    first, second = new_schedule(key="k"), new_schedule(key="k", rule="@daily")
    await store.put_schedule(first)
    with pytest.raises(KeyExists, match=rf"'k' exists: {first.id}"):
        await store.put_schedule(second)
    assert await store.schedule(ById(second.id)) is None
    other = replace(second, spec=replace(second.spec, key="other"))
    await store.put_schedule(other)
    with pytest.raises(KeyExists):
        await store.put_schedule(second)
    assert await store.schedule(ById(second.id)) == other
    await store.put_schedule(replace(first, spec=replace(first.spec, zone="Asia/Tokyo")))
    await store.delete_schedule(first.id)
    await store.put_schedule(second)
    assert await store.schedule(ScheduleKey("k")) == second


async def test_one_of_two_that_want_a_key_at_one_moment_gets_it(store: Store) -> None:
    wanted = [new_schedule(key="k") for _ in range(5)]
    answers = await asyncio.gather(*map(store.put_schedule, wanted), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), *[KeyExists] * 4]
    assert await store.schedule(ScheduleKey("k")) == wanted[0]


async def test_what_is_deleted_leaves_its_jobs(store: Store) -> None:
    schedule = new_schedule(key="k")
    await store.put_schedule(schedule)
    [job] = await store.fire([new_fire(schedule, START)], START)
    assert await store.delete_schedule(schedule.id) is True
    assert await store.delete_schedule(schedule.id) is False
    assert await store.schedule(ScheduleKey("k")) is None
    assert await store.get(ById(job.id)) == job
    assert await store.next_schedule() is None


# -- listings ------------------------------------------------------------------------------------


async def listed(store: Store, wanted: ScheduleFilter) -> list[Schedule]:
    """Every schedule of a listing, page by page."""
    found: list[Schedule] = []
    while True:
        page: Page[Schedule] = await store.schedules(wanted)
        assert len(page.items) <= wanted.limit
        found += page.items
        if page.cursor is None:
            return found
        wanted = replace(wanted, cursor=page.cursor)


KEYS = ["Z", "a", "a.b", "b", "ä", "я", "🌙", "\x7f", "z" * 512]


async def fill(store: Store) -> list[Schedule]:
    """Schedules with and without a key, in three queues; in the order they are listed in."""
    made = [
        new_schedule(
            key=KEYS[n] if n < len(KEYS) else None,
            created_at=START - n // 2,
            push=Push(queue=f"team/{n % 3}", payload=b"large"),
            origin=Origin.FILE if n % 2 else Origin.API,
        )
        for n in range(25)
    ]
    for schedule in made:
        await store.put_schedule(schedule)
    bare = [
        replace(one, spec=replace(one.spec, push=replace(one.spec.push, payload=b"")))
        for one in made
    ]
    with_key = [one for one in bare if one.spec.key is not None]
    without = [one for one in bare if one.spec.key is None]
    return sorted(with_key, key=lambda one: (one.spec.key or "").encode()) + sorted(
        without, key=lambda one: one.created_at
    )


@pytest.mark.parametrize("limit", [1, 4, 9, 16, 25, 100])
async def test_listings_go_by_key_and_those_without_come_last(store: Store, limit: int) -> None:
    expected = await fill(store)
    assert await listed(store, ScheduleFilter(limit=limit)) == expected


@pytest.mark.parametrize(
    ("wanted", "queues"),
    [
        (ScheduleFilter(queue="team/1"), {"team/1"}),
        (ScheduleFilter(queue="team/"), set()),
        (ScheduleFilter(queues=("team/[02]",)), {"team/0", "team/2"}),
        (ScheduleFilter(queues=("*",)), {"team/0", "team/1", "team/2"}),
        (ScheduleFilter(queues=("Team/*", "nobody")), set()),
        (ScheduleFilter(queue="team/1", queues=("team/2",)), set()),
        (ScheduleFilter(queue="team/1", queues=("team/2", "team/*")), {"team/1"}),
    ],
)
@pytest.mark.parametrize("origin", [None, *Origin])
async def test_each_filter_shows_what_it_promises(
    store: Store, wanted: ScheduleFilter, queues: set[str], origin: Origin | None
) -> None:
    everything = await fill(store)
    expected = [
        one for one in everything if one.spec.push.queue in queues and origin in {None, one.origin}
    ]
    for limit in (2, 100):
        assert await listed(store, replace(wanted, origin=origin, limit=limit)) == expected


async def test_pages_stay_right_while_schedules_come_and_go(store: Store) -> None:
    """What stays is shown exactly once, whatever happens around it, the cursor's own row gone."""
    staying = [new_schedule(key=f"k{n:02}" if n < 20 else None) for n in range(40)]
    for schedule in staying:
        await store.put_schedule(schedule)
    seen: list[str] = []
    wanted = ScheduleFilter(limit=3)
    while True:
        page = await store.schedules(wanted)
        seen += [one.id for one in page.items]
        if page.cursor is None:
            break
        wanted = replace(wanted, cursor=page.cursor)
        last = page.items[-1].id
        assert await store.delete_schedule(last)
        await store.put_schedule(new_schedule(key=f"a{len(seen)}"))
        first = await store.schedule(ById(staying[-1].id))
        assert first is not None
        [_] = await store.fire([new_fire(first, first.next_at)], START)
    assert [one.id for one in staying] == seen


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "k", "k.g", "k.6", "k.6 1", "k.C3A4", "k.ff", "k.61.", "n", "n.1", "n.1.2.3",
     "n.-1.2", "n.a.b", "n.1.٣", "n.1.9999999999999999999", "\ud800", "p.1.2"],
)  # fmt: skip
async def test_a_cursor_that_no_listing_gave(store: Store, cursor: str) -> None:
    with pytest.raises(ValidationError, match="cursor"):
        await store.schedules(ScheduleFilter(cursor=cursor))


# -- what is due ---------------------------------------------------------------------------------


async def test_what_is_longest_due_comes_first(store: Store) -> None:
    assert await store.next_schedule() is None
    due = [new_schedule(next_at=START - 10 + n // 2) for n in (5, 0, 3, 1, 9)]
    others = [
        new_schedule(next_at=START + 1),
        new_schedule(next_at=None),
        new_schedule(next_at=None, paused=True),
    ]
    for schedule in [*others, *due]:
        await store.put_schedule(schedule)
    expected = sorted(due, key=lambda one: one.next_at or 0)
    for limit in range(7):
        assert await store.due_schedules(START, limit) == expected[:limit]
    assert await store.next_schedule() == START - 10
    for schedule in due:
        await store.delete_schedule(schedule.id)
    assert await store.next_schedule() == START + 1


@pytest.mark.parametrize("size", [0, 16 << 10, (16 << 10) + 1, 1 << 20])
async def test_due_schedules_come_with_payloads_of_any_size(store: Store, size: int) -> None:
    body = bytes(n % 256 for n in range(size))
    schedules = [new_schedule(push=Push(queue="q", payload=body + b"%d" % n)) for n in range(3)]
    for schedule in schedules:
        await store.put_schedule(schedule)
    assert await store.due_schedules(START, 10) == schedules


async def test_no_more_is_due_at_once_than_memory_should_hold(store: Store) -> None:
    schedules = [
        new_schedule(push=Push(queue="q", payload=bytes(size << 20))) for size in (20, 7, 8, 9)
    ]
    for schedule in schedules:
        await store.put_schedule(schedule)
    found: list[list[Schedule]] = []
    while due := await store.due_schedules(START, 10):
        found.append(due)
        await store.fire([new_fire(one, START) for one in due], START)
    assert found == [schedules[:1], schedules[1:3], schedules[3:]]


async def test_a_clock_that_went_back(store: Store) -> None:
    """What has seen more than there was yet is found until it is put right."""
    schedules = [new_schedule(seen_at=START + n, next_at=START + HOUR) for n in (3, 0, 1, 2)]
    ended = new_schedule(seen_at=START + 9, next_at=None)
    paused = new_schedule(seen_at=START + 9, next_at=None, paused=True)
    for schedule in (*schedules, ended, paused):
        await store.put_schedule(schedule)
    ahead = await store.seen_after(START, 100)
    assert [one.id for one in ahead] == [schedules[n].id for n in (2, 3, 0)] + [ended.id]
    assert {one.spec.push.payload for one in ahead} == {b""}
    seen = []
    while found := await store.seen_after(START, 2):
        seen += [one.id for one in found]
        back = [new_fire(one, seen_at=START, next_at=START + 7) for one in found]
        assert await store.fire(back, START) == []
    assert seen == [one.id for one in ahead]
    assert await store.next_schedule() == START + 7
    moved = await store.schedule(ById(schedules[0].id))
    assert moved == replace(schedules[0], seen_at=START, next_at=START + 7)


# -- the mark of the clock -----------------------------------------------------------------------


async def test_the_clock_mark(opened: OpenStore) -> None:
    async with opened() as store:
        assert await store.clock_mark() is None
        assert await store.fire([], START) == []
        assert await store.clock_mark() == START
        await store.fire([], START - 1)
        assert await store.clock_mark() == START
        await store.set_clock_mark(START + 5)
    async with opened() as store:
        assert await store.clock_mark() == START + 5
        await store.set_clock_mark(7)
        assert await store.clock_mark() == 7
        schedule = new_schedule()
        await store.put_schedule(schedule)
        await store.fire([new_fire(schedule, START)], START + 6)
        assert await store.clock_mark() == START + 6


# -- the last job --------------------------------------------------------------------------------


async def last(store: Store, schedule: Schedule) -> LastJob | None:
    found = await store.schedule(ById(schedule.id))
    assert found is not None
    [shown] = (await store.schedules(ScheduleFilter())).items
    assert shown.last == found.last
    return found.last


async def test_what_became_of_the_last_job(store: Store) -> None:
    schedule = new_schedule()
    await store.put_schedule(schedule)
    assert await last(store, schedule) is None
    [job] = await store.fire([new_fire(schedule, START)], START)
    assert await last(store, schedule) == LastJob(id=job.id, state=State.PENDING, queue=job.queue)
    [run] = await claim_jobs(store)
    assert await last(store, schedule) == LastJob(id=job.id, state=State.RUNNING, queue=job.queue)
    await store.settle(replace(succeed(run, START + 5), verb="bury", failures=2, error="broken"))
    assert await last(store, schedule) == LastJob(
        id=job.id,
        state=State.FAILED,
        failures=2,
        finished_at=START + 5,
        error="broken",
        queue=job.queue,
    )
    assert await store.prune(START + 6, FAR, 10) == 1
    assert await last(store, schedule) == LastJob(id=job.id)


# -- a disk without room -------------------------------------------------------------------------


async def test_a_firing_for_which_there_is_no_room_changes_nothing(tmp_path: Path) -> None:
    store, disk = await Disk.open(tmp_path / "data")
    async with at_work(store):
        schedule = new_schedule(push=Push(queue="q", payload=bytes(100_000)))
        await store.put_schedule(schedule)
        fires = [new_fire(schedule, START)]
        fires = [replace(fires[0], jobs=(replace(fires[0].jobs[0], payload=bytes(100_000)),))]
        disk.pages = 0
        with pytest.raises(StorageFull):
            await store.fire(fires, START)
        assert await store.schedule(ById(schedule.id)) == schedule
        assert await store.clock_mark() is None
        assert await store.queues() == []
        disk.pages = None
        assert len(await store.fire(fires, START)) == 1
