"""Names for jobs, from what people wrote about them: short, readable, unique.

Owns: how a comment or a command line becomes a name that may be a scriptlet's and a schedule's.
Invariant: a name is lower-case ASCII letters, digits and dashes, and begins with a letter or digit.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

LONGEST: Final = 40
_LONGEST_COMMENT: Final = 60  # what is longer is prose, not a name

# What runs another command, and how many of the words after it are its own.
_RUNNERS: Final = {
    **dict.fromkeys(("nice", "ionice", "nohup", "exec", "time", "env", "sudo", "setsid"), 0),
    **dict.fromkeys(("chronic", "command", "systemd-cat", "stdbuf", "cronitor"), 0),
    **dict.fromkeys(("flock", "timeout", "chrt", "taskset"), 1),
}
_INTERPRETER: Final = re.compile(r"(?:python|perl|ruby|node|php|bash|sh|dash|zsh)[0-9.]*")
_ENDINGS: Final = re.compile(r"\.(?:sh|bash|py|pl|rb|php|js)$")
_NO_NAME: Final = re.compile(r"[-=*#]|([\d*/,-]+\s+){4}|m\s+h\s+dom")
_NO_JOB: Final = ("cd", "test", "[", "[[", "true", ":", "if", "then", "command", "set", "export")


def from_comment(comment: str) -> str:
    """The name that a comment above a job gives it; "" if the comment is none."""
    if len(comment) > _LONGEST_COMMENT or _NO_NAME.match(comment):
        return ""
    return slug(comment)


def from_command(command: str) -> str:
    """The name of what a command line runs; "job" if it cannot be told."""
    for piece in re.split(r"&&|\|\||[;|\n]", command):
        try:
            words = shlex.split(piece)
        except ValueError:
            words = piece.split()
        if name := _of_words(words):
            return name
    return "job"


def slug(text: str) -> str:
    """A text as a name: "Nightly backup (DB)" -> "nightly-backup-db"."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(words) > LONGEST:
        words = words[: LONGEST + 1].rpartition("-")[0] or words[:LONGEST]
    return words.strip("-")


def unique(wish: str, taken: Collection[str]) -> str:
    """The wish, with a number after it if it is taken."""
    wish = wish or "job"
    name, number = wish, 1
    while name in taken:
        number += 1
        name = f"{wish}-{number}"
    return name


def _of_words(words: list[str]) -> str:
    """The name in one simple command: of the script, not of what runs it."""
    left = [word for word in words if not re.match(r"[A-Za-z_]\w*=", word)]
    while left:
        word, *left = left
        base = PurePosixPath(word).name
        if word in _NO_JOB:
            return ""
        if base in _RUNNERS and (run := _after_options(left, base)[_RUNNERS[base] :]):
            left = run
        elif _INTERPRETER.fullmatch(base) and (script := _script(left)):
            return slug(_ENDINGS.sub("", PurePosixPath(script).name)) or slug(base)
        elif name := slug(_ENDINGS.sub("", base)):
            return name
    return ""


def _after_options(words: list[str], runner: str) -> list[str]:
    """What follows the options of a runner; a number, or a user of sudo, belongs to one."""
    while words and words[0].startswith("-"):
        option, *words = words
        named = runner == "sudo" and option in {"-u", "-g"}
        if words and (named or words[0].isdigit()):
            words = words[1:]
    return words


def _script(words: list[str]) -> str | None:
    """What an interpreter is told to run, if it is a file or a module."""
    if words[:1] == ["-m"]:
        return words[1] if len(words) > 1 else None
    if any(word in {"-c", "-e", "-r"} for word in words[:1]):
        return None
    return next((word for word in words if not word.startswith("-")), None)
