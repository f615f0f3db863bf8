"""A backup put in the place of a database, while no daemon runs; and a copy taken then.

Owns: that no daemon runs meanwhile, and what schedules will make of the time that has passed.
Never starts anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from lq import firing
from lq.backups import Account, Missed
from lq.daemon.firer import timing_of
from lq.daemon.store import backup, migrate, restoring
from lq.daemon.store.database import make_private
from lq.daemon.store.lock import FileLock, lock_file
from lq.errors import Conflict, StoreFailed, ValidationError
from lq.model import Schedule

_STOP_IT: Final = (
    "stop the daemon first: `systemctl stop lq`, or Ctrl-C where it runs in the foreground"
)


@contextmanager
def stopped(folder: Path) -> Iterator[Path]:
    """The database of a data folder, while no daemon has it and none can start.

    Raises: InUse, StartError.
    """
    path = folder / "lq.db"
    lock = FileLock(lock_file(path), guards=folder, hint=_STOP_IT)
    try:
        yield path.resolve()
    finally:
        lock.release()
        hand_over(lock_file(path), folder)


def save(folder: Path, target: Path, at: int, tell: backup.Tell) -> Mapping[str, int]:
    """Copy the database of a stopped daemon into a new file. Raises: as `backup.copy`, InUse."""
    with stopped(folder) as path:
        if not path.exists():
            raise StoreFailed(f"there is no database in {folder}", hint="is data_dir right?")
        migrate.refuse_unfit(path)
        return backup.copy(path, target, at, live=False, tell=tell, cut=_never)


def restore(folder: Path, file: Path, now: int, *, hold: bool, dry: bool) -> Account:
    """Put a backup in the place of the database, which is kept under another name.

    Shape: with `dry` nothing is changed. Raises: InUse, DataError, StorageFull, StartError; then
    nothing was.
    """
    with backup.examined(file):
        make_private(folder, folder / "lq.db")
    with stopped(folder) as path:
        staged = path.with_name(f"{path.name}.restoring")
        try:
            backup.copy(file, staged, None, live=False, tell=_nobody, cut=_never)
            unfit = restoring.settle_log(path)
            judge = partial(_missed_by, now=now)
            account = restoring.prepare(staged, path, now, hold=hold, unfit=unfit, judge=judge)
            if not dry:
                hand_over(staged, folder)
                account = replace(account, kept=restoring.put_in_place(staged, path, now))
        except OSError as error:
            raise StoreFailed(f"cannot write to {folder}: {error.strerror}") from error
        finally:
            backup.remove(staged)
    return account


def hand_over(path: Path, folder: Path) -> None:
    """Give a file that root has made to whom the folder belongs."""
    if os.geteuid() == 0 and path.exists():
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _missed_by(schedule: Schedule, now: int) -> Missed:
    """What a schedule makes of the times since it was last looked after."""
    name, misfire = schedule.spec.key or schedule.id, schedule.spec.misfire
    try:
        timing = timing_of(schedule)
        plan = firing.plan(timing, misfire, schedule.seen_at, now)
    except (ValidationError, Conflict) as error:
        return Missed(name=name, misfire=misfire, times=0, runs=0, problem=error.message)
    runs = sum(planned.skipped is None for planned in plan.fires)
    times = timing.count(schedule.seen_at, now)
    return Missed(name=name, misfire=misfire, times=times, runs=runs)


def _never() -> bool:
    return False


def _nobody(pages: int, total: int) -> None:
    """Nobody asks how far it is."""
