"""lq inside an application: the daemon's core in its process and event loop, without HTTP.

Owns what stands in the place of HTTP (targets are the names of handlers, which are called
directly), and the life of the core in a loop that is not lq's. Never touches what is the
process's: signals, umask, limits, logging, garbage collection, the policy of event loops.

Invariant: nothing that a handler raises, or leaves undone, reaches the application or the core:
each run ends in an Outcome, or is given back at a stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from lq.clock import Clock, SystemClock
from lq.config import Config
from lq.daemon.core import Core, at_work
from lq.daemon.endpoints import Hold
from lq.daemon.store.sqlite import SqliteStore, open_store_at
from lq.daemon.waiting import ReturnAddress
from lq.endpoint import Endpoint, Named
from lq.errors import LqError, StartError, Unavailable, ValidationError
from lq.model import Job, Outcome, OutcomeKind, QueueSettings, Run
from lq.when import format_duration

log = logging.getLogger(__name__)

SCHEME: Final = "handler:"
_UNKNOWN_HOLD_MS: Final = 60_000
# What a cancelled handler gets to clean up, before it is left behind.
_GRACE_S: Final = 5.0

Handler = Callable[[Run], Awaitable[Outcome]]
"""Carries out a run. It may raise anything; what is expected it returns as an Outcome."""


class DirectTarget:
    """Calls handlers in this process: one run in, one Outcome out, whatever a handler does."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._left: set[asyncio.Task[Outcome]] = set()

    async def deliver(self, run: Run) -> Outcome:
        """Call the handler of a run and say what came of it."""
        job = run.job
        handler = self._handlers[_name(job.target)]
        # In a task of its own: what cancels the handler from inside must not look like a stop.
        task = asyncio.create_task(_contained(handler, run), name=f"lq:{job.id}")
        try:
            await asyncio.wait({task}, timeout=job.timeout_ms / 1000)
            if not task.done():
                await self._end(task)
                text = f"timeout: the handler had not ended after {format_duration(job.timeout_ms)}"
                return Outcome(kind=OutcomeKind.FAILED, error=text)
        except asyncio.CancelledError:
            await self._end(task)
            raise
        if task.cancelled():
            return Outcome(kind=OutcomeKind.FAILED, error="cancelled: the handler was cancelled")
        if (error := task.exception()) is not None:
            return _raised(run, error)
        return task.result()

    async def _end(self, task: asyncio.Task[Outcome]) -> None:
        """Cancel a handler; one that goes on all the same is left behind."""
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE_S)
        if not task.done():
            log.warning("a handler goes on although it was cancelled: %s", task.get_name())
            self._left.add(task)
            task.add_done_callback(self._left.discard)


async def _contained(handler: Handler, run: Run) -> Outcome:
    """What a handler makes of a run. The two that asyncio lets end the event loop stay here."""
    try:
        return await handler(run)
    except (SystemExit, KeyboardInterrupt) as error:
        return _raised(run, error)


def _raised(run: Run, error: BaseException) -> Outcome:
    log.error("the handler of job %s raised", run.job.id, exc_info=error)
    return Outcome(kind=OutcomeKind.FAILED, error=f"error: {type(error).__name__}")


class KnownHandlers:
    """Admits jobs whose handler this application has; others wait for one that does."""

    def __init__(self, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._handlers = handlers
        self._clock = clock
        self._since = clock.now()

    def admit(self, job: Job) -> Hold | None:
        """None, or until when a job waits whose handler there is not."""
        name = _name(job.target)
        if name in self._handlers:
            return None
        reason = f"no_handler: this application has no handler {name!r}"
        if not job.target.startswith(SCHEME):
            reason = "no_handler: an embedded lq calls handlers, and this job's target is a URL"
        return Hold(self._clock.now() + _UNKNOWN_HOLD_MS, reason, self._since)

    def look(self, job: Job) -> Hold | None:
        return self.admit(job)

    async def examine(
        self, target: str, headers: Mapping[str, str], queue: str
    ) -> tuple[bool, str | None]:
        known = _name(target) in self._handlers
        return False, None if known else "this application has no such handler"

    async def check(self, target: str, headers: Mapping[str, str], queue: str) -> None:
        raise _no_endpoints()

    def variants(self, target: str, queue: str | None) -> list[tuple[Mapping[str, str], str]]:
        raise _no_endpoints()

    def entries(self, named: Iterable[Named]) -> list[Endpoint]:
        raise _no_endpoints()

    def held(self, spared: Callable[[str], bool]) -> list[Endpoint]:
        return []

    def counts(self) -> Mapping[str, int]:
        return {}

    def follow(self, queues: Mapping[str, QueueSettings]) -> None:
        """Nothing here depends on the queue."""

    def slow_down(self, target: str, wait_ms: int, reason: str) -> None:
        """Nothing: no handler answers 429."""

    def forget(self, job: Job) -> None:
        """Nothing: handlers are known from the start."""

    def secret_for(self, job: Job) -> str:
        """None: nothing is signed."""
        return ""

    async def misunderstood(self, job: Job, secret: str, outcome: Outcome) -> bool:
        return False


def _no_endpoints() -> Unavailable:
    return Unavailable("an embedded lq calls handlers, and has no endpoints to validate")


def _name(target: str) -> str:
    """The handler that a target names, percent-encoded after the scheme; no URL names one."""
    return unquote(target.removeprefix(SCHEME)) if target.startswith(SCHEME) else ""


class Embedded:
    """An lq of the application that made it. `open` and `close` may be called from any task.

    Shape: it lives in the event loop that `open` was called in. Without a path its database is
    in memory, and gone when it is closed.
    """

    def __init__(
        self,
        path: Path | None,
        handlers: Mapping[str, Handler],
        config: Config,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._handlers = handlers
        self._config = config
        self._clock = clock or SystemClock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._life: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._store: SqliteStore | None = None
        self._core: Core | None = None
        self._fault: LqError | None = None

    async def open(self) -> None:
        """Open the database, give back what a crash left running, and begin to work.

        Does nothing when it is open. Raises: InUse, DataError, StartError.
        """
        self._let_go_of_a_closed_loop()
        if self._life is not None and not self._life.done():
            assert self._loop is not None
            self._refuse_elsewhere(self._loop)
        else:
            self._loop = asyncio.get_running_loop()
            self._pid = os.getpid()
            self._fault = None
            self._stop = asyncio.Event()
            opened: asyncio.Future[None] = self._loop.create_future()
            # A task of its own: a TaskGroup has to be left by the task that entered it.
            self._life = self._loop.create_task(self._live(opened), name="lq:embedded")
            self._opened = opened
        await asyncio.shield(self._opened)
        assert self.core

    @property
    def core(self) -> Core:
        """What is at work, for the loop that it was opened in. Raises: LqError saying why not."""
        if self._loop is None:
            raise Unavailable("lq is not open", hint="open it first, or use it in `async with`")
        self._refuse_elsewhere(self._loop)
        if self._fault is not None:
            raise self._fault
        if self._core is None:
            raise Unavailable("lq has been closed", hint="open it again, or use it while open")
        return self._core

    @property
    def is_open_here(self) -> bool:
        """Whether it can be used, in this process and event loop."""
        try:
            return self.core is not None
        except LqError:
            return False

    def _refuse_elsewhere(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raise Unavailable anywhere but in the process and the loop that it was opened in."""
        if self._pid != os.getpid():
            raise Unavailable(
                "lq was opened before this process was forked, and stays with its parent",
                hint="open it after the fork, in one process; let several share a daemon",
            )
        if loop.is_closed():
            raise Unavailable(
                "the event loop that lq was opened in has been closed",
                hint="close lq before its loop ends, or open it again in this one",
            )
        if loop is not asyncio.get_running_loop():
            raise Unavailable(
                "lq was opened in another event loop, which is still open",
                hint="use it from that loop (asyncio.run_coroutine_threadsafe), or close it first",
            )

    async def close(self) -> None:
        """Let running handlers end for the drain timeout, give back the rest, commit, let go.

        Does nothing when it is closed. Raises: Unavailable in another process or loop.
        """
        self._let_go_of_a_closed_loop()
        if self._life is None or self._life.done():
            return
        assert self._loop is not None
        self._refuse_elsewhere(self._loop)
        self._stop.set()
        await asyncio.wait([self._life])

    async def _live(self, opened: asyncio.Future[None]) -> None:
        try:
            async with contextlib.AsyncExitStack() as held:
                self._store = store = await open_store_at(self._path)
                held.push_async_callback(store.close)
                core = await held.enter_async_context(
                    at_work(
                        self._config,
                        clock=self._clock,
                        store=store,
                        target=DirectTarget(self._handlers),
                        admission=KnownHandlers(self._handlers, self._clock),
                        spell=_spelling,
                        address=ReturnAddress(None, "", 0, secured=False),
                        host=socket.gethostname(),
                    )
                )
                async with core.claiming(self._config.dispatch.drain_timeout_ms):
                    self._core = core
                    opened.set_result(None)
                    await self._stop.wait()
        except (LqError, BaseExceptionGroup) as error:
            self._fault = _reason(error)
            if opened.done():
                log.error("lq has stopped: %s", self._fault.message)
        finally:
            self._core = self._store = None
            if not opened.done():
                opened.set_exception(self._fault or Unavailable("lq was stopped as it was opened"))

    def _let_go_of_a_closed_loop(self) -> None:
        """Give up what a loop that was closed cannot give up any more, as a crash would."""
        if self._loop is None or not self._loop.is_closed() or self._pid != os.getpid():
            return
        if self._store is not None:
            log.warning("lq was not closed before its event loop: what ran will run again")
            self._store.database.abandon()
        self._loop = self._life = self._store = self._core = None


def _spelling(target: str) -> str:
    """A target as it is stored. Raises: ValidationError."""
    if not target.startswith(SCHEME):
        raise ValidationError.of("target", f"an embedded lq calls {SCHEME}NAME")
    return target


def _reason(error: LqError | BaseExceptionGroup) -> LqError:
    """The reason inside the groups that services raise it in; anything else is a bug."""
    while isinstance(error, BaseExceptionGroup):
        reasons = error.subgroup(StartError)
        if reasons is None:
            raise error
        error = reasons.exceptions[0]
    assert isinstance(error, LqError)
    return error
