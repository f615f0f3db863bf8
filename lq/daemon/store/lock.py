"""The exclusive lock on a database: one lq at a time; the kernel frees it at a process's death."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import threading
from pathlib import Path
from typing import Final

from lq.errors import InUse, StartError

_COUNTED: Final = re.compile(r"^counted (\d{20})$", re.MULTILINE)


def lock_file(database: Path) -> Path:
    """Where a database is locked: beside the file itself, wherever a symlink leads.

    Shape: `lq.lock` for the `lq.db` of a data folder, else the whole name with `.lock` after it,
    so that `poetry.db` never touches a `poetry.lock`.
    """
    real = database.resolve()
    return real.with_name("lq.lock" if real.name == "lq.db" else f"{real.name}.lock")


_RELEASED = -1


class FileLock:
    """Held from construction until `release`. Invariant: while held, this process alone writes.

    The file is never removed: removing a lock file while another process waits for it would
    let two processes hold two different files of one name. Besides the owner it holds a count of
    what was committed, so that whoever comes after a crash sees whether some of it is gone.
    """

    def __init__(self, path: Path, *, guards: Path, hint: str) -> None:
        """Shape: `guards` is what is locked, for people, and `hint` what to do if it is in use.
        `counted` is what an owner that died had counted, None after one that let go.

        Raises: InUse, naming the owner's pid; StartError when the file cannot be locked.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        # A number that was let go of is given to the next file: nobody may write to it then.
        self._using = threading.Lock()
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise StartError(f"cannot open the lock file {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner, _, _ = self._content().partition("\n")
            os.close(self._fd)
            raise InUse(
                f"database in use by {owner or 'another process'}: {guards}", hint=hint
            ) from None
        except OSError as error:
            os.close(self._fd)
            raise StartError(
                f"cannot lock {path}: {error.strerror}",
                hint="keep the database on a local disk: not every network share knows locks",
            ) from error
        found = _COUNTED.search(self._content())
        self.counted = None if found is None else int(found[1])
        owner = f"pid {os.getpid()} on host {socket.gethostname()}\n"
        self._end = len(owner.encode())
        self._note(owner)

    def count(self, number: int) -> None:
        """Remember what was committed. Shape: `number` only grows while a database lives.

        Cheap, and not synced: it is for a process that dies, and a log that is removed then.
        """
        with self._using, contextlib.suppress(OSError):
            if self._fd != _RELEASED:
                os.pwrite(self._fd, b"counted %020d\n" % number, self._end)

    def _content(self) -> str:
        return os.pread(self._fd, 512, 0).decode("utf-8", "replace")

    def _note(self, owner: str) -> None:
        """Say who holds the lock, for whoever is refused; a full disk is no reason not to start."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, owner.encode(), 0)

    def release(self) -> None:
        with self._using:
            self._note("")
            fd, self._fd = self._fd, _RELEASED
            os.close(fd)
