"""The verbs of the SQLite store on schedules, and the mark of the clock.

Owns what becomes of a schedule's jobs inside the transaction that moves it on: which are made,
skipped or dropped. Never decides when a schedule is due; that comes with each Fire.

Invariant: a schedule has one job for a nominal time, and `fired` counts those that were made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from lq.daemon.store import Fire, alerts, answers, rows
from lq.daemon.store.pushing import Batch
from lq.daemon.store.reading import Fetch
from lq.daemon.store.rows import Row
from lq.daemon.store.transaction import Transaction
from lq.errors import IdempotencyMismatch, KeyExists, ValidationError
from lq.model import (
    ById,
    Idempotency,
    Job,
    MadeSchedule,
    NewJob,
    Overlap,
    Page,
    Schedule,
    ScheduleFilter,
    ScheduleRef,
)
from lq.patterns import meant

# What the payloads of one answer may hold: each of them becomes a job in one transaction.
_DUE_BYTES = 16 << 20


def put(tx: Transaction, schedule: Schedule) -> KeyExists | None:
    """Insert a schedule, or change the one with its id."""
    spec, last = schedule.spec, schedule.last
    if spec.key is not None:
        other = tx.one("schedule_with_key", key=spec.key, id=schedule.id)
        if other is not None:
            return KeyExists(
                f"a schedule with key {spec.key!r} exists: {other[0]}",
                hint="change or delete that schedule, or choose another key",
            )
    row = tx.one(
        "put_schedule",
        id=schedule.id,
        key=spec.key,
        queue=spec.push.queue,
        rule=spec.rule,
        zone=spec.zone,
        times=spec.times,
        start_at=spec.start_at,
        until_at=spec.until_at,
        jitter_ms=spec.jitter_ms,
        misfire=spec.misfire,
        overlap=spec.overlap,
        origin=schedule.origin,
        options=rows.options_text(spec.push),
        created_at=schedule.created_at,
        anchor_at=schedule.anchor_at,
        seen_at=schedule.seen_at,
        next_at=schedule.next_at,
        fired=schedule.fired,
        last_at=schedule.last_at,
        last_job=None if last is None else last.id,
        paused=schedule.paused,
        reason=schedule.reason,
    )
    assert row is not None
    tx.change("put_schedule_payload", seq=row[0], body=spec.push.payload)
    return None


def make(
    tx: Transaction, asked: Idempotency, made: MadeSchedule, schedule: Schedule | None
) -> MadeSchedule | KeyExists | IdempotencyMismatch:
    """Put a schedule if there is one, and keep what is answered; or what was answered before."""
    try:
        earlier = answers.known(tx.all, asked, MadeSchedule)
    except IdempotencyMismatch as error:
        return error
    if earlier is not None:
        return earlier
    if schedule is not None and (taken := put(tx, schedule)):
        return taken
    answers.keep(tx, asked, made)
    return made


def put_all(
    tx: Transaction, schedules: Sequence[Schedule], gone: Sequence[str]
) -> KeyExists | None:
    """Forget some schedules, then insert or change others."""
    for schedule_id in gone:
        delete(tx, schedule_id)
    for schedule in schedules:
        if taken := put(tx, schedule):
            return taken
    return None


def delete(tx: Transaction, schedule_id: str) -> bool:
    """Forget a schedule."""
    return tx.change("delete_schedule", id=schedule_id) > 0


def get(fetch: Fetch, ref: ScheduleRef) -> Schedule | None:
    """One schedule with its payload."""
    if isinstance(ref, ById):
        found = fetch("schedule_by_id", id=ref.id)
    else:
        found = fetch("schedule_by_key", key=ref.key)
    return rows.schedule(found[0], found[0][-1]) if found else None


def page(fetch: Fetch, wanted: ScheduleFilter) -> Page[Schedule]:
    """Schedules after the cursor: first those with a key, by it, then the others by creation."""
    key, place = _cursor(wanted.cursor)
    shared = {
        "queue": wanted.queue,
        "queues": json.dumps(_matching(fetch, wanted.queues)) if wanted.queues else None,
        "origin": wanted.origin,
    }
    found: list[Row] = []
    if key is not None:
        found = fetch("schedules_with_key", after_key=key, limit=wanted.limit + 1, **shared)
    if len(found) <= wanted.limit:
        found += fetch(
            "schedules_without_key",
            after_created=place[0],
            after_seq=place[1],
            limit=wanted.limit + 1 - len(found),
            **shared,
        )
    shown = found[: wanted.limit]
    more = _place(shown[-1]) if len(found) > wanted.limit else None
    return Page(tuple(rows.schedule(row) for row in shown), more)


def _matching(fetch: Fetch, patterns: Sequence[str]) -> list[str]:
    """The queues of schedules that one of these shell patterns means."""
    names: list[str] = [name for (name,) in fetch("schedule_queues")]
    return [name for name in names if meant(name, patterns)]


def _place(row: Row) -> str:
    key: str | None = row[3]
    return f"n.{row[12]}.{row[26]}" if key is None else f"k.{key.encode().hex()}"


def _cursor(text: str | None) -> tuple[str | None, tuple[int, int]]:
    """Read a cursor that an earlier page gave: the key it ended with, or the place without one.

    Shape: the key is None once those with a key have been shown.
    """
    start = (-1, -1)
    match ("k." if text is None else text).split("."):
        case ["k", digits] if (key := _unhex(digits)) is not None:
            return key, start
        case ["n", created, seq] if _is_number(created) and _is_number(seq):
            return None, (int(created), int(seq))
    raise ValidationError.of("cursor", "not a cursor that this listing gave")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _unhex(digits: str) -> str | None:
    try:
        key = bytes.fromhex(digits).decode()
    except ValueError:
        return None
    return key if key.encode().hex() == digits else None


def latest_seen(fetch: Fetch) -> int | None:
    """The latest instant up to which a schedule that is not paused has seen its times."""
    at: int | None = fetch("latest_seen")[0][0]
    return at


def counts(fetch: Fetch, overdue_before: int) -> tuple[int, int]:
    """How many there are, and how many should have fired before an instant."""
    [(all_of_them, overdue)] = fetch("schedule_counts", before=overdue_before)
    return all_of_them, overdue


def due(fetch: Fetch, now: int, limit: int) -> list[Schedule]:
    """The schedules longest due; fewer than `limit` when their payloads are large."""
    found: list[Schedule] = []
    held = 0
    for schedule in _due(fetch, now, limit):
        held += len(schedule.spec.push.payload)
        if found and held > _DUE_BYTES:
            break
        found.append(schedule)
    return found


def _due(fetch: Fetch, now: int, limit: int) -> Iterator[Schedule]:
    """Each due schedule; one with a large payload is read again, whole, as it is by then."""
    [[text]] = fetch("due_schedules", now=now, limit=limit, inline=rows.INLINE_BYTES)
    for row in msgspec.json.decode(text):
        if row[-1] is not None:
            yield rows.schedule(row, bytes.fromhex(row[-1]))
            continue
        schedule = get(fetch, ById(row[0]))
        if schedule and schedule.next_at is not None and schedule.next_at <= now:
            yield schedule


def next_due(fetch: Fetch) -> int | None:
    """When the first schedule is due."""
    [[next_at]] = fetch("next_schedule")
    found: int | None = next_at
    return found


def seen_after(fetch: Fetch, at: int, limit: int) -> list[Schedule]:
    """The schedules that have dealt with times after an instant."""
    return [rows.schedule(row) for row in fetch("schedules_seen_after", at=at, limit=limit)]


def clock_mark(fetch: Fetch) -> int | None:
    found = fetch("clock_mark")
    return found[0][0] if found else None


def set_clock_mark(tx: Transaction, at: int) -> None:
    tx.change("set_clock_mark", at=at)


class _Position(msgspec.Struct, array_like=True):
    """Where a schedule is, on its way through the Fires of one transaction.

    Shape: the order is that of the statement `positions`. `unfinished` is the id of a job that
    keeps a schedule with overlap `skip` from making another.
    """

    id: str
    seen_at: int
    next_at: int | None
    times: int | None
    fired: int
    last_at: int | None
    last_job: str | None
    paused: bool
    reason: str | None
    overlap: Overlap
    unfinished: str | None

    def takes(self, fire: Fire) -> bool:
        """Whether a Fire is meant for this position."""
        return fire.seen_before == self.seen_at and (not self.paused or _by_hand(fire))

    @property
    def ended(self) -> bool:
        return self.times is not None and self.fired >= self.times

    def note(self, made: NewJob, at: int | None) -> None:
        """A job was made, for a nominal time or by hand."""
        self.last_job = made.id
        if at is not None:
            self.fired += 1
            self.last_at = at if self.last_at is None else max(self.last_at, at)
        if self.overlap is Overlap.SKIP and self.unfinished is None:
            self.unfinished = made.id

    def move(self, fire: Fire) -> None:
        """Go on to where a Fire leads; a run by hand leads nowhere."""
        if not _by_hand(fire):
            self.seen_at = fire.seen_at
            self.next_at = None if self.ended else fire.next_at
        if fire.reason is not None:
            self.paused, self.next_at, self.reason = True, None, fire.reason


def fire(tx: Transaction, fires: Sequence[Fire], mark: int) -> list[Job]:
    """Make the jobs of schedules and move them on; the jobs that were made."""
    tx.change("raise_clock_mark", at=mark)
    positions = _positions(tx, fires)
    before = {position.id: position.seen_at for position in positions.values()}
    known = _known_firings(tx, fires)
    batch = Batch(tx)
    jobs: list[Job] = []
    moved: dict[str, _Position] = {}
    stored: list[NewJob] = []
    for one in fires:
        position = positions.get(one.id)
        if position is None or not position.takes(one):
            continue
        moved[one.id] = position
        for new in _wanted(position, one, known):
            job = batch.add(new, tx.queue(new.queue, new.created_at), claim=False).job
            stored.append(new)
            if new.skipped is None:
                jobs.append(job)
        position.move(one)
    batch.insert()
    if tx.watch:
        alerts.note_missed(tx, stored)
    tx.over("move_schedules", [_row(position, before[id_]) for id_, position in moved.items()])
    return jobs


def _wanted(position: _Position, fire: Fire, known: set[tuple[str, int]]) -> Iterator[NewJob]:
    """The jobs of a Fire that are to be stored, those skipped among them."""
    for new in fire.jobs:
        at = _nominal(new)
        if at is not None:
            if position.ended or (fire.id, at) in known:
                continue
            known.add((fire.id, at))
        if new.skipped is None and position.unfinished is not None:
            reason = f"overlap: item {position.unfinished} of this schedule is unfinished"
            yield replace(new, skipped=reason)
            continue
        if new.skipped is None:
            position.note(new, at)
        yield new


def _nominal(new: NewJob) -> int | None:
    """The time a job is made for; None for one made by hand."""
    return None if new.firing is None else new.firing.at


def _by_hand(fire: Fire) -> bool:
    """Whether somebody asked for these jobs, and no time did."""
    return bool(fire.jobs) and all(_nominal(new) is None for new in fire.jobs)


def _positions(tx: Transaction, fires: Sequence[Fire]) -> dict[str, _Position]:
    asked = [(schedule_id,) for schedule_id in {one.id for one in fires}]
    return {
        position.id: position
        for (text,) in tx.over("positions", asked)
        for position in msgspec.json.decode(text, type=list[_Position])
    }


def _known_firings(tx: Transaction, fires: Sequence[Fire]) -> set[tuple[str, int]]:
    """The times among these for which their schedules have jobs already."""
    times = [(one.id, at) for one in fires for new in one.jobs if (at := _nominal(new)) is not None]
    return {
        (schedule, at)
        for (text,) in tx.over("known_firings", times)
        for schedule, at in msgspec.json.decode(text)
    }


def _row(position: _Position, seen_before: int) -> tuple[Any, ...]:
    return (
        position.id, seen_before, position.seen_at, position.next_at, position.fired,
        position.last_at, position.last_job, position.paused, position.reason,
    )  # fmt: skip
