"""`lq service`: the daemon as a service of systemd.

Owns: where units lie, and the order in which they are written and started. What is in them is
`unit`'s. Never touches a unit that it did not write, nor the data.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lq.commands import common, failure
from lq.commands.common import ConfigFile, looking, note, out
from lq.errors import LqError

if TYPE_CHECKING:
    from lq.config import Config
    from lq.unit import Service

app = common.app(help="Run the daemon as a service of systemd.")

_CONFIG: Final = Path("/etc/lq/lq.toml")
_DATA: Final = Path("/var/lib/lq")
_RUNNING: Final = Path("/run/systemd/system")  # there while systemd runs this machine
_NO_SHELL: Final = "/usr/sbin/nologin"
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))

OfUser = Annotated[
    bool, typer.Option("--user", help="A service of yours alone, in your own manager.")
]


@app.command()
def install(
    *,
    user: OfUser = False,
    run_as: Annotated[
        str, typer.Option("--run-as", metavar="USER", help="Made if there is no such user.")
    ] = "lq",
    show: Annotated[bool, typer.Option("--print", help="Only print the units.")] = False,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start it now and at each boot.")
    ] = True,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write into this image; nothing is started."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Write a unit that gives the daemon what it needs and no more, and start it.

    Without a configuration, /etc/lq/lq.toml is begun. If there are scriptlets, a drop-in lets them
    do their work.
    """
    from lq.unit import DROP_IN, NAME, unit

    file = _config_file(config, user=user, root=root)
    settings = _load(file, user=user)
    service = _service(_outside(file, root), settings, None if user else run_as)
    units = {NAME: unit(service)}
    if loose := _drop_in(file, None if user else run_as):
        units[f"{NAME}.d/{DROP_IN}"] = loose
    folder = _folder(user=user, root=root)
    if show:
        for name, text in units.items():
            out(f"# {folder / name}\n{text}")
        return
    if root is None and not _RUNNING.is_dir():
        raise LqError(
            "systemd does not run this machine",
            hint="--print shows the units, --root FOLDER writes them into an image.",
        )
    if file is not None and settings is None:
        _begin(file)
    if file is not None and not user and root is None:
        _prepare(run_as, file, service.data_dir)
    _write(folder, units)
    if root is None:
        _systemctl(user, "daemon-reload")
    if root is None and start:
        _systemctl(user, "enable", NAME)
        _systemctl(user, "restart", NAME)
        note(f"{NAME} runs. `lq service status` shows it, `lq service logs -f` follows it.")
    if root is None and user:
        note("It ends when you log out, unless you say once: loginctl enable-linger")


@app.command()
def status(*, user: OfUser = False) -> None:
    """Show what systemd says of the service; exit with 0 if it runs."""
    from lq.unit import NAME

    if _call(["systemctl", *_manager(user), "--no-pager", "status", NAME]):
        raise typer.Exit(failure.NEGATIVE)


@app.command()
def logs(
    *,
    user: OfUser = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it writes.")] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=0, help="How many to begin with.")
    ] = 50,
) -> None:
    """Show what the daemon wrote to the journal."""
    from lq.unit import NAME

    options = ["--unit", NAME, "--lines", str(lines), *(["--follow"] if follow else [])]
    if not looking():
        options.append("--no-pager")
    if _call(["journalctl", *_manager(user), *options]):
        raise typer.Exit(failure.NEGATIVE)


@app.command()
def uninstall(
    *,
    user: OfUser = False,
    root: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Of this image.")] = None,
) -> None:
    """Stop the service and remove its units. The data and lq.toml stay."""
    from lq.unit import DROP_IN, NAME

    folder = _folder(user=user, root=root)
    if not (folder / NAME).exists():
        raise LqError(f"there is no {folder / NAME}")
    _check_ours(folder / NAME)
    if root is None and _RUNNING.is_dir():
        _systemctl(user, "disable", "--now", NAME)
    (folder / NAME).unlink()
    (folder / f"{NAME}.d" / DROP_IN).unlink(missing_ok=True)
    if root is None and _RUNNING.is_dir():
        _systemctl(user, "daemon-reload")
    note(f"Removed {folder / NAME}. The data and lq.toml are where they were.")


def _config_file(given: str | None, *, user: bool, root: Path | None) -> Path | None:
    """The lq.toml that the service reads; one of a user may have none. Raises: LqError."""
    named = given or os.environ.get("LQ_CONFIG")
    if named:
        path = Path(os.path.abspath(named))  # noqa: PTH100 (Path.absolute() keeps "..")
        if not path.is_file():
            raise LqError(f"{path}: there is no such file")
        return path
    if user:
        from lq.paths import searched

        _, local, _ = searched(os.environ)
        return local if local.exists() else None
    return _inside(_CONFIG, root)


def _inside(path: Path, root: Path | None) -> Path:
    return path if root is None else root / path.relative_to("/")


def _load(file: Path | None, *, user: bool) -> Config | None:
    """The configuration of the service, None where it is yet to be written. Raises: LqError."""
    from lq.config import load

    if file is not None and not file.exists():
        return None
    # Not what this shell happens to set: the service does not see it.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LQ_")}
    settings = load(str(file) if file else None, environ)
    if not user and settings.origin["data_dir"] == "default":
        raise LqError(
            f"{file}: data_dir is not set, so the service and your shell would not agree on it",
            hint=f'Put data_dir = "{_DATA}" above the first [table].',
        )
    return settings


def _service(file: Path | None, settings: Config | None, run_as: str | None) -> Service:
    from lq.config import Dispatch
    from lq.unit import Service

    command = _command()
    seen = [*_program(), *([file] if file else [])]
    return Service(
        command=command,
        config=file,
        data_dir=settings.data_dir if settings else _DATA,
        user=run_as,
        drain_ms=(settings.dispatch if settings else Dispatch()).drain_timeout_ms,
        low_port=bool(settings and 0 < settings.port < 1024),
        link_local=bool(settings and any(map(_is_link_local, settings.egress.allow))),
        credential=settings.secrets.credential if settings else None,
        seen_home=any(path.is_relative_to(home) for path in seen for home in _HOMES),
    )


def _outside(path: Path | None, root: Path | None) -> Path | None:
    """What a file of an image is called once the image runs."""
    if root is None or path is None or not path.is_relative_to(root):
        return path
    return Path("/") / path.relative_to(root)


def _is_link_local(entry: str) -> bool:
    """Whether an entry of [egress] opens what the kernel is told to close."""
    return entry.startswith(("169.254.", "[fe80:", "fe80:"))


def _command() -> tuple[str, ...]:
    """What runs this lq, wherever it is started from."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return sys.executable, "-m", "lq"
    found = str(started) if started.exists() else shutil.which("lq") or str(started)
    return (os.path.abspath(found),)  # noqa: PTH100 (a link, as pipx makes it, is not followed)


def _drop_in(file: Path | None, run_as: str | None) -> str | None:
    """The drop-in for the scriptlets of a configuration, None if it has none."""
    from lq.unit import Needs, drop_in

    users = list(_users(file)) if file else []
    if not users:
        return None
    # An lq of root's is one so that its scriptlets may do what root may.
    others = run_as == "root" or any(user not in {None, run_as} for user in users)
    return drop_in(Needs(others=others), system=run_as is not None)


def _users(file: Path) -> Iterator[str | None]:
    """As whom each scriptlet runs, None for lq's own user."""
    from lq.config.scriptlets import survey
    from lq.paths import read_config

    source = read_config(str(file), {}) if file.exists() else None
    for found in survey(source) if source else ():
        if found.scriptlet is not None:
            yield found.scriptlet.user


def _folder(*, user: bool, root: Path | None) -> Path:
    if not user:
        return _inside(Path("/etc/systemd/system"), root)
    config = os.environ.get("XDG_CONFIG_HOME") or f"{Path.home()}/.config"
    return _inside(Path(config) / "systemd" / "user", root)


def _begin(file: Path) -> None:
    """Write the configuration that the service cannot do without."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'data_dir = "{_DATA}"\n', encoding="utf-8")
    note(f"Began {file}.")


def _prepare(run_as: str, file: Path, data_dir: Path) -> None:
    """Make the user if need be, who must get at all that the service needs. Raises: LqError."""
    if not _exists(run_as):
        _check(["useradd", "--system", "--home-dir", str(_DATA), "--shell", _NO_SHELL, run_as])
        note(f"Made the user {run_as}.")
    check_reachable(_program(), pwd.getpwnam(run_as).pw_uid, run_as)
    _check_readable(file, run_as)
    if data_dir.parent != _DATA.parent:  # others are made by systemd
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.chown(data_dir, run_as)


def _check_readable(file: Path, run_as: str) -> None:
    """Raise unless the service's user may read the configuration, by the file's mode alone."""
    found, who = file.stat(), pwd.getpwnam(run_as)
    own = found.st_uid == who.pw_uid and found.st_mode & 0o400
    shared = found.st_gid == who.pw_gid and found.st_mode & 0o040
    if not (who.pw_uid == 0 or own or shared or found.st_mode & 0o004):
        raise LqError(
            f"{file} is not readable for {run_as}",
            hint=f"chgrp {run_as} {file}; chmod 640 {file}",
        )


def _program() -> tuple[Path, ...]:
    """Where this lq lies: what is started, its Python, its code."""
    command, python = Path(_command()[0]), Path(sys.executable)
    if getattr(sys, "frozen", False):  # one file, which each user unpacks for himself
        return command, command.resolve()
    return command, command.resolve(), python, python.resolve(), Path(__file__)


def check_reachable(paths: Sequence[Path], uid: int, who: str) -> None:
    """Raise unless a user can get at these files, by the modes of the folders above them."""
    for folder in sorted({folder for path in paths for folder in path.parents}):
        found = folder.stat()
        if uid not in {0, found.st_uid} and not found.st_mode & 0o001:
            raise LqError(
                f"this lq lies below {folder}, which is closed to {who}",
                hint="Install it outside of home folders, in /opt/lq, or name a user by --run-as.",
            )


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _write(folder: Path, units: dict[str, str]) -> None:
    """Write the units; a drop-in of ours that is not needed any more goes. Raises: LqError."""
    from lq.takeover import files
    from lq.unit import DROP_IN, NAME

    for name in (NAME, f"{NAME}.d/{DROP_IN}"):
        path = folder / name
        if path.exists():
            _check_ours(path)
        if name in units:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, files.read(path), units[name].encode())
            path.chmod(0o644)
            note(f"Wrote {path}.")
        else:
            path.unlink(missing_ok=True)


def _check_ours(path: Path) -> None:
    from lq.unit import MARK

    if not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise LqError(
            f"{path} was not written by `lq service install`, so it is left alone",
            hint="Move it away, and say it again.",
        )


def _manager(user: bool) -> list[str]:
    return ["--user"] if user else []


def _systemctl(user: bool, *words: str) -> None:
    _check(["systemctl", *_manager(user), *words])


def _check(command: list[str]) -> None:
    """Run one of the machine's tools. Raises: LqError unless it succeeds."""
    if code := _call(command):
        raise LqError(f"`{' '.join(command)}` failed with {code}")


def _call(command: list[str]) -> int:
    """Run one of the machine's tools on this terminal; its exit code."""
    try:
        return subprocess.call(command)  # noqa: S603 (no shell; the words are ours)
    except FileNotFoundError:
        raise LqError(f"there is no {command[0]} on this machine") from None
