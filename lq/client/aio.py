"""The client for an event loop: each verb is a coroutine.

Owns: carrying out operations on the running loop, and how many calls run at once. Never blocks
the loop. Sockets are asked for bytes, not wrapped in transports: so a kept connection belongs to
no loop, and a client serves one event loop after another.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from lq.client.batch import in_batches, options_from, results_from
from lq.client.servers import Server, UnixServer, find_server
from lq.client.session import CHUNK, Dial, Effects, Operation, Pause, Receive, Send, Session, Socket
from lq.client.stream import Stream, Watch
from lq.client.verbs import Json, Plan, Verbs

P = ParamSpec("P")
T = TypeVar("T")

_VERBS = Verbs()


def _verb(
    plan: Callable[Concatenate[Verbs, P], Plan[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """The method that carries a verb out, and returns what its plan returns."""

    @wraps(plan)
    async def method(client: AsyncClient, /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client._run(plan(_VERBS, *arguments, **options))

    return method


class AsyncClient:
    """A daemon's API in coroutines: at `url` with a `token`, or at its unix `socket`.

    Without either, LQ_API_URL and LQ_TOKEN say where, else it is the daemon of this machine, found
    as the command line finds it. What a verb returns is the API's JSON, as plain dicts and lists.
    `help()` shows it as `Plan[…]`.

    Connections are kept for the next call. Any number of tasks may share a client; a call that is
    cancelled takes its connection with it and no other. Use it in an `async with`, or `close` it,
    or just drop it.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        socket: str | Path | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 2,
        connections: int = 16,
    ) -> None:
        """Shape: up to `retries` times a call that failed is tried again, where that is safe:
        reads, pushes and new schedules (by an idempotency key), and whatever the daemon cannot
        have got or said it has not done. Of more calls at once than `connections` the rest wait.
        Units: `timeout_s` is for all of a call from when its turn comes, waits included.

        Raises: ValidationError when URL or token cannot be used; TypeError for URL and socket
        together; ConfigError when the lq.toml that says where the socket is cannot be read.
        """
        server = find_server(url, token, socket, os.environ)
        self._session = Session(server, timeout_s=timeout_s, retries=retries)
        self._connections = connections
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def __aenter__(self) -> AsyncClient:
        self._session.is_open = True
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are kept. A later call opens one for itself."""
        self._session.close()

    @property
    def where(self) -> str:
        """The daemon's address, for people."""
        return self._session.server.where

    push = _verb(Verbs.push)
    push_batch = _verb(Verbs.push_batch)
    item = _verb(Verbs.item)
    find = _verb(Verbs.find)
    cancel = _verb(Verbs.cancel)
    edit = _verb(Verbs.edit)
    run = _verb(Verbs.run)
    retry = _verb(Verbs.retry)
    attempts = _verb(Verbs.attempts)
    why = _verb(Verbs.why)
    logs = _verb(Verbs.logs)
    items = _verb(Verbs.items)
    history = _verb(Verbs.history)
    failures = _verb(Verbs.failures)
    replay = _verb(Verbs.replay)
    cancel_many = _verb(Verbs.cancel_many)
    purge = _verb(Verbs.purge)

    create_schedule = _verb(Verbs.create_schedule)
    schedules = _verb(Verbs.schedules)
    schedule = _verb(Verbs.schedule)
    edit_schedule = _verb(Verbs.edit_schedule)
    delete_schedule = _verb(Verbs.delete_schedule)
    run_schedule = _verb(Verbs.run_schedule)
    pause_schedule = _verb(Verbs.pause_schedule)
    resume_schedule = _verb(Verbs.resume_schedule)
    schedule_next = _verb(Verbs.schedule_next)
    schedule_calendar = _verb(Verbs.schedule_calendar)
    cron = _verb(Verbs.cron)

    queues = _verb(Verbs.queues)
    queue = _verb(Verbs.queue)
    edit_queue = _verb(Verbs.edit_queue)
    delete_queue = _verb(Verbs.delete_queue)
    pause = _verb(Verbs.pause)
    resume = _verb(Verbs.resume)

    create_token = _verb(Verbs.create_token)
    tokens = _verb(Verbs.tokens)
    revoke_token = _verb(Verbs.revoke_token)

    scriptlets = _verb(Verbs.scriptlets)
    alerts = _verb(Verbs.alerts)
    test_alert = _verb(Verbs.test_alert)
    secret = _verb(Verbs.secret)
    rotate_secret = _verb(Verbs.rotate_secret)
    revoke_old_secrets = _verb(Verbs.revoke_old_secrets)
    checkup = _verb(Verbs.checkup)
    endpoints = _verb(Verbs.endpoints)
    check_endpoint = _verb(Verbs.check_endpoint)
    config = _verb(Verbs.config)
    attention = _verb(Verbs.attention)
    drain = _verb(Verbs.drain)
    drained = _verb(Verbs.drained)
    end_drain = _verb(Verbs.end_drain)
    reload = _verb(Verbs.reload)
    overview = _verb(Verbs.overview)
    activity = _verb(Verbs.activity)
    panel_link = _verb(Verbs.panel_link)
    begin_backup = _verb(Verbs.begin_backup)
    backup = _verb(Verbs.backup)
    backup_part = _verb(Verbs.backup_part)
    forget_backup = _verb(Verbs.forget_backup)
    hold = _verb(Verbs.hold)
    release = _verb(Verbs.release)

    listen = _verb(Verbs.listen)
    listeners = _verb(Verbs.listeners)
    next_call = _verb(Verbs.next_call)
    answer_call = _verb(Verbs.answer_call)
    unlisten = _verb(Verbs.unlisten)
    send_copy = _verb(Verbs.send_copy)
    send_sample = _verb(Verbs.send_sample)
    info = _verb(Verbs.info)
    healthz = _verb(Verbs.healthz)
    ready = _verb(Verbs.ready)
    openapi = _verb(Verbs.openapi)

    async def push_many(
        self, queue: str, entries: Iterable[Mapping[str, Any]], **options: Any
    ) -> AsyncIterator[Json]:
        """Add any number of items, in batches: a result for each entry, as they are stored.

        Shape: entries and options as of `push_batch`; only a batch of them is held in memory.
        """
        start = 0
        for lines in in_batches(entries):
            answer = await self.push_batch(queue, lines, **options_from(start, options))
            for result in results_from(start, answer):
                yield result
            start += len(answer["results"])

    async def pages(
        self, listing: Callable[..., Awaitable[Json]], **wanted: Any
    ) -> AsyncIterator[Json]:
        """Go through all entries of a listing, as in `pages(client.history, queue="mail")`.

        Shape: `listing` is `items`, `history` or `schedules`; `limit` is the size of a page.
        """
        cursor = None
        while True:
            page = await listing(cursor=cursor, **wanted)
            for entry in page["items"]:
                yield entry
            if (cursor := page.get("cursor")) is None:
                return

    async def events(
        self,
        *,
        queue: str | None = None,
        state: str | None = None,
        verb: str | None = None,
        key: str | None = None,
        label: str | None = None,
        schedule: str | None = None,
        after: str | None = None,
        watch: Watch | None = None,
    ) -> AsyncIterator[Json]:
        """Follow what happens, from the first step on: an event each, as long as one asks for them.

        Shape: those of a queue, of states ("RETRY,FAILED") or verbs ("fail,bury"), of a key, label
        or schedule (an id). A connection that is lost is made anew, and goes on where it was; where
        the daemon has forgotten what came between, the `verb` is "missed". `after` is the `eventId`
        of an earlier event. `watch` is told None of each connection, and why one is lost.
        Raises: Unreachable when no connection came about at first; ApiError when it is refused.
        """
        wanted = {"queue": queue, "state": state, "verb": verb, "key": key, "label": label}
        stream = Stream(self._session, {**wanted, "schedule": schedule}, after, watch)
        try:
            while True:
                yield await _carried_out(stream.next())
        finally:
            stream.close()

    async def _run(self, plan: Plan[T]) -> T:
        async with self._turn():
            return await _carried_out(self._session.run(plan))

    def _turn(self) -> asyncio.Semaphore:
        """What bounds the calls that run at once on the running loop."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Semaphore(self._connections))
        return self._turns[1]


async def _carried_out(effects: Effects[T]) -> T:
    try:
        operation = next(effects)
        while True:
            try:
                result = await _perform(operation)
            except (OSError, UnicodeError) as error:
                operation = effects.throw(error)
            else:
                operation = effects.send(result)
    except StopIteration as done:
        value: T = done.value
        return value
    finally:
        effects.close()


async def _perform(operation: Operation) -> Any:
    loop = asyncio.get_running_loop()
    match operation:
        case Dial(server, left_s):
            async with asyncio.timeout(left_s):
                return await _dial(loop, server)
        case Send(connection, data, left_s):
            connection.setblocking(False)
            async with asyncio.timeout(left_s):
                return await loop.sock_sendall(connection, data)
        case Receive(connection, left_s):
            connection.setblocking(False)
            async with asyncio.timeout(left_s):
                return await loop.sock_recv(connection, CHUNK)
        case Pause(seconds):
            return await asyncio.sleep(seconds)


async def _dial(loop: asyncio.AbstractEventLoop, server: Server) -> Socket:
    if isinstance(server, UnixServer):
        return await _opened(loop, socket.AF_UNIX, str(server.path))
    if server.is_secured:
        await asyncio.to_thread(lambda: server.tls)  # loading the authorities takes a while
    found = await loop.getaddrinfo(server.name, server.port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for family, _, _, _, address in found:
        try:
            opened = await _opened(loop, family, address)
        except OSError as error:
            failure = failure or error
            continue
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened
    raise failure or OSError("no address has this name")


async def _opened(loop: asyncio.AbstractEventLoop, family: int, address: Any) -> Socket:
    opened = Socket(family)
    try:
        opened.setblocking(False)
        await loop.sock_connect(opened, address)
    except BaseException:
        opened.close()
        raise
    return opened
