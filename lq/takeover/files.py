"""Files replaced whole or not at all, with the mode and owner they had.

Owns: how lq changes a file that is somebody else's. Never decides what is in it.
Invariant: whatever happens, the file is what it was or what it was to become; a copy that is kept
is on disk before the original is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lq.errors import LqError

_MODE = 0o600  # of a file that was not there


class Changed(LqError):
    """Somebody else wrote the file meanwhile."""


def read(path: Path) -> bytes:
    """What a file holds, nothing if there is none. Raises: LqError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LqError(f"{path}: cannot be read: {error.strerror}") from None


def replace(
    path: Path, before: bytes, after: bytes, check: Callable[[Path], None] = lambda _: None
) -> None:
    """Put `after` in the place of a file that holds `before`.

    Shape: `check` sees the new file beside the old one and raises if it must not take its place.
    Raises: Changed, LqError, and what `check` raises; then the file is untouched.
    """
    path = path.resolve()  # a link stays one
    try:
        with _locked(path.parent):
            if read(path) != before:
                raise Changed(f"{path} was changed meanwhile: nothing was written", hint="Again?")
            with _beside(path, after) as new:
                check(new)
                new.replace(path)
            _sync(path.parent)
    except OSError as error:
        raise LqError(f"{path}: cannot be written: {error.strerror}") from None


def keep(path: Path, data: bytes) -> None:
    """Keep a copy under a name that nothing has yet. Raises: LqError."""
    try:
        with path.open("xb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync(path.parent)
    except FileExistsError:
        raise LqError(f"{path} is there already, from an earlier time") from None
    except OSError as error:
        raise LqError(f"{path}: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """A new file with what `path` is to hold, mode and owner as there; gone if it is not used."""
    prefix = f".{path.name}.lq-"
    for left in path.parent.glob(f"{prefix}*"):
        left.unlink()  # by one that was killed; the folder is locked
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(FileNotFoundError):
                was = path.stat()
                if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), was.st_uid, was.st_gid)
                os.fchmod(file.fileno(), was.st_mode & 0o7777)
            os.fsync(file.fileno())
        yield new
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second takeover; the lock leaves no file behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
