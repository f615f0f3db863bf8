"""Jobs as the marked block of lq.toml that stands for one source.

Owns: how jobs are written as TOML, their final names, and where the block begins and ends. Pure:
text in, text out. Never touches a byte outside its own block.

Invariant: the same jobs give the same text, so that a second import changes nothing; a block that
was edited by hand is recognised by the digest in its first line and is not written over.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from lq.errors import LqError
from lq.model import Overlap
from lq.takeover.job import Job, Rule
from lq.takeover.naming import unique

_INTRO: Final = (
    "# Written by `lq import`, and written anew by the next import of the same source: move a\n"
    "# table out of this block to change it by hand.\n"
)


class Settings(Struct, frozen=True, kw_only=True):
    """What is written for each job that does not say otherwise. The defaults are cron's ways."""

    queue: str = "cron"
    retry: str = "0"
    misfire: str = "skip"
    timeout: str = "24h"


class Edited(LqError):
    """The block was changed by hand since it was written."""


class Named(Struct, frozen=True):
    """A job under its final names: the scriptlet's, and one key for each of its rules."""

    job: Job
    name: str
    keys: tuple[str, ...]


def names(jobs: Iterable[Job], text: str, source: str) -> tuple[Named, ...]:
    """The jobs under names that nothing else in the file has.

    Shape: a job that the old block holds already keeps the name it has there. Raises: LqError when
    `text` is not TOML.
    """
    head, old, tail = split(text, source)
    taken = _names_in(head + tail)
    before = _known(old)
    named: dict[int, str] = {}
    jobs = tuple(jobs)
    for number, job in enumerate(jobs):
        known = before.pop(_identity(job.command, job.cwd, job.user, job.rules[0].rule), None)
        if known is not None and known not in taken:
            named[number] = known
            taken.add(known)
    found = []
    for number, job in enumerate(jobs):
        name = named.get(number) or unique(job.name, taken)
        taken.add(name)
        keys = [name]
        for _ in job.rules[1:]:
            keys.append(unique(name, taken))
            taken.add(keys[-1])
        found.append(Named(job, name, tuple(keys)))
    return tuple(found)


def place(text: str, source: str, jobs: Iterable[Named], settings: Settings) -> str:
    """The file with the block of a source as it is to be; without one when there are no jobs."""
    head, _, tail = split(text, source)
    body = "\n".join(_tables(job, settings) for job in jobs)
    if not body:
        return head + tail
    if head and not head.endswith("\n"):
        head += "\n"
    body = f"{_INTRO}{_said(settings)}\n\n{body}"
    return f"{head}{_begin(source)} ({_digest(body)})\n{body}{_end(source)}\n{tail}"


def check_untouched(text: str, source: str) -> None:
    """Raise Edited if the block of a source is no longer what was written."""
    _, block, _ = split(text, source)
    if not block:
        return
    first, _, rest = block.replace("\r\n", "\n").partition("\n")
    body = rest.removesuffix(f"{_end(source)}\n")
    if f"({_digest(body)})" not in first:
        raise Edited(
            f"the block of {source} in lq.toml was changed by hand since it was written",
            hint="Move your change out of the block, or let --overwrite drop it.",
        )


def settings_in(text: str, source: str) -> Settings:
    """What the block of a source was last written with; cron's ways if there is none."""
    _, old, _ = split(text, source)
    found = re.search(r"^# with: (.*)$", old, re.MULTILINE)
    words = shlex.split(found[1]) if found else []
    given = {name[2:]: value for name, value in zip(words[::2], words[1::2], strict=False)}
    return Settings(**{k: v for k, v in given.items() if k in Settings.__struct_fields__})


def _said(settings: Settings) -> str:
    members = ((name, getattr(settings, name)) for name in Settings.__struct_fields__)
    return f"# with: {shlex.join(word for name, value in members for word in (f'--{name}', value))}"


def lost(text: str, source: str, jobs: Iterable[Named]) -> list[str]:
    """The names in the block of a source that are none of these jobs'."""
    return sorted({*_known(split(text, source)[1]).values()} - {named.name for named in jobs})


def split(text: str, source: str) -> tuple[str, str, str]:
    """What stands before the block of a source, the block, and what stands after it."""
    lines = text.splitlines(keepends=True)
    begin = [n for n, line in enumerate(lines) if line.startswith(f"{_begin(source)} (")]
    end = [n for n, line in enumerate(lines) if line.rstrip("\r\n") == _end(source)]
    if not begin and not end:
        return text, "", ""
    if len(begin) != 1 or len(end) != 1 or end[0] < begin[0]:
        raise Edited(
            f"the block of {source} in lq.toml has lost its first or last line",
            hint=f'It goes from "{_begin(source)} (…)" to "{_end(source)}".',
        )
    first, last = begin[0], end[0] + 1
    return "".join(lines[:first]), "".join(lines[first:last]), "".join(lines[last:])


def _begin(source: str) -> str:
    return f"# >>> lq import {source}"


def _end(source: str) -> str:
    return f"# <<< lq import {source}"


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()[:12]


def _names_in(text: str) -> set[str]:
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise LqError(f"lq.toml is not valid TOML: {error}") from None
    scriptlets = table.get("scriptlets", {})
    found = set(scriptlets) if isinstance(scriptlets, dict) else set()
    for schedule in table.get("schedules", []):
        if isinstance(schedule, dict) and isinstance(schedule.get("key"), str):
            found.add(schedule["key"])
    return found


def _known(block: str) -> dict[tuple[object, ...], str]:
    """The names that jobs of the old block have."""
    try:
        table = tomllib.loads(block)
    except tomllib.TOMLDecodeError:
        return {}
    found: dict[tuple[object, ...], str] = {}
    for schedule in table.get("schedules", []):
        name = str(schedule.get("target", "")).removeprefix("scriptlet:")
        one: Mapping[str, Any] = table.get("scriptlets", {}).get(name, {})
        command = tuple(one.get("command", ()))
        rule = schedule.get("schedule")
        found.setdefault(_identity(command, one.get("cwd"), one.get("user"), rule), name)
    return found


def _identity(*parts: object) -> tuple[object, ...]:
    return parts


def _tables(named: Named, settings: Settings) -> str:
    job = named.job
    lines = [f"# {_comment(job.where)}: {_comment(', '.join(rule.source for rule in job.rules))}"]
    lines += [f"# {_comment(job.comment)}"] if job.comment else []
    lines += [f"# note: {_comment(note)}" for note in job.notes]
    lines.append(f"[scriptlets.{named.name}]")
    scriptlet: dict[str, object] = {
        "command": job.command,
        "user": job.user,
        "cwd": job.cwd,
        "env": job.env or None,
        "timeout": job.timeout or settings.timeout,
        "nice": job.nice,
        "memory": job.memory,
    }
    lines += _assigned(scriptlet)
    for key, rule in zip(named.keys, job.rules, strict=True):
        lines += ["", "[[schedules]]", *_assigned(_schedule(named, key, rule, settings))]
    return "\n".join(lines) + "\n"


def _schedule(named: Named, key: str, rule: Rule, settings: Settings) -> Mapping[str, object]:
    job = named.job
    retry: object = int(settings.retry) if settings.retry.isdigit() else settings.retry
    return {
        "key": key,
        "schedule": rule.rule,
        "timezone": rule.zone,
        "queue": settings.queue,
        "target": f"scriptlet:{named.name}",
        "payload": job.stdin or None,
        "retry": retry,
        "misfire": job.misfire or settings.misfire,
        "overlap": job.overlap or Overlap.ALLOW,
        "jitter": rule.jitter,
        "start": rule.start,
        "until": rule.until,
    }


def _assigned(table: Mapping[str, object]) -> Iterator[str]:
    return (f"{key} = {_value(value)}" for key, value in table.items() if value is not None)


def _value(value: object) -> str:
    match value:
        case str():
            return _string(value)
        case Mapping():
            members = (f"{_key(str(key))} = {_value(one)}" for key, one in value.items())
            return f"{{ {', '.join(members)} }}"
        case tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return str(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _string(text: str) -> str:
    """A TOML string, as people would write it: between single quotes if that saves escapes."""
    if re.search(r'["\\]', text) and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """Text that fits on a line of comment: TOML allows no control character there but the tab."""
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f]+", " ", text)
