"""Lanes: slots, turns, pauses and timers, with a claim played by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lq.daemon.lanes import MOST_ASIDE, Flow, Lanes
from lq.daemon.store import Claimed, ClaimRequest
from lq.model import Job, Rate, RetryPolicy, Run, State

NOW = 1000


class Board:
    """Lanes with a small cap, and what they have asked for."""

    def __init__(self, cap: int = 4, concurrency: int = 3) -> None:
        self.wakes = 0
        self.timers: dict[str, int] = {}
        self.lanes = Lanes(cap, concurrency, self.wake, self.timers.__setitem__)

    def wake(self) -> None:
        self.wakes += 1

    def woken(self) -> bool:
        """Whether a claim was called for since this was last asked."""
        woken, self.wakes = self.wakes > 0, 0
        return woken

    def ask(self, now: int = NOW) -> dict[str, int]:
        """The shares of a claim, which is left open."""
        return {request.queue: request.limit for request, _ in self.lanes.requests(now)}


def runs(number: int) -> tuple[Run, ...]:
    job = Job(
        seq=1, id="job_1", queue="q", state=State.RUNNING, created_at=0, not_before=0, due_at=0,
        target="https://example.com/", method="POST", retry=RetryPolicy(0), timeout_ms=1,
    )  # fmt: skip
    return (Run(1, job, NOW),) * number


def answer(
    board: Board,
    asked: Sequence[tuple[ClaimRequest, int]],
    found: int,
    next_due_at: int | None = None,
) -> None:
    """Answer each request of a claim with so many jobs."""
    for request, nudges in asked:
        claimed = Claimed(request.queue, runs(min(found, request.limit)), next_due_at)
        board.lanes.claimed(claimed, request.limit, nudges, NOW)


def test_a_due_job_calls_for_a_claim() -> None:
    board = Board()
    assert not board.woken()
    board.lanes.expect("q", NOW, NOW)
    assert board.woken()
    assert board.ask() == {"q": 3}
    assert board.ask() == {}  # until something new is heard
    assert board.lanes.running == 3


def test_a_future_job_calls_for_a_timer() -> None:
    board = Board()
    board.lanes.expect("q", NOW + 5, NOW)
    board.lanes.expect("q", NOW + 9, NOW)  # is further back
    assert (board.woken(), board.timers, board.ask()) == (False, {"q": NOW + 5}, {})
    board.lanes.expect("q", NOW + 2, NOW)
    assert board.timers == {"q": NOW + 2}
    board.lanes.timer("q", NOW + 2)
    assert board.woken()
    assert board.ask(NOW + 2) == {"q": 3}


def test_a_timer_that_goes_off_early_is_set_again() -> None:
    board = Board()
    board.lanes.expect("q", NOW + 5, NOW)
    board.timers.clear()
    board.lanes.timer("q", NOW + 4)
    assert (board.woken(), board.timers) == (False, {"q": NOW + 5})


def test_what_a_claim_did_not_use_is_free_again() -> None:
    board = Board()
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=1, next_due_at=NOW + 7)
    assert board.lanes.running == 1
    assert board.timers == {"q": NOW + 7}
    board.lanes.release("q", NOW)
    assert board.lanes.running == 0


def test_a_claim_that_found_more_than_it_could_start_goes_on_when_there_is_room() -> None:
    board = Board()
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=3, next_due_at=NOW)
    assert board.woken()
    assert board.ask() == {}
    board.lanes.release("q", NOW)
    assert board.woken()
    assert board.ask() == {"q": 1}


def test_news_during_a_claim_is_not_forgotten() -> None:
    """The claim's answer is older than the push that came while it was under way."""
    board = Board()
    board.lanes.expect("q", NOW, NOW)
    asked = board.lanes.requests(NOW)
    board.lanes.expect("q", NOW, NOW)
    board.woken()
    answer(board, asked, found=1, next_due_at=None)
    assert board.woken() or board.ask() == {"q": 2}
    assert board.lanes.running >= 1


def test_a_failed_claim_gives_its_slots_back_and_is_called_for_again() -> None:
    board = Board()
    board.lanes.expect("q", NOW, NOW)
    [(request, _)] = board.lanes.requests(NOW)
    board.woken()
    board.lanes.unclaimed("q", request.limit, NOW)
    assert board.woken()
    assert (board.lanes.running, board.ask()) == (0, {"q": 3})


def test_slots_are_shared_in_turns() -> None:
    board = Board(cap=4, concurrency=3)
    for name in "abc":
        board.lanes.expect(name, NOW, NOW)
    assert board.ask() == {"a": 2, "b": 1, "c": 1}


def test_who_was_served_goes_to_the_end_of_the_line() -> None:
    board = Board(cap=1, concurrency=1)
    for name in "abc":
        board.lanes.expect(name, NOW, NOW)
    order = []
    for _ in range(6):
        asked = board.lanes.requests(NOW)
        order += [request.queue for request, _ in asked]
        answer(board, asked, found=1, next_due_at=NOW)
        board.lanes.release(order[-1], NOW)
    assert order == list("abcabc")


def test_slots_that_a_claim_gives_back_are_offered_to_who_waits_for_them() -> None:
    """`b` found the cap taken by the claim of `a`, which then used one slot of its three."""
    board = Board(cap=3, concurrency=3)
    board.lanes.expect("a", NOW, NOW)
    asked = board.lanes.requests(NOW)
    board.lanes.expect("b", NOW, NOW)
    assert board.ask() == {}
    board.woken()
    answer(board, asked, found=1)
    assert board.woken()
    assert board.ask() == {"b": 2}


def test_slots_of_a_failed_claim_are_offered_to_who_waits_for_them() -> None:
    board = Board(cap=3, concurrency=3)
    board.lanes.expect("a", NOW, NOW)
    [(request, _)] = board.lanes.requests(NOW)
    board.lanes.expect("b", NOW, NOW)
    board.lanes.configure("a", Flow(concurrency=3), paused=True, now=NOW)
    board.woken()
    board.lanes.unclaimed("a", request.limit, NOW)
    assert board.woken()
    assert board.ask() == {"b": 3}


def test_a_pushed_job_takes_a_free_slot_at_once() -> None:
    board = Board(cap=2, concurrency=5)
    assert board.lanes.reserve("q", NOW)
    assert board.lanes.reserve("r", NOW)
    assert not board.lanes.reserve("s", NOW)  # the cap
    board.lanes.release("q", NOW)
    assert board.lanes.reserve("s", NOW)


def test_a_pushed_job_does_not_overtake() -> None:
    board = Board()
    board.lanes.expect("q", NOW + 5, NOW)
    assert board.lanes.reserve("q", NOW)  # the other is not due yet
    assert not board.lanes.reserve("q", NOW + 5)
    board.lanes.expect("r", NOW, NOW)
    assert not board.lanes.reserve("other", NOW)  # another queue waits for a slot


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_pushed_job_respects_concurrency(concurrency: int) -> None:
    board = Board()
    board.lanes.configure("q", Flow(concurrency=concurrency), paused=False, now=NOW)
    assert [board.lanes.reserve("q", NOW) for _ in range(3)].count(True) == concurrency


def test_a_paused_lane_starts_nothing_until_it_is_resumed() -> None:
    board = Board()
    board.lanes.configure("q", Flow(concurrency=None), paused=True, now=NOW)
    board.lanes.expect("q", NOW, NOW)
    assert not board.lanes.reserve("q", NOW)
    assert (board.woken(), board.ask()) == (False, {})
    board.lanes.configure("q", Flow(concurrency=None), paused=False, now=NOW)
    assert board.woken()
    assert board.ask() == {"q": 3}


def test_a_lane_paused_while_it_waits_for_a_slot_leaves_the_line() -> None:
    board = Board()
    board.lanes.expect("q", NOW, NOW)
    board.lanes.configure("q", Flow(concurrency=None), paused=True, now=NOW)
    assert board.ask() == {}


def test_more_concurrency_calls_for_a_claim() -> None:
    board = Board(cap=9, concurrency=1)
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=1, next_due_at=NOW)
    board.woken()
    board.lanes.configure("q", Flow(concurrency=4), paused=False, now=NOW)
    assert board.woken()
    assert board.ask() == {"q": 3}


def test_less_concurrency_waits_for_the_running_ones() -> None:
    board = Board(cap=9, concurrency=3)
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=3, next_due_at=NOW)
    board.lanes.configure("q", Flow(concurrency=1), paused=False, now=NOW)
    for expected in ({}, {}, {"q": 1}):
        board.lanes.release("q", NOW)
        assert board.ask() == expected


def test_no_more_than_so_many_jobs_wait_without_a_slot() -> None:
    """The next one waits in its slot; one that comes back makes room."""
    board = Board(cap=MOST_ASIDE + 8, concurrency=MOST_ASIDE + 8)
    board.lanes.expect("q", NOW, NOW)
    asked = board.lanes.requests(NOW)
    answer(board, asked, MOST_ASIDE + 8)
    assert all(board.lanes.step_aside() for _ in range(MOST_ASIDE))
    assert board.lanes.running == 8
    assert not board.lanes.step_aside()
    assert board.lanes.running == 8
    assert board.lanes.step_back()
    assert board.lanes.running == 9
    assert board.lanes.step_aside()


def paced(board: Board, burst: int = 2, paced_until: int | None = None) -> None:
    """A lane `q` of one start in 10 ms."""
    flow = Flow(rate=Rate(100, 1000), burst=burst)
    board.lanes.configure("q", flow, paused=False, now=NOW, paced_until=paced_until)


def test_a_rate_bounds_a_claim_and_sets_a_timer_for_the_next() -> None:
    board = Board(cap=9, concurrency=9)
    paced(board)
    board.lanes.expect("q", NOW, NOW)
    asked = board.lanes.requests(NOW)
    assert [(one.limit, one.pace is not None) for one, _ in asked] == [(2, True)]
    answer(board, asked, found=2, next_due_at=NOW)
    assert (board.ask(), board.timers) == ({}, {"q": NOW + 10})
    board.lanes.timer("q", NOW + 10)
    assert board.ask(NOW + 10) == {"q": 1}


def test_what_a_claim_did_not_use_of_a_rate_is_there_again() -> None:
    board = Board(cap=9, concurrency=9)
    paced(board)
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=1)
    board.lanes.expect("q", NOW, NOW)
    assert board.ask() == {"q": 1}
    board.lanes.unclaimed("q", 1, NOW)
    board.lanes.uncalled("q", NOW, held=False)
    assert board.ask() == {"q": 2}


def test_jobs_of_a_paced_queue_start_by_claims_alone() -> None:
    board = Board()
    paced(board)
    assert not board.lanes.reserve("q", NOW)


def test_a_rate_goes_on_from_where_the_last_daemon_left_it() -> None:
    board = Board(cap=9, concurrency=9)
    paced(board, paced_until=NOW + 20)
    board.lanes.expect("q", NOW, NOW)
    assert (board.ask(), board.timers) == ({}, {"q": NOW + 10})


def test_a_new_rate_keeps_what_was_used_up() -> None:
    board = Board(cap=9, concurrency=9)
    paced(board)
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=2, next_due_at=NOW)
    paced(board)
    assert board.ask() == {}


def test_a_clock_set_back_closes_a_rate_that_was_open() -> None:
    board = Board(cap=9, concurrency=9)
    paced(board, burst=1)
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=1, next_due_at=NOW)
    board.lanes.timer("q", NOW + 10)
    assert board.ask(NOW) == {}
    board.lanes.timer("q", board.timers["q"])
    assert board.ask(board.timers["q"]) == {"q": 1}


def test_behind_many_held_jobs_a_lane_looks_for_others_in_handfuls() -> None:
    board = Board(cap=99, concurrency=99)
    board.lanes.expect("q", NOW, NOW)
    answer(board, board.lanes.requests(NOW), found=99, next_due_at=NOW)
    for _ in range(99):
        board.lanes.uncalled("q", NOW, held=True)
        board.lanes.release("q", NOW)
    assert board.ask() == {"q": 16}
    board.lanes.claimed(Claimed("q", runs(16), NOW), 16, board.lanes.lane("q").nudges, NOW)
    assert board.ask() == {}
    looks_at = board.timers["q"]
    board.lanes.timer("q", looks_at)
    assert board.ask(looks_at) == {"q": 16}
    board.lanes.called("q")  # one of them may be called
    answer(board, [(ClaimRequest("q", 16), board.lanes.lane("q").nudges)], 16, NOW)
    assert board.ask(looks_at) == {"q": 67}


def test_nothing_overtakes_the_head_of_a_fifo_lane() -> None:
    board = Board(cap=9, concurrency=9)
    board.lanes.configure("q", Flow(fifo=True), paused=False, now=NOW)
    assert board.lanes.reserve("q", NOW)
    assert not board.lanes.reserve("q", NOW)  # one at a time
    board.lanes.expect("q", NOW + 50, NOW)  # it failed, and goes on then
    board.lanes.release("q", NOW)
    assert not board.lanes.reserve("q", NOW)


class Traffic(RuleBasedStateMachine):
    """Jobs of three queues come, are claimed and end in any order, claims overlapping.

    The board is told what a daemon would be told, and is asked for claims exactly when it has
    called for one. Then no job may be left waiting while there is a slot for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.board = Board(cap=4, concurrency=2)
        self.waiting: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.open: list[tuple[ClaimRequest, int, int]] = []
        self.paused: set[str] = set()

    names = st.sampled_from("abc")

    @rule(name=names)
    def push(self, name: str) -> None:
        if self.board.lanes.reserve(name, NOW):
            self.running[name] += 1
        else:
            self.waiting[name] += 1
            self.board.lanes.expect(name, NOW, NOW)

    @rule()
    @precondition(lambda self: self.board.wakes)
    def claim(self) -> None:
        """The store claims at once; the answer comes later."""
        self.board.woken()
        for request, nudges in self.board.lanes.requests(NOW):
            found = min(request.limit, self.waiting[request.queue])
            self.waiting[request.queue] -= found
            self.open.append((request, nudges, found))

    @rule()
    @precondition(lambda self: self.open)
    def answer(self) -> None:
        """Answers come in the order of the claims."""
        request, nudges, found = self.open.pop(0)
        # What the store knew when it claimed; nothing of this queue was claimed since.
        left = NOW if self.waiting[request.queue] else None
        claimed = Claimed(request.queue, runs(found), left)
        self.running[request.queue] += found
        self.board.lanes.claimed(claimed, request.limit, nudges, NOW)

    @rule(name=names)
    @precondition(lambda self: self.running.total())
    def end(self, name: str) -> None:
        if self.running[name]:
            self.running[name] -= 1
            self.board.lanes.release(name, NOW)

    @rule(name=names)
    def pause_or_resume(self, name: str) -> None:
        self.paused ^= {name}
        paused = name in self.paused
        self.board.lanes.configure(name, Flow(concurrency=None), paused=paused, now=NOW)

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert self.running.total() <= self.board.lanes.running <= 4
        assert all(number <= 2 for number in self.running.values())

    @invariant()
    def nobody_waits_beside_a_free_slot(self) -> None:
        if self.board.wakes or self.open:
            return
        free = 4 - self.running.total()
        could = [
            name
            for name, number in self.waiting.items()
            if number and name not in self.paused and self.running[name] < 2
        ]
        assert not (free and could)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
