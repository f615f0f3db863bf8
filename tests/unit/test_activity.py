"""Spans, their slots, and tallies."""

from __future__ import annotations

import pytest

from lq.activity import KEPT_MS, Span, Tally, slot_at
from lq.when import HOUR_MS, MINUTE_MS


@pytest.mark.parametrize(
    ("span", "points", "slot_ms"),
    [
        (Span.HOUR, 60, MINUTE_MS),
        (Span.DAY, 96, 15 * MINUTE_MS),
        (Span.WEEK, 168, HOUR_MS),
    ],
)
def test_a_span_is_made_of_slots_that_are_kept_for_longer(
    span: Span, points: int, slot_ms: int
) -> None:
    assert (span.ms // span.slot_ms, span.slot_ms) == (points, slot_ms)
    assert span.ms % span.slot_ms == span.slot_ms % span.source_ms == 0
    assert KEPT_MS[span.source_ms] >= span.ms + span.slot_ms


@pytest.mark.parametrize(
    ("at", "began"), [(0, 0), (59_999, 0), (60_000, 60_000), (60_001, 60_000), (-1, -60_000)]
)
def test_when_a_slot_began(at: int, began: int) -> None:
    assert slot_at(at, MINUTE_MS) == began


def test_tallies_add_up_and_keep_the_worst() -> None:
    whole = Tally()
    whole.add(Tally(1, 2, 3, 4, 5, 6, timed=2, late_ms=30, late_max_ms=20))
    whole.add(Tally(10, 20, 30, 40, 50, 60, timed=1, late_ms=6, late_max_ms=6))
    assert whole == Tally(11, 22, 33, 44, 55, 66, timed=3, late_ms=36, late_max_ms=20)
    assert whole.late_mean_ms == 12


def test_no_start_is_late_by_nothing() -> None:
    assert Tally(started=3).late_mean_ms == 0
