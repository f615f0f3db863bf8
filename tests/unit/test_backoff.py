"""The waits between attempts: bounds, mean, spread, and the notation."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.backoff import MAX_RETRIES, Curve, delay_ms, format_retry, parse_retry
from lq.model import RetryPolicy
from lq.when import MAX_MS

CURVE = Curve(base_ms=10_000, factor=4.0, cap_ms=21_600_000, jitter=0.2)
EXACT = Curve(base_ms=10_000, factor=4.0, cap_ms=21_600_000, jitter=0.0)

chances = st.floats(0, 1, exclude_max=True)
policies = st.one_of(
    st.builds(RetryPolicy, st.integers(0, MAX_RETRIES)),
    st.lists(st.integers(0, MAX_MS), min_size=1, max_size=MAX_RETRIES).map(
        lambda waits: RetryPolicy(len(waits), tuple(waits))
    ),
)


def test_the_curve_grows_to_its_cap() -> None:
    waits = [delay_ms(failures, RetryPolicy(9), EXACT, 0.5) for failures in range(1, 10)]
    assert waits == [
        *[10_000, 40_000, 160_000, 640_000, 2_560_000, 10_240_000],
        *[21_600_000, 21_600_000, 21_600_000],
    ]


def test_the_budget_ends() -> None:
    assert delay_ms(5, RetryPolicy(5), CURVE, 0.5) is not None
    assert delay_ms(6, RetryPolicy(5), CURVE, 0.5) is None
    assert delay_ms(1, RetryPolicy(0), CURVE, 0.5) is None


@given(chances)
def test_listed_waits_are_exact_whatever_chance_and_the_cap_say(chance: float) -> None:
    policy = RetryPolicy(3, (0, 60_000, MAX_MS))
    assert [delay_ms(failures, policy, CURVE, chance) for failures in (1, 2, 3, 4)] == [
        *[0, 60_000, MAX_MS],
        None,
    ]


@given(st.integers(1, 30), chances)
def test_jitter_stays_within_its_share_of_the_capped_wait(failures: int, chance: float) -> None:
    plain = delay_ms(failures, RetryPolicy(30), EXACT, chance)
    jittered = delay_ms(failures, RetryPolicy(30), CURVE, chance)
    assert plain is not None
    assert jittered is not None
    assert 0.8 * plain - 0.5 <= jittered <= 1.2 * plain + 0.5


def test_jitter_spreads_evenly_about_the_wait() -> None:
    chance = random.Random(3)
    waits = [delay_ms(1, RetryPolicy(1), CURVE, chance.random()) or 0 for _ in range(20_000)]
    assert fmean(waits) == pytest.approx(10_000, rel=0.005)
    tenths = [0] * 10
    for wait in waits:
        tenths[min((wait - 8_000) // 400, 9)] += 1
    assert min(tenths) > 1_800
    assert max(tenths) < 2_200


def test_jitter_does_not_shorten_short_waits_on_average() -> None:
    curve = Curve(base_ms=1, factor=1.0, cap_ms=1_000, jitter=1.0)
    chance = random.Random(3)
    waits = [delay_ms(1, RetryPolicy(1), curve, chance.random()) or 0 for _ in range(20_000)]
    assert fmean(waits) == pytest.approx(1, rel=0.02)


@given(
    failures=st.integers(1, 10**6),
    curve=st.builds(
        Curve,
        base_ms=st.integers(0, MAX_MS),
        factor=st.floats(0, 1e300),
        cap_ms=st.integers(0, MAX_MS),
        jitter=st.floats(0, 1),
    ),
    chance=chances,
)
def test_no_curve_overflows_or_goes_below_zero(failures: int, curve: Curve, chance: float) -> None:
    wait_ms = delay_ms(failures, RetryPolicy(failures), curve, chance)
    assert wait_ms is not None
    assert 0 <= wait_ms <= 2 * curve.cap_ms


def test_a_base_of_zero_is_no_wait_however_often() -> None:
    curve = Curve(base_ms=0, factor=4.0, cap_ms=1_000, jitter=0.2)
    assert delay_ms(100_000, RetryPolicy(100_000), curve, 0.9) == 0


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("8", RetryPolicy(8)),
        ("0", RetryPolicy(0)),
        ("100", RetryPolicy(100)),
        (" 05 ", RetryPolicy(5)),
        ("10s,1m,1h", RetryPolicy(3, (10_000, 60_000, 3_600_000))),
        ("10s, 1m 30s", RetryPolicy(2, (10_000, 90_000))),
        ("0s", RetryPolicy(1, (0,))),
        (",".join(["1s"] * 100), RetryPolicy(100, (1_000,) * 100)),
    ],
)
def test_retry(text: str, policy: RetryPolicy) -> None:
    assert parse_retry(text) == policy


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "-1", "+1", "1.5", "1e2", "many", "yes", "10s,", ",10s", "10s,,1m", "10s,5"],
        *["10s;1m", "10s 1m,", "-10s", "٨", "8 retries", "9" * 5_000, "4000d", "\x00"],
    ],
)
def test_no_retry(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^expected a number of retries \(0 to 100\) or the waits"
    ):
        parse_retry(text)


@pytest.mark.parametrize("text", ["101", "999999999", ",".join(["1s"] * 101), "," * 100_000])
def test_too_many_retries(text: str) -> None:
    with pytest.raises(ValueError, match=r"^at most 100 retries are possible, got \d+$"):
        parse_retry(text)


@given(policies)
def test_policies_round_trip(policy: RetryPolicy) -> None:
    assert parse_retry(format_retry(policy)) == policy
