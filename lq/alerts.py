"""Alerts: which endings of jobs are worth telling, and in what words.

Owns the rules of lq.toml as records, what has become of each thing they watch, and the sentences
that people read. Pure: the store keeps notices and standings, `daemon.alerts` asks and sends.

Invariant: nothing is told of an alert's own job, so that a broken alert cannot alert for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lq.model import OutcomeKind, Settlement, State
from lq.scriptlets import PREFIX
from lq.when import format_duration, format_instant

TARGET: Final = "alert:"
"""What the target of an alert's job begins with; the name of its rule follows."""
QUEUE: Final = "alerts"
"""The queue of those jobs."""

_SHOWN_LINES: Final = 20
_MOST_LONG_JOBS: Final = 100
_NEVER: Final = 1 << 62


class Kind(StrEnum):
    """What can be told."""

    FAILED = "failed"
    RECOVERED = "recovered"
    MISSED = "missed"
    LATE = "late"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"


ALWAYS: Final = frozenset({Kind.FAILED, Kind.RECOVERED, Kind.MISSED})
"""What is told unless a rule says otherwise; the other kinds need a time to be measured by."""


class Preset(StrEnum):
    """The form that a receiver over HTTP expects."""

    JSON = "json"
    SLACK = "slack"
    DISCORD = "discord"
    NTFY = "ntfy"


class Rule(Struct, frozen=True, kw_only=True):
    """One `[[alerts]]` of lq.toml: what is watched, what is told of it, and whom.

    Shape: `target` is a URL, `scriptlet:NAME` or `mailto:` with addresses. The patterns are shell
    patterns; without any, everything is watched. A time that is None is not looked at. After a
    message the next one waits for `digest_ms`, and tells all that has gathered.
    """

    name: str
    target: str
    preset: Preset = Preset.JSON
    headers: Mapping[str, str] = MappingProxyType({})
    on: frozenset[Kind] = ALWAYS
    queues: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    scriptlets: tuple[str, ...] = ()
    streak: int = 1
    late_ms: int | None = None
    longer_ms: int | None = None
    shorter_ms: int | None = None
    digest_ms: int = 300_000

    def subject(self, notice: Notice, schedule: str | None) -> str | None:
        """What a notice is about for this rule, None when it is about nothing that is watched.

        Shape: "schedule nightly", "scriptlet backup" or "queue mail"; `schedule` is the key, or
        else the id, of the schedule that made the job.
        """
        scriptlet = notice.target.removeprefix(PREFIX)
        names = {
            "schedule": (schedule, self.schedules),
            "scriptlet": (scriptlet if scriptlet != notice.target else None, self.scriptlets),
            "queue": (notice.queue, self.queues),
        }
        everything = not (self.queues or self.schedules or self.scriptlets)
        for noun, (name, patterns) in names.items():
            if name is None:
                continue
            if everything or any(fnmatchcase(name, pattern) for pattern in patterns):
                return f"{noun} {name}"
        return None


class Happened(StrEnum):
    """What a notice says of its job."""

    COMPLETED = "completed"
    FAILED = "failed"
    MISSED = "missed"
    WAITS = "waits"  # or has begun too late
    RUNS = "runs"


class Notice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has happened to one job, as the store keeps it until it has been judged.

    Shape: `schedule` is an id. `started_at` is the start of the last attempt.
    """

    happened: Happened
    at: int
    job: str
    queue: str
    target: str
    not_before: int
    schedule: str | None = None
    key: str | None = None
    started_at: int | None = None
    attempts: int = 0
    error: str | None = None
    missed: int = 0


class Standing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one subject stands with one rule.

    Shape: `failures` are those in a row, the first at `since`; `told` and `late` say what its
    receiver believes. `long_jobs` are those that were told to take too long, newest last.
    """

    failures: int = 0
    since: int | None = None
    told: bool = False
    late: bool = False
    long_jobs: tuple[str, ...] = ()


WELL: Final = Standing()


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to tell. Shape: `times` is how often it has come to pass, the last time as here."""

    kind: Kind
    subject: str
    text: str
    at: int
    job: str
    queue: str
    error: str | None = None
    times: int = 1


class Status(Struct, frozen=True):
    """One rule, and what its receiver believes to be wrong.

    Shape: `wrong` are subjects with how they stand; `waiting` is how much the next message holds.
    """

    rule: Rule
    wrong: tuple[tuple[str, Standing], ...]
    waiting: int
    sent_at: int | None


class Watch:
    """What the store keeps notices of: whatever some rule may want to tell. Asked on its thread."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._least_late_ms = min(
            (rule.late_ms for rule in self._rules if rule.late_ms is not None), default=_NEVER
        )

    def __bool__(self) -> bool:
        return bool(self._rules)

    def wants(self, queue: str, target: str, schedule: str | None) -> bool:
        """Whether a job is watched. Shape: any schedule's may be, since its key is not known."""
        if target.startswith(TARGET):
            return False
        return any(_may_watch(rule, queue, target, schedule) for rule in self._rules)

    def ended(self, end: Settlement, state: State) -> Notice | None:
        """The notice of a run that has ended, None when there is nothing to it."""
        job, outcome = end.run.job, end.outcome
        schedule = job.firing.schedule if job.firing else None
        if not self.wants(job.queue, job.target, schedule):
            return None
        happened, counted = _happened(end, state)
        if happened is Happened.WAITS:
            began_at = end.ended_at if outcome is None else end.run.started_at
            if job.failures or began_at - job.not_before < self._least_late_ms:
                return None
        if happened is None:
            return None
        return Notice(
            happened=happened,
            at=end.ended_at,
            job=job.id,
            queue=job.queue,
            target=job.target,
            not_before=job.not_before,
            schedule=schedule,
            key=job.key,
            started_at=end.run.started_at if outcome is not None else None,
            attempts=job.failures + counted,
            error=end.error,
        )


def _happened(end: Settlement, state: State) -> tuple[Happened | None, int]:
    """What the end of a run is to whoever watches, and whether it counts as an attempt."""
    interrupted = end.outcome is not None and end.outcome.kind is OutcomeKind.INTERRUPTED
    if state is State.COMPLETED:
        return Happened.COMPLETED, 1
    if state is State.FAILED:
        superseded = (end.error or "").startswith("superseded by ")
        return (None if superseded else Happened.FAILED), int(end.outcome is not None)
    if state is State.PENDING and not interrupted and (end.outcome or end.error):
        return Happened.WAITS, int(end.outcome is not None)
    return None, 0


def _may_watch(rule: Rule, queue: str, target: str, schedule: str | None) -> bool:
    if not (rule.queues or rule.schedules or rule.scriptlets):
        return True
    if any(fnmatchcase(queue, pattern) for pattern in rule.queues):
        return True
    if schedule is not None and rule.schedules:
        return True
    name = target.removeprefix(PREFIX)
    return name != target and any(fnmatchcase(name, pattern) for pattern in rule.scriptlets)


def judge(
    rule: Rule, subject: str, standing: Standing, notice: Notice
) -> tuple[Standing, list[Line]]:
    """How a subject stands after a notice, and what to tell of it."""
    match notice.happened:
        case Happened.MISSED:
            told = [(Kind.MISSED, _missed(notice))]
        case Happened.WAITS:
            standing, told = _late(rule, standing, notice)
        case Happened.RUNS:
            standing, told = _too_long(rule, standing, notice)
        case Happened.FAILED:
            standing, told = _timely(rule, standing, notice)
            standing, more = _failed(rule, standing, notice)
            told += more
        case Happened.COMPLETED:
            standing, told = _timely(rule, standing, notice)
            standing, more = _completed(rule, standing, notice)
            told += more
    lines = [
        Line(
            kind=kind,
            subject=subject,
            text=f"{subject} {text}",
            at=notice.at,
            job=notice.job,
            queue=notice.queue,
            error=notice.error,
        )
        for kind, text in told
        if kind in rule.on
    ]
    return standing, lines


_Told = list[tuple[Kind, str]]


def _missed(notice: Notice) -> str:
    times = "a time" if notice.missed == 1 else f"{notice.missed} times"
    if notice.error is not None:
        return f"missed {times}, which nothing makes up for ({notice.error})"
    return f"missed {times}; one item makes up for all of them"


def _late(rule: Rule, standing: Standing, notice: Notice) -> tuple[Standing, _Told]:
    """A job that waits, or has begun, long after its time: told once, until one is on time."""
    began_at = notice.at if notice.started_at is None else notice.started_at
    late_ms = began_at - notice.not_before
    if rule.late_ms is None or late_ms < rule.late_ms or standing.late:
        return standing, []
    if notice.started_at is not None:
        text = f"is late: an item began {_long(late_ms)} after its time"
    else:
        text = f"is late: an item due {_long(late_ms)} ago has not begun"
        text += f" ({notice.error})" if notice.error else ""
    return replace(standing, late=True), [(Kind.LATE, text)]


def _timely(rule: Rule, standing: Standing, notice: Notice) -> tuple[Standing, _Told]:
    """Whether the first attempt of a job that has ended began late, or was on time again."""
    if rule.late_ms is None or notice.started_at is None or notice.attempts != 1:
        return standing, []
    if notice.started_at - notice.not_before >= rule.late_ms:
        return _late(rule, standing, notice)
    if standing.late:
        return replace(standing, late=False), [(Kind.RECOVERED, "is on time again")]
    return standing, []


def _too_long(rule: Rule, standing: Standing, notice: Notice) -> tuple[Standing, _Told]:
    ran_ms = notice.at - (notice.at if notice.started_at is None else notice.started_at)
    if rule.longer_ms is None or ran_ms < rule.longer_ms or notice.job in standing.long_jobs:
        return standing, []
    text = f"takes too long: an item has been running for {_long(ran_ms)}"
    told = (*standing.long_jobs, notice.job)[-_MOST_LONG_JOBS:]
    return replace(standing, long_jobs=told), [(Kind.TOO_LONG, text)]


def _failed(rule: Rule, standing: Standing, notice: Notice) -> tuple[Standing, _Told]:
    failures = standing.failures + 1
    since = notice.at if standing.since is None else standing.since
    told = standing.told or failures >= rule.streak
    long_jobs = _without(standing.long_jobs, notice.job)
    standing = replace(standing, failures=failures, since=since, told=told, long_jobs=long_jobs)
    if failures < rule.streak:
        return standing, []
    text = "failed" if failures == 1 else f"failed {failures} times in a row"
    if notice.error:
        text += f": {notice.error}"
    if notice.attempts > 1:
        text += f" (after {notice.attempts} attempts)"
    return standing, [(Kind.FAILED, text)]


def _completed(rule: Rule, standing: Standing, notice: Notice) -> tuple[Standing, _Told]:
    told: _Told = []
    if standing.told:
        after = "a failure" if standing.failures == 1 else f"{standing.failures} failures in a row"
        told.append((Kind.RECOVERED, f"works again after {after}"))
    took_ms = notice.at - (notice.at if notice.started_at is None else notice.started_at)
    if rule.shorter_ms is not None and took_ms < rule.shorter_ms:
        text = f"was done after {_long(took_ms)}, which is too short"
        told.append((Kind.TOO_SHORT, text))
    known = notice.job in standing.long_jobs
    if rule.longer_ms is not None and took_ms >= rule.longer_ms and not known:
        told.append((Kind.TOO_LONG, f"took too long: {_long(took_ms)}"))
    long_jobs = _without(standing.long_jobs, notice.job)
    return Standing(late=standing.late, long_jobs=long_jobs), told


def _without(jobs: tuple[str, ...], job: str) -> tuple[str, ...]:
    return tuple(one for one in jobs if one != job)


def _long(duration_ms: int) -> str:
    """A duration for people: below a minute as it is, above without what is below a second."""
    return format_duration(duration_ms if duration_ms < 60_000 else duration_ms // 1000 * 1000)


def message(rule: Rule, lines: Iterable[Line], host: str) -> bytes:
    """The payload of an alert's job: JSON that says all that is to be told, in words, too.

    Shape: `text` is for people, a line an event; `events` are the same for programs, the newest 20
    of them, and `more` how many there are besides.
    """
    newest = sorted(lines, key=lambda line: line.at, reverse=True)
    shown, rest = newest[:_SHOWN_LINES], newest[_SHOWN_LINES:]
    more = sum(line.times for line in rest)
    text = [_sentence(line) for line in shown]
    if more:
        text.append(f"and {more} more")
    first = shown[0]
    others = sum(line.times for line in newest) - 1
    title = f"{first.subject} {_TITLES[first.kind]}" + (f" and {others} more" if others else "")
    events = [_event(line) for line in shown]
    return _payload(rule, host, title, "\n".join(text), events=events, more=more)


def trial(rule: Rule, host: str) -> bytes:
    """The payload of a message that tells nothing, to see whether it arrives."""
    text = f"This is a test of the alert {rule.name}. Nothing is wrong."
    return _payload(rule, host, f"test of the alert {rule.name}", text, events=[], more=0)


def _payload(rule: Rule, host: str, title: str, text: str, **members: object) -> bytes:
    body = {"alert": rule.name, "host": host, "title": f"lq on {host}: {title}", "text": text}
    return msgspec.json.encode({**body, **members})


def _sentence(line: Line) -> str:
    times = "" if line.times == 1 else f" ({line.times} times, the last one here)"
    return f"{line.text}{times} [{line.job}]"


def _event(line: Line) -> dict[str, object]:
    noun, _, name = line.subject.partition(" ")
    event: dict[str, object] = {
        "kind": line.kind.value,
        "queue": line.queue,
        noun: name,
        "text": line.text,
        "item": line.job,
        "at": format_instant(line.at),
        "times": line.times,
    }
    return event if line.error is None else {**event, "error": line.error}


_TITLES: Final[Mapping[Kind, str]] = {
    Kind.FAILED: "failed",
    Kind.RECOVERED: "recovered",
    Kind.MISSED: "missed a time",
    Kind.LATE: "is late",
    Kind.TOO_LONG: "takes too long",
    Kind.TOO_SHORT: "was done too soon",
}
