"""What a schedule does about the times that have come: plans, phases, jitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.firing import (
    LATE_MS,
    MOST_CAUGHT_UP,
    Plan,
    Planned,
    RuleError,
    Simulated,
    explain,
    jitter_ms,
    note,
    parse_rule,
    plan,
    simulate,
    times,
    timing,
    warnings,
)
from lq.model import Misfire, Push, ScheduleSpec
from lq.when import DAY_MS, HOUR_MS, MINUTE_MS, parse_rfc3339

SECOND = 1000


def spec(rule: str, **members: object) -> ScheduleSpec:
    return ScheduleSpec(rule=rule, push=Push(queue="q", payload=b""), **members)  # type: ignore[arg-type]  # members are of every type


def at(text: str) -> int:
    return parse_rfc3339(f"2026-06-{text}Z")


NOON = at("10T12:00:00")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("C=30 2 * * *", "30 2 * * *"),
        ("30  2 *\t* * ", "30 2 * * *"),
        ("@daily", "@daily"),
        ("C=@daily", "@daily"),
        ("E=90s", "E=1m30s"),
        ("E=1 day", "E=1d"),
        ("C=E=5m", "E=5m"),
        ("e=5m", "E=5m"),
        (" E= 5m ", "E=5m"),
    ],
)
def test_a_rule_has_one_spelling(text: str, rule: str) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(rule) == rule


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("E=", 2, "a number with its unit"),
        ("E=5", 2, "a number with its unit"),
        ("E=999ms", 2, "at least 1s"),
        ("E=0s", 2, "at least 1s"),
        ("E=11y", 2, "units"),
        ("E=99999999d", 2, "at most 10 years"),
        ("C=", 2, ""),
        ("", 0, ""),
        ("C=0 24 * * *", 4, "hour"),
        ("0 24 * * *", 2, "hour"),
        ("C=E=x", 4, "a number with its unit"),
    ],
)
def test_what_is_no_rule_is_refused_where_it_goes_wrong(
    text: str, position: int, says: str
) -> None:
    with pytest.raises(RuleError) as refused:
        parse_rule(text)
    assert refused.value.position == position
    assert says in f"{refused.value} {refused.value.field}"


@given(st.text(max_size=30))
def test_no_text_is_read_in_any_other_way(text: str) -> None:
    try:
        rule = parse_rule(text)
    except RuleError as error:
        position = error.position
    else:
        assert parse_rule(rule) == rule
        assert explain(rule)
        position = 0
    assert 0 <= position <= len(text)


def test_an_interval_keeps_its_phase() -> None:
    every = timing(spec("E=90s"), anchor_at=NOON)
    assert every.next(NOON) == NOON + 90 * SECOND
    assert every.next(NOON + 89_999) == NOON + 90 * SECOND
    assert every.next(NOON + 90 * SECOND) == NOON + 180 * SECOND
    assert every.next(NOON - 1) == NOON
    assert list(every.last(NOON, NOON + 300 * SECOND, 2)) == [NOON + 180_000, NOON + 270_000]
    assert every.count(NOON, NOON + 270 * SECOND) == 3
    assert every.count(NOON, NOON - 1) == 0
    assert list(every.last(NOON, NOON + 5, 9)) == []


@given(
    st.integers(1, 10**7),
    st.integers(-(10**12), 10**12),
    st.integers(-(10**12), 10**12),
    st.integers(0, 3 * 10**7),
)
def test_an_interval_counts_what_it_lists(
    every_s: int, anchor_at: int, after: int, length: int
) -> None:
    every = timing(spec(parse_rule(f"E={every_s}s")), anchor_at)
    until = after + length
    number = every.count(after, until)
    assert number == length // (every_s * SECOND) or number == length // (every_s * SECOND) + 1
    listed = list(every.last(after, until, 50))
    assert len(listed) == min(number, 50)
    assert all(after < at <= until and (at - anchor_at) % (every_s * SECOND) == 0 for at in listed)
    first = every.next(after)
    assert first is not None
    assert after < first
    assert (first <= until) == (number > 0)


def test_an_interval_ends_with_the_calendar() -> None:
    every = timing(spec("E=3653d"), anchor_at=NOON)
    assert every.next(parse_rfc3339("9998-01-01T00:00:00Z")) is None


def test_start_and_until_are_part_of_the_times() -> None:
    bounded = timing(spec("0 * * * *", start_at=NOON, until_at=NOON + 2 * HOUR_MS), anchor_at=NOON)
    assert bounded.next(0) == NOON
    assert bounded.next(NOON + HOUR_MS) == NOON + 2 * HOUR_MS
    assert bounded.next(NOON + 2 * HOUR_MS) is None
    assert bounded.count(0, NOON + DAY_MS) == 3
    assert list(bounded.last(0, NOON + DAY_MS, 2)) == [NOON + HOUR_MS, NOON + 2 * HOUR_MS]


def planned(
    misfire: Misfire, late_ms: int, rule: str = "0 * * * *", seen_at: int = NOON - 1
) -> Plan:
    """The plan of an hourly schedule, last seen just before noon, `late_ms` after noon."""
    return plan(timing(spec(rule), NOON), misfire, seen_at, NOON + late_ms)


@pytest.mark.parametrize("misfire", Misfire)
@pytest.mark.parametrize("late_ms", [0, 1, LATE_MS])
def test_a_time_is_kept_within_a_minute_whatever_the_policy(misfire: Misfire, late_ms: int) -> None:
    assert planned(misfire, late_ms) == Plan((Planned(NOON),), NOON, NOON + HOUR_MS)


@pytest.mark.parametrize("misfire", Misfire)
def test_nothing_is_planned_before_its_time(misfire: Misfire) -> None:
    assert planned(misfire, -1) == Plan((), NOON - 1, NOON)


def test_once_makes_one_job_for_all_missed_times() -> None:
    assert planned(Misfire.ONCE, LATE_MS + 1).fires == (Planned(NOON, missed=1),)
    late = planned(Misfire.ONCE, 3 * HOUR_MS + 5)
    assert late == Plan(
        (Planned(NOON + 3 * HOUR_MS, missed=4),), NOON + 3 * HOUR_MS, NOON + 4 * HOUR_MS
    )


def test_skip_makes_none_for_what_is_late_and_says_so() -> None:
    late = planned(Misfire.SKIP, 3 * HOUR_MS + 5)
    assert [(fire.at, fire.missed) for fire in late.fires] == [
        (NOON + 2 * HOUR_MS, 3),
        (NOON + 3 * HOUR_MS, 0),
    ]
    skipped, kept = late.fires
    assert skipped.skipped == "misfire: 3 times were missed, and this schedule skips those"
    assert kept.skipped is None
    assert late.next_at == NOON + 4 * HOUR_MS
    only = planned(Misfire.SKIP, LATE_MS + 1)
    assert [fire.skipped for fire in only.fires] == [
        "misfire: 1 time was missed, and this schedule skips those"
    ]


def test_all_makes_the_newest_hundred() -> None:
    late = planned(Misfire.ALL, 2 * HOUR_MS + 5)
    assert late.fires == (
        Planned(NOON, missed=1),
        Planned(NOON + HOUR_MS, missed=1),
        Planned(NOON + 2 * HOUR_MS),
    )
    many = planned(Misfire.ALL, 500 * HOUR_MS)
    assert len(many.fires) == MOST_CAUGHT_UP
    assert many.fires[0] == Planned(NOON + 401 * HOUR_MS, missed=402)
    assert many.fires[-1] == Planned(NOON + 500 * HOUR_MS)
    assert sum(fire.missed or 1 for fire in many.fires) == 501


def test_a_hiccup_of_an_every_second_schedule_merges_nothing() -> None:
    late = planned(Misfire.ONCE, 3 * SECOND, "* * * * * *")
    assert late.fires == tuple(Planned(NOON + n * SECOND) for n in range(4))


@given(
    st.sampled_from(["* * * * * *", "*/5 * * * *", "0 3 * * *", "E=7s", "E=1h", "0 0 1 * *"]),
    st.sampled_from(Misfire),
    st.lists(st.integers(0, 40 * DAY_MS), min_size=1, max_size=8),
)
def test_plans_deal_with_each_time_once(rule: str, misfire: Misfire, waits: list[int]) -> None:
    found, seen_at, now = timing(spec(rule), NOON), NOON, NOON
    dealt_with = 0
    last = NOON
    for wait in waits:
        now += wait
        done = plan(found, misfire, seen_at, now)
        for fire in done.fires:
            assert last < fire.at <= now
            last = fire.at
            dealt_with += fire.missed or 1
        assert len(done.fires) <= MOST_CAUGHT_UP
        assert done.next_at is not None
        assert done.next_at > now
        seen_at = done.seen_at
    assert dealt_with == found.count(NOON, now)


def test_fifty_years_are_planned_like_a_minute() -> None:
    seen_at = NOON - 50 * 365 * DAY_MS
    late = plan(timing(spec("* * * * * *", zone="Europe/Berlin"), 0), Misfire.ONCE, seen_at, NOON)
    assert late.fires == (Planned(NOON, missed=50 * 365 * 86_400),)


def test_jitter_is_below_its_bound_even_and_the_same_each_time() -> None:
    spread = [jitter_ms("sch_1", NOON + n * MINUTE_MS, 1000) for n in range(4000)]
    assert spread == [jitter_ms("sch_1", NOON + n * MINUTE_MS, 1000) for n in range(4000)]
    assert 0 <= min(spread) < 20
    assert 980 <= max(spread) < 1000
    assert 480 < sum(spread) / len(spread) < 520
    assert jitter_ms("sch_1", NOON, 0) == 0
    assert spread != [jitter_ms("sch_2", NOON + n * MINUTE_MS, 1000) for n in range(4000)]


def simulated(rule: str, *downs: tuple[int, int], **members: object) -> list[Simulated]:
    return list(
        simulate(
            spec(rule, **members),
            schedule_id="sch_1",
            anchor_at=NOON,
            seen_at=NOON,
            until=NOON + 6 * HOUR_MS,
            downs=downs,
        )
    )


def test_a_simulation_fires_as_the_daemon_would() -> None:
    hours = [NOON + n * HOUR_MS for n in range(1, 7)]
    assert [fire.planned.at for fire in simulated("0 * * * *")] == hours
    assert [fire.planned.at for fire in simulated("0 * * * *", times=2)] == hours[:2]
    back = NOON + 3 * HOUR_MS + 10 * MINUTE_MS
    down = simulated("0 * * * *", (NOON + MINUTE_MS, back))
    assert [(fire.planned, fire.made_at) for fire in down][:2] == [
        (Planned(hours[2], missed=3), back),
        (Planned(hours[3]), hours[3]),
    ]
    skip = simulated("0 * * * *", (NOON + MINUTE_MS, back), misfire=Misfire.SKIP, times=2)
    assert [fire.planned.skipped is None for fire in skip] == [False, True, True]
    jittered = simulated("0 * * * *", jitter_ms=10 * MINUTE_MS)
    assert all(fire.made_at <= fire.due_at < fire.made_at + 10 * MINUTE_MS for fire in jittered)
    assert len({fire.due_at - fire.made_at for fire in jittered}) > 3


def test_times_of_an_interval_count_from_where_they_are_asked_for() -> None:
    assert times("E=1m", "UTC", NOON, 2) == [NOON + MINUTE_MS, NOON + 2 * MINUTE_MS]
    assert times("E=1m", "UTC", NOON, 1, anchor_at=NOON + 7) == [NOON + 7]
    assert times("0 13 * * *", "UTC", NOON, 2) == [NOON + HOUR_MS, NOON + HOUR_MS + DAY_MS]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("E=1s", "every second"),
        ("E=1m30s", "every 90 seconds"),
        ("E=1h30m", "every 90 minutes"),
        ("E=1d12h", "every 36 hours"),
        ("E=2h", "every 2 hours"),
        ("E=1h1s", "every 1 hour and 1 second"),
        ("E=1d", "every day"),
        ("E=2d", "every 2 days"),
        ("E=1d1h1s", "every 1 day, 1 hour and 1 second"),
        ("E=1s500ms", "every 1 second and 500 milliseconds"),
    ],
)
def test_an_interval_in_words(rule: str, words: str) -> None:
    assert explain(rule) == words


def test_an_interval_of_days_is_warned_about_where_clocks_change() -> None:
    assert warnings("E=1d", "UTC", NOON) == []
    assert "cron rule" in warnings("E=1d", "Europe/Berlin", NOON)[0]
    assert warnings("E=1h", "Europe/Berlin", NOON) == []
    assert note("E=1h", "Europe/Berlin", NOON) is None
