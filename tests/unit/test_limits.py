"""What one address may take: refused requests, bad tokens, connections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lq.config import Limits
from lq.daemon.api.limits import JUNK, MAX_ADDRESSES, WINDOW_S, Connections, Refusals, Tally
from lq.errors import Conflict, Forbidden, NotFound, RateLimited, Unauthorized

HERE, THERE = "192.0.2.1", "192.0.2.2"


def test_the_limit_itself_is_within_it() -> None:
    tally = Tally(3)
    assert [tally.add(HERE, 0.0) for _ in range(3)] == [(0, False)] * 3
    assert tally.add(HERE, 0.0) == (60, True)
    assert tally.add(HERE, 1.5) == (59, False)


def test_other_addresses_are_not_touched() -> None:
    tally = Tally(1)
    for _ in range(100):
        tally.add(HERE, 0.0)
    assert tally.add(THERE, 0.0) == (0, False)


def test_a_minute_after_the_first_all_is_forgiven_and_forgotten() -> None:
    tally = Tally(1)
    for at in (0.0, 30.0, WINDOW_S - 0.001):
        tally.add(HERE, at)
    assert tally.add(HERE, WINDOW_S - 0.001) == (1, False)
    assert tally.add(HERE, WINDOW_S) == (0, False)
    assert tally.add(HERE, WINDOW_S) == (60, True)


def test_no_limit_counts_nothing() -> None:
    tally = Tally(0)
    assert [tally.add(HERE, 0.0) for _ in range(1000)] == [(0, False)] * 1000
    assert len(tally) == 0


def test_a_million_addresses_cost_no_more_memory_than_ten_thousand() -> None:
    tally = Tally(1)
    for number in range(2 * MAX_ADDRESSES):
        tally.add(f"2001:db8:{number:x}::/64", 0.0)
    assert len(tally) == MAX_ADDRESSES
    tally.add(HERE, WINDOW_S)
    assert len(tally) == 1


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 40)), max_size=120),
    st.integers(1, 5),
)
def test_it_agrees_with_counting_from_the_start(steps: list[tuple[str, float]], limit: int) -> None:
    tally = Tally(limit)
    now, seen = 0.0, dict[str, list[float]]()
    for address, passed in steps:
        now += passed
        window = seen.setdefault(address, [])
        if window and now >= window[0] + WINDOW_S:
            window.clear()
        window.append(now)
        wait_s, is_first = tally.add(address, now)
        assert (wait_s > 0) is (len(window) > limit)
        assert is_first is (len(window) == limit + 1)
        assert now + wait_s <= window[0] + WINDOW_S + 1


UNAUTHORIZED = Unauthorized("no token", hint="make one")


def test_too_many_bad_tokens_are_429_whatever_is_wrong_with_them() -> None:
    refusals = Refusals(Limits(bad_tokens=2))
    for _ in range(2):
        assert refusals.judge(HERE, UNAUTHORIZED, 0.0, guessed=True).error is UNAUTHORIZED
    verdict = refusals.judge(HERE, UNAUTHORIZED, 10.0, guessed=True)
    assert isinstance(verdict.error, RateLimited)
    assert (verdict.error.retry_after_s, verdict.error.hint) == (50, "make one")
    assert (verdict.hold, verdict.is_first) == (False, True)
    assert not refusals.judge(HERE, UNAUTHORIZED, 10.0, guessed=True).is_first
    assert refusals.judge(HERE, UNAUTHORIZED, 10.0, guessed=False).error is UNAUTHORIZED
    assert refusals.judge(THERE, UNAUTHORIZED, 10.0, guessed=True).error is UNAUTHORIZED


def test_a_flood_is_held_back_and_counts_every_kind_of_junk() -> None:
    refusals = Refusals(Limits(refused=3))
    for error in (UNAUTHORIZED, Forbidden("no"), NotFound("no")):
        assert refusals.judge(HERE, error, 0.0, guessed=False).error is error
    verdict = refusals.judge(HERE, NotFound("no"), 0.0, guessed=False)
    assert isinstance(verdict.error, RateLimited)
    assert verdict.hold


def test_what_is_no_junk_is_never_counted() -> None:
    refusals = Refusals(Limits(refused=1))
    conflict = Conflict("not now")
    for _ in range(9):
        verdict = refusals.judge(HERE, conflict, 0.0, guessed=False)
        assert (verdict.error, verdict.hold) == (conflict, False)
    missing = NotFound("no")
    assert refusals.judge(HERE, missing, 0.0, guessed=False).error is missing


class Guest:
    """A connection that somebody says is idle, or not."""

    def __init__(self, *, idle: bool = False) -> None:
        self.idle = idle
        self.ended = False

    def end(self) -> None:
        assert not self.ended
        self.ended = True


def counted(total: int, per_address: int, shared: str = "proxy") -> Connections:
    limits = replace(Limits(), connections=total, connections_per_address=per_address)
    return Connections(limits, lambda address: None if address == shared else address)


def test_connections_are_limited_per_address_and_in_all() -> None:
    connections = counted(5, 2)
    guests = [Guest() for _ in range(3)]
    assert [connections.admit(HERE, guest) for guest in guests] == [True, True, False]
    assert [connections.admit(THERE, Guest()) for _ in range(3)] == [True, True, False]
    assert connections.admit("192.0.2.3", Guest())
    assert not connections.admit("192.0.2.4", Guest())
    connections.leave(guests[0])
    connections.leave(guests[0])
    assert connections.admit(HERE, Guest())
    assert len(connections) == 5


def test_a_proxy_has_the_connections_of_many() -> None:
    connections = counted(5, 1)
    assert [connections.admit("proxy", Guest()) for _ in range(6)] == [True] * 5 + [False]


def test_the_oldest_idle_connection_of_the_address_makes_room() -> None:
    connections = counted(10, 3)
    busy, idle, later = Guest(), Guest(idle=True), Guest(idle=True)
    stranger = Guest(idle=True)
    assert connections.admit(THERE, stranger)
    assert all(connections.admit(HERE, guest) for guest in (busy, idle, later))
    assert connections.admit(HERE, Guest())
    assert [g.ended for g in (busy, idle, later, stranger)] == [False, True, False, False]


def test_when_all_places_are_taken_any_idle_one_makes_room() -> None:
    connections = counted(2, 2)
    idle = Guest(idle=True)
    assert connections.admit(HERE, idle)
    assert connections.admit(HERE, Guest())
    assert connections.admit(THERE, Guest())
    assert idle.ended
    assert not connections.admit(THERE, Guest())


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "proxy"]), st.booleans()), max_size=60),
       st.data())  # fmt: skip
def test_no_limit_is_ever_passed(steps: list[tuple[str, bool]], data: st.DataObject) -> None:
    connections = counted(6, 3)
    inside: dict[Guest, str] = {}
    for address, idle in steps:
        guest = Guest(idle=idle)
        if connections.admit(address, guest):
            inside[guest] = address
        one_leaves = data.draw(st.booleans())
        if inside and one_leaves:
            gone = data.draw(st.sampled_from(list(inside)), label="who leaves")
            connections.leave(gone)
            del inside[gone]
        inside = {guest: whose for guest, whose in inside.items() if not guest.ended}
        assert len(connections) == len(inside) <= 6
        for each in ("a", "b"):
            assert list(inside.values()).count(each) <= 3


@pytest.mark.parametrize("status", sorted(JUNK))
def test_junk_is_what_the_sender_did_wrong(status: int) -> None:
    assert 400 <= status < 500
    assert status not in {409, 422, 429}
