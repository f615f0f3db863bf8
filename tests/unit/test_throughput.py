"""The counts of the last minute."""

from __future__ import annotations

from lq.daemon.throughput import MINUTE_S, WINDOW_S, Throughputs
from lq.overview import Throughput


class Ticking:
    """A monotonic clock, set by hand."""

    def __init__(self) -> None:
        self.at = 1000.5

    def __call__(self) -> float:
        return self.at


def test_nothing_has_happened() -> None:
    assert Throughputs(Ticking()).lately() == {}


def test_a_rate_is_over_the_last_ten_seconds() -> None:
    clock = Ticking()
    rates = Throughputs(clock)
    clock.at += 100
    for _ in range(20):
        clock.at += 1
        for verb in ("push", "push", "claim", "succeed"):
            rates.count("q", verb)
    found = rates.lately()["q"]
    assert (round(found.taken), round(found.ended)) == (2, 1)
    clock.at += WINDOW_S
    assert rates.lately()["q"] == Throughput()


def test_a_young_daemon_does_not_divide_by_a_time_before_its_start() -> None:
    clock = Ticking()
    rates = Throughputs(clock)
    clock.at += 2
    for _ in range(10):
        rates.count("q", "push")
    assert rates.lately()["q"].taken == 5
    other = Throughputs(clock)
    other.count("q", "push")
    assert other.lately()["q"].taken == 1  # within its first second, too


def test_what_counts_as_what() -> None:
    clock = Ticking()
    rates = Throughputs(clock)
    clock.at += 1
    for verb in ("push", "revive", "succeed", "bury", "expire", "fail", "fail", "cancel", "edit"):
        rates.count("q", verb)
    assert rates.lately() == {"q": Throughput(2.0, 4.0, failed=2, retried=2)}


def test_failures_are_of_the_last_minute_and_forgotten_then() -> None:
    clock = Ticking()
    rates = Throughputs(clock)
    rates.count("q", "bury")
    clock.at += MINUTE_S - 1
    rates.count("other", "push")
    assert rates.lately()["q"] == Throughput(0.0, 0.0, failed=1)
    clock.at += 1
    assert set(rates.lately()) == {"other"}


def test_no_more_is_kept_than_a_minute_of_what_was_at_work() -> None:
    clock = Ticking()
    rates = Throughputs(clock)
    for second in range(10_000):
        clock.at += 1
        rates.count(f"q{second}", "push")
    assert len(rates.lately()) == MINUTE_S
