"""Entries of a crontab as jobs of lq.

Owns: what a line of cron becomes, and which differences are worth a note. Never reads a file.

Invariant: a job runs the same command line, through the same shell, in the same folder, with the
same variables and input as under cron; what cannot be had the same is noted or left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Final

from msgspec import Struct

from lq import cron
from lq.takeover import debian
from lq.takeover.crontab import Bad, Crontab, Entry
from lq.takeover.job import Found, Job, Left, Rule
from lq.takeover.naming import from_command, from_comment
from lq.when import load_zone

PATH: Final = "/usr/bin:/bin"
SHELL: Final = "/bin/sh"
_NAMES: Final = ("minute", "hour", "day of month", "month", "day of week")
_VARIABLE: Final = re.compile("(?!LQ_)[A-Za-z_][A-Za-z0-9_]*")
_CHANCE: Final = re.compile("([0-9]{1,3})?~([0-9]{1,3})?")
_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Machine(Struct, frozen=True):
    """What decides how a job runs here.

    Shape: `zone` is the machine's, `user` whose lq it is; `home` gives the folder of a user, None
    where there is no such user; `missing` says whether a program is not there.
    """

    zone: str
    user: str
    home: Callable[[str], str | None]
    missing: Callable[[str], bool] = lambda _: False


class _Unfit(ValueError):
    """Why an entry cannot be taken over."""


def jobs(crontab: Crontab, source: str, owner: str | None, machine: Machine) -> Found:
    """What lq can run of a crontab.

    Shape: `source` is how lines are named; `owner` is whose crontab it is, None for one whose
    lines name their user.
    """
    found: list[Job] = []
    left = [_left(bad, source) for bad in crontab.bad]
    for entry in crontab.entries:
        try:
            found.append(_job(entry, source, entry.user or owner or machine.user, machine))
        except _Unfit as error:
            left.append(Left(f"{source}:{entry.line}", entry.text, str(error)))
    left.sort(key=lambda one: int(one.where.rpartition(":")[2]))
    return Found(tuple(found), tuple(left), (*crontab.notes, *_of_all(crontab)))


def rule_of(fields: tuple[str, ...]) -> str:
    """The rule of lq that means what cron understands. Raises: ValueError when it never runs."""
    times = debian.read(fields)
    for name, values in zip(_NAMES, times.values, strict=True):
        if not values:
            raise ValueError(
                f"cron takes its {name} for none at all: a range must not run backwards"
                f"{', nor end with sun' if name == _NAMES[4] else ''}"
            )
    text = " ".join(fields)
    try:
        rule = cron.parse(text)
    except cron.CronError:
        return _spelled(times, fields)
    return text if _same(rule, times) else _spelled(times, fields)


def _same(rule: cron.Rule, times: debian.Times) -> bool:
    fields = (rule.minutes, rule.hours, rule.days, rule.months, rule.weekdays)
    values = tuple(frozenset(field.values) for field in fields)
    plain = not any(field.special for field in fields)
    return plain and (values, rule.wildcard, rule.both) == (times.values, times.wild, times.both)


def _spelled(times: debian.Times, fields: tuple[str, ...]) -> str:
    """The same values, each field in full; one that begins with a star keeps it."""
    spelled = []
    for text, values in zip(fields, times.values, strict=True):
        listed = ",".join(str(value) for value in sorted(values))
        star = re.match(r"\*(?:/[0-9]+)?", text)
        alone = star is not None and not text[star.end() :].startswith(",")
        spelled.append(listed if star is None else star[0] if alone else f"{star[0]},{listed}")
    rule = " ".join(spelled)
    try:
        if _same(cron.parse(rule), times):
            return rule
    except cron.CronError as error:
        raise ValueError(str(error)) from None
    raise ValueError("lq has no rule for what cron makes of these times")


def _job(entry: Entry, source: str, user: str, machine: Machine) -> Job:
    home = machine.home(user)
    if not entry.fields:
        raise _Unfit(
            "it runs when the machine starts, which is no time: leave it to cron, or have a "
            "systemd unit run it"
        )
    if home is None:
        raise _Unfit(f"there is no user {user} on this machine, so cron does not run it either")
    if machine.user not in {user, "root"}:
        raise _Unfit(f"it runs as {user}, and lq as {machine.user}: only an lq of root's can")
    fields, notes = _settled(entry)
    try:
        rule = rule_of(fields)
    except ValueError as error:
        raise _Unfit(str(error)) from None
    zone, also = _zone(entry.env, machine)
    if junk := debian.read(fields).junk:
        also = (*also, f"cron skips {' and '.join(map(repr, junk))} in its times")
    env = _environment(entry.env, user, home)
    if machine.missing(env["SHELL"]):
        raise _Unfit(f"its SHELL, {env['SHELL']}, is not on this machine")
    if odd := [name for name in entry.env if not _VARIABLE.fullmatch(name)]:
        also = (*also, f"lq sets no variable {' or '.join(map(repr, odd))}")
    delay = entry.env.get("RANDOM_DELAY", "")
    jitter = f"{int(delay)}m" if re.fullmatch("[1-9][0-9]{0,2}", delay) else None
    where = f"{source}:{entry.line}"
    when = entry.when if entry.when in debian.NICKNAMES else rule
    return Job(
        where=where,
        line=entry.line,
        name=from_comment(entry.comment) or from_command(entry.command),
        rules=(Rule(rule=when, source=entry.when, zone=zone, fields=fields, jitter=jitter),),
        command=(env["SHELL"], "-c", entry.command),
        cwd=env["HOME"],
        user=None if user == machine.user else user,
        env=env,
        stdin=entry.stdin or "",
        comment=entry.comment,
        notes=(*entry.notes, *notes, *also, *_of_shell(env["SHELL"])),
    )


def _settled(entry: Entry) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields with one value, always the same, for what cronie picks by chance (`0~59`)."""
    seed = int.from_bytes(blake2b(entry.command.encode(), digest_size=8).digest(), "big")
    settled, notes = [], []
    for text, (low, high) in zip(entry.fields, _RANGES, strict=True):
        items = text.split(",")
        for number, item in enumerate(items):
            if found := _CHANCE.fullmatch(item):
                first, last = int(found[1] or low), int(found[2] or high)
                items[number] = str(first + seed % max(last - first + 1, 1))
                notes.append(f"cronie picks {item} by chance; lq takes {items[number]}")
        settled.append(",".join(items))
    return tuple(settled), tuple(notes)


def _environment(given: Mapping[str, str], user: str, home: str) -> dict[str, str]:
    defaults = {"SHELL": SHELL, "HOME": home, "PATH": PATH}
    set_here = {name: value for name, value in given.items() if _VARIABLE.fullmatch(name)}
    return {**defaults, **set_here, "LOGNAME": user}


def _zone(env: Mapping[str, str], machine: Machine) -> tuple[str, tuple[str, ...]]:
    name = env.get("CRON_TZ")
    if name is None:
        if "TZ" in env:
            return machine.zone, (f"TZ={env['TZ']} is for the command alone, not for its times",)
        return machine.zone, ()
    try:
        load_zone(name)
    except ValueError:
        return machine.zone, (f"CRON_TZ={name} names no time zone: {machine.zone} is taken",)
    note = f"CRON_TZ: cronie keeps {name}, Debian's cron ignores it and keeps {machine.zone}"
    return name, (note,) if name != machine.zone else ()


def _of_shell(shell: str) -> Iterator[str]:
    if not PurePosixPath(shell).is_absolute():
        yield f"SHELL={shell} is not an absolute path"


def _of_all(crontab: Crontab) -> Iterator[str]:
    """What is worth saying once for a crontab."""
    mailed = sorted({entry.env["MAILTO"] for entry in crontab.entries if entry.env.get("MAILTO")})
    if mailed:
        yield (
            f"MAILTO: cron mails all output to {', '.join(mailed)}; lq keeps it with the job, and "
            f'mails failures by [[alerts]] with target = "mailto:{mailed[0]}"'
        )


def _left(bad: Bad, source: str) -> Left:
    return Left(f"{source}:{bad.line}", bad.text, bad.reason)
