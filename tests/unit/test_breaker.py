"""Breakers: when they open, what they let through, and how they close again."""

from __future__ import annotations

import itertools

import pytest

from lq.daemon.breaker import Breakers, Health, health
from lq.model import Outcome, OutcomeKind

URL = "https://example.com/hook?user=7"
OTHER_PAGE = "https://example.com/other"
ELSEWHERE = "https://example.org/hook"
RUNS = itertools.count(1)


def failed(status: int | None = 500, error: str | None = None) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, status=status, error=error or f"status {status}: no")


GOOD = Outcome(kind=OutcomeKind.SUCCEEDED, status=200)
REFUSED = failed(None, "connect_error: Connection refused")
LATE = failed(None, "timeout: no complete answer within 1s")


def breakers(failures: int = 3) -> Breakers:
    return Breakers(failures, 1000, 4000)


def call(kept: Breakers, outcome: Outcome, tick: float, url: str = URL) -> str | None:
    run = next(RUNS)
    assert kept.admit(url, run, tick) is None
    return kept.note(url, run, outcome, tick)


def opened(kept: Breakers, outcome: Outcome, tick: float = 0) -> None:
    told = [call(kept, outcome, tick) for _ in range(3)]
    assert told[:2] == [None, None]
    assert told[2] is not None


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (GOOD, Health.ALIVE),
        (failed(404), Health.ALIVE),
        (failed(429), Health.ALIVE),
        (failed(302), Health.ALIVE),
        (failed(500), Health.FAILING),
        (failed(503), Health.FAILING),
        (LATE, Health.FAILING),
        (failed(None, "closed: the connection was closed before an answer came"), Health.FAILING),
        (REFUSED, Health.UNREACHABLE),
        (failed(None, "dns_error: no such name"), Health.UNREACHABLE),
        (failed(None, "tls_error: certificate has expired"), Health.UNREACHABLE),
        (failed(None, "target_blocked: a private address"), Health.UNKNOWN),
        (Outcome(kind=OutcomeKind.INTERRUPTED, error="stopped"), Health.UNKNOWN),
        (Outcome(kind=OutcomeKind.REJECTED, status=410, error="status 410"), Health.ALIVE),
    ],
)
def test_what_an_outcome_says_of_its_target(outcome: Outcome, verdict: Health) -> None:
    assert health(outcome) is verdict


def test_failures_in_a_row_open_it_and_a_success_begins_anew() -> None:
    kept = breakers()
    for outcome in (failed(), failed(), GOOD, failed(), failed(), failed(404), failed(), failed()):
        assert call(kept, outcome, 0) is None
    told = call(kept, failed(), 0)
    assert told == "https://example.com/hook keeps failing (status 500)"
    spared = kept.look(URL, 999)
    assert spared is not None
    assert (spared.until, spared.reason) == (1000, told)


def test_a_broken_page_leaves_the_others_of_its_server_alone() -> None:
    kept = breakers()
    opened(kept, failed())
    assert kept.look("https://example.com/hook?user=8", 0) is not None
    assert kept.look(OTHER_PAGE, 0) is None


def test_a_server_that_cannot_be_reached_is_spared_whole() -> None:
    kept = breakers()
    opened(kept, REFUSED)
    assert kept.look(OTHER_PAGE, 0) is not None
    assert kept.look(ELSEWHERE, 0) is None


def test_one_call_tries_it_and_a_failure_doubles_the_wait() -> None:
    kept = breakers()
    opened(kept, failed())
    for tick, hold in ((1000, 2000), (3000, 4000), (7000, 4000)):
        first = next(RUNS)
        assert kept.admit(URL, first, tick) is None
        waiting = kept.admit(URL, next(RUNS), tick)
        assert waiting is not None
        assert "it is being tried with one call" in waiting.reason
        assert kept.note(URL, first, failed(), tick) is None  # it has been told already
        spared = kept.look(URL, tick)
        assert spared is not None
        assert spared.until == tick + hold


def test_each_success_lets_one_more_through_until_it_is_closed() -> None:
    kept = breakers()
    opened(kept, failed())
    allowed = []
    for _ in range(63):
        runs: list[int] = []
        while kept.admit(URL, run := next(RUNS), 1000) is None and len(runs) < 100:
            runs.append(run)
        allowed.append(len(runs))
        kept.note(URL, runs[0], GOOD, 1000)
        for run in runs[1:]:
            kept.abandon(URL, run)
    assert allowed == [*range(1, 64)]
    assert kept.look(URL, 1000) is None
    assert kept.open(1000) == []
    assert [call(kept, failed(), 1000) for _ in range(2)] == [None, None]  # it counts anew


def test_a_failure_while_it_ramps_up_opens_it_again() -> None:
    kept = breakers()
    opened(kept, failed())
    for _ in range(5):
        call(kept, GOOD, 1000)
    call(kept, failed(), 1000)
    assert kept.look(URL, 2999) is not None


def test_calls_that_began_before_it_opened_neither_close_nor_prolong_it() -> None:
    kept = breakers()
    early = [next(RUNS) for _ in range(4)]
    for run in early:
        kept.admit(URL, run, 0)
    opened(kept, failed())
    kept.note(URL, early[0], GOOD, 500)
    kept.note(URL, early[1], failed(), 900)
    spared = kept.look(URL, 999)
    assert spared is not None
    assert spared.until == 1000
    trial = next(RUNS)
    assert kept.admit(URL, trial, 1000) is None
    kept.note(URL, early[2], GOOD, 1000)
    assert kept.admit(URL, next(RUNS), 1000) is not None  # the trial is under way still


def test_a_trial_that_never_called_is_free_for_another() -> None:
    kept = breakers()
    opened(kept, failed())
    run = next(RUNS)
    assert kept.admit(URL, run, 1000) is None
    kept.abandon(URL, run)
    assert call(kept, GOOD, 1000) is None


def test_somebody_who_knows_better_may_have_it_tried_at_once() -> None:
    kept = breakers()
    opened(kept, REFUSED)
    kept.forget(OTHER_PAGE)
    assert call(kept, GOOD, 1, OTHER_PAGE) is None


def test_zero_never_opens_and_other_targets_have_none() -> None:
    kept = breakers(failures=0)
    assert {call(kept, failed(), 0) for _ in range(50)} == {None}
    kept = breakers()
    assert {call(kept, failed(), 0, "scriptlet:backup") for _ in range(50)} == {None}


def test_no_more_than_so_many_are_remembered() -> None:
    kept = breakers(failures=1)
    for n in range(10_050):
        call(kept, failed(), 0, f"https://example.com/{n}")
    assert len(kept.open(0)) == 10_000
    assert kept.look("https://example.com/0", 0) is None


def test_calls_that_fail_together_count_once() -> None:
    kept = breakers()
    opened(kept, failed())
    for _ in range(9):
        call(kept, GOOD, 1000)
    together = []
    while kept.admit(URL, run := next(RUNS), 1000) is None:
        together.append(run)
    assert len(together) == 10
    for run in together:
        kept.note(URL, run, failed(), 1000)
    spared = kept.look(URL, 1000)
    assert spared is not None
    assert spared.until == 1000 + 2000
