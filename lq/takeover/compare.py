"""What lq and the old scheduler make of the same times, side by side.

Owns: where the two differ, in the next runs and at the clock changes to come. Pure.
Units: instants are Unix milliseconds UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from lq import cron, firing
from lq.cron.zones import changes
from lq.takeover import debian
from lq.takeover.job import Rule
from lq.when import DAY_MS, load_zone

_AHEAD_MS: Final = 731 * DAY_MS


class Row(NamedTuple):
    """One instant, and how often each of the two runs the job then."""

    at: int
    lq: int
    old: int


class Odd(NamedTuple):
    """A clock change at which the two differ. Shape: the instants are those of one alone."""

    at: int
    lq: tuple[int, ...]
    old: tuple[int, ...]


def next_runs(rule: Rule, old: Sequence[int] | None, after: int, count: int) -> list[Row]:
    """The next runs of lq beside those of the old scheduler; None where nobody can tell."""
    own = firing.times(rule.rule, rule.zone, after, count)
    if old is None:
        return [Row(at, 1, 1) for at in own]
    there, here = Counter(old[:count]), Counter(own)
    return [Row(at, here[at], there[at]) for at in sorted({*own, *old[:count]})[:count]]


def of_cron(rule: Rule, zone: str, after: int, count: int) -> list[int]:
    """When Debian's cron runs an entry next, on a machine in this zone."""
    return debian.runs(debian.read(rule.fields), load_zone(zone), after, count)


def at_changes(rule: Rule, zone: str, now: int) -> list[Odd]:
    """The clock changes of the next two years at which Debian's cron does something else.

    Shape: `zone` is the machine's, and the rule's.
    """
    there, parsed, times = load_zone(zone), cron.parse(rule.rule), debian.read(rule.fields)
    found = []
    for change in changes(there, now // 1000, (now + _AHEAD_MS) // 1000):
        low, high = change.at * 1000 - DAY_MS, change.at * 1000 + DAY_MS
        own = Counter(cron.fires_between(parsed, there, low, high))
        old = Counter(debian.runs_between(times, there, low, high))
        if own != old:
            alone, missed = (own - old).elements(), (old - own).elements()
            found.append(Odd(change.at * 1000, tuple(alone), tuple(missed)))
    return found
