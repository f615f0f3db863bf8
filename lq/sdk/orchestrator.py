"""Handlers by name, and jobs and crons for them: with a daemon, or with lq inside the app.

Owns the table of handlers, where their jobs go, and the crons that an app declares. What a call
means is the queues' (one a handler), what a job is the daemon's or the embedded lq's.

Invariant: a payload that is stored fits what its handler says to take; no handler ends the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack, overload
from urllib.parse import quote, unquote

from lq.client.errors import ApiError
from lq.client.verbs import ByKey
from lq.errors import ValidationError
from lq.sdk import records
from lq.sdk.beside import LoopThread, running_loop
from lq.sdk.codec import NOTHING
from lq.sdk.connection import Daemon
from lq.sdk.contained import contained
from lq.sdk.crons import Cron, Lq, interval_rule
from lq.sdk.embedded import EmbeddedClient, read_place
from lq.sdk.http import Request, Response, text
from lq.sdk.intervals import Interval, milliseconds
from lq.sdk.job import Job
from lq.sdk.options import Defaults, PushOptions, ScheduleOptions, written
from lq.sdk.queue import Queue
from lq.sdk.records import Record
from lq.wire import check_queue

T = TypeVar("T")
Json = dict[str, Any]
Name = str | Callable[..., Any]
"""The name of a handler, or the handler itself."""


class EnqueueOptions(TypedDict, total=False):
    """What a job may say beyond its payload; see `PushOptions` for those that are named alike."""

    key: str | None
    on: str | datetime.datetime | None
    if_exists: str | None
    retry: int | str | Sequence[str | datetime.timedelta] | None
    timeout: str | datetime.timedelta | None
    expires: str | datetime.timedelta | datetime.datetime | None
    labels: Sequence[str] | None


class Orchestrator:
    """A table of handlers: `Orchestrator({"bookingReminder": remind}, db="sqlite:///jobs.db")`.

    Mount it like a queue, as one endpoint for all of them, unless `db` is given.
    """

    def __init__(
        self,
        handlers: Mapping[str, Callable[..., Any]],
        *,
        db: str | None = None,
        base_url: str | None = None,
        background_url: str | None = None,
        path: str = "/lq",
        secret: str | Sequence[str] | None = None,
        url: str | None = None,
        token: str | None = None,
        socket: str | Path | None = None,
        concurrency: int | None = None,
        drain_timeout: str | datetime.timedelta | None = None,
        **defaults: Unpack[Defaults],
    ) -> None:
        """Shape: with `db` lq runs in this process: handlers are called directly, and nothing that
        is about HTTP or a daemon counts. Else jobs are pushed to the daemon at `url` (LQ_API_URL)
        with `token` (LQ_TOKEN), or to the `socket` of this machine, which calls `background_url`
        (a function that is answered for by its platform, and reports how it ended), else `path`
        below `base_url` (LQ_BASE_URL). `secret` (LQ_SECRET) proves that a call is lq's.
        `concurrency` and `drain_timeout` are those of an lq in this process. `defaults` are said
        with each job that does not say otherwise.

        Raises: ValidationError naming the argument that cannot be used.
        """
        if not handlers:
            raise ValidationError.of("handlers", "name at least one")
        self._path = path
        self._daemon = Daemon(url, token, socket)
        self._functions = {function: name for name, function in handlers.items()}
        self._queues: dict[str, Queue[Any]] = {}
        caller = sys._getframe(1)  # see Queue.handler
        for name, function in handlers.items():
            _check_name(name)
            queue: Queue[Any] = Queue(
                name,
                path=path,
                target=f"handler:{quote(name, safe='')}" if db is not None else background_url,
                base_url=base_url,
                secret=secret,
                completion="background" if background_url and db is None else "response",
                url=url,
                token=token,
                socket=socket,
                **defaults,
            )
            queue.handle_with(contained(function), caller)
            self._queues[name] = queue
        self._lq: EmbeddedClient | None = None
        if db is not None:
            stop = written({"timeout": drain_timeout}, PushOptions).get("timeout")
            self._lq = EmbeddedClient(
                read_place(db),
                {name: queue.carry_out for name, queue in self._queues.items()},
                concurrency=concurrency,
                drain_timeout_ms=None if stop is None else milliseconds("drain_timeout", stop),
            )
        self._crons: dict[str, Cron] = {}
        self._thread: LoopThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- the endpoint ------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Where all handlers are mounted."""
        return self._path

    async def respond(self, request: Request) -> Response:
        """Answer a call of lq's for one of the handlers."""
        queue = self._called(request)
        return queue if isinstance(queue, Response) else await queue.respond(request)

    def respond_sync(self, request: Request) -> Response:
        """`respond` for a server that is not async."""
        queue = self._called(request)
        return queue if isinstance(queue, Response) else queue.respond_sync(request)

    def _called(self, request: Request) -> Queue[Any] | Response:
        """The queue of a call: as lq names it, else as the last segment of the path does."""
        if request.method == "HEAD":
            return next(iter(self._queues.values()))  # they prove the same secret
        named = request.one("x-lq-queue") or request.path.rpartition("/")[2]
        queue = self._queues.get(unquote(named))
        return queue or text(404, f"there is no handler {unquote(named)!r} in this app")

    # -- its life ----------------------------------------------------------------------------

    async def open(self) -> None:
        """With `db`, begin to work, in this event loop until `close`, and store what was declared.

        Without it there is nothing to open. Raises: InUse when another process has the file open,
        DataError, StartError; ApiError for a cron that is refused.
        """
        if self._lq is None:
            return
        self._loop = asyncio.get_running_loop()
        await self._lq.open()
        try:
            for cron in list(self._crons.values()):
                await cron.stored()
        except BaseException:
            await self._lq.close()
            raise

    async def close(self) -> None:
        """Let what runs here end, for the drain timeout, and give back the rest."""
        if self._lq is not None:
            await self._lq.close()

    async def __aenter__(self) -> Orchestrator:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """The same as what ASGI frameworks take: `Starlette(lifespan=orchestrator.lifespan)`."""
        async with self:
            yield

    def __enter__(self) -> Orchestrator:
        self.open_sync()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close_sync()

    # -- jobs --------------------------------------------------------------------------------

    @overload
    async def enqueue(
        self,
        name: str,
        payload: Any = NOTHING,
        *,
        delay: Interval | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Record: ...
    @overload
    async def enqueue(
        self,
        name: Callable[[Job[T]], object] | Callable[[T], object],
        payload: T = NOTHING,
        *,
        delay: Interval | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Record: ...
    async def enqueue(
        self,
        name: Name,
        payload: Any = NOTHING,
        *,
        delay: Interval | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Record:
        """Store a job, which starts when it is due: at once, without a delay. Returns its record.

        Shape: `delay` is in the words of `ms`. Raises: ValidationError for a name or option,
        PayloadError naming the field that does not fit, ApiError when lq refuses it.
        """
        queue = self.queue(name)
        told = written(options, PushOptions)
        if delay is not None:
            told["delay_ms"] = max(milliseconds("delay", delay), 0)
        sent, told = queue.request(payload, told, options.get("key"))
        lq = await self.lq()
        return records.of_item(await lq.push(queue.name, sent, **told))

    async def job(self, job_id: Name, *, key: str | None = None) -> Record | None:
        """A job by its id, the waiting or running one of a key, or a cron by its id.

        Shape: with `key`, the first argument is the name of its handler. None when there is none.
        """
        lq = await self.lq()
        if _is_schedule(job_id) and key is None:
            found = await _known(lq.schedule(str(job_id)))
            return None if found is None else records.of_schedule(found)
        item = await _known(lq.item(self._ref(job_id, key)))
        return None if item is None else records.of_item(item)

    async def cancel(self, job_id: Name, *, key: str | None = None) -> Record | None:
        """End a job that waits, let one that runs not be retried, or end a cron.

        Shape: as `job`; ApiError when the job is finished already.
        """
        lq = await self.lq()
        if _is_schedule(job_id) and key is None:
            gone = await _known(lq.delete_schedule(str(job_id)))
            if gone is not None:
                self._crons.pop(gone.get("key", ""), None)
            return None if gone is None else records.of_schedule(gone)
        item = await _known(lq.cancel(self._ref(job_id, key)))
        return None if item is None else records.of_item(item)

    # -- crons -------------------------------------------------------------------------------

    @overload
    def cron(
        self,
        rule: str,
        name: Name,
        payload: Any = NOTHING,
        *,
        key: str | None = None,
        timezone: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Cron: ...
    @overload
    def cron(
        self,
        rule: Name,
        name: Any = NOTHING,
        *,
        every: Interval,
        key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Cron: ...
    def cron(
        self,
        rule: Any,
        name: Any = NOTHING,
        payload: Any = NOTHING,
        *,
        every: Interval | None = None,
        key: str | None = None,
        timezone: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Cron:
        """Declare a cron: `cron("0 8 * * *", "digest", payload)`, `cron("digest", every="2 days")`.

        Under its key (its name and rule, if none is given) it is one and the same at each start of
        the app, and is changed by what is declared then. `await` it, or `open`, to have it stored.

        Shape: `every` is in the words of `ms`; `times` ends it after so many.
        Raises: ValidationError, PayloadError.
        """
        if every is not None:
            if payload is not NOTHING:
                raise ValidationError.of("every", "stands in the place of a cron expression")
            name, payload, rule = rule, name, interval_rule(every)
        queue = self.queue(name)
        told = written(options, ScheduleOptions)
        sent, told = queue.request(payload, told, key)
        told["key"] = key or f"{queue.name} {rule}"
        if timezone is not None:
            told["tz"] = timezone
        cron = Cron(self.lq, rule, queue, sent, told)
        known = self._crons.setdefault(cron.key, cron)
        if not known.is_like(cron):
            raise ValidationError.of("key", f"two crons are called {cron.key!r}: give one a key")
        self._declare(known)
        return known

    def _declare(self, cron: Cron) -> None:
        """Have a cron stored as soon as can be: with `db` when it is open, else now."""
        if self._lq is None:
            cron.register_soon()
        elif self._lq.is_open_here:
            cron.store_soon()

    @property
    def crons(self) -> Mapping[str, Cron]:
        """What was declared so far, by key."""
        return self._crons

    # -- code that is not async ----------------------------------------------------------------

    def open_sync(self) -> None:
        """`open` for code that is not async: with `db` it lives in a thread until `close_sync`."""
        self._wait_for(self.open())

    def close_sync(self) -> None:
        """`close` for code that is not async."""
        self._wait_for(self.close())
        if self._thread is not None:
            self._thread.close()
            self._thread = self._loop = None

    def enqueue_sync(
        self,
        name: Name,
        payload: Any = NOTHING,
        *,
        delay: Interval | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Record:
        """`enqueue` for code that is not async, handlers that run in threads among it."""
        return self._wait_for(self.enqueue(name, payload, delay=delay, **options))

    def job_sync(self, job_id: Name, *, key: str | None = None) -> Record | None:
        """`job` for code that is not async."""
        return self._wait_for(self.job(job_id, key=key))

    def cancel_sync(self, job_id: Name, *, key: str | None = None) -> Record | None:
        """`cancel` for code that is not async."""
        return self._wait_for(self.cancel(job_id, key=key))

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a verb in the loop that lq lives in, else in a thread's that is made for it."""
        loop = self._loop
        if loop is not None and loop.is_running():
            if loop is running_loop():
                work.close()
                raise RuntimeError("this would wait for its own event loop: use the async verb")
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        if self._thread is None:
            self._thread = LoopThread("lq-orchestrator")
        return self._thread.run(work)

    # -- inside --------------------------------------------------------------------------------

    async def lq(self) -> Lq:
        """The client to ask; an lq in this process is opened by its first use."""
        if self._lq is None:
            return self._daemon.async_client()
        if not self._lq.is_open_here:
            await self.open()
        return self._lq

    def queue(self, name: Name) -> Queue[Any]:
        """The queue of a handler. Raises: ValidationError."""
        known = self._functions.get(name) if callable(name) else name
        queue = self._queues.get(known) if known is not None else None
        if queue is None:
            names = ", ".join(sorted(self._queues))
            raise ValidationError.of("name", f"there is no handler {name!r}; there are {names}")
        return queue

    def _ref(self, job_id: Name, key: str | None) -> str | ByKey:
        if key is not None:
            return ByKey(self.queue(job_id).name, key)
        if not isinstance(job_id, str):
            raise TypeError("name a job by its id, or by its handler and key=")
        return job_id


def _check_name(name: str) -> None:
    try:
        check_queue(name)
    except ValueError as error:
        raise ValidationError.of("handlers", f"the name {name!r} {error}") from None


async def _known(asked: Coroutine[Any, Any, Json]) -> Json | None:
    """The answer, or None when lq knows no such thing."""
    try:
        return await asked
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def _is_schedule(job_id: Name) -> bool:
    return isinstance(job_id, str) and job_id.startswith("sch_")
