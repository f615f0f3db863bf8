"""`lq doctor`: what is wrong with this lq, and the cure for each finding.

Owns: the checks. Never changes anything, and never needs the daemon to run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from lq import __version__
from lq.client import ApiError, Client, Unreachable
from lq.commands import common, doctor_checkup, doctor_machine, failure
from lq.commands.common import AsJson, looking, now, out, out_json
from lq.commands.finding import Finding
from lq.errors import ConfigError
from lq.render import clean
from lq.when import format_duration, parse_rfc3339

if TYPE_CHECKING:
    from lq.config import Config

app = common.app()

ENOUGH = 256 << 20  # bytes
CLOCK_TOLERANCE_MS = 5_000
# Targets may each take as long as a validation does.
_PATIENCE_S = 120.0


@app.command()
def doctor(
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare each index of the database with its table, too.")
    ] = False,
    as_json: AsJson = False,
    config: common.ConfigFile = None,
    url: common.Url = None,
    token: common.Token = None,
) -> None:
    """Say what is wrong with this lq, and the cure.

    Exits with 1 when something is wrong; a warning is not.
    """
    findings = list(examine(config, url, token, deep=deep))
    if as_json:
        out_json([_as_json(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(failure.NEGATIVE)


_COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red"}


def _show(finding: Finding) -> None:
    """One finding and its cure, folded below themselves where a person looks."""
    indent = " " * 9
    lines = [f"{finding.check}: {clean(finding.text)}"]
    lines += [f"cure: {clean(finding.cure)}"] if finding.cure else []
    if not looking():
        out(f"{finding.level:<9}{f'{chr(10)}{indent}'.join(lines)}")
        return
    width = max(40, shutil.get_terminal_size().columns - len(indent))
    folded = [part for line in lines for part in wrap(line, width, break_long_words=False)]
    level = f"{finding.level:<9}"
    if not os.environ.get("NO_COLOR"):
        level = typer.style(level, fg=_COLOURS[finding.level])
    out(level + f"\n{indent}".join(folded))


def _as_json(finding: Finding) -> dict[str, object]:
    entry: dict[str, object] = {
        "check": finding.check,
        "ok": finding.level != "wrong",
        "level": finding.level,
        "finding": finding.text,
    }
    return entry if finding.cure is None else {**entry, "cure": finding.cure}


def examine(
    path: str | None, url: str | None, token: str | None, *, deep: bool
) -> Iterator[Finding]:
    """All findings. A daemon at a URL is somewhere else: then nothing of this machine counts."""
    local = common.url_in_use(path, url) is None
    from lq.config import load

    config: Config | None = None
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        cure = error.hint or "Correct it there; lq.toml.example shows every key."
        yield Finding("configuration", error.message, cure)
        if local:
            return
    else:
        read = f"{config.path} is valid" if config.path else "no file, so the defaults"
        if config.variables:
            read += f", with {', '.join(config.variables)} from the environment"
        yield Finding("configuration", read)
    if local and config:
        yield from examine_folder(config.data_dir)
        yield from examine_secret(config.data_dir / "secret")
        yield from examine_socket(config.socket)
        yield examine_listening(config)
        yield from doctor_machine.examine(config)
    client = common.connect(path, url, token, retries=0, timeout_s=_PATIENCE_S)
    runs = False
    for finding in examine_daemon(client, config if local else None):
        runs = runs or finding.check == "version"
        yield finding
    if runs:
        yield from doctor_checkup.examine(client, deep=deep)
    elif local and config:
        yield from doctor_machine.examine_database(config.data_dir / "lq.db")


def examine_folder(folder: Path) -> Iterator[Finding]:
    """Whether others can get at the data, and whether there is room for more of it."""
    check = "data folder"
    try:
        loose = folder.stat().st_mode & 0o077
        others = (file for file in folder.iterdir() if file.name != "secret")
        files = [file for file in others if file.stat().st_mode & 0o077]
        free = shutil.disk_usage(folder).free
    except FileNotFoundError:
        yield Finding(check, f"{folder} is not there yet", "`lq serve` makes it.")
        return
    except OSError as error:
        cure = "Run this as the daemon's user, or set data_dir to a folder of your own."
        yield Finding(check, f"{folder} cannot be read: {error.strerror}", cure)
        return
    if loose:
        yield Finding(check, f"{folder} is open to other users", f"chmod 700 {quote(str(folder))}")
    elif files:
        names = ", ".join(file.name for file in files)
        cure = f"chmod 600 {' '.join(quote(str(file)) for file in files)}"
        yield Finding(check, f"other users have rights to {names} in {folder}", cure)
    else:
        yield Finding(check, f"{folder} is yours alone")
    size = f"{free >> 20} MiB are free in {folder}"
    yield Finding("disk", size, "Make room: a full disk refuses pushes." if free < ENOUGH else None)


def examine_secret(path: Path) -> Iterator[Finding]:
    """Whether the signing secret is there, and nobody else's."""
    check = "secret"
    try:
        loose = path.stat().st_mode & 0o077
    except FileNotFoundError:
        if path.parent.exists():
            cure = "Put it back, or start lq for a new one and give that to the handlers."
            yield Finding(check, f"there is no signing secret at {path}", cure)
        return
    except OSError:
        return  # the data folder's finding says why
    if loose:
        cure = (
            f"chmod 600 {quote(str(path))}; if others may have read it, delete it, start lq for a"
            " new one, and give that to the handlers."
        )
        yield Finding(check, f"{path} is open to other users", cure)
    else:
        yield Finding(check, f"{path} is yours alone")


def examine_socket(socket: Path) -> Iterator[Finding]:
    """Whether others can use the daemon's socket, if it is there."""
    try:
        loose = socket.stat().st_mode & 0o077
    except OSError:
        return  # whether the daemon can be reached is the next check
    if loose:
        cure = f"chmod 600 {quote(str(socket))}"
        yield Finding("socket", f"{socket} is open to other users, and it needs no token", cure)
    else:
        yield Finding("socket", f"{socket} is yours alone")


def examine_listening(config: Config) -> Finding:
    """Whether the daemon may listen where it is told to, with the certificate it is given."""
    from lq import exposure

    check = "listen"
    try:
        exposure.check(config)
        tls = exposure.server_context(config)
    except ConfigError as error:
        return Finding(check, error.message, error.hint or "Correct it there.")
    reach = "other machines too" if exposure.is_exposed(config) else "this machine alone"
    how = "https" if tls else "http"
    if config.trusted_proxy and not tls:
        how += " behind a proxy"
    return Finding(check, f"{config.listen} is open to {reach}, by {how}")


def examine_daemon(client: Client, config: Config | None) -> Iterator[Finding]:
    """Whether a daemon answers, is ready, fits this command line and agrees on the time."""
    try:
        asked_at = now()
        info = client.info()
        answered_at = now()
        ready = client.ready()
    except Unreachable as error:
        yield Finding("daemon", error.message, error.hint or "See what its log says.")
        return
    except ApiError as error:
        yield Finding("daemon", error.message, "Put a token that may read into LQ_TOKEN.")
        return
    well = ready["status"] == "ok"
    reasons = "; ".join(ready.get("reasons", [ready["status"]]))
    text = f"it runs at {client.where}{'' if well else f', but is not ready: {reasons}'}"
    frozen = reasons.startswith("frozen")
    cure = "`lq release` lets jobs start again." if frozen else "See what its log says."
    yield Finding("daemon", text, None if well else cure)
    version = info["version"]
    same = version == __version__
    text = f"the daemon is lq {version}, this is lq {__version__}"
    yield Finding("version", text, None if same else "Restart the daemon with the lq you want.")
    served = info.get("dataDir")
    if config and served and Path(served) != config.data_dir:
        text = f"the daemon keeps its data in {served}, the configuration says {config.data_dir}"
        yield Finding("data folder", text, "Start it with the same lq.toml and LQ_* variables.")
    yield examine_clock(parse_rfc3339(info["now"]), asked_at, answered_at)
    yield from examine_schedules(client)


def examine_clock(there: int, asked_at: int, answered_at: int) -> Finding:
    """Whether the daemon's clock lies within the time that it took to ask for it."""
    off_ms = max(asked_at - there, there - answered_at, 0)
    if off_ms <= CLOCK_TOLERANCE_MS:
        return Finding("clock", "this machine and the daemon agree on the time")
    text = f"the daemon's clock is {format_duration(off_ms)} off this machine's"
    return Finding("clock", text, "Set both by NTP: handlers refuse signatures 2 minutes off.")


def examine_schedules(client: Client) -> Iterator[Finding]:
    """Whether all schedules keep their times: none is late, or was paused by lq itself."""
    try:
        schedules = common.listing(client.schedules, None, True)
    except (ApiError, Unreachable):
        return  # a token that may only push; or the daemon went away, which its check tells
    check = "schedules"
    well = True
    for schedule in schedules:
        name = schedule.get("key") or schedule["id"]
        cure = f"`lq schedules show {quote(name)}` tells more."
        if schedule.get("overdue"):
            well = False
            yield Finding(
                check, f"{name} is overdue: it should have run {schedule['nextRun']}", cure
            )
        elif "reason" in schedule:
            well = False
            yield Finding(check, f"{name} was paused by lq: {schedule['reason']}", cure)
    if schedules and well:
        yield Finding(check, f"all of the {len(schedules)} keep their times")
