"""Reading a crontab: bytes -> its entries, each with the environment that holds where it stands.

Owns: the grammar of Debian's cron, line by line, and what of it is undone before a shell sees the
command (`%`). Never judges times; what a line means to lq is for `fromcron`.

Invariant: each line that is neither blank nor a comment is an entry, a variable, or a Bad with its
reason; a line that was switched off by a takeover is an entry still.

Source: misc.c, env.c, entry.c and do_command.c of Debian's cron 3.0pl1-162.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from lq.takeover.debian import NICKNAMES

OFF: Final = "#lq# "
"""What a line begins with that was switched off because lq runs it now."""

MAX_COMMAND: Final = 998  # characters; cron refuses more
_BLANK: Final = " \t"
_SPACE: Final = " \t\r\v\f"


class Entry(Struct, frozen=True, kw_only=True):
    """One job of a crontab.

    Shape: `fields` are five, also for a nickname, and empty for "@reboot"; `when` is what was
    written. `stdin` is None where nothing is sent. `env` holds the variables set above the line.
    """

    line: int
    text: str
    when: str
    fields: tuple[str, ...]
    command: str
    stdin: str | None
    env: Mapping[str, str]
    user: str | None = None
    comment: str = ""
    off: bool = False
    notes: tuple[str, ...] = ()


class Bad(Struct, frozen=True):
    """A line that is no entry that lq could run."""

    line: int
    text: str
    reason: str


class Crontab(Struct, frozen=True):
    entries: tuple[Entry, ...]
    bad: tuple[Bad, ...]
    notes: tuple[str, ...]


def parse(data: bytes, *, system: bool) -> Crontab:
    """Read a crontab. Shape: a `system` one names a user between the times and the command."""
    entries: list[Entry] = []
    bad: list[Bad] = []
    env: dict[str, str] = {}
    comment = ""
    lines = data.split(b"\n")
    for number, raw in enumerate(lines[:-1] if lines[-1] == b"" else lines, start=1):
        text = raw.removesuffix(b"\r").decode("utf-8", "surrogateescape").lstrip(_SPACE)
        off = text.startswith(OFF)
        text = text.removeprefix(OFF)
        if not text or text.startswith("#"):
            comment = text.lstrip("#" + _SPACE).rstrip(_SPACE)
            continue
        variable = None if off else read_variable(text)
        if (reason := _unreadable(text)) is not None:
            bad.append(Bad(number, _shown(text), reason))
        elif variable is not None:
            env |= {name: value for name, value in [variable] if name}
        else:
            try:
                entries.append(_entry(number, text, dict(env), comment, system=system, off=off))
            except ValueError as error:
                bad.append(Bad(number, text, str(error)))
        comment = ""
    return Crontab(tuple(entries), tuple(bad), _notes(data))


def read_variable(text: str) -> tuple[str, str] | None:
    """The name and value of a line that sets a variable, None for any other line."""
    name = re.match(r"'([^'=]*)'|\"([^\"=]*)\"|((?!['\"])[^\s=]*)", text)
    if name is None:
        return None
    rest = text[name.end() :].lstrip(_SPACE)
    if not rest.startswith("="):
        return None
    value = rest[1:].lstrip(_SPACE)
    if value[:1] in {"'", '"'}:
        inner, quote, after = value[1:].partition(value[0])
        if not quote or after.strip(_SPACE):
            return None
        value = inner
    elif not value:
        return None
    return next(part for part in name.groups() if part is not None), value.rstrip(_SPACE)


def split_command(text: str) -> tuple[str, str | None]:
    r"""The command of an entry and what it reads: `a%b\%c%d` -> ("a", "b%c\nd\n")."""
    pieces = [""]
    escaped = False
    for character in text:
        if character == "%" and not escaped:
            pieces.append("")
            continue
        if escaped and character != "%":
            pieces[-1] += "\\"
        escaped = character == "\\"
        if not escaped:
            pieces[-1] += character
    if escaped:
        pieces[-1] += "\\"
    command, *sent = pieces
    if not sent:
        return command, None
    stdin = "\n".join(sent)
    return command, stdin + "\n" if stdin and not stdin.endswith("\n") else stdin


def _entry(
    number: int, text: str, env: Mapping[str, str], comment: str, *, system: bool, off: bool
) -> Entry:
    when, fields, rest, notes = _when(text)
    user = None
    if system:
        user, _, rest = re.sub(f"[{_BLANK}]+", " ", rest, count=1).partition(" ")
        rest = rest.lstrip(_BLANK)
    elif rest.startswith("*"):
        raise ValueError("bad command: it begins with *, as if there were a field too many")
    if not rest:
        raise ValueError("there is no command" + (f" after the user {user}" if user else ""))
    if len(rest.encode()) > MAX_COMMAND:
        notes = (*notes, f"cron refuses commands longer than {MAX_COMMAND} bytes; lq takes it")
    command, stdin = split_command(rest)
    return Entry(
        line=number,
        text=text,
        when=when,
        fields=fields,
        command=command,
        stdin=stdin,
        env=env,
        user=user,
        comment=comment,
        off=off,
        notes=notes,
    )


def _when(text: str) -> tuple[str, tuple[str, ...], str, tuple[str, ...]]:
    """What a line says of times, as written and as five fields; and the rest of it."""
    notes: tuple[str, ...] = ()
    if text.startswith("-"):
        text = text[1:]
        notes = ('"-" keeps a job out of the system log, which lq does not write anyway',)
    words = re.match(rf"([^{_BLANK}]+)[{_BLANK}]*", text)
    if words and words[1].startswith("@"):
        name = words[1]
        if name != "@reboot" and name not in NICKNAMES:
            raise ValueError(f"bad time specifier: cron knows no {name}")
        return name, NICKNAMES.get(name, ()), text[words.end() :], notes
    found = re.match(rf"([^{_BLANK}]+)[{_BLANK}]+" * 4 + rf"([^{_BLANK}]+)[{_BLANK}]*", text)
    if found is None:
        raise ValueError("neither a variable nor five fields and a command")
    return " ".join(found.groups()), found.groups(), text[found.end() :], notes


def _unreadable(text: str) -> str | None:
    if re.search("[\udc80-\udcff]", text):
        return "it is not UTF-8, and lq.toml can hold nothing else"
    if "\0" in text:
        return "it holds a NUL byte"
    return None


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _notes(data: bytes) -> tuple[str, ...]:
    notes = []
    if data and not data.endswith(b"\n"):
        notes.append("the last line has no newline at its end: cron ignores it, lq does not")
    if b"\r\n" in data:
        notes.append("lines end with CR LF: cron hands the CR to the command, lq does not")
    return tuple(notes)
