"""The exclusive lock on a data folder: one daemon at a time; the kernel frees it at its death."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from lq.errors import InUse, StartError


class FolderLock:
    """Held from construction until `release`. Invariant: while held, this process alone writes.

    The file is never removed: removing a lock file while another process waits for it would
    let two processes hold two different files of one name.
    """

    def __init__(self, folder: Path) -> None:
        """Raises: InUse, naming the owner's pid; StartError when the file cannot be locked."""
        path = folder.resolve() / "lq.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise StartError(f"cannot open the lock file {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._fd, 256, 0).decode("utf-8", "replace").strip()
            os.close(self._fd)
            raise InUse(
                f"database in use by {owner or 'another process'}: {folder}",
                hint="stop that daemon first, or give this one another data_dir",
            ) from None
        except OSError as error:
            os.close(self._fd)
            raise StartError(
                f"cannot lock {path}: {error.strerror}",
                hint="give lq a data_dir on a local disk: not every network share knows locks",
            ) from error
        self._note(f"pid {os.getpid()} on host {socket.gethostname()}\n")

    def _note(self, owner: str) -> None:
        """Say who holds the lock, for whoever is refused; a full disk is no reason not to start."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, owner.encode(), 0)

    def release(self) -> None:
        self._note("")
        os.close(self._fd)
