"""A systemd timer and the service that it starts, as a job of lq.

Owns: what each setting of both units becomes, and which are left out with a note. Pure: it is
handed the texts, and what decides on this machine.

Invariant: a setting that changes when or what runs is carried over, or the unit is left with the
reason; one that only guards the run is named in a note.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from msgspec import Struct

from lq.takeover import units
from lq.takeover.calendar import CalendarError, convert
from lq.takeover.fromcron import Machine
from lq.takeover.job import Found, Job, Left, Rule
from lq.takeover.naming import slug
from lq.takeover.units import Command, Unit, UnitError
from lq.when import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, format_duration, load_zone

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
_SPAN: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµμ]*)")
_UNITS: Final = {
    **dict.fromkeys(("us", "usec", "µs", "μs"), 0.001),
    **dict.fromkeys(("ms", "msec"), 1),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), SECOND_MS),
    **dict.fromkeys(("m", "min", "minute", "minutes"), MINUTE_MS),
    **dict.fromkeys(("h", "hr", "hour", "hours"), HOUR_MS),
    **dict.fromkeys(("d", "day", "days"), DAY_MS),
    **dict.fromkeys(("w", "week", "weeks"), 7 * DAY_MS),
    **dict.fromkeys(("M", "month", "months"), 30.44 * DAY_MS),
    **dict.fromkeys(("y", "year", "years"), 365.25 * DAY_MS),
}
_LONGEST_MS: Final = 90 * DAY_MS  # that a scriptlet may run
_SINCE_BOOT: Final = ("OnBootSec", "OnStartupSec", "OnActiveSec")
_REPEATED: Final = ("OnUnitActiveSec", "OnUnitInactiveSec")
_KNOWN: Final = {
    *("ExecStart", "ExecStartPre", "ExecStartPost", "Environment", "EnvironmentFile", "User"),
    *("WorkingDirectory", "Nice", "MemoryMax", "MemoryLimit", "TimeoutStartSec", "TimeoutSec"),
    *("Type", "RemainAfterExit", "SyslogIdentifier", "StandardOutput", "StandardError"),
    *("KillMode", "RuntimeMaxSec"),
}
_YES: Final = {"1", "yes", "true", "on", "y", "t"}


class Texts(NamedTuple):
    """A unit's name and its files: itself first, then its drop-ins in order."""

    name: str
    files: Sequence[str]


class _Unfit(ValueError):
    """Why the units cannot be taken over."""


class _Timing(Struct):
    rules: list[Rule]
    notes: list[str]
    overlap: str = "skip"  # systemd never starts what still runs


def service_of(timer: Texts) -> str:
    """The name of the unit that a timer starts."""
    named = units.last(units.parse(*timer.files), "Timer", "Unit")
    return named or f"{timer.name.removesuffix('.timer')}.service"


def jobs(timer: Texts, service: Texts, machine: Machine, *, of_user: bool = False) -> Found:
    """The job that a timer and its service are.

    Shape: units `of_user` are run as the machine's user where they name none, others as root.
    """
    try:
        timing = _timing(units.parse(*timer.files), machine)
        return Found((_job(timer, service, timing, machine, machine.user if of_user else "root"),))
    except (_Unfit, UnitError) as error:
        return Found(left=(Left(timer.name, service.name, str(error)),))


def span(text: str) -> int:
    """A time span of systemd, such as "1h 30min". Units: milliseconds. Raises: ValueError."""
    position, total = 0, 0.0
    while position < len(text.rstrip()):
        found = _SPAN.match(text, position)
        if found is None or found[2] not in _UNITS:
            raise ValueError(f"{text!r} is no time span of systemd")
        total += float(found[1]) * _UNITS[found[2]]
        position = found.end()
    if not text.strip():
        raise ValueError("a time span is empty")
    return round(total)


def _timing(unit: Unit, machine: Machine) -> _Timing:
    timer = unit.get("Timer", {})
    timing = _Timing([], [])
    jitter = _jitter(unit, timing)
    for text in timer.get("OnCalendar", ()):
        timing.rules.append(_calendar(text, machine, jitter))
    for name in _REPEATED:
        for text in timer.get(name, ()):
            timing.rules.append(_interval(name, text, jitter, timing))
    boot = [name for name in _SINCE_BOOT if name in timer]
    if boot and timing.rules:
        timing.notes.append(f"{' and '.join(boot)}: lq starts at the next of its times instead")
    if not timing.rules:
        raise _Unfit(
            f"{boot[0]} alone runs once after the start, which is no time of lq: leave the timer"
            if boot
            else "the timer has no OnCalendar= and no OnUnitActiveSec="
        )
    if timer.get("AccuracySec"):
        timing.notes.append("AccuracySec is not needed: lq is on time to the second")
    if _is_yes(units.last(unit, "Timer", "WakeSystem")):
        timing.notes.append("WakeSystem: lq cannot wake a machine")
    for name in ("OnClockChange", "OnTimezoneChange"):
        if _is_yes(units.last(unit, "Timer", name)):
            timing.notes.append(f"{name} is not carried over")
    return timing


def _calendar(text: str, machine: Machine, jitter: str | None) -> Rule:
    try:
        found = convert(text)
    except CalendarError as error:
        raise _Unfit(f"OnCalendar={text}: {error}") from None
    zone = found.zone or machine.zone
    first, last = found.years
    return Rule(
        rule=found.rule,
        source=f"OnCalendar={text}",
        zone=zone,
        jitter=jitter,
        start=_new_year(first, zone) if first is not None else None,
        # Both ends belong to a schedule: it ends with the second before the year after.
        until=_new_year(last + 1, zone, -1) if last is not None else None,
    )


def _new_year(year: int, zone: str, seconds: int = 0) -> str:
    local = datetime(year, 1, 1, tzinfo=load_zone(zone))
    moment = datetime.fromtimestamp(local.timestamp() + seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _interval(name: str, text: str, jitter: str | None, timing: _Timing) -> Rule:
    try:
        every_ms = span(text)
    except ValueError as error:
        raise _Unfit(f"{name}: {error}") from None
    if every_ms < SECOND_MS:
        raise _Unfit(f"{name}={text}: lq runs nothing more often than each second")
    counted = "end" if name == "OnUnitInactiveSec" else "start"
    timing.notes.append(
        f"{name}={text}: systemd counts from the {counted} of the last run, lq keeps a steady pace"
    )
    every = format_duration(round(every_ms, -3))
    return Rule(rule=f"E={every}", source=f"{name}={text}", jitter=jitter)


def _jitter(unit: Unit, timing: _Timing) -> str | None:
    text = units.last(unit, "Timer", "RandomizedDelaySec")
    if text is None:
        return None
    try:
        delay_ms = span(text)
    except ValueError as error:
        raise _Unfit(f"RandomizedDelaySec: {error}") from None
    if delay_ms > DAY_MS:
        timing.notes.append(f"RandomizedDelaySec={text}: lq spreads over a day at most")
    return format_duration(min(delay_ms, DAY_MS)) if delay_ms else None


def _job(timer: Texts, service: Texts, timing: _Timing, machine: Machine, owner: str) -> Job:
    unit = units.parse(*service.files)
    settings = unit.get("Service", {})
    if not settings.get("ExecStart"):
        raise _Unfit(f"{service.name} has no ExecStart=")
    if "ExecCondition" in settings:
        raise _Unfit(f"{service.name} has ExecCondition=, which lq has nothing like")
    user = units.last(unit, "Service", "User") or owner
    specifiers = _specifiers(service.name, user, machine)
    user = units.expand(user, specifiers)
    home = machine.home(user)
    if home is None:
        raise _Unfit(f"there is no user {user} on this machine")
    if machine.user not in {user, "root"}:
        raise _Unfit(f"it runs as {user}, and lq as {machine.user}: only an lq of root's can")
    command = _command(settings, specifiers)
    if machine.missing(command[0]):
        raise _Unfit(f"{command[0]} is not on this machine")
    nice = units.last(unit, "Service", "Nice")
    memory = units.last(unit, "Service", "MemoryMax") or units.last(unit, "Service", "MemoryLimit")
    persistent = _is_yes(units.last(units.parse(*timer.files), "Timer", "Persistent"))
    return Job(
        where=timer.name,
        name=slug(timer.name.removesuffix(".timer")),
        rules=tuple(timing.rules),
        command=command,
        cwd=_folder(units.last(unit, "Service", "WorkingDirectory"), specifiers, home),
        user=None if user == machine.user else user,
        env={**_defaults(user, home), **dict(_environment(settings, specifiers))},
        timeout=_timeout(unit),
        nice=int(nice) if nice and re.fullmatch(r"-?[0-9]{1,2}", nice) else None,
        memory=_memory(memory),
        misfire="once" if persistent else "skip",
        overlap=timing.overlap,
        comment=units.last(unit, "Unit", "Description") or "",
        notes=(*timing.notes, *_of_service(unit, service.name)),
    )


def _command(
    settings: Mapping[str, Sequence[str]], specifiers: Mapping[str, str]
) -> tuple[str, ...]:
    """What runs: the one command itself, or a script of all of them."""
    steps: list[Command] = []
    for name in ("ExecStartPre", "ExecStart", "ExecStartPost"):
        for value in settings.get(name, ()):
            for one in units.commands(value):
                words = tuple(units.expand(word, specifiers) for word in one.words)
                steps.append(Command(words, one.flags))
    files = list(_files(settings, specifiers))
    only = steps[0]
    alone = len(steps) == 1 and not files and not only.flags.strip("+!:")
    if alone and not units.has_variables(only):
        return only.words
    lines = ["set -ef", *files]
    lines += [f"{units.shell(step)}{' || :' if step.may_fail else ''}" for step in steps]
    return "/bin/sh", "-c", "; ".join(lines)


def _files(settings: Mapping[str, Sequence[str]], specifiers: Mapping[str, str]) -> Iterator[str]:
    """The lines of a script that read each EnvironmentFile=."""
    for value in settings.get("EnvironmentFile", ()):
        path = units.expand(value.removeprefix("-"), specifiers)
        quoted = shlex.quote(path)
        there = f"[ ! -r {quoted} ] || " if value.startswith("-") else ""
        yield f"set -a; {there}. {quoted}; set +a"


def _environment(
    settings: Mapping[str, Sequence[str]], specifiers: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for value in settings.get("Environment", ()):
        for word in units.split(value):
            name, equals, text = units.expand(word, specifiers).partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise UnitError(f"Environment={word} sets no variable")
            yield name, text


def _defaults(user: str, home: str) -> dict[str, str]:
    return {"PATH": PATH, "HOME": home, "LOGNAME": user, "USER": user, "SHELL": "/bin/sh"}


def _folder(text: str | None, specifiers: Mapping[str, str], home: str) -> str:
    if text is None:
        return "/"
    folder = units.expand(text.removeprefix("-"), specifiers)
    return home if folder == "~" else folder


def _timeout(unit: Unit) -> str | None:
    """How long a run may take. A oneshot service has no limit unless it says so."""
    for name in ("TimeoutStartSec", "TimeoutSec", "RuntimeMaxSec"):
        text = units.last(unit, "Service", name)
        if text and text != "infinity":
            try:
                return format_duration(min(max(span(text), SECOND_MS), _LONGEST_MS))
            except ValueError as error:
                raise UnitError(f"{name}: {error}") from None
    return None


def _memory(text: str | None) -> str | None:
    """A size of systemd (K, M, G, T are powers of 1024) as lq writes it; None for no limit."""
    found = re.fullmatch(r"([0-9]+)([KMGT]?)", text or "")
    if found is None:
        return None
    size = int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[found[2]]
    return f"{max(size >> 20, 1)}MiB"


def _of_service(unit: Unit, name: str) -> Iterator[str]:
    """What of a service is not carried over."""
    kind = units.last(unit, "Service", "Type") or "simple"
    if kind not in {"simple", "exec", "oneshot", "idle"}:
        yield f"Type={kind}: lq waits for the end of the command itself"
    if unit.get("Service", {}).get("EnvironmentFile"):
        yield "EnvironmentFile= is read by the shell: quote what it would take for syntax"
    if any(c.flags.strip("-@:") for v in unit["Service"]["ExecStart"] for c in units.commands(v)):
        yield '"+" and "!" are not carried over: all runs as the same user'
    left = sorted(set(unit["Service"]) - _KNOWN)
    if left:
        yield f"not carried over from {name}: {', '.join(left)}"
    asked = [s for s in unit.get("Unit", {}) if s.startswith(("Condition", "Assert", "OnFailure"))]
    if asked:
        yield f"not carried over from {name}: {', '.join(asked)}"


def _specifiers(name: str, user: str, machine: Machine) -> dict[str, str]:
    full = name.rpartition(".")[0]
    prefix, _, instance = full.partition("@")
    return {
        "%": "%",
        "n": name,
        "N": full,
        "p": prefix,
        "P": _unescaped(prefix),
        "i": instance,
        "I": _unescaped(instance),
        "j": prefix.rpartition("-")[2],
        "J": _unescaped(prefix.rpartition("-")[2]),
        "f": "/" + _unescaped(instance or prefix),
        "u": user if "%" not in user else machine.user,
        "h": machine.home(user) or "/",
        "s": "/bin/sh",
        "t": "/run",
        "S": "/var/lib",
        "C": "/var/cache",
        "L": "/var/log",
        "E": "/etc",
        "T": "/tmp",  # noqa: S108 (systemd's value of it)
        "V": "/var/tmp",  # noqa: S108 (systemd's value of it)
    }


def _unescaped(name: str) -> str:
    text = name.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def _is_yes(text: str | None) -> bool:
    return (text or "").lower() in _YES
