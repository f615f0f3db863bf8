"""The wheel against the plainest model there is: a list, sorted."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lq.daemon.wheel import Wheel

NOW = 1_800_000_000_000
SECOND = 1_000
DAY = 86_400 * SECOND
YEAR = 365 * DAY

# Near, far and absurd; powers of two sit on the edges of slots.
offsets = st.one_of(
    st.integers(-3, 3),
    st.integers(-2_000, 2_000),
    st.integers(-40 * YEAR, 40 * YEAR),
    st.builds(
        lambda way, bits, edge: way * (1 << bits) + edge,
        st.sampled_from([-1, 1]),
        st.integers(6, 45),
        st.integers(-1, 1),
    ),
)


class AgainstSortedList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.wheel: Wheel[int] = Wheel(NOW)
        self.model: list[tuple[int, int, int]] = []
        self.pushes = 0

    @rule(item=st.integers(0, 30), offset=offsets)
    def push(self, item: int, offset: int) -> None:
        self.pushes += 1
        self.wheel.push(item, self.now + offset)
        self.model = [entry for entry in self.model if entry[2] != item]
        self.model.append((self.now + offset, self.pushes, item))
        self.model.sort()

    @rule(offset=offsets, count=st.integers(2, 6))
    def push_at_one_instant(self, offset: int, count: int) -> None:
        for item in range(count):
            self.push(item, offset)

    @rule(item=st.integers(0, 30))
    def cancel(self, item: int) -> None:
        assert self.wheel.cancel(item) is any(entry[2] == item for entry in self.model)
        self.model = [entry for entry in self.model if entry[2] != item]

    @rule(offset=offsets)
    def let_time_jump(self, offset: int) -> None:
        self.now += offset
        self.pop()

    @rule()
    def go_to_the_next(self) -> None:
        if self.model:
            self.now = self.model[0][0]
            self.pop()

    @rule()
    def stop_just_short_of_the_next(self) -> None:
        if self.model:
            self.now = self.model[0][0] - 1
            assert self.wheel.pop_due(self.now) == []

    def pop(self) -> None:
        due = [entry for entry in self.model if entry[0] <= self.now]
        self.model = self.model[len(due) :]
        assert self.wheel.pop_due(self.now) == [entry[2] for entry in due]

    @invariant()
    def agrees(self) -> None:
        assert self.wheel.next_due() == (self.model[0][0] if self.model else None)
        assert len(self.wheel) == len(self.model)


AgainstSortedList.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None
)
TestAgainstSortedList = AgainstSortedList.TestCase


def test_an_item_comes_out_in_its_millisecond_and_not_before() -> None:
    wheel: Wheel[str] = Wheel(NOW)
    wheel.push("a", NOW + 5_000)
    assert wheel.pop_due(NOW + 4_999) == []
    assert "a" in wheel
    assert wheel.pop_due(NOW + 5_000) == ["a"]
    assert "a" not in wheel
    assert wheel.pop_due(NOW + 5_000) == []


def test_equal_times_come_out_in_push_order_and_a_move_goes_to_the_end() -> None:
    wheel: Wheel[str] = Wheel(NOW)
    for item in "abc":
        wheel.push(item, NOW + DAY)
    wheel.push("a", NOW + DAY)
    assert wheel.pop_due(NOW + DAY) == ["b", "c", "a"]


def test_items_need_no_order_of_their_own() -> None:
    wheel: Wheel[object] = Wheel(NOW)
    items = [object() for _ in range(50)]
    for item in items:
        wheel.push(item, NOW + 1)
    assert wheel.pop_due(NOW + 1) == items


def test_a_cancelled_item_is_neither_due_nor_next() -> None:
    wheel: Wheel[str] = Wheel(NOW)
    wheel.push("soon", NOW + 10)
    wheel.push("later", NOW + YEAR)
    assert wheel.cancel("soon")
    assert not wheel.cancel("soon")
    assert wheel.next_due() == NOW + YEAR
    assert wheel.pop_due(NOW + YEAR - 1) == []
    assert wheel.pop_due(NOW + YEAR) == ["later"]
    assert wheel.next_due() is None


def test_what_was_overdue_when_pushed_is_due_at_once_and_first() -> None:
    wheel: Wheel[str] = Wheel(NOW)
    wheel.push("now", NOW)
    wheel.push("long ago", 0)
    wheel.push("before the epoch", -DAY)
    assert wheel.next_due() == -DAY
    assert wheel.pop_due(NOW) == ["before the epoch", "long ago", "now"]


@pytest.mark.parametrize("now", [-YEAR, -1, 0, 1])
def test_works_around_the_epoch(now: int) -> None:
    wheel: Wheel[int] = Wheel(now)
    dues = [now - 1, now, now + 1, now + 300, now + YEAR // 3, now + YEAR // 2, now + YEAR, NOW]
    for due in reversed(dues):
        wheel.push(due, due)
    for due in dues:
        assert wheel.next_due() == due
        assert wheel.pop_due(due) == [due]


def test_holds_every_64_bit_instant() -> None:
    wheel: Wheel[str] = Wheel(0)
    wheel.push("end of time", 2**63 - 1)
    wheel.push("year 9999", 253_402_300_799_999)
    assert wheel.pop_due(2**63 - 2) == ["year 9999"]
    assert wheel.pop_due(2**63 - 1) == ["end of time"]


def test_a_clock_that_swings_by_an_hour_fires_each_item_once_and_at_its_time() -> None:
    wheel: Wheel[int] = Wheel(NOW)
    for minute in range(180):
        wheel.push(minute, NOW + minute * 60_000)
    popped: list[int] = []
    for swing in range(12):
        now = NOW + swing * 10 * SECOND + (60 * 60 * SECOND if swing % 2 else 0)
        due = wheel.pop_due(now)
        assert all(NOW + minute * 60_000 <= now for minute in due)
        popped += due
    assert popped == list(range(62))


def test_a_clock_wrong_by_decades_at_boot_does_no_lasting_harm() -> None:
    wheel: Wheel[int] = Wheel(NOW + 70 * YEAR)
    for n in range(1_000):
        wheel.push(n, NOW + n * 100)
    assert wheel.pop_due(NOW - 1) == []
    assert wheel.pop_due(NOW + 49_999) == list(range(500))
    assert wheel.next_due() == NOW + 50_000


def test_a_million_years_of_nothing_are_skipped() -> None:
    wheel: Wheel[str] = Wheel(NOW)
    wheel.push("a", NOW + 1)
    assert wheel.pop_due(NOW + 1_000_000 * YEAR) == ["a"]
    wheel.push("b", NOW + 1_000_001 * YEAR)
    assert wheel.pop_due(NOW + 1_000_001 * YEAR) == ["b"]


def test_an_item_moved_again_and_again_comes_out_once_at_its_last_time() -> None:
    wheel: Wheel[str] = Wheel(NOW)
    wheel.push("other", NOW + YEAR)
    for n in range(5_000):  # a debounce: always five minutes from now
        wheel.push("debounced", NOW + n + 300 * SECOND)
        assert wheel.pop_due(NOW + n) == []
    assert wheel.pop_due(NOW + 4_998 + 300 * SECOND) == []
    assert wheel.pop_due(NOW + DAY) == ["debounced"]
    assert wheel.pop_due(NOW + YEAR) == ["other"]


class Named:
    """Equal to all others of its name, but an object that can be counted."""

    alive = 0

    def __init__(self, name: str) -> None:
        self.name = name
        Named.alive += 1

    def __del__(self) -> None:
        Named.alive -= 1

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name == self.name


@pytest.mark.parametrize("verb", ["cancel", "move"])
def test_what_was_cancelled_or_moved_is_let_go_long_before_its_time(verb: str) -> None:
    wheel: Wheel[Named] = Wheel(NOW)
    for n in range(5_000):
        wheel.push(Named("a"), NOW + YEAR + n)
        if verb == "cancel":
            assert wheel.cancel(Named("a"))
    assert Named.alive < 1_100
    assert len(wheel) == (0 if verb == "cancel" else 1)


def test_thousands_of_items_pass_through_every_level() -> None:
    chance = random.Random(11)
    wheel: Wheel[int] = Wheel(NOW)
    dues = [NOW + chance.randrange(1 << chance.randrange(1, 42)) for _ in range(3_000)]
    for item, due in enumerate(dues):
        wheel.push(item, due)
    popped: list[int] = []
    while (due_at := wheel.next_due()) is not None:
        popped += wheel.pop_due(due_at + chance.randrange(1_000))
    assert popped == sorted(range(3_000), key=lambda item: (dues[item], item))
