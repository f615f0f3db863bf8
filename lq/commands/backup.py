"""`lq backup`: a copy of the whole database of one moment, while the daemon runs or is stopped."""

from __future__ import annotations

import os
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lq.client import Client, Json, Unreachable
from lq.commands import common, failure
from lq.commands.common import AsJson, ConfigFile, Token, Url, note, out_json
from lq.errors import LqError

app = common.app()

Write = Callable[[bytes], Any]

STDOUT = "-"
PATIENCE = "20s"
CONTENTS = (
    "It holds jobs with their payloads, history, schedules, queue settings and the digests of"
    " tokens: keep it where only you can read it.\n"
    "Not in it, and needed beside it: the signing secret ({secret}), the key of [secrets] if there"
    " is one, lq.toml and the files that it names."
)


class NoBackup(LqError):
    """The backup could not be made, or what came is not what was made."""


@app.command()
def backup(
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; - is stdout.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Make none: say whether FILE is a whole one.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Write a checked copy of this moment to a file.

    The daemon makes it, and no job waits for that; if none runs here, it is made from the data
    folder.
    `lq restore` puts it back.
    """
    if check:
        made = _examine(Path(file))
    elif file == STDOUT:
        made = _to_stdout(config, url, token)
    else:
        made = _to_file(Path(file), config, url, token, force=force)
    if as_json and file != STDOUT:
        out_json({"file": file, **made})
        return
    rows = ", ".join(f"{number} {name}" for name, number in made.get("rows", {}).items())
    moment = made.get("made", "an unknown moment")
    note(f"{file}: {made['size']} bytes, the moment {moment}{rows and ': '}{rows}.")
    if not check:
        note(CONTENTS.format(secret=_secret(config, url)))


def _secret(config: str | None, url: str | None) -> str:
    if common.url_in_use(config, url) is not None:
        return "`secret` in the daemon's data folder"
    return str(_data_dir(config) / "secret")


def _data_dir(config: str | None) -> Path:
    from lq.paths import places, read_config

    return places(read_config(config, os.environ), os.environ).data_dir


def _to_stdout(config: str | None, url: str | None, token: str | None) -> Json:
    if sys.stdout.isatty():
        raise typer.BadParameter("a backup is no text for a terminal: redirect it into a file")
    begun = False

    def write(data: bytes) -> int:
        nonlocal begun
        begun = True
        return sys.stdout.buffer.write(data)

    try:
        made = _fetch(common.connect(config, url, token), write)
    except Unreachable as error:
        if common.url_in_use(config, url) is not None or not error.unsent or begun:
            raise
        target = _data_dir(config) / "backup.part"
        made = _save(config, target)
        try:
            with target.open("rb") as saved:
                while data := saved.read(1 << 20):
                    sys.stdout.buffer.write(data)
        finally:
            target.unlink()
    try:
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise typer.Exit(failure.BROKEN_PIPE) from None
    return made


def _to_file(
    path: Path, config: str | None, url: str | None, token: str | None, *, force: bool
) -> Json:
    if path.exists() and not path.is_file():
        raise typer.BadParameter(f"{path} is not a file")
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} exists; --force replaces it")
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.absolute().parent}")
    part = path.with_name(f"{path.name}.tmp")
    try:
        try:
            client = common.connect(config, url, token)
            with _new_file(part) as write:
                made = _fetch(client, write)
        except Unreachable as error:
            if common.url_in_use(config, url) is not None or not error.unsent:
                raise
            made = _save(config, part)
        part.replace(path)
        _sync(path.absolute().parent)
    except OSError as error:
        raise NoBackup(f"cannot write {path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return made


@contextmanager
def _new_file(path: Path) -> Iterator[Write]:
    """Write a new file that is nobody else's to read; it is on the disk when this is left."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        yield file.write
        file.flush()
        os.fsync(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _fetch(client: Client, write: Write) -> Json:
    """Have the daemon make a backup, and fetch it whole.

    Raises: NoBackup, ApiError, Unreachable.
    """
    from hashlib import sha256

    client.begin_backup()
    try:
        made = client.backup(wait=PATIENCE)
        while made["stage"] in {"copying", "checking"}:
            _progress(made["stage"], made["pages"], made["total"])
            made = client.backup(wait=PATIENCE)
        if made["stage"] != "ready":
            raise NoBackup(f"there is no backup: {made.get('error', made['stage'])}")
        digest, offset = sha256(), 0
        while data := b64decode((part := client.backup_part(offset))["data"]):
            write(data)
            digest.update(data)
            offset = part["offset"]
            _progress("fetching", offset, made["size"])
    finally:
        with suppress(LqError):
            client.forget_backup()
    if (offset, digest.hexdigest()) != (made["size"], made["sha256"]):
        raise NoBackup("what came is not what the daemon made; try again")
    return {name: made[name] for name in ("made", "size", "sha256", "rows")}


def _save(config: str | None, target: Path) -> Json:
    """The same from the data folder, when no daemon runs. Raises: InUse when one does."""
    from lq.daemon import restore

    restore.save(_data_dir(config), target, common.now(), partial(_progress, "copying"))
    return _examine(target)


def _examine(path: Path) -> Json:
    """Look over a file. Raises: DataError when it is no backup."""
    from lq.daemon.store import backup as store
    from lq.when import format_instant

    with store.examined(path) as connection, path.open("rb") as file:
        at = store.made_at(connection)
        size, rows = path.stat().st_size, dict(store.counts(connection))
        made = {} if at is None else {"made": format_instant(at)}
        return {**made, "size": size, "sha256": store.digest(file), "rows": rows}


def _progress(stage: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        text = f"{stage} {100 * done // (total or 1)} %" if done < total else ""
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
