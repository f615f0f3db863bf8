"""The client for threads: each verb returns when it is done. No event loop, nothing to await.

Owns: carrying out operations on blocking sockets. It imports no asyncio: `lq push` uses it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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


def _verb(plan: Callable[Concatenate[Verbs, P], Plan[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method that carries a verb out, and returns what its plan returns."""

    @wraps(plan)
    def method(client: Client, /, *arguments: P.args, **options: P.kwargs) -> T:
        return client._run(plan(_VERBS, *arguments, **options))

    return method


class Client:
    """A daemon's API: at `url` with a `token`, or at its unix `socket`.

    Without either, LQ_API_URL and LQ_TOKEN say where, else it is the daemon of this machine, found
    as the command line finds it. What a verb returns is the API's JSON, as plain dicts and lists.
    `help()` shows it as `Plan[…]`.

    Connections are kept for the next call. Any number of threads may share a client, and a forked
    child makes connections of its own. Use it in a `with`, or `close` it, or just drop it.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        socket: str | Path | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 2,
    ) -> None:
        """Shape: up to `retries` times a call that failed is tried again, where that is safe:
        reads, pushes and new schedules (by an idempotency key), and whatever the daemon cannot
        have got or said it has not done. Units: `timeout_s` is for all of a call, waits included.

        Raises: ValidationError when URL or token cannot be used; TypeError for URL and socket
        together; ConfigError when the lq.toml that says where the socket is cannot be read.
        """
        server = find_server(url, token, socket, os.environ)
        self._session = Session(server, timeout_s=timeout_s, retries=retries)

    def __enter__(self) -> Client:
        self._session.is_open = True
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
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

    def push_many(
        self, queue: str, entries: Iterable[Mapping[str, Any]], **options: Any
    ) -> Iterator[Json]:
        """Add any number of items, in batches: a result for each entry, as they are stored.

        Shape: entries and options as of `push_batch`; only a batch of them is held in memory.
        """
        start = 0
        for lines in in_batches(entries):
            answer = self.push_batch(queue, lines, **options_from(start, options))
            yield from results_from(start, answer)
            start += len(answer["results"])

    def pages(self, listing: Callable[..., Json], **wanted: Any) -> Iterator[Json]:
        """Go through all entries of a listing, as in `pages(client.history, queue="mail")`.

        Shape: `listing` is `items`, `history` or `schedules`; `limit` is the size of a page.
        """
        cursor = None
        while True:
            page = listing(cursor=cursor, **wanted)
            yield from page["items"]
            if (cursor := page.get("cursor")) is None:
                return

    def events(
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
    ) -> Iterator[Json]:
        """Follow what happens, from now on: an event each, as long as one goes through them.

        Shape: those of a queue, of states ("RETRY,FAILED") or verbs ("fail,bury"), of a key, label
        or schedule (an id). A connection that is lost is made anew, and goes on where it was; where
        the daemon has forgotten what came between, the `verb` is "missed". `after` is the `eventId`
        of an earlier event. `watch` is told None of each connection, and why one is lost.
        Raises: Unreachable when no connection came about at first; ApiError when it is refused.
        """
        wanted = {"queue": queue, "state": state, "verb": verb, "key": key, "label": label}
        stream = Stream(self._session, {**wanted, "schedule": schedule}, after, watch)
        self._carried_out(stream.begin())
        return self._followed(stream)

    def _followed(self, stream: Stream) -> Iterator[Json]:
        try:
            while True:
                yield self._carried_out(stream.next())
        finally:
            stream.close()

    def _run(self, plan: Plan[T]) -> T:
        return self._carried_out(self._session.run(plan))

    def _carried_out(self, effects: Effects[T]) -> T:
        try:
            operation = next(effects)
            while True:
                try:
                    result = _perform(operation)
                except (OSError, UnicodeError) as error:
                    operation = effects.throw(error)
                else:
                    operation = effects.send(result)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            effects.close()


def _perform(operation: Operation) -> Any:
    match operation:
        case Dial(server, left_s):
            return _dial(server, left_s)
        case Send(connection, data, left_s):
            connection.settimeout(left_s)
            connection.sendall(data)
            return None
        case Receive(connection, left_s):
            connection.settimeout(left_s)
            return connection.recv(CHUNK)
        case Pause(seconds):
            return time.sleep(seconds)


def _dial(server: Server, left_s: float) -> Socket:
    if isinstance(server, UnixServer):
        return _opened(socket.AF_UNIX, str(server.path), left_s)
    failure: OSError | None = None
    found = socket.getaddrinfo(server.name, server.port, type=socket.SOCK_STREAM)
    for family, _, _, _, address in found:
        try:
            opened = _opened(family, address, left_s)
        except OSError as error:
            failure = failure or error
            continue
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened
    raise failure or OSError("no address has this name")


def _opened(family: int, address: Any, left_s: float) -> Socket:
    opened = Socket(family)
    try:
        opened.settimeout(left_s)
        opened.connect(address)
    except BaseException:
        opened.close()
        raise
    return opened
