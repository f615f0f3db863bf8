"""What a store keeps of what has happened, slot by slot."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lq.activity import KEPT_MS, QUARTER_MS, Tally, slot_at
from lq.daemon.store import Minute, Store
from lq.when import DAY_MS, HOUR_MS, MINUTE_MS
from tests.clock import START
from tests.support.jobs import new_job

from .conftest import OpenStore

MINUTE = slot_at(START, MINUTE_MS)
QUARTER = slot_at(START, QUARTER_MS)
YEAR_MS = 365 * DAY_MS


async def add(store: Store, at: int, tallies: Mapping[str, Tally]) -> None:
    """Write a minute of some queues, and of all as their sum."""
    for name in tallies:
        if await store.queue(name) is None:
            await store.push(new_job(queue=name))
    await store.add_activity(minutes(at, tallies), at)


def minutes(at: int, tallies: Mapping[str, Tally]) -> list[Minute]:
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    return [*(Minute(at, name, tally) for name, tally in tallies.items()), Minute(at, None, whole)]


async def found(
    store: Store,
    slot_ms: int = MINUTE_MS,
    *,
    around: int = START,
    queue: str | None = None,
    patterns: tuple[str, ...] = (),
) -> dict[int, Tally]:
    """All that is known of the slots of a length in some days."""
    first_at = slot_at(around, slot_ms) - slot_ms * 2000
    return dict(
        await store.activity(
            slot_ms, first_at, first_at + slot_ms * 4000, queue=queue, patterns=patterns
        )
    )


async def test_nothing_has_happened(store: Store) -> None:
    assert await found(store) == {}
    assert await found(store, queue="unknown") == {}
    assert await found(store, patterns=("unknown-*",)) == {}


async def test_what_is_added_is_in_both_kinds_of_slots(store: Store) -> None:
    await add(store, QUARTER, {"a": Tally(taken=1)})
    await add(store, QUARTER + 14 * MINUTE_MS, {"a": Tally(taken=2)})
    await add(store, QUARTER + 15 * MINUTE_MS, {"a": Tally(taken=4)})
    assert {at - QUARTER: one.taken for at, one in (await found(store)).items()} == {
        0: 1, 14 * MINUTE_MS: 2, 15 * MINUTE_MS: 4,
    }  # fmt: skip
    quarters = await found(store, QUARTER_MS)
    assert {at - QUARTER: one.taken for at, one in quarters.items()} == {0: 3, QUARTER_MS: 4}


async def test_a_restart_goes_on_adding(opened: OpenStore) -> None:
    first = Tally(1, 2, 3, 4, 5, 6, timed=1, late_ms=10, late_max_ms=10)
    second = Tally(1, 1, 1, 1, 1, 1, timed=2, late_ms=7, late_max_ms=4)
    async with opened() as store:
        await add(store, MINUTE, {"a": first})
    async with opened() as store:
        await add(store, MINUTE, {"a": second})
        both = Tally(2, 3, 4, 5, 6, 7, timed=3, late_ms=17, late_max_ms=10)
        assert await found(store) == await found(store, queue="a") == {MINUTE: both}


async def test_one_queue_some_and_all(store: Store) -> None:
    await add(store, MINUTE, {"mail-a": Tally(1), "mail-b": Tally(2), "sms": Tally(4)})
    assert await found(store, queue="mail-b") == {MINUTE: Tally(2)}
    assert await found(store, patterns=("mail-*",)) == {MINUTE: Tally(3)}
    assert await found(store, patterns=("mail-a", "sms")) == {MINUTE: Tally(5)}
    assert await found(store) == await found(store, patterns=("*",)) == {MINUTE: Tally(7)}


async def test_a_queue_that_was_deleted_keeps_its_past_and_stays_deleted(store: Store) -> None:
    await add(store, MINUTE, {"a": Tally(1)})
    assert await store.delete_queue("a", START, force=True) == 1
    await store.add_activity([Minute(MINUTE, "a", Tally(cancelled=1))], START)
    assert await found(store, queue="a") == {MINUTE: Tally(1, cancelled=1)}
    assert await store.queue("a") is None


async def test_a_queue_that_never_was_is_left_out(store: Store) -> None:
    await store.add_activity([Minute(MINUTE, "a", Tally(1)), Minute(MINUTE, None, Tally(1))], START)
    assert await found(store) == {MINUTE: Tally(1)}
    assert await store.queues() == []


async def test_each_kind_of_slot_is_forgotten_in_its_time(store: Store) -> None:
    """Eight days, something in every quarter of an hour."""
    await store.push(new_job(queue="a"))
    for start in range(0, 8 * 96 + 20, 4):
        several = [QUARTER + number * QUARTER_MS for number in range(start, start + 4)]
        rows = [minute for at in several for minute in minutes(at, {"a": Tally(1)})]
        await store.add_activity(rows, several[-1])
    now = QUARTER + (8 * 96 + 19) * QUARTER_MS
    for slot_ms, kept_ms in KEPT_MS.items():
        for queue in (None, "a"):
            slots = await found(store, slot_ms, around=now, queue=queue)
            assert min(slots) == slot_at(now - kept_ms, slot_ms)
            assert max(slots) == now
            assert sum(tally.taken for tally in slots.values()) == kept_ms // QUARTER_MS + 1


async def test_one_write_forgets_little(store: Store) -> None:
    old = [
        Minute(MINUTE - 9 * DAY_MS + number * MINUTE_MS, None, Tally(1)) for number in range(2000)
    ]
    await store.add_activity(old, START - 9 * DAY_MS)
    await add(store, MINUTE - 2 * HOUR_MS, {"a": Tally(1)})
    await add(store, MINUTE, {"a": Tally(1)})
    around = START - 9 * DAY_MS
    left = [len(await found(store, around=around))]
    assert 1000 < left[0] < 2000
    for _ in range(5):
        await add(store, MINUTE, {"a": Tally(1)})
        left.append(len(await found(store, around=around)))
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0


@pytest.mark.parametrize("wrong_by", [10 * YEAR_MS, -10 * YEAR_MS])
async def test_a_clock_that_is_wrong_for_an_hour_takes_nothing_along(
    store: Store, wrong_by: int
) -> None:
    for number in range(70):
        await add(store, MINUTE + number * MINUTE_MS, {"a": Tally(1)})
    for number in range(60):
        await add(store, MINUTE + wrong_by + number * MINUTE_MS, {"a": Tally(100)})
    kept = await found(store)
    assert {tally.taken for tally in kept.values()} == {1}
    assert len(kept) == 70


@pytest.mark.parametrize("wrong_by", [10 * YEAR_MS, -10 * YEAR_MS])
async def test_what_a_wrong_clock_has_left_goes_when_it_is_put_right(
    store: Store, wrong_by: int
) -> None:
    for number in range(30):
        await add(store, MINUTE + wrong_by + number * MINUTE_MS, {"a": Tally(100)})
    for number in range(80):
        await add(store, MINUTE + number * MINUTE_MS, {"a": Tally(1)})
    for slot_ms in KEPT_MS:
        assert await found(store, slot_ms, around=START + wrong_by) == {}
        assert sum(one.taken for one in (await found(store, slot_ms)).values()) == 80
