"""What becomes of a job after an attempt, and after the death of the daemon: pure decisions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lq.backoff import Curve
from lq.daemon.dispatcher import decide, decide_orphan
from lq.model import MOVES, Job, Outcome, OutcomeKind, RetryPolicy, Run, Settlement, State

NOW = 1_800_000_000_000
DAY = 86_400_000
CURVE = Curve(base_ms=10_000, factor=4.0, cap_ms=6 * 3_600_000, jitter=0.2)
NO_JITTER = replace(CURVE, jitter=0.0)


def run_of(**members: Any) -> Run:
    plain = Job(
        seq=1, id="job_1", queue="q", state=State.RUNNING, created_at=NOW, not_before=NOW,
        due_at=NOW - 5, target="https://example.com/", method="POST", retry=RetryPolicy(5),
        timeout_ms=1, run_id=1,
    )  # fmt: skip
    return Run(1, replace(plain, **members), NOW)


def middle() -> float:
    return 0.5


def decided(kind: OutcomeKind, *, job: dict[str, Any] | None = None, **outcome: Any) -> Settlement:
    made = Outcome(kind=kind, error="status 500", **outcome)
    return decide(run_of(**job or {}), made, NOW, NO_JITTER, middle)


def test_a_success_completes_the_job() -> None:
    end = decided(OutcomeKind.SUCCEEDED, job={"failures": 2, "interruptions": 2})
    assert (end.verb, end.failures, end.interruptions, end.due_at) == ("succeed", 2, 0, None)
    assert end.ended_at == NOW


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 10), (1, 40), (2, 160), (3, 640), (4, 2560)])
def test_a_failure_waits_longer_each_time(failures: int, wait_s: int) -> None:
    end = decided(OutcomeKind.FAILED, job={"failures": failures, "interruptions": 2})
    assert (end.verb, end.failures, end.interruptions) == ("fail", failures + 1, 0)
    assert (end.due_at, end.error) == (NOW + wait_s * 1000, "status 500")


def test_the_last_failure_buries_the_job() -> None:
    end = decided(OutcomeKind.FAILED, job={"failures": 5})
    assert (end.verb, end.failures, end.due_at, end.error) == ("bury", 6, None, "status 500")


@pytest.mark.parametrize("failures", range(4))
def test_a_list_of_waits_is_followed_to_the_millisecond(failures: int) -> None:
    waits = (7, 0, 5 * DAY)
    end = decided(OutcomeKind.FAILED, job={"failures": failures, "retry": RetryPolicy(3, waits)})
    expected = ("fail", NOW + waits[failures]) if failures < 3 else ("bury", None)
    assert (end.verb, end.due_at) == expected


@pytest.mark.parametrize("failures", [0, 3])
def test_a_permanent_answer_buries_the_job_at_once(failures: int) -> None:
    end = decided(OutcomeKind.REJECTED, job={"failures": failures}, retry_after_ms=5)
    assert (end.verb, end.failures) == ("bury", failures + 1)


@pytest.mark.parametrize(
    ("retry_after_ms", "wait_ms"), [(None, 10_000), (0, 10_000), (9_999, 10_000), (60_000, 60_000)]
)
def test_the_longer_of_backoff_and_retry_after(retry_after_ms: int | None, wait_ms: int) -> None:
    end = decided(OutcomeKind.FAILED, retry_after_ms=retry_after_ms)
    assert end.due_at == NOW + wait_ms


@pytest.mark.parametrize(("left_ms", "verb"), [(10_001, "fail"), (10_000, "bury"), (-1, "bury")])
def test_no_retry_after_the_expiry(left_ms: int, verb: str) -> None:
    end = decided(OutcomeKind.FAILED, job={"expires_at": NOW + left_ms})
    assert end.verb == verb
    if verb == "bury":
        assert end.error == "expired before the next retry; last attempt: status 500"


def test_a_success_after_the_expiry_is_a_success() -> None:
    end = decided(OutcomeKind.SUCCEEDED, job={"expires_at": NOW - 1})
    assert end.verb == "succeed"


@given(
    failures=st.integers(0, 120),
    retries=st.integers(0, 100),
    chance=st.floats(0, 1, exclude_max=True),
    retry_after_ms=st.none() | st.integers(0, DAY),
    kind=st.sampled_from(OutcomeKind),
)
def test_every_decision_is_one_the_state_machine_allows(
    *, failures: int, retries: int, chance: float, retry_after_ms: int | None, kind: OutcomeKind
) -> None:
    run = run_of(failures=failures, retry=RetryPolicy(retries))
    outcome = Outcome(kind=kind, retry_after_ms=retry_after_ms)
    end = decide(run, outcome, NOW, CURVE, lambda: chance)
    assert State.RUNNING in MOVES[end.verb].leaves
    assert (end.due_at is not None) == (MOVES[end.verb].to is State.PENDING)
    assert end.failures - failures == (kind is not OutcomeKind.SUCCEEDED)
    assert end.verb != "fail" or end.failures <= retries
    if end.due_at is not None:
        assert NOW < end.due_at <= NOW + max(DAY, CURVE.cap_ms * 1.2)
        assert end.due_at >= NOW + (retry_after_ms or 0)


@pytest.mark.parametrize("interruptions", [0, 1])
def test_an_orphan_goes_back_at_once_and_uncounted(interruptions: int) -> None:
    run = run_of(interruptions=interruptions, failures=2)
    end = decide_orphan(run, NOW, NO_JITTER, middle)
    assert (end.verb, end.due_at, end.failures) == ("release", run.job.due_at, 2)
    assert end.interruptions == interruptions + 1
    assert end.outcome is not None
    assert end.outcome.kind is OutcomeKind.INTERRUPTED


@pytest.mark.parametrize("interruptions", [2, 3, 9])
def test_the_third_interruption_in_a_row_counts(interruptions: int) -> None:
    run = run_of(interruptions=interruptions, failures=2)
    end = decide_orphan(run, NOW, NO_JITTER, middle)
    assert (end.verb, end.due_at, end.failures) == ("fail", NOW + 160_000, 3)
    assert end.interruptions == interruptions + 1
    assert end.outcome is not None
    assert end.outcome.kind is OutcomeKind.INTERRUPTED
    assert end.error is not None
    assert end.error.startswith(f"interrupted {interruptions + 1} times in a row")


def test_a_job_that_kills_the_daemon_ends_as_failed() -> None:
    run = run_of(interruptions=2, retry=RetryPolicy(0))
    end = decide_orphan(run, NOW, NO_JITTER, middle)
    assert (end.verb, end.failures) == ("bury", 1)
    assert end.error is not None
    assert end.error.startswith("interrupted 3 times in a row")
