"""The hold that a restore may ask for: nothing starts and no schedule fires, until it is released.

Owns what a hold stops and what its end sets going. It is kept in the database, so that a restart
stays held. Pushes and all other verbs go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from lq.backups import Hold, Released
from lq.clock import Clock
from lq.daemon.firer import Firer
from lq.daemon.lanes import Lanes
from lq.daemon.scheduler import Scheduler
from lq.daemon.store import Store
from lq.errors import Conflict
from lq.when import format_instant

log = logging.getLogger(__name__)


class Holding:
    """The verbs on the hold. `start` must have returned before anything could start."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        lanes: Lanes,
        firer: Firer,
        scheduler: Scheduler,
        gate: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._firer = firer
        self._scheduler = scheduler
        self._gate = gate
        self.hold: Hold | None = None

    async def start(self) -> None:
        """Hold, if the database says so."""
        self.hold = await self._store.hold()
        if self.hold is not None:
            self._lanes.frozen = self._firer.frozen = self._scheduler.frozen = True
            log.warning("%s", self.reason)

    @property
    def reason(self) -> str | None:
        """Why nothing starts, in a sentence; None when it may."""
        if self.hold is None:
            return None
        return (
            f"frozen: a backup of {format_instant(self.hold.backup_at)} was restored with --hold;"
            " nothing starts until `lq release`"
        )

    async def release(self, *, skip_missed: bool) -> Released:
        """Let everything start, durably. Raises: Conflict when nothing is held.

        Shape: with `skip_missed` schedules go on from now, and leave out what they have missed.
        """
        self._gate()
        if self.hold is None:
            raise Conflict("nothing is held", hint="`lq queues ls` shows what is paused")
        skipped = await self._firer.skip_missed() if skip_missed else 0
        await self._store.end_hold()
        self.hold = None
        self._lanes.thaw(self._clock.now())
        self._firer.frozen = self._scheduler.frozen = False
        self._firer.wake()
        self._scheduler.catch_up()
        log.warning("released: jobs start and schedules fire again")
        return Released(skipped)
