"""The scriptlets of lq.toml: `[scriptlets.NAME]`, and the files of the folder beside it.

Owns what such a table, or the head of such a file, may say. A file that others could change is
refused here, and once more when it is run.
"""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from lq.config.kinds import Kind, choice, duration, integer, read_table, text_of
from lq.errors import ConfigError
from lq.paths import Source
from lq.scriptlets import PATH, Limits, Scriptlet, found, refusal
from lq.when import DAY_MS

FOLDER: Final = "scriptlets"
"""The folder beside the configuration whose files are scriptlets."""

Where = Callable[[tuple[str, ...]], str]

_HINT: Final = "lq.toml.example shows a scriptlet with every key."
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMES: Final = "a name has 1 to 64 letters, digits, dots, dashes or underscores"
_SETTING: Final = re.compile(rb"#+ *lq: *(.*)")
_MOST_HEAD: Final = 65_536
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Finding(NamedTuple):
    """One scriptlet, and what is wrong with it, if anything is."""

    name: str
    where: str
    fault: str | None
    scriptlet: Scriptlet | None


def read_scriptlets(value: Any, where: Where, folder: Path | None) -> dict[str, Scriptlet]:
    """Read the tables, and the files of a folder, by name. Raises: ConfigError."""
    if not isinstance(value, dict):
        at = where(("scriptlets",))
        raise ConfigError(f"{at}: expected tables [scriptlets.NAME]", hint=_HINT)
    scriptlets = {}
    for finding in _findings(value, where, folder):
        if finding.scriptlet is None or finding.fault is not None:
            raise ConfigError(finding.fault or "", hint=_HINT)
        scriptlets[finding.name] = finding.scriptlet
    return scriptlets


def survey(source: Source) -> list[Finding]:
    """All scriptlets of a configuration, those that are at fault among them.

    Raises: ConfigError when the file does not even hold tables of them.
    """
    value = source.table.get("scriptlets", {})
    where = source.where
    if not isinstance(value, dict):
        read_scriptlets(value, where, None)
    folder = source.path.absolute().parent / FOLDER
    return [*_findings(value, where, folder), *_almost(folder)]


def _findings(value: Mapping[str, Any], where: Where, folder: Path | None) -> Iterator[Finding]:
    places: dict[str, str] = {}
    readers = [(name, partial(_of_table, name, table, where)) for name, table in value.items()]
    for path in _programs(folder):
        readers.append((path.stem, partial(_of_file, path.stem, path)))
    for name, read in readers:
        try:
            scriptlet = read()
        except ConfigError as error:
            yield Finding(name, "", error.message, None)
            continue
        if name in places:
            fault = f"{scriptlet.where}: the scriptlet {name} is there twice, see {places[name]}"
            yield Finding(name, scriptlet.where, fault, None)
            continue
        places[name] = scriptlet.where
        reason = refusal(scriptlet)
        if reason is not None:
            reason = f"{scriptlet.where}: [scriptlets.{name}] {reason.removeprefix('exec: ')}"
        yield Finding(name, scriptlet.where, reason, scriptlet)


def _of_table(name: str, table: Any, where: Where) -> Scriptlet:
    path = ("scriptlets", name)

    def refuse(key: str, message: str) -> ConfigError:
        known = isinstance(table, dict) and key in table
        at = where((*path, key) if known else path)
        return ConfigError(f"{at}: [scriptlets.{name}] {key}: {message}", hint=_HINT)

    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where(path)}: [scriptlets] {name!r}: {_NAMES}", hint=_HINT)
    if not isinstance(table, dict):
        raise ConfigError(f"{where(path)}: [scriptlets.{name}]: expected a table", hint=_HINT)
    members = read_table(table, {**_COMMAND, **_KINDS}, refuse)
    if "command" not in members:
        raise refuse("command", "is missing")
    command = members.pop("command")
    program = found(command[0], members.get("env", {}).get("PATH", PATH))
    if program is None:
        raise refuse("command", f"{command[0]} is not found; name it with its path")
    if not program.startswith("/"):
        raise refuse("command", f"expected the whole path of a program, got {command[0]!r}")
    return _scriptlet(name, (program, *command[1:]), where(path), members)


def _programs(folder: Path | None) -> Iterator[Path]:
    """The files of the folder that are scriptlets: the executable ones; others are left alone."""
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.is_file() and os.access(path, os.X_OK):
            yield path


def _almost(folder: Path) -> Iterator[Finding]:
    """The files of the folder that were meant to be scriptlets, as far as can be told."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if not path.exists():
            yield Finding(path.stem, str(path), f"{path}: leads to nothing", None)
        elif path.is_file() and not os.access(path, os.X_OK):
            with path.open("rb") as file:
                if file.read(2) == b"#!":
                    fault = f"{path}: is not executable, and so no scriptlet (chmod +x)"
                    yield Finding(path.stem, str(path), fault, None)


def _of_file(name: str, path: Path) -> Scriptlet:
    """Shape: its settings are lines such as `# lq: timeout = "1h"` before the first other line."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{path}: {_NAMES}")
    table: dict[str, Any] = {}
    lines: dict[str, int] = {}

    def refuse(key: str, message: str) -> ConfigError:
        return ConfigError(f"{path}:{lines.get(key, 1)}: {key}: {message}", hint=_HINT)

    for number, text in _settings(path):
        try:
            found = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError):
            raise ConfigError(
                f'{path}:{number}: expected a setting such as `# lq: timeout = "1h"`', hint=_HINT
            ) from None
        for key in found:
            if key in table:
                raise ConfigError(f"{path}:{number}: {key}: is there twice", hint=_HINT)
            lines[key] = number
        table |= found
    members = read_table(table, _KINDS, refuse)
    return _scriptlet(name, (str(path.absolute()),), str(path), members)


def _settings(path: Path) -> Iterator[tuple[int, str]]:
    """The settings in the comments at the head of a script, with their lines."""
    try:
        with path.open("rb") as file:
            head = file.read(_MOST_HEAD)
    except OSError:
        return
    for number, line in enumerate(head.split(b"\n"), start=1):
        stripped = line.strip()
        if found := _SETTING.fullmatch(stripped):
            yield number, found[1].decode("utf-8", "replace")
        elif stripped and not stripped.startswith(b"#"):
            return


def _scriptlet(
    name: str, command: tuple[str, ...], where: str, members: Mapping[str, Any]
) -> Scriptlet:
    limits = {_LIMITS[key]: value for key, value in members.items() if key in _LIMITS}
    others = {_MEMBERS.get(key, key): v for key, v in members.items() if key not in _LIMITS}
    return Scriptlet(name=name, command=command, where=where, limits=Limits(**limits), **others)


def _command_of(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    if not all(isinstance(word, str) and "\0" not in word for word in value) or not value[0]:
        raise ValueError
    return tuple(value)


def _user_of(value: Any) -> str:
    """A user that lq can run things as: root can be anybody, others only themselves."""
    name = text_of(value)
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {name!r} on this machine") from None
    if os.geteuid() not in {0, uid}:
        raise ValueError(f"lq can run things as {name} only when it runs as root")
    return name


def _folder_of(value: Any) -> str:
    text = text_of(value)
    if not text.startswith("/"):
        raise ValueError
    return text


def _env_of(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError
    for name, text in value.items():
        if not isinstance(text, str) or "\0" in text or not _VARIABLE.fullmatch(name):
            raise ValueError
        if name.startswith("LQ_"):
            raise ValueError(f"{name} is lq's own to set")
    return dict(value)


def _size_of(value: Any) -> int:
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,9}) ?(KiB|MiB|GiB)", value)
        if not found:
            raise ValueError
        value = int(found[1]) << {"KiB": 10, "MiB": 20, "GiB": 30}[found[2]]
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value < 1 << 50:
        raise ValueError
    return int(value)


_SIZE: Final = Kind('a size from 1 KiB such as "512MiB" or "2GiB"', _size_of)
_LIMITS: Final = {
    "nice": "nice",
    "memory": "memory",
    "cpu_seconds": "cpu_s",
    "processes": "processes",
    "file_size": "file_size",
}
_MEMBERS: Final = {"timeout": "timeout_ms", "kill_after": "kill_after_ms"}
_COMMAND: Final[Mapping[str, Kind]] = {
    "command": Kind(
        'a list such as ["/usr/local/bin/backup", "--full"], run without a shell', _command_of
    ),
}
_KINDS: Final[Mapping[str, Kind]] = {
    "user": Kind("the name of a user of this machine", _user_of),
    "cwd": Kind('the path of a folder such as "/var/lib/app"', _folder_of),
    "env": Kind('a table of strings such as { BUCKET = "backups" }', _env_of),
    "timeout": duration(1, 90 * DAY_MS, 'from 1ms to 90d, such as "2h"'),
    "kill_after": duration(0, DAY_MS, 'from 0s to 24h, such as "10s"'),
    "max_output": Kind(
        'a size from 1 KiB to 1 MiB such as "64KiB"', lambda value: _at_most(1 << 20, value)
    ),
    "push": choice("admin", "push"),
    "nice": integer(-20, 19),
    "memory": _SIZE,
    "cpu_seconds": integer(1, 10_000_000),
    "processes": integer(1, 1_000_000),
    "file_size": _SIZE,
}


def _at_most(most: int, value: Any) -> int:
    size = _size_of(value)
    if size > most:
        raise ValueError
    return size


KEYS: Final = (*_COMMAND, *_KINDS)
"""What a table may say, for the test that holds the example to it."""
