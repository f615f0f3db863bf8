"""Where lq's files are on this machine: the configuration, the data folder, the socket.

Owns: the search order, and the paths lq falls back to. Creates nothing, and of a configuration
understands `data_dir` and `socket` alone; `config` reads the rest.
Invariant: the daemon and the command line work out the same socket from the same
configuration. It imports almost nothing, since every `lq push` passes through here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lq.errors import ConfigError

SOCKET_NAME = "lq.sock"
MAX_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107  # sun_path less its final NUL


class Source(NamedTuple):
    """A configuration file as read: `text` is kept because lines are looked up in it."""

    path: Path
    text: str
    table: dict[str, Any]

    @property
    def where(self) -> Callable[[tuple[str, ...]], str]:
        """Tells where a key stands: `("schedules", "0", "queue")` -> "lq.toml:12"."""
        from lq import toml

        lines = toml.key_lines(self.text)
        return lambda path: f"{self.path}:{lines.get(path, 1)}"


class Places(NamedTuple):
    """Where a daemon keeps its data and where its socket may be, the best place first."""

    data_dir: Path
    sockets: tuple[Path, ...]


def searched(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a configuration is looked for when none is named, first match first."""
    folder = _xdg("XDG_CONFIG_HOME", ".config", environ)
    return (Path("lq.toml"), folder / "lq" / "lq.toml", Path("/etc/lq/lq.toml"))


def read_config(given: str | None, environ: Mapping[str, str]) -> Source | None:
    """The configuration file that applies, or None when there is none.

    Raises: ConfigError when the one that is named is missing, or one cannot be read.
    """
    named = given or environ.get("LQ_CONFIG")
    path = Path(named) if named else next(filter(_exists, searched(environ)), None)
    if path is None:
        return None
    from lq import toml

    try:
        text = toml.decode(path.read_bytes())
        return Source(path, text, toml.parse(text))
    except toml.NotToml as error:
        raise ConfigError(f"{path}:{error.line}: not valid TOML: {error}") from None
    except OSError as error:
        who = "--config" if given else "LQ_CONFIG" if named else None
        hint = f"{who} names it; without {who}, lq looks for a lq.toml by itself." if who else None
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=hint) from None


def places(source: Source | None, environ: Mapping[str, str]) -> Places:
    """The data folder and the socket that a configuration asks for, defaults filled in.

    Raises: ConfigError when the socket's path is too long to be one.
    """
    data_dir = configured(("data_dir",), source, environ) or default_data_dir(environ)
    socket = configured(("socket",), source, environ)
    if socket is None:
        return Places(data_dir, default_sockets(data_dir, environ))
    if not fits(socket):
        raise ConfigError(
            f"socket: {socket} is {len(os.fsencode(socket))} bytes long, and a unix socket's "
            f"path has at most {MAX_SOCKET_BYTES}",
            hint="Choose a shorter path, or leave the key out and lq finds one.",
        )
    return Places(data_dir, (socket,))


def find_socket(given: str | None, environ: Mapping[str, str]) -> Path:
    """The socket of the daemon that this configuration describes, whether or not it runs."""
    sockets = places(read_config(given, environ), environ).sockets
    return next(filter(_exists, sockets), sockets[0])


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """The data folder when none is configured."""
    return _xdg("XDG_DATA_HOME", ".local/share", environ) / "lq"


def default_sockets(data_dir: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the socket of a data folder may be, best first; the daemon takes the first.

    A unix socket's path is limited to about a hundred bytes. When the data folder's is longer,
    a short name that only depends on the folder and the user stands in for it, in the runtime
    folder, else in a temporary one. The command line looks at all of them, because a cron job
    and a login shell do not agree on XDG_RUNTIME_DIR and TMPDIR.
    """
    inside = data_dir / SOCKET_NAME
    if fits(inside):
        return (inside,)
    from hashlib import sha256

    uid = os.getuid()
    name = f"lq-{uid}-{sha256(os.fsencode(data_dir)).hexdigest()[:16]}.sock"
    named = (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}", environ.get("TMPDIR"))
    folders = [Path(folder) for folder in named if folder and folder.startswith("/")]
    there = [folder / name for folder in folders if folder.is_dir()]
    there.append(Path("/tmp") / name)  # noqa: S108 (the client looks whose socket it is)
    return tuple(dict.fromkeys(filter(fits, there)))


def fits(socket: Path) -> bool:
    """Whether a path is short enough to be a unix socket's."""
    return len(os.fsencode(socket)) <= MAX_SOCKET_BYTES


def configured(
    key: tuple[str, ...], source: Source | None, environ: Mapping[str, str]
) -> Path | None:
    """A path from the environment (relative to where we are) or the file (to where that is)."""
    if value := environ.get(f"LQ_{'_'.join(key).upper()}"):
        return _absolute(value, Path.cwd(), environ)
    found: Any = source.table if source else None
    for part in key:
        found = found.get(part) if isinstance(found, dict) else None
    if source is None or found is None:
        return None
    if not isinstance(found, str) or not found:
        raise ConfigError(f"{source.path}: {'.'.join(key)}: expected a path")
    return _absolute(found, Path.cwd() / source.path.parent, environ)


def _absolute(path: str, base: Path, environ: Mapping[str, str]) -> Path:
    if path == "~" or path.startswith("~/"):
        path = f"{_home(environ)}{path[1:]}"
    return Path(os.path.abspath(base / path))  # noqa: PTH100 (Path.absolute() keeps "..")


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 (Path.exists() raises in a closed folder)


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    folder = environ.get(variable, "")
    if folder.startswith("/"):  # the specification: a relative path is to be ignored
        return Path(folder)
    return _home(environ) / fallback


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()
