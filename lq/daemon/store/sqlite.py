"""The Store on one SQLite file: each verb handed to the writer, or asked of the reader.

The verbs themselves are in pushing, batching, running, editing, queues, schedules and reading;
this file only says which of them write, and in which order those of one commit are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from lq.activity import Tally
from lq.alerts import Notice, Watch
from lq.attention import Troubled
from lq.backups import Hold
from lq.batch import Batched, NewBatch
from lq.daemon.store import (
    AlertBook,
    Claimed,
    Examined,
    Fire,
    Judged,
    Minute,
    Place,
    ResolvedEdit,
    Snapshot,
    Wanted,
    activity,
    alerts,
    answers,
    attention,
    backup,
    batching,
    bulk,
    editing,
    finding,
    freeing,
    overview,
    pushing,
    queues,
    reading,
    rows,
    running,
    schedules,
)
from lq.daemon.store.database import Database, Late, open_database, open_file, open_memory
from lq.daemon.store.migrate import needs_check
from lq.daemon.store.queries import named
from lq.daemon.store.rows import Row
from lq.daemon.store.transaction import Transaction
from lq.errors import RequestError, StorageFull, Unavailable
from lq.finding import Failure, FailureFilter, Step
from lq.model import (
    Accepted,
    Attempt,
    Idempotency,
    Job,
    JobFilter,
    MadeSchedule,
    NewJob,
    Page,
    Process,
    Pushed,
    Queue,
    QueueEdit,
    Ref,
    Run,
    Schedule,
    ScheduleFilter,
    ScheduleRef,
    Settled,
    Settlement,
    Token,
)

P = ParamSpec("P")
T = TypeVar("T")


async def open_store(folder: Path) -> SqliteStore:
    """Open the store of a data folder, making it if need be.

    Raises: InUse, DataError, StartError; nothing of a refused database is changed.
    """
    return SqliteStore(await open_database(folder, JobBook()))


async def open_store_at(path: Path | None) -> SqliteStore:
    """Open the store in a file of one's choosing, or without a path in memory.

    Raises: InUse, DataError, StartError; nothing of a refused database is changed.
    """
    book = JobBook()
    return SqliteStore(await (open_memory(book) if path is None else open_file(path, book)))


class SqliteStore:
    """See `lq.daemon.store.Store` for the verbs."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def run(self) -> None:
        database = self.database
        if not database.in_memory:
            backup.remove(backup.part_of(database.path))  # what a crash has left
            if needs_check(database.path):
                # What cannot be read just now is not damaged; damage found later ends it, too.
                with contextlib.suppress(Unavailable):
                    await database.check()
        await database.run()

    async def close(self) -> None:
        await self.database.close()

    def push(self, job: NewJob) -> asyncio.Future[Pushed]:
        return self.database.write("push", job)

    async def pushed_before(self, asked: Idempotency) -> Pushed | None:
        return await self._ask(answers.known, asked, Pushed)

    def push_batch(self, batch: NewBatch) -> asyncio.Future[Batched]:
        return self.database.write("other", partial(batching.push_batch, batch=batch))

    async def batched_before(self, asked: Idempotency) -> Batched | None:
        return await self._ask(answers.known, asked, Batched)

    async def claim(self, wanted: Wanted) -> list[Claimed]:
        claimed: list[Claimed] = await self.database.write("claim", Late(wanted))
        return claimed

    async def settle(self, settlement: Settlement) -> Settled:
        settled: Settled = await self.database.write("settle", settlement)
        return settled

    async def accept(self, accepted: Accepted) -> bool:
        return await self._do(running.accept, accepted)

    async def extend(self, run: Run, deadline_at: int) -> bool:
        return await self._do(running.extend, run, deadline_at)

    async def accepted(self) -> list[Accepted]:
        return await self._ask(running.accepted)

    async def callback_key(self) -> bytes:
        [(key,)] = await self._ask(lambda fetch: fetch("callback_key"))
        found: bytes = key
        return found

    async def orphans(self, now: int) -> list[Run]:
        # A disk that cannot be written must not keep the daemon from starting; the first claim
        # makes up for it.
        with contextlib.suppress(StorageFull, Unavailable):
            await self._do(running.close_lost_runs, now)
        # Read beside the writer, who may have to wait for another process.
        return await self._ask(running.orphans)

    async def put_process(self, run_id: int, process: Process) -> bool:
        return await self._do(running.put_process, run_id, process)

    async def processes(self) -> list[tuple[str, Process]]:
        return await self._ask(running.processes)

    async def get(self, ref: Ref) -> Job | None:
        return await self._ask(reading.get, ref)

    async def cancel(self, ref: Ref, now: int) -> Job | None:
        return await self._do(editing.cancel, ref, now)

    async def edit(self, ref: Ref, edit: ResolvedEdit) -> Job | None:
        return await self._do(editing.edit, ref, edit)

    async def revive(self, ref: Ref, now: int, edit: ResolvedEdit | None = None) -> Job | None:
        return await self._do(editing.revive, ref, now, edit)

    async def pick(
        self, wanted: JobFilter, *, finished: bool
    ) -> tuple[tuple[int, ...], str | None]:
        pick = finding.finished_at if finished else finding.unfinished_at
        seqs, cursor = await self._ask(pick, wanted)
        return tuple(seqs), cursor

    async def revive_many(self, seqs: Sequence[int], due: Sequence[int], now: int) -> Step:
        return await self._do(bulk.revive, seqs, due, now)

    async def cancel_many(self, seqs: Sequence[int], now: int, *, running: bool) -> Step:
        return await self._do(bulk.cancel, seqs, now, running=running)

    async def failures(self, wanted: FailureFilter) -> Page[Failure]:
        return await self._ask(finding.failures, wanted)

    async def expire(self, now: int, limit: int) -> tuple[tuple[Job, ...], int | None]:
        return await self._do(editing.expire, now, limit)

    async def prune(self, finished_before: int, fired_before: int, limit: int) -> int:
        pruned = 0
        while pruned < limit:
            step = await self._do(editing.prune, finished_before, fired_before, limit - pruned)
            if not step:
                break
            pruned += step
        return pruned

    def observe(self, committed: Callable[[int, float], None]) -> None:
        self.database.committed = committed

    async def sizes(self) -> tuple[int, int]:
        return self.database.sizes()

    async def schedule_counts(self, overdue_before: int) -> tuple[int, int]:
        return await self._ask(schedules.counts, overdue_before)

    async def examine(self, *, deep: bool) -> Examined:
        return await self.database.examine(deep=deep)

    async def place(self, job: Job, now: int) -> Place:
        return await self._ask(reading.place, job, now)

    async def attempts(self, ref: Ref) -> list[Attempt] | None:
        return await self._ask(reading.attempts, ref)

    async def unfinished(self, wanted: JobFilter) -> Page[Job]:
        return await self._ask(finding.unfinished, wanted)

    async def finished(self, wanted: JobFilter) -> Page[Job]:
        return await self._ask(finding.finished, wanted)

    async def queues(self) -> list[Queue]:
        return await self._ask(reading.queues)

    async def queue(self, name: str) -> Queue | None:
        found = await self._ask(reading.queues, name)
        return found[0] if found else None

    async def set_queue(self, name: str, edit: QueueEdit, now: int) -> Queue:
        return await self._do(queues.set_queue, name, edit, now)

    async def held_queues(self) -> list[str]:
        return [name for (name,) in await self._ask(lambda fetch: fetch("held_queues"))]

    async def let_go_on(self, name: str) -> None:
        await self._do(queues.let_go_on, name)

    async def delete_queue(self, name: str, now: int, *, force: bool) -> int | None:
        cancelled = 0
        while step := await self._do(queues.delete_queue, name, now, force=force):
            cancelled += step.cancelled
            if step.done:
                return cancelled
        # Gone; but if it was there at the first step, another caller has done the last one.
        return cancelled or None

    async def put_schedule(self, schedule: Schedule) -> None:
        await self._do(schedules.put, schedule)

    async def make_schedule(
        self, asked: Idempotency, made: MadeSchedule, put: Schedule | None
    ) -> MadeSchedule:
        return await self._do(schedules.make, asked, made, put)

    async def made_before(self, asked: Idempotency) -> MadeSchedule | None:
        return await self._ask(answers.known, asked, MadeSchedule)

    async def forget_answers(self, now: int, limit: int) -> int:
        return await self._do(answers.forget, now, limit)

    async def put_schedules(self, schedules_: Sequence[Schedule], gone: Sequence[str]) -> None:
        await self._do(schedules.put_all, schedules_, gone)

    async def schedule(self, ref: ScheduleRef) -> Schedule | None:
        return await self._ask(schedules.get, ref)

    async def schedules(self, wanted: ScheduleFilter) -> Page[Schedule]:
        return await self._ask(schedules.page, wanted)

    async def delete_schedule(self, schedule_id: str) -> bool:
        return await self._do(schedules.delete, schedule_id)

    async def due_schedules(self, now: int, limit: int) -> list[Schedule]:
        return await self._ask(schedules.due, now, limit)

    async def running_first(self, patterns: Sequence[str], limit: int) -> list[Run]:
        return await self._ask(overview.running, patterns, limit)

    async def schedules_next(self, patterns: Sequence[str], limit: int) -> list[Schedule]:
        return await self._ask(overview.next_schedules, patterns, limit)

    async def add_activity(self, minutes: Sequence[Minute], now: int) -> None:
        await self._do(activity.add, minutes, now)

    async def activity(
        self,
        slot_ms: int,
        first_at: int,
        end_at: int,
        *,
        queue: str | None,
        patterns: Sequence[str],
    ) -> list[tuple[int, Tally]]:
        return await self._ask(
            activity.find, slot_ms, first_at, end_at, queue=queue, patterns=patterns
        )

    async def troubled(self, patterns: Sequence[str], limit: int) -> list[Troubled]:
        return await self._ask(attention.troubled, patterns, limit)

    async def held_jobs(
        self, queue: str, target: str, reasons: Sequence[str], now: int
    ) -> list[tuple[int, str]]:
        return await self._ask(freeing.held, queue, target, reasons, now)

    async def free_jobs(self, jobs: Sequence[tuple[int, str]], now: int) -> None:
        await self._do(freeing.free, jobs, now)

    async def next_schedule(self) -> int | None:
        return await self._ask(schedules.next_due)

    async def fire(self, fires: Sequence[Fire], mark: int) -> list[Job]:
        return await self._do(schedules.fire, fires, mark)

    async def seen_after(self, at: int, limit: int) -> list[Schedule]:
        return await self._ask(schedules.seen_after, at, limit)

    async def latest_seen(self) -> int | None:
        return await self._ask(schedules.latest_seen)

    async def clock_mark(self) -> int | None:
        return await self._ask(schedules.clock_mark)

    async def set_clock_mark(self, at: int) -> None:
        await self._do(schedules.set_clock_mark, at)

    async def add_token(self, token: Token) -> None:
        await self._do(queues.add_token, token)

    async def tokens(self) -> list[Token]:
        return [rows.token(row) for row in await self._ask(lambda fetch: fetch("tokens"))]

    async def revoke_token(self, name: str, now: int) -> Token | None:
        return await self._do(queues.revoke_token, name, now)

    async def touch_token(self, digest: bytes, now: int) -> None:
        await self._do(queues.touch_token, digest, now)

    def watch(self, watch: Watch, noticed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.database.book.watch(watch, partial(_soon, loop, noticed))

    async def notices(self, limit: int) -> list[tuple[int, Notice]]:
        return await self._do(alerts.notices, limit)

    async def alert_book(self) -> AlertBook:
        return await self._ask(alerts.book)

    async def judged(self, done: Judged) -> list[Job]:
        return await self._do(alerts.judged, done)

    async def late(self, queue: str, before: int, limit: int, now: int) -> list[Notice]:
        return await self._ask(alerts.late, queue, before, limit, now)

    async def running_since(self, before: int, limit: int, now: int) -> list[Notice]:
        return await self._ask(alerts.running, before, limit, now)

    async def snapshot(self, at: int, tell: backup.Tell, cut: backup.Cut) -> Snapshot:
        if self.database.in_memory:
            raise Unavailable("a database in memory has no backup")
        return await asyncio.to_thread(backup.snapshot, self.database.path, at, tell, cut)

    async def hold(self) -> Hold | None:
        return await self._ask(backup.hold)

    async def end_hold(self) -> None:
        await self._do(backup.end_hold)

    async def _do(
        self,
        verb: Callable[Concatenate[Transaction, P], T | RequestError],
        *values: P.args,
        **named_values: P.kwargs,
    ) -> T:
        """Write: run a verb in the next transaction; a RequestError it returns is raised here."""
        call = partial(_call, verb, values, named_values)
        answer: T = await self.database.write("other", call)
        return answer

    async def _ask(
        self, query: Callable[Concatenate[reading.Fetch, P], T], *values: P.args, **kw: P.kwargs
    ) -> T:
        """Read: run a query beside the writer."""
        return await self.database.read(lambda connection: query(_fetch(connection), *values, **kw))


def _call(
    verb: Callable[..., Any], values: tuple[Any, ...], named_values: dict[str, Any], tx: Transaction
) -> Any:
    return verb(tx, *values, **named_values)


def _fetch(connection: sqlite3.Connection) -> reading.Fetch:
    def fetch(name: str, /, **values: Any) -> list[Row]:
        return connection.execute(named()[name], values).fetchall()

    return fetch


class JobBook:
    """Applies the writes of one moment inside one transaction, on SQLite's thread.

    Ends of runs come first, then single verbs in the order they came, then pushes; claims
    last, so that a claim finds what has just been pushed or given back.
    """

    def __init__(self) -> None:
        self._tx: Transaction | None = None
        self._watch = Watch(())
        self._noticed: Callable[[], None] = _nobody

    def apply(self, connection: sqlite3.Connection, group: Sequence[tuple[str, Any]]) -> list[Any]:
        tx = self._tx = self._tx or Transaction(connection)
        tx.watch = self._watch
        answers: list[Any] = [None] * len(group)
        places: dict[str, list[int]] = {"settle": [], "other": [], "push": [], "claim": []}
        for place, (verb, _) in enumerate(group):
            places[verb].append(place)
        _answer(answers, places["settle"], running.settle(tx, _arguments(group, places["settle"])))
        for place in places["other"]:
            answers[place] = group[place][1](tx)
        _answer(answers, places["push"], pushing.push(tx, _arguments(group, places["push"])))
        for place in places["claim"]:
            answers[place] = running.claim(tx, *group[place][1])
        tx.book_counts()
        if tx.noticed:
            # Before the commit; who asks for notices is answered after it.
            tx.noticed = False
            self._noticed()
        return answers

    def undo(self) -> None:
        if self._tx is not None:
            self._tx.undo()

    def count(self, connection: sqlite3.Connection) -> int:
        number: int = connection.execute(named()["given_ids"]).fetchone()[0]
        return number

    def watch(self, watch: Watch, noticed: Callable[[], None]) -> None:
        self._watch, self._noticed = watch, noticed


def _nobody() -> None:
    """Nobody waits for notices."""


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call back on the event loop, from SQLite's thread."""
    loop.call_soon_threadsafe(callback)


def _arguments(group: Sequence[tuple[str, Any]], places: Sequence[int]) -> list[Any]:
    return [group[place][1] for place in places]


def _answer(answers: list[Any], places: Sequence[int], results: Sequence[Any]) -> None:
    for place, result in zip(places, results, strict=True):
        answers[place] = result
