"""When a schedule fires, and what becomes of the times it missed.

Owns: the two kinds of rule (cron and interval) behind one face, and the plan that a schedule's
misfire policy makes of the times that have come. Pure: `now` is the caller's, nothing is stored.

Invariant: a plan deals with every nominal time up to its `seen_at` and with none after it, so
whoever goes on from there neither loses a time nor fires one twice.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Final, Protocol

from msgspec import Struct

from lq import cron
from lq.model import Misfire, ScheduleSpec
from lq.when import (
    DAY_MS,
    HOUR_MS,
    MAX_AT,
    MAX_MS,
    MINUTE_MS,
    SECOND_MS,
    format_duration,
    load_zone,
    parse_duration,
)

LATE_MS: Final = MINUTE_MS
"""A time that could not be kept for longer than this is a misfire."""

MOST_CAUGHT_UP: Final = 100
"""How many missed times `all` makes up for."""

SHORTEST_MS: Final = 1000
"""Nothing fires more often."""

FORETOLD_MS: Final = 1000 * 366 * DAY_MS
"""How far ahead anybody may look: what a zone does is computed year by year."""


class RuleError(ValueError):
    """No rule. `position` is where in the text, from 0; `field` the cron field, if it is one."""

    def __init__(self, message: str, position: int = 0, field: str | None = None) -> None:
        super().__init__(message)
        self.position = position
        self.field = field


class Timing(Protocol):
    """The nominal times of a schedule."""

    def next(self, after: int) -> int | None:
        """The first one after an instant."""

    def count(self, after: int, until: int) -> int:
        """How many there are in (after, until]."""

    def last(self, after: int, until: int, most: int) -> Sequence[int]:
        """The newest `most` in (after, until], ascending."""


class _Cron(Struct, frozen=True):
    rule: cron.Rule
    zone: datetime.tzinfo

    def next(self, after: int) -> int | None:
        return cron.next_fire(self.rule, self.zone, after)

    def count(self, after: int, until: int) -> int:
        return cron.count_between(self.rule, self.zone, after, until)

    def last(self, after: int, until: int, most: int) -> Sequence[int]:
        return cron.last_between(self.rule, self.zone, after, until, most)


class _Interval(Struct, frozen=True):
    every_ms: int
    anchor_at: int

    def next(self, after: int) -> int | None:
        at = after + self.every_ms - (after - self.anchor_at) % self.every_ms
        return at if at <= MAX_AT else None

    def count(self, after: int, until: int) -> int:
        if until <= after:
            return 0
        phase = self.anchor_at
        return (until - phase) // self.every_ms - (after - phase) // self.every_ms

    def last(self, after: int, until: int, most: int) -> Sequence[int]:
        newest = until - (until - self.anchor_at) % self.every_ms
        number = min(self.count(after, until), most)
        return range(newest - (number - 1) * self.every_ms, newest + 1, self.every_ms)


class _Bounded(Struct, frozen=True):
    """The times of another timing from `start_at` to `until_at`, both included."""

    inner: Timing
    start_at: int | None
    until_at: int | None

    def next(self, after: int) -> int | None:
        at = self.inner.next(self._from(after))
        return None if at is not None and self.until_at is not None and at > self.until_at else at

    def count(self, after: int, until: int) -> int:
        return self.inner.count(self._from(after), self._to(until))

    def last(self, after: int, until: int, most: int) -> Sequence[int]:
        return self.inner.last(self._from(after), self._to(until), most)

    def _from(self, after: int) -> int:
        return after if self.start_at is None else max(after, self.start_at - 1)

    def _to(self, until: int) -> int:
        return until if self.until_at is None else min(until, self.until_at)


class Planned(Struct, frozen=True):
    """One job to make for the time `at`.

    Shape: `missed` is above 0 for a catch-up: how many times this one stands for. With
    `skipped`, the reason why there is none, nothing is called.
    """

    at: int
    missed: int = 0
    skipped: str | None = None


class Plan(Struct, frozen=True):
    """What a schedule does now, up to when that deals with its times, and when it is next."""

    fires: tuple[Planned, ...]
    seen_at: int
    next_at: int | None


class Simulated(Struct, frozen=True):
    """A firing as it would be: `made_at` later than `planned.at` when that time was missed.

    Shape: `due_at` is when its job may start, jitter included. `note` is about the clocks.
    """

    planned: Planned
    made_at: int
    due_at: int
    note: str | None


def parse_rule(text: str) -> str:
    """Read a rule as the wire has it: "C=30 2 * * *", "30 2 * * *", "@daily", or "E=90s".

    Shape: the canonical rule, without "C=". Raises: RuleError, saying what is accepted.
    """
    # The SDK puts "C=" before whatever it is given, which may be an interval.
    start = len(text) - len(text.lstrip(" \t"))
    if text[start : start + 2] in {"C=", "c="}:
        start += 2
    body = text[start:]
    if body.lstrip(" \t")[:2] in {"E=", "e="}:
        start += body.index("=") + 1
        try:
            return f"E={format_duration(_interval_ms(text[start:]))}"
        except ValueError as error:
            raise RuleError(str(error), start) from None
    try:
        return cron.parse(body).text
    except cron.CronError as error:
        raise RuleError(str(error), start + error.position, error.field) from None


def check_start(start_at: int | None, now: int) -> None:
    """Refuse a start that is too far off. Raises: ValueError."""
    if start_at is not None and start_at - now > MAX_MS:
        raise ValueError("must be at most 10 years ahead")


def is_interval(rule: str) -> bool:
    """Whether a rule is an interval, which knows no zone."""
    return rule.startswith("E=")


def timing(spec: ScheduleSpec, anchor_at: int) -> Timing:
    """The times of a schedule. Shape: `anchor_at` is one of an interval's.

    Raises: UnknownZone, RuleError: what was accepted once may be gone.
    """
    inner = _timing(spec.rule, spec.zone, anchor_at)
    if spec.start_at is None and spec.until_at is None:
        return inner
    return _Bounded(inner, spec.start_at, spec.until_at)


def plan(times: Timing, misfire: Misfire, seen_at: int, now: int) -> Plan:
    """What to do about the times in (seen_at, now]."""
    first = times.next(seen_at)
    if first is None or first > now:
        return Plan((), seen_at, first)
    on_time = now - LATE_MS  # from here on nothing is late
    if first >= on_time:
        fires = _each(times, seen_at, now)
    elif misfire is Misfire.ALL:
        fires = _caught_up(times, seen_at, now, on_time)
    elif misfire is Misfire.SKIP:
        fires = (*_skipped(times, seen_at, on_time - 1), *_each(times, on_time - 1, now))
    else:
        newest = times.last(seen_at, now, 1)[-1]
        fires = (Planned(newest, missed=times.count(seen_at, now)),)
    seen_at = fires[-1].at
    return Plan(fires, seen_at, times.next(seen_at))


def jitter_ms(schedule_id: str, at: int, most_ms: int) -> int:
    """How long after its nominal time a firing starts: below `most_ms`, spread evenly.

    A function of schedule and time, so that it can be foretold, and is the same at every try.
    """
    if not most_ms:
        return 0
    digest = blake2b(f"{schedule_id} {at}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % most_ms


def simulate(
    spec: ScheduleSpec,
    *,
    schedule_id: str,
    anchor_at: int,
    seen_at: int,
    until: int,
    downs: Sequence[tuple[int, int]] = (),
    fired: int = 0,
) -> Iterator[Simulated]:
    """Every firing in (seen_at, until], as the daemon would make them.

    Shape: `downs` are the times, from and to, at which it would not run, in order and apart;
    what is due in one of them is dealt with at its end. Raises: as `timing`.
    """
    times = timing(spec, anchor_at)
    next_at = times.next(seen_at)
    while next_at is not None and next_at <= until:
        now = next((end for start, end in downs if start <= next_at < end), next_at)
        done = plan(times, spec.misfire, seen_at, now)
        for planned in done.fires:
            if spec.times is not None and fired >= spec.times:
                return
            fired += planned.skipped is None
            starts_at = planned.at + jitter_ms(schedule_id, planned.at, spec.jitter_ms)
            yield Simulated(
                planned, now, max(starts_at, now), note(spec.rule, spec.zone, planned.at)
            )
        seen_at, next_at = done.seen_at, done.next_at


def times(
    rule: str, zone: str, after: int, count: int, *, anchor_at: int | None = None
) -> list[int]:
    """The next `count` times of a rule; an interval's phase is `anchor_at`, else `after`."""
    found = _timing(rule, zone, after if anchor_at is None else anchor_at)
    return upcoming(found, after, count)


def upcoming(times: Timing, after: int, count: int) -> list[int]:
    """The next `count` times, those of the thousand years to come."""
    near = takewhile(lambda at: at - after <= FORETOLD_MS, _iterate(times, after))
    return list(islice(near, count))


def explain(rule: str) -> str:
    """A rule in words: "at 02:30 every day", "every 90 seconds"."""
    every_ms = _every_ms(rule)
    return cron.explain(_cron_rule(rule)) if every_ms is None else f"every {_spoken(every_ms)}"


def warnings(rule: str, zone: str, now: int) -> list[str]:
    """What may surprise about a rule, a sentence each. Raises: UnknownZone."""
    rules = load_zone(zone)
    every_ms = _every_ms(rule)
    if every_ms is None:
        return cron.warnings(_cron_rule(rule), rules, now)
    if every_ms % DAY_MS == 0 and zone != "UTC":
        return [
            "an interval is elapsed time: its time of day moves when the clocks change;"
            " a cron rule keeps it"
        ]
    return []


def note(rule: str, zone: str, at: int) -> str | None:
    """What the clocks of a zone do to one firing, if anything. Raises: UnknownZone."""
    if _every_ms(rule) is not None:
        return None
    return cron.note(_cron_rule(rule), load_zone(zone), at)


def _timing(rule: str, zone: str, anchor_at: int) -> Timing:
    every_ms = _every_ms(rule)
    rules = load_zone(zone)
    if every_ms is not None:
        return _Interval(every_ms, anchor_at)
    return _Cron(_cron_rule(rule), rules)


def _every_ms(rule: str) -> int | None:
    return _interval_ms(rule[2:]) if is_interval(rule) else None


def _interval_ms(text: str) -> int:
    every_ms = parse_duration(text)
    if every_ms < SHORTEST_MS:
        raise ValueError(f"an interval is at least 1s, got {text.strip()!r}")
    return every_ms


@lru_cache(maxsize=4096)
def _cron_rule(text: str) -> cron.Rule:
    try:
        return cron.parse(text)
    except cron.CronError as error:
        raise RuleError(str(error), error.position, error.field) from None


def _iterate(times: Timing, after: int) -> Iterator[int]:
    at = times.next(after)
    while at is not None:
        yield at
        at = times.next(at)


def _each(times: Timing, after: int, now: int) -> tuple[Planned, ...]:
    most = LATE_MS // SHORTEST_MS + 1
    return tuple(Planned(at) for at in times.last(after, now, most))


def _caught_up(times: Timing, seen_at: int, now: int, on_time: int) -> tuple[Planned, ...]:
    """A job for each of the newest times; the first stands for those that get none, too."""
    newest = times.last(seen_at, now, MOST_CAUGHT_UP)
    dropped = times.count(seen_at, newest[0]) - 1
    first = Planned(newest[0], missed=1 + dropped)
    return (first, *(Planned(at, missed=int(at < on_time)) for at in newest[1:]))


def _skipped(times: Timing, seen_at: int, until: int) -> tuple[Planned, ...]:
    number, newest = times.count(seen_at, until), times.last(seen_at, until, 1)[-1]
    late = "1 time was" if number == 1 else f"{number} times were"
    return (Planned(newest, number, f"misfire: {late} missed, and this schedule skips those"),)


_UNITS: Final = (
    *(("day", DAY_MS), ("hour", HOUR_MS), ("minute", MINUTE_MS)),
    *(("second", SECOND_MS), ("millisecond", 1)),
)
_MOST_OF_ONE_UNIT: Final = 120


def _spoken(ms: int) -> str:
    """A duration in words: "90 seconds", "36 hours", "1 day, 1 hour and 1 second", "day"."""
    words = []
    rest = ms
    for unit, unit_ms in _UNITS:
        if ms % unit_ms == 0 and ms // unit_ms < _MOST_OF_ONE_UNIT:
            return _counted(ms // unit_ms, unit).removeprefix("1 ")
        count, rest = divmod(rest, unit_ms)
        if count:
            words.append(_counted(count, unit))
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count > 1 else ''}"
