"""Scriptlets: what may be run on this machine, and whether its files are safe to run.

Owns the record, the rule on names, and the look at a file's owner and mode. Never runs anything.

Invariant: what passes `refusal` can be changed by root and lq's own user alone, and so can all
folders above it: nobody else can have lq run something.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import Struct

PREFIX: Final = "scriptlet:"
"""What the target of a job that runs a scriptlet begins with; its name follows."""

TIMEOUT_MS: Final = 86_400_000
"""How long a run may take where neither item, scriptlet nor queue says so."""

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where commands are looked for, whatever PATH lq itself was started with."""

_ROOT: Final = 0
_SCRIPT: Final = b"#!"
_PROGRAM: Final = b"\x7fELF"
_MOST_LINKS: Final = 40


class Limits(Struct, frozen=True, kw_only=True):
    """What a run may take of the machine; None is no limit of lq's.

    Units: `memory` and `file_size` are bytes, `cpu_s` is seconds of processor time.
    """

    nice: int | None = None
    memory: int | None = None
    cpu_s: int | None = None
    processes: int | None = None
    file_size: int | None = None


class Scriptlet(Struct, frozen=True, kw_only=True):
    """A command that lq may run, by its name.

    Shape: `command` is run as it is, without a shell. `timeout_ms` None leaves it to the queue.
    `max_output` bytes are kept of the beginning and of the end of what it writes. `push` says who
    may name it as a target: only admins, or whoever may push. `where` is "lq.toml:12", or a file.
    """

    name: str
    command: tuple[str, ...]
    where: str
    user: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = MappingProxyType({})
    timeout_ms: int | None = None
    kill_after_ms: int = 10_000
    max_output: int = 65_536
    push: str = "admin"
    limits: Limits = Limits()


def name_of(target: str) -> str | None:
    """The scriptlet that a target names, None when it is a URL."""
    return target.removeprefix(PREFIX) if target.startswith(PREFIX) else None


def found(command: str, path: str = PATH) -> str | None:
    """The file that a command is, looked for in `path` unless it has a slash."""
    if "/" in command:
        return command
    for folder in path.split(":"):
        candidate = Path(folder or ".", command)
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


def refusal(scriptlet: Scriptlet) -> str | None:
    """Why a scriptlet must or can not be run as its files are now; None when it can.

    Shape: begins with "exec: " and, where the system has a word for it, that word.
    """
    path = scriptlet.env.get("PATH", PATH)
    program = found(scriptlet.command[0], path)
    if program is None:
        return f"exec: ENOENT {scriptlet.command[0]} is not in {path}"
    return _unfit(Path(program), path)


def _unfit(program: Path, path: str) -> str | None:
    """What is wrong with a program, the interpreter that its first line names included."""
    try:
        if why := _open_to_others(program):
            return f"exec: {why}"
        mode = program.stat().st_mode
        if stat.S_ISDIR(mode):
            return f"exec: EISDIR {program} is a folder"
        if not stat.S_ISREG(mode):
            return f"exec: EACCES {program} is not a file"
        if not mode & 0o111:
            return f"exec: EACCES {program} is not executable (chmod +x)"
        with program.open("rb") as file:
            head = file.read(256)
    except FileNotFoundError:
        return f"exec: ENOENT {program} is not there"
    except OSError as error:
        return f"exec: {program}: {error.strerror}"
    return _without_interpreter(program, head, path)


def _without_interpreter(program: Path, head: bytes, path: str) -> str | None:
    """What is wrong with what a program is run by, if it is a script.

    Shape: `#!/usr/bin/env NAME` is run by the first NAME in `path`.
    """
    if head.startswith(_PROGRAM):
        return None
    if not head.startswith(_SCRIPT):
        return f"exec: ENOEXEC {program} is no program, and its first line names no interpreter"
    words = [os.fsdecode(word) for word in head.split(b"\n", 1)[0][len(_SCRIPT) :].split()]
    named = [words[0]] if words else []
    if named and Path(words[0]).name == "env":
        named += [word for word in words[1:] if not word.startswith("-") and "=" not in word][:1]
    for name in named or [""]:
        interpreter = found(name, path)
        if interpreter is None or not Path(interpreter).is_file():
            return f"exec: ENOENT {program} asks for {name or 'nothing'}, which is not there"
        if why := _open_to_others(Path(interpreter)):
            return f"exec: {why}, and runs {program}"
    return None


def _open_to_others(program: Path) -> str | None:
    """Who else than root and lq's own user could change a file, or put another in its place.

    Each folder and each link on the way to it is looked at, as the system would walk there.
    """
    trusted = {_ROOT, os.geteuid()}
    for one, found in _way(program.absolute()):
        if found.st_uid not in trusted:
            return f"EPERM {one} belongs to user {found.st_uid}, who could change what is run"
        if stat.S_ISLNK(found.st_mode):
            continue  # it has no mode of its own; its folder says who may put another there
        writable = found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid != _ROOT)
        # In a folder such as /tmp only the owner of a file can take it away.
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if writable and not sticky:
            return f"EPERM {one} can be written by others (chmod go-w)"
    return None


def _way(program: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that the system looks at on the way to a file, links not followed. Raises: OSError."""
    here, ahead = Path("/"), list(reversed(program.parts[1:]))
    yield here, here.lstat()
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            here = here.parent
            continue
        one = here / part
        found = one.lstat()
        yield one, found
        if not stat.S_ISLNK(found.st_mode):
            here = one
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = one.readlink()
        here = Path("/") if target.is_absolute() else here
        ahead += reversed([part for part in target.parts if part != "/"])


class Registry:
    """The scriptlets of the configuration as it was read last."""

    def __init__(self, scriptlets: Mapping[str, Scriptlet]) -> None:
        self.follow(scriptlets)

    def follow(self, scriptlets: Mapping[str, Scriptlet]) -> None:
        """Take these from now on; what runs goes on as it began."""
        self._scriptlets = scriptlets

    @contextmanager
    def trying(self, scriptlets: Mapping[str, Scriptlet], *, keep: bool) -> Iterator[None]:
        """Take these for now, and for good if `keep` and nothing goes wrong."""
        before, self._scriptlets = self._scriptlets, scriptlets
        kept = False
        try:
            yield
            kept = keep
        finally:
            if not kept:
                self._scriptlets = before

    def find(self, name: str) -> Scriptlet | None:
        """The scriptlet of this name."""
        return self._scriptlets.get(name)

    def all(self) -> tuple[Scriptlet, ...]:
        """All of them, by name."""
        return tuple(self._scriptlets[name] for name in sorted(self._scriptlets))
