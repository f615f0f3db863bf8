"""systemd's unit files: their sections, their command lines, their specifiers.

Owns: the syntax of systemd.syntax(7) and systemd.service(5), as far as timers and what they start
need it. Pure: text in. Never decides what a setting means to lq.

Invariant: an assignment of nothing empties a list, as in systemd, so that a drop-in can take away.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

_SETTING: Final = re.compile(r"([A-Za-z0-9-]+)\s*=\s*(.*)", re.DOTALL)
_ESCAPES: Final = {
    **{"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"},
    **{"\\": "\\", '"': '"', "'": "'", "s": " ", ";": ";"},
}
_PREFIXES: Final = "@-:+!"


class UnitError(ValueError):
    """What systemd would refuse, or what cannot be carried over."""


Unit = Mapping[str, Mapping[str, Sequence[str]]]
"""Values by section and setting, in order: `unit["Timer"]["OnCalendar"]`."""


class Command(Struct, frozen=True):
    """One command line. Shape: `words` still hold $VARIABLES; `flags` are of "@-:+!"."""

    words: tuple[str, ...]
    flags: str = ""

    @property
    def may_fail(self) -> bool:
        return "-" in self.flags


def parse(*texts: str) -> Unit:
    """Read a unit file and its drop-ins, in systemd's order. Raises: UnitError."""
    unit: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        section: dict[str, list[str]] = {}
        for line in _joined(text):
            header = re.fullmatch(r"\[([^\]]+)\]", line)
            if header:
                section = unit.setdefault(header[1], {})
                continue
            setting = _SETTING.fullmatch(line)
            if setting is None:
                raise UnitError(f"{line[:60]!r} is neither a section nor a setting")
            if setting[2]:
                section.setdefault(setting[1], []).append(setting[2])
            else:
                section.pop(setting[1], None)
    return unit


def last(unit: Unit, section: str, name: str) -> str | None:
    """The value of a setting that has one; the last assignment counts."""
    values = unit.get(section, {}).get(name)
    return values[-1] if values else None


def commands(value: str) -> list[Command]:
    """The command lines of one ExecStart=; a lone ";" parts them. Raises: UnitError."""
    found: list[Command] = []
    line: list[str] = []
    for word, quoted in _words(value):
        if word == ";" and not quoted:
            found.append(_command(line))
            line = []
        else:
            line.append(word)
    return [*found, _command(line)]


def split(value: str) -> list[str]:
    """The words of a list such as Environment=, quotes and escapes undone. Raises: UnitError."""
    return [word for word, _ in _words(value)]


def expand(text: str, specifiers: Mapping[str, str]) -> str:
    """Put values for %n, %i …, "%%" for a percent sign. Raises: UnitError for an unknown one."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in specifiers:
            raise UnitError(f"%{found[1]} has no value outside of systemd")
        return specifiers[found[1]]

    return re.sub(r"%(.)", value, text, flags=re.DOTALL)


def has_variables(command: Command) -> bool:
    """Whether systemd would put the values of variables into a command line, or undo a "$$"."""
    return ":" not in command.flags and any("$" in word for word in command.words)


def shell(command: Command) -> str:
    """A command line for `/bin/sh` under `set -f`: variables go where systemd puts them."""
    if "@" in command.flags:
        raise UnitError('"@" gives the program another name, which lq cannot')
    if not has_variables(command):
        return shlex.join(command.words)
    return " ".join([shlex.quote(command.words[0]), *map(_shell_word, command.words[1:])])


def _shell_word(word: str) -> str:
    if re.fullmatch(r"\$[A-Za-z_]\w*", word):
        return word  # by itself, its value is split into words
    parts = re.split(r"(\$\$|\$\{[A-Za-z_]\w*\}|\$[A-Za-z_]\w*)", word)
    pieces = []
    for part in filter(None, parts):
        if part == "$$":
            pieces.append(shlex.quote("$"))
        elif re.fullmatch(r"\$\{\w+\}", part):
            pieces.append(f'"{part}"')
        else:
            pieces.append(shlex.quote(part))
    return "".join(pieces) or "''"


def _command(words: list[str]) -> Command:
    if not words:
        raise UnitError("a command line is empty")
    flags = re.match(f"[{re.escape(_PREFIXES)}]*", words[0])
    prefix = flags[0] if flags else ""
    path = words[0][len(prefix) :]
    if not path:
        raise UnitError("a command line names no program")
    return Command((path, *words[1:]), prefix)


def _joined(text: str) -> list[str]:
    """The lines, without comments; one that ends with a backslash goes on in the next."""
    lines: list[str] = []
    open_line: str | None = None
    for raw in text.removeprefix("\ufeff").splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and open_line is None):
            continue
        if open_line is not None:
            line = f"{open_line} {line}"
        if line.endswith("\\"):
            open_line = line[:-1].rstrip()
        else:
            open_line = None
            lines.append(line)
    if open_line is not None:
        lines.append(open_line)
    return lines


def _words(value: str) -> list[tuple[str, bool]]:
    """Words and whether anything of them was quoted or escaped."""
    words: list[tuple[str, bool]] = []
    word, inside, quote, special = "", False, "", False
    position = 0
    while position < len(value):
        character = value[position]
        position += 1
        if character == "\\":
            text, position = _escape(value, position)
            word, inside, special = word + text, True, True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "\"'" and not inside:
            quote, inside, special = character, True, True
        elif character in " \t\n":
            if inside:
                words.append((word, special))
            word, inside, special = "", False, False
        else:
            word, inside = word + character, True
    if quote:
        raise UnitError("a quote is not closed")
    return [*words, (word, special)] if inside else words


def _escape(value: str, position: int) -> tuple[str, int]:
    """What the escape at a position stands for, and where it ends."""
    found = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})").match(
        value, position
    )
    if found:
        digits = found[1] or found[2] or found[3]
        number = int(digits, 16) if digits else int(found[4], 8)
        if not 0 < number < 0x110000:
            raise UnitError(f"\\{found[0]} is no character")
        return chr(number), found.end()
    character = value[position : position + 1]
    if character not in _ESCAPES or not character:
        return "\\" + character, position + 1
    return _ESCAPES[character], position + 1
