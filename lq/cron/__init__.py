"""Cron rules: read them, compute when they fire, say them in English.

Owns: lq's cron grammar (five fields, or six with seconds first), the calendar, and the rule for
clocks that skip or repeat time. Never asks for the time and keeps no state but caches: `now`,
`after` and the zone are the caller's.

Invariant: the fires of a rule in a zone are one strictly increasing sequence of whole seconds;
every function here is a view of that sequence, and each does a bounded amount of work.

    rule        what a rule is: its fields, its times of day, its calendar
    grammar     text -> Rule, or a CronError that says what to write instead
    zones       how the clocks of a zone run: stretches of constant offset
    fires       when a rule fires
    words       a rule in one sentence
    advice      what its author may not expect: of a rule, and of one of its fires

Units: instants are Unix milliseconds UTC.
"""

from lq.cron.advice import note, warnings
from lq.cron.fires import count_between, fires_between, last_between, next_fire
from lq.cron.grammar import CronError, parse
from lq.cron.rule import Rule
from lq.cron.words import explain

__all__ = [
    "CronError",
    "Rule",
    "count_between",
    "explain",
    "fires_between",
    "last_between",
    "next_fire",
    "note",
    "parse",
    "warnings",
]
