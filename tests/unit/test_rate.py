"""Rates as people write them, and the bucket that keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.model import Rate
from lq.rate import MAX_COUNT, Bucket, format_rate, parse_rate

NOW = 1_700_000_000_000
SLOW_RATES = st.builds(Rate, st.integers(1, 200), st.sampled_from([1000, 60_000, 90_000]))
RATES = st.builds(Rate, st.integers(1, MAX_COUNT), st.sampled_from([1, 10, 1000, 60_000, 90_000]))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1000)),
        (" 100 / min ", Rate(100, 60_000)),
        ("5/H", Rate(5, 3_600_000)),
        ("1/day", Rate(1, 86_400_000)),
        ("3/90s", Rate(3, 90_000)),
        ("7/1h30m", Rate(7, 5_400_000)),
        ("1000000/s", Rate(1_000_000, 1000)),
    ],
)
def test_rates_as_people_write_them(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    ["", "10", "/s", "10/", "0/s", "-1/s", "1.5/s", "10/parsec", "1000001/s", "10/0s", "1/31d",
     "10 per second", "١٠/s", "10/s/s", "10/s\n10/s"],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r'expected a rate such as "10/s", "100/min"'):
        parse_rate(text)


@given(RATES)
def test_a_rate_is_read_back_as_it_was_written(rate: Rate) -> None:
    assert parse_rate(format_rate(rate)) == rate


def starts(bucket: Bucket, moments: list[int]) -> list[int]:
    """When something starts, if all that may is taken at these moments."""
    found = []
    for at in moments:
        number = bucket.tokens(at)
        bucket.take(number, at)
        found += [at] * number
    return found


@given(
    SLOW_RATES,
    st.integers(1, 50) | st.none(),
    st.lists(st.integers(0, 200), min_size=1, max_size=50),
)
def test_no_stretch_of_time_has_more_than_its_length_and_a_burst(
    rate: Rate, burst: int | None, steps: list[int]
) -> None:
    moments = [NOW + sum(steps[: n + 1]) for n in range(len(steps))]
    bucket = Bucket(rate, burst)
    begun = starts(bucket, moments)
    for first in range(0, len(begun), max(1, len(begun) // 20)):
        for last in (len(begun) - 1, (first + len(begun)) // 2):
            length_ms = begun[last] - begun[first]
            allowed = bucket.burst + length_ms * rate.count / rate.per_ms
            assert last - first + 1 <= allowed + 1


@given(RATES, st.integers(1, 50) | st.none(), st.integers(0, 30))
def test_the_next_may_start_when_it_is_said_and_not_before(
    rate: Rate, burst: int | None, ahead: int
) -> None:
    bucket = Bucket(rate, burst)
    bucket.take(bucket.tokens(NOW), NOW)
    at = bucket.next_at(NOW, ahead)
    assert bucket.tokens(at) >= min(ahead + 1, bucket.burst)
    assert at == NOW or bucket.tokens(at - 1) < ahead + 1


def test_without_a_burst_starts_are_spread() -> None:
    bucket = Bucket(Rate(10, 1000), None)
    assert starts(bucket, [*range(NOW, NOW + 1000)]) == [NOW + 100 * n for n in range(10)]


def test_a_burst_starts_at_once_and_then_the_rate_holds() -> None:
    bucket = Bucket(Rate(10, 1000), 5)
    begun = starts(bucket, [*range(NOW, NOW + 1000)])
    assert begun[:6] == [NOW] * 5 + [NOW + 100]
    assert len(begun) == 14


def test_a_clock_set_back_delays_by_no_more_than_a_full_bucket() -> None:
    bucket = Bucket(Rate(1, 1000), 3)
    bucket.take(3, NOW)
    hour_ago = NOW - 3_600_000
    assert bucket.tokens(hour_ago) == 0
    assert bucket.next_at(hour_ago) == hour_ago + 1000


def test_what_was_not_used_is_given_back() -> None:
    bucket = Bucket(Rate(1, 1000), 3)
    bucket.take(3, NOW)
    bucket.take(-2, NOW)
    assert bucket.tokens(NOW) == 2
