"""The backup that somebody fetches: one at a time, made beside all else, read in parts.

Owns the stages of a backup and when it is forgotten: when its reader says so, or has not asked
for a minute. What a copy is and how it is made is the store's.

Invariant: no backup is left on the disk that could be taken for a whole one; the file of one that
is ready has no name any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from lq.backups import Backup, BackupPart, Stage
from lq.clock import Clock
from lq.daemon.store import Snapshot, Store
from lq.errors import Conflict, NotFound, RequestError, StartError

log = logging.getLogger(__name__)

PART_BYTES: Final = 2 << 20
_IDLE_MS: Final = 60_000


class _Current:
    """The one backup there is. `cut` ends its making."""

    def __init__(self, made_at: int) -> None:
        self.record = Backup(stage=Stage.COPYING, made_at=made_at)
        self.snapshot: Snapshot | None = None
        self.cut = threading.Event()
        self.news = asyncio.Event()

    def tell(self, record: Backup) -> None:
        """It has come further: wake who waits for that."""
        self.record = record
        self.news.set()
        self.news = asyncio.Event()

    def end(self) -> None:
        """Let go of what there is of it."""
        self.cut.set()
        self.news.set()
        if self.snapshot is not None:
            self.snapshot.file.close()
            self.snapshot = None


class Backups:
    """The verbs on the backup. `run` makes it."""

    def __init__(self, *, store: Store, clock: Clock, gate: Callable[[], None]) -> None:
        """Shape: `gate` refuses what is asked of a daemon that stops."""
        self._store = store
        self._clock = clock
        self._gate = gate
        self._asked = asyncio.Event()
        self._current: _Current | None = None
        self._asked_at = 0.0

    def begin(self) -> Backup:
        """Begin to make one. Raises: Conflict when there is one that was not fetched yet."""
        self._gate()
        if self._current is not None and self._current.record.stage is not Stage.FAILED:
            raise Conflict(
                "a backup is being made or fetched already",
                hint="try again when it is done; one that nobody fetches is gone after a minute",
            )
        self._current = _Current(self._clock.now())
        self._asked.set()
        return self._seen().record

    async def show(self, wait_ms: int) -> Backup:
        """How far it is; waits for news while it is being made. Raises: NotFound."""
        current = self._seen()
        if wait_ms and current.record.stage in {Stage.COPYING, Stage.CHECKING}:
            await self._clock.wait(current.news, wait_ms)
        return self._seen().record

    async def part(self, offset: int) -> BackupPart:
        """Bytes of it from an offset on. Raises: NotFound, Conflict when it is not ready."""
        current = self._seen()
        if current.snapshot is None:
            raise Conflict(
                f"the backup is not ready: {current.record.error or current.record.stage}",
                hint="it can be fetched once it is",
            )
        fd = os.dup(current.snapshot.file.fileno())  # it may be forgotten meanwhile
        try:
            return BackupPart(offset, await asyncio.to_thread(os.pread, fd, PART_BYTES, offset))
        finally:
            os.close(fd)

    def forget(self) -> Backup:
        """Let go of it, whole or not. Raises: NotFound."""
        current = self._seen()
        self._let_go()
        return current.record

    async def run(self) -> None:
        """Make what is asked for, until cancelled."""
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                if self._current is not None:
                    await self._make(self._current)
                while self._current is not None and not self._asked.is_set():
                    await self._clock.wait(self._asked, _IDLE_MS)
                    if self._clock.monotonic() - self._asked_at >= _IDLE_MS / 1000:
                        self._let_go()
        finally:
            self._let_go()

    async def _make(self, current: _Current) -> None:
        loop = asyncio.get_running_loop()
        record = current.record

        def tell(pages: int, total: int) -> None:
            stage = Stage.COPYING if pages < total else Stage.CHECKING
            news = replace(record, stage=stage, pages=pages, total=total)
            loop.call_soon_threadsafe(current.tell, news)

        work = loop.create_task(self._store.snapshot(record.made_at, tell, current.cut.is_set))
        try:
            current.snapshot = snapshot = await asyncio.shield(work)
        except (RequestError, StartError) as error:
            log.warning("there is no backup: %s", error.message)
            current.tell(replace(record, stage=Stage.FAILED, error=error.message))
        except OSError as error:  # of lq's own: too many open files, say
            log.warning("there is no backup: %s", error)
            current.tell(replace(record, stage=Stage.FAILED, error=str(error)))
        except asyncio.CancelledError:
            current.cut.set()
            await asyncio.wait([work])
            if work.exception() is None:
                current.snapshot = work.result()
                current.end()
            raise
        else:
            current.tell(
                replace(
                    current.record,
                    stage=Stage.READY,
                    size=snapshot.size,
                    sha256=snapshot.sha256,
                    rows=snapshot.rows,
                )
            )
            if current is not self._current:
                current.end()
        self._asked_at = self._clock.monotonic()

    def _seen(self) -> _Current:
        """The backup, by somebody who still wants it. Raises: NotFound."""
        if self._current is None:
            raise NotFound("there is no backup", hint="`lq backup FILE` makes and fetches one")
        self._asked_at = self._clock.monotonic()
        return self._current

    def _let_go(self) -> None:
        if self._current is not None:
            self._current.end()
            self._current = None
