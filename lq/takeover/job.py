"""What was found on the machine: jobs that lq can run, and what it cannot take over.

Owns the nouns of a takeover. Knows neither where they come from nor how they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct


class Rule(Struct, frozen=True, kw_only=True):
    """One time of a job: a rule of lq, and what it says where it was found.

    Shape: `source` is "30 2 * * *" or "OnCalendar=daily"; `fields` are those of a crontab, empty
    elsewhere; `start` and `until` are RFC 3339.
    """

    rule: str
    source: str
    zone: str = "UTC"
    fields: tuple[str, ...] = ()
    jitter: str | None = None
    start: str | None = None
    until: str | None = None


class Job(Struct, frozen=True, kw_only=True):
    """One command of the machine and its times.

    Shape: `where` is "/etc/crontab:17"; `name` is a wish, not yet unique; `line` is the number of
    the line in a crontab. `user` is None for the daemon's own. `misfire` and `overlap` are set
    where the source says what becomes of missed times and of runs that meet.
    """

    where: str
    name: str
    rules: tuple[Rule, ...]
    command: tuple[str, ...]
    cwd: str | None = None
    user: str | None = None
    env: Mapping[str, str] = MappingProxyType({})
    stdin: str = ""
    timeout: str | None = None
    nice: int | None = None
    memory: str | None = None
    misfire: str | None = None
    overlap: str | None = None
    comment: str = ""
    line: int = 0
    notes: tuple[str, ...] = ()


class Left(Struct, frozen=True):
    """What stays where it is, and why."""

    where: str
    text: str
    reason: str


class Found(Struct, frozen=True):
    """All of one source.

    Shape: `notes` are about the source as a whole.
    """

    jobs: tuple[Job, ...] = ()
    left: tuple[Left, ...] = ()
    notes: tuple[str, ...] = ()
