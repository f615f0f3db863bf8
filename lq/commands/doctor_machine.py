"""What the doctor looks at on this machine: its files, clock, zones, service, and the database.

Owns the checks that need no daemon. Changes nothing.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from lq.commands.finding import Finding
from lq.errors import DataError, Unavailable

if TYPE_CHECKING:
    from lq.config import Config

_UNITS = (Path("/etc/systemd/system/lq.service"), Path("~/.config/systemd/user/lq.service"))
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex has on any machine


def examine(config: Config) -> Iterator[Finding]:
    """All findings about this machine but those of the data folder."""
    if config.path is not None:
        yield from _configuration(config.path.absolute())
    yield from _clock()
    yield from _service()


def examine_database(path: Path) -> Iterator[Finding]:
    """Whether the database of a daemon that does not run is whole."""
    from lq.daemon.store.migrate import look_over

    if not path.exists():
        return
    check = "database"
    try:
        look_over(path)
    except DataError as error:
        yield Finding(check, error.message, error.hint or "Restore a backup: `lq restore FILE`.")
    except Unavailable as error:
        yield Finding(check, error.message, "Run this as the daemon's user.")
    else:
        yield Finding(check, f"{path} is whole")


def _configuration(path: Path) -> Iterator[Finding]:
    """Whether others may change what lq does."""
    if path.stat().st_mode & 0o022:
        cure = f"chmod go-w {quote(str(path))}"
        yield Finding("configuration", f"other users may write to {path}", cure)


def _clock() -> Iterator[Finding]:
    """Whether the kernel thinks that its clock is right."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(
            ctypes.create_string_buffer(_TIMEX_BYTES)
        )
    except (OSError, AttributeError):
        return  # not Linux
    if state == _TIME_ERROR:
        yield Finding(
            "clock",
            "nothing keeps this machine's clock right, as far as its kernel knows",
            "Turn on NTP: timedatectl set-ntp true. In a container, see to it on its host.",
            warning=True,
        )
    elif state >= 0:
        yield Finding("clock", "the kernel's clock is synchronised")


def _service() -> Iterator[Finding]:
    """Whether the units that there are start an lq that is there."""
    for unit in _UNITS:
        try:
            lines = unit.expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, RuntimeError):
            continue
        commands = [line.partition("=")[2] for line in lines if line.startswith("ExecStart=")]
        program = commands[0].split()[0].strip('"') if commands and commands[0] else ""
        if not os.access(program, os.X_OK):
            text = f"{unit} starts {program or 'nothing'}, which cannot be run"
            yield Finding("service", text, "lq service install")
        else:
            yield Finding("service", f"{unit} starts {program}")
