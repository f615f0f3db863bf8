"""A check-up of the daemon from the inside: its database, its machine, its targets.

Changes nothing, and calls targets only with the HEAD that validates them. Everything has an end:
targets are asked side by side, each for as long as a validation may take.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from lq.checkup import Checkup, TargetCheck
from lq.config import Config
from lq.daemon.dispatcher import Admission
from lq.daemon.store import Store
from lq.daemon.survey import Survey
from lq.endpoint import Named

_MOST_TARGETS = 100
_AT_ONCE = 16
_LAG_OVER_S = 0.25
_LAG_STEP_S = 0.01

Get = Callable[[str, int], Awaitable[str | None]]
"""Calls a URL within so many ms; what went wrong, or None."""


class Examiner:
    """Looks the daemon over."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        survey: Survey,
        endpoints: Admission,
        get: Get | None,
        files_wanted: int,
    ) -> None:
        """Shape: `get` calls the public URL; None where nothing is listened on."""
        self._config = config
        self._store = store
        self._survey = survey
        self._endpoints = endpoints
        self._get = get
        self._files_wanted = files_wanted

    async def look(self, *, deep: bool) -> Checkup:
        """The facts as they are now. Shape: `deep` compares each index with its table, too."""
        named = await self._named()
        examined, targets, lag_ms, fault = await asyncio.gather(
            self._store.examine(deep=deep),
            self._targets(named),
            _loop_lag_ms(),
            self._public_fault(),
        )
        disk = shutil.disk_usage(self._config.data_dir)
        return Checkup(
            deep=deep,
            database_bytes=examined.size,
            wal_bytes=examined.wal_size,
            database_fault=examined.fault,
            disk_free=disk.free,
            disk_total=disk.total,
            files_open=_open_files(),
            files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            files_wanted=self._files_wanted,
            loop_lag_ms=lag_ms,
            zones=_zones(),
            targets=tuple(targets),
            targets_left_out=max(0, len(named) - _MOST_TARGETS),
            public_url=self._config.public_url,
            public_fault=fault,
        )

    async def _targets(self, named: dict[str, list[Named]]) -> list[TargetCheck]:
        """What is wrong with each of the first targets."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def check(target: str, by: list[Named]) -> TargetCheck:
            async with places:
                first, names = by[0], tuple(one.by for one in by)
                examine = self._endpoints.examine
                validated, fault = await examine(target, first.headers, first.queue)
                return TargetCheck(target=target, used_by=names, validated=validated, fault=fault)

        first = list(named.items())[:_MOST_TARGETS]
        return list(await asyncio.gather(*(check(*one) for one in first)))

    async def _named(self) -> dict[str, list[Named]]:
        """The URLs that queues and schedules name, each with who does."""
        found: dict[str, list[Named]] = defaultdict(list)
        for one in await self._survey.named():
            if one.validate:
                found[one.url].append(one)
        return found

    async def _public_fault(self) -> str | None:
        url = self._config.public_url
        if url is None or self._get is None:
            return None
        return await self._get(f"{url}/healthz", self._config.validate.timeout_ms)


async def _loop_lag_ms() -> int:
    """How much later than asked for the event loop woke up at worst, in a quarter of a second."""
    ends_at, worst = time.monotonic() + _LAG_OVER_S, 0.0
    while (began := time.monotonic()) < ends_at:
        await asyncio.sleep(_LAG_STEP_S)
        worst = max(worst, time.monotonic() - began - _LAG_STEP_S)
    return round(worst * 1000)


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (the numbers alone)
    except OSError:
        return 0


def _zones() -> str:
    """Which time zone database is read: the machine's own comes first."""
    import zoneinfo

    for folder in map(Path, zoneinfo.TZPATH):
        if (folder / "Europe").is_dir():
            return f"{_version(folder / 'tzdata.zi')} in {folder}"
    return f"{_version(files('tzdata') / 'zoneinfo' / 'tzdata.zi')} that lq brings"


def _version(compiled: Path | Traversable) -> str:
    """What the first line of a compiled database says: "# version 2026b"."""
    try:
        with compiled.open(encoding="ascii", errors="replace") as lines:
            return lines.readline().removeprefix("# version").strip()
    except OSError:
        return "of an unknown version"
