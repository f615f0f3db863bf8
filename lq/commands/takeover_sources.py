"""Where the jobs of this machine are: crontabs and systemd's units, read and written as they are.

Owns: the calls of crontab(1), systemctl(1) and systemd-analyze(1), and where files lie. Never
decides what a line means.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from lq import paths
from lq.errors import LqError
from lq.takeover import files
from lq.takeover.fromtimer import Texts

SAVED: Final = ".lq-saved"
"""The ending of the copy of a crontab before its lines were switched off."""

_PATIENCE_S: Final = 30
_PROGRAMS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEM_UNITS: Final = (
    *("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system"),
    *("/usr/lib/systemd/system", "/lib/systemd/system"),
)
_USER_UNITS: Final = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
_UNIT_NAME: Final = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:timer|service)")


class Source(NamedTuple):
    """One crontab: a file, a user's as crontab(1) keeps it, or standard input.

    Shape: `name` is how it and its lines are called; `owner` is None where each line names its
    user.
    """

    name: str
    owner: str | None
    path: Path | None = None
    piped: bytes | None = None

    def read(self) -> bytes:
        """What it holds. Raises: LqError."""
        if self.piped is not None:
            return self.piped
        if self.path is not None:
            if not self.path.exists():
                raise LqError(f"there is no {self.path}")
            return files.read(self.path)
        done = _run(["crontab", *self._user, "-l"])
        if done.returncode and b"no crontab" not in done.stderr:
            raise LqError(f"crontab -l: {_said(done)}")
        return done.stdout if not done.returncode else b""

    def write(self, before: bytes, after: bytes) -> None:
        """Replace what it held by something else. Raises: LqError, also if it holds neither."""
        if self.path is not None:
            files.replace(self.path, before, after)
            return
        if self.read() != before:
            raise files.Changed(f"the {self.name} was changed meanwhile: it is left alone")
        done = _run(["crontab", *self._user, "-"], after)
        if done.returncode:
            raise LqError(f"crontab refuses the changed lines: {_said(done)}")

    def saved(self, beside: Path) -> Path:
        """Where a copy of it is kept: beside it, or beside lq.toml for what crontab(1) keeps."""
        if self.path is not None:
            return self.path.with_name(f"{self.path.name}{SAVED}")
        return beside / f"crontab-{self.owner}{SAVED}"

    @property
    def _user(self) -> list[str]:
        return [] if self.owner in {None, me()} else ["-u", str(self.owner)]


def crontab(file: str | None, user: str | None, *, system: bool) -> Source:
    """The crontab that is meant. Raises: LqError."""
    if user is not None and home(user) is None:
        raise LqError(f"there is no user {user} on this machine")
    if file == "-":
        return Source("crontab -", None if system else user or me(), None, sys.stdin.buffer.read())
    if file is None:
        owner = user or me()
        return Source(f"crontab of {owner}", owner)
    path = Path(os.path.abspath(file))  # noqa: PTH100 (Path.absolute() keeps "..")
    of_system = system or path == Path("/etc/crontab") or path.parent == Path("/etc/cron.d")
    return Source(f"crontab {path}", None if of_system else user or me(), path)


def me() -> str:
    """Who runs this command."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def home(user: str) -> str | None:
    """The folder of a user, None if there is no such user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return None


def missing(program: str) -> bool:
    """Whether there is no such program, by its path or where programs are looked for."""
    return shutil.which(program, path=_PROGRAMS) is None


def runs_as(data_dir: Path) -> str:
    """Whose lq it is: the owner of its data, else who runs this command."""
    try:
        return pwd.getpwuid(data_dir.stat().st_uid).pw_name
    except (OSError, KeyError):
        return me()


def config_file(given: str | None, environ: Mapping[str, str]) -> Path:
    """The lq.toml to write: the one that is named or found, else a new one in its usual place."""
    named = given or environ.get("LQ_CONFIG")
    if named:
        return Path(named)
    *_, local, system = searched = paths.searched(environ)
    for path in searched:
        if path.exists():
            return path
    return system if os.geteuid() == 0 else local


def units(name: str, *, user: bool) -> Texts:
    """A unit with its drop-ins: a file by its path, else as systemd has it. Raises: LqError."""
    if "/" in name:
        path = Path(name)
        return _texts(path.name, path, [path.parent])
    if not _UNIT_NAME.fullmatch(name):
        raise LqError(f"{name!r} is no name of a timer", hint="As in backup.timer, or a path.")
    shown = _run(["systemctl", *(["--user"] if user else []), "cat", "--", name])
    if not shown.returncode:
        return Texts(name, [shown.stdout.decode("utf-8", "replace")])
    folders = [Path(folder) for folder in _folders(user=user)]
    template = re.sub(r"@[^.]*\.", "@.", name)
    for folder in folders:
        for spelled in (name, template):
            if (folder / spelled).is_file():
                return _texts(name, folder / spelled, folders)
    raise LqError(f"there is no unit {name} on this machine")


def beside(timer: str, service: str, *, user: bool) -> Texts:
    """The service of a timer: the file beside it, if the timer is one."""
    if "/" in timer:
        path = Path(timer).with_name(service)
        template = path.with_name(re.sub(r"@[^.]*\.", "@.", service))
        found = next((one for one in (path, template) if one.is_file()), None)
        if found is not None:
            return _texts(service, found, [path.parent])
    return units(service, user=user)


def systemd_runs(calendar: str, zone: str, after: int, count: int) -> list[int] | None:
    """When systemd runs a calendar event next; None where it cannot be asked. Units: ms."""
    command = ["systemd-analyze", "calendar", f"--iterations={count}"]
    command += [f"--base-time=@{after // 1000}", calendar]
    done = _run(command, environ={**os.environ, "TZ": zone, "LC_ALL": "C"})
    if done.returncode:
        return None
    found = re.findall(r"\(in UTC\): \w+ ([0-9-]+ [0-9:]+) UTC", done.stdout.decode())
    if not found:  # where the zone is UTC it is not said twice
        pattern = r"(?:Next elapse|Iter\. #[0-9]+): \w+ ([0-9-]+ [0-9:]+) UTC"
        found = re.findall(pattern, done.stdout.decode())
    from lq.when import parse_rfc3339

    return [parse_rfc3339(f"{one.replace(' ', 'T')}Z") for one in found]


def _texts(name: str, path: Path, folders: list[Path]) -> Texts:
    try:
        every = (path, *_drop_ins(name, folders))
        return Texts(name, [one.read_text("utf-8", "replace") for one in every])
    except OSError as error:
        raise LqError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _drop_ins(name: str, folders: list[Path]) -> Iterator[Path]:
    """The drop-ins of a unit by file name; of two with one name, the first folder's counts."""
    stem, _, kind = name.rpartition(".")
    names = [f"{name}.d", f"{kind}.d"]
    if "@" in stem:
        names.insert(1, f"{stem.partition('@')[0]}@.{kind}.d")
    found: dict[str, Path] = {}
    for folder in folders:
        for one in names:
            for path in sorted((folder / one).glob("*.conf")):
                found.setdefault(path.name, path)
    yield from (found[one] for one in sorted(found))


def _folders(*, user: bool) -> tuple[str, ...]:
    if not user:
        return _SYSTEM_UNITS
    config = os.environ.get("XDG_CONFIG_HOME") or f"{Path.home()}/.config"
    return (f"{config}/systemd/user", *_USER_UNITS)


def _run(
    command: list[str], given: bytes = b"", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run one of the machine's tools; one that is missing fails like one that refuses."""
    try:
        return subprocess.run(  # noqa: S603 (no shell, and names that were checked)
            command,
            input=given,
            capture_output=True,
            env=environ,
            timeout=_PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, b"", f"no {command[0]} here".encode())
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, b"", b"it does not answer")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode("utf-8", "replace").split()) or f"exit {done.returncode}"
