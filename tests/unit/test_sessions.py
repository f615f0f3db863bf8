"""Sessions of the panel: when they end."""

from __future__ import annotations

import itertools

import pytest

from lq.config import PanelConfig
from lq.daemon.sessions import (
    LINK_MS,
    MAX_LINKS,
    MAX_NOTICES,
    MAX_OWN_LINKS,
    MAX_OWN_SESSIONS,
    MAX_SESSIONS,
    Sessions,
)
from lq.errors import Unauthorized
from lq.model import Principal, Scope
from tests.clock import FakeClock

ADA = Principal("ada", frozenset({Scope.ADMIN}), (), b"ada")
ROB = Principal("rob", frozenset({Scope.READ}), (), b"rob")
MINUTE_S = 60


def somebody(number: int) -> Principal:
    return Principal(f"t{number}", frozenset({Scope.READ}), (), b"%d" % number)


class Sitting:
    """Sessions on a clock of their own; those of `gone` are known no more."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.gone: set[Principal] = set()
        self.woken = 0
        numbers = itertools.count(1)
        config = PanelConfig(idle_ms=10 * MINUTE_S * 1000, lifetime_ms=60 * MINUTE_S * 1000)
        self.sessions = Sessions(
            config,
            self.clock,
            lambda size: next(numbers).to_bytes(size, "big"),
            knows=lambda principal: principal not in self.gone,
            wake=self._wake,
        )

    def _wake(self) -> None:
        self.woken += 1

    def is_in(self, name: str, *, used: bool = True) -> bool:
        return self.sessions.find(name, secured=False, used=used) is not None


@pytest.fixture
def sitting() -> Sitting:
    return Sitting()


def test_a_session_is_found_by_its_name_alone(sitting: Sitting) -> None:
    name = sitting.sessions.begin(ADA, secured=False)
    other = sitting.sessions.begin(ROB, secured=False)
    found = sitting.sessions.find(name, secured=False, used=True)
    assert found is not None
    assert found.principal is ADA
    assert name != other
    assert not sitting.is_in(name + "0")
    assert not sitting.is_in("\udc80")


def test_clicks_keep_it_and_idleness_ends_it(sitting: Sitting) -> None:
    name = sitting.sessions.begin(ADA, secured=False)
    for _ in range(5):
        sitting.clock.advance(9 * MINUTE_S * 1000)
        assert sitting.is_in(name)
    sitting.clock.advance(10 * MINUTE_S * 1000)
    assert not sitting.is_in(name)


def test_a_page_that_asks_for_itself_keeps_nothing(sitting: Sitting) -> None:
    name = sitting.sessions.begin(ADA, secured=False)
    sitting.clock.advance(9 * MINUTE_S * 1000)
    assert sitting.is_in(name, used=False)
    sitting.clock.advance(1 * MINUTE_S * 1000)
    assert not sitting.is_in(name, used=False)


def test_no_session_outlives_its_lifetime(sitting: Sitting) -> None:
    name = sitting.sessions.begin(ADA, secured=False)
    lived = 0
    while sitting.is_in(name):
        sitting.clock.advance(5 * MINUTE_S * 1000)
        lived += 5
    assert lived == 60


def test_it_ends_with_what_it_was_begun_with(sitting: Sitting) -> None:
    name, other = (sitting.sessions.begin(who, secured=False) for who in (ADA, ROB))
    sitting.gone.add(ADA)
    assert not sitting.is_in(name)
    assert sitting.is_in(other)


def test_the_end_of_one_is_told_at_once(sitting: Sitting) -> None:
    name = sitting.sessions.begin(ADA, secured=False)
    session = sitting.sessions.find(name, secured=False, used=True)
    assert session is not None
    assert sitting.sessions.lives(session)
    sitting.sessions.end(name)
    assert not sitting.sessions.lives(session)
    assert sitting.woken == 1
    sitting.sessions.end(name)
    assert sitting.woken == 1


def test_there_are_only_so_many(sitting: Sitting) -> None:
    first = sitting.sessions.begin(ADA, secured=False)
    second = sitting.sessions.begin(ROB, secured=False)
    for number in range(MAX_SESSIONS - 2):
        sitting.sessions.begin(somebody(number), secured=False)
    assert sitting.is_in(first)  # and is now the last that was used
    sitting.sessions.begin(ADA, secured=False)
    assert sitting.is_in(first)
    assert not sitting.is_in(second)


def test_who_logs_in_again_and_again_logs_out_nobody_else(sitting: Sitting) -> None:
    others = sitting.sessions.begin(ADA, secured=False)
    own = [sitting.sessions.begin(ROB, secured=False) for _ in range(MAX_SESSIONS)]
    assert sitting.is_in(others)
    assert [name for name in own if sitting.is_in(name)] == own[-MAX_OWN_SESSIONS:]


def test_no_more_is_kept_to_be_told_than_anybody_reads(sitting: Sitting) -> None:
    session = sitting.sessions.find(
        sitting.sessions.begin(ADA, secured=False), secured=False, used=True
    )
    assert session is not None
    for number in range(MAX_NOTICES + 2):
        session.tell(str(number))
    assert session.notices == [str(number) for number in range(2, MAX_NOTICES + 2)]


def test_a_link_is_good_once_and_for_minutes(sitting: Sitting) -> None:
    code, late = sitting.sessions.link(ADA), sitting.sessions.link(ADA)
    assert sitting.sessions.follow(code) is ADA
    with pytest.raises(Unauthorized):
        sitting.sessions.follow(code)
    sitting.clock.advance(LINK_MS)
    with pytest.raises(Unauthorized):
        sitting.sessions.follow(late)


def test_there_are_only_so_many_links(sitting: Sitting) -> None:
    codes = [sitting.sessions.link(somebody(number)) for number in range(MAX_LINKS + 1)]
    with pytest.raises(Unauthorized):
        sitting.sessions.follow(codes[0])
    assert sitting.sessions.follow(codes[1]) == somebody(1)


def test_who_asks_for_many_links_takes_nobody_elses(sitting: Sitting) -> None:
    other = sitting.sessions.link(ADA)
    own = [sitting.sessions.link(ROB) for _ in range(MAX_LINKS)]
    assert sitting.sessions.follow(other) is ADA
    with pytest.raises(Unauthorized):
        sitting.sessions.follow(own[-MAX_OWN_LINKS - 1])
    assert sitting.sessions.follow(own[-MAX_OWN_LINKS]) is ROB
