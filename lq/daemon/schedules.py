"""The verbs on schedules: what making, changing, pausing one means, by API or by lq.toml.

Owns the rules of change: what moves a next time and what leaves it alone, and who may change
what. When schedules fire is the firer's affair.

Invariant: verbs and firings take turns, so none works on a schedule that another is changing.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from lq.clock import Clock
from lq.config import FileSchedule
from lq.daemon.firer import BATCH, CORRECTION_MS, Firer, pages, timing_of
from lq.daemon.resolve import Resolver
from lq.daemon.store import Fire, Store
from lq.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    KeyExists,
    NotFound,
    RequestError,
    ValidationError,
)
from lq.firing import FORETOLD_MS, check_start, is_interval, upcoming
from lq.model import (
    ById,
    FileOrigin,
    Firing,
    Idempotency,
    Job,
    MadeSchedule,
    Origin,
    Page,
    Push,
    PushOutcome,
    Schedule,
    ScheduleChange,
    ScheduleEdit,
    ScheduleFilter,
    ScheduleKey,
    ScheduleRef,
    ScheduleSpec,
)
from lq.month import Day, Span, begin_of, days, month_of
from lq.when import load_zone

log = logging.getLogger(__name__)

T = TypeVar("T")

Allowed = Callable[[Push], None]
"""Raises Forbidden when the caller may not have this pushed by a schedule."""


class Schedules:
    """The schedules of the daemon. `start` must have returned before any verb."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        resolver: Resolver,
        firer: Firer,
        entropy: Callable[[int], bytes],
        gate: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._resolver = resolver
        self._firer = firer
        self._entropy = entropy
        self._gate = gate  # raises when the daemon takes no changes any more
        self._of_file: dict[str, FileSchedule] = {}  # by key, as they were applied last
        self._foretelling = asyncio.Lock()

    # -- verbs -------------------------------------------------------------------------------

    async def create(self, spec: ScheduleSpec, allowed: Allowed) -> tuple[Schedule, PushOutcome]:
        """Make a schedule, or bring the one with its key to this spec. Raises: as `create_once`."""
        made = await self.create_once(spec, allowed, None)
        return made.schedule, made.outcome

    async def create_once(
        self, spec: ScheduleSpec, allowed: Allowed, asked: Idempotency | None
    ) -> MadeSchedule:
        """Do as `create`, but nothing if the same was asked before: the answer is that of then.

        Raises: ValidationError, TargetNotAllowed, Conflict when lq.toml sets that one, KeyExists
        when the key is that of a schedule which the caller is not `allowed` to touch,
        IdempotencyMismatch.
        """
        self._gate()
        self._resolver.named_target(spec.push)
        spec = self._checked(spec)
        async with self._firer.turn:
            found = spec.key and await self._store.schedule(ScheduleKey(spec.key))
            if not found:
                made = self._new(spec, Origin.API)
                _refuse_endless_wait(made)
                return await self._make(made, PushOutcome.CREATED, asked)
            try:
                allowed(found.spec.push)
            except Forbidden:
                raise KeyExists(
                    f"x-lq-key {spec.key!r} is taken",
                    hint="keys are shared by the schedules of all queues: choose another",
                ) from None
            changed = self._changed(found, spec)
            if changed is found:
                return await self._make(found, PushOutcome.KEPT, asked)
            self._refuse_of_file(found)
            if found.next_at is not None:
                _refuse_endless_wait(changed)
            return await self._make(changed, PushOutcome.REPLACED, asked)

    async def made_before(self, asked: Idempotency) -> MadeSchedule | None:
        """What the same request has made before. Raises: IdempotencyMismatch."""
        return await self._store.made_before(asked)

    async def get(self, ref: ScheduleRef) -> Schedule:
        """One schedule with its payload. Raises: NotFound."""
        return self._shown(await self._found(ref))

    async def list(self, wanted: ScheduleFilter) -> Page[Schedule]:
        """Schedules by key, without payloads."""
        page = await self._store.schedules(wanted)
        return Page(tuple(self._shown(schedule) for schedule in page.items), page.cursor)

    async def edit(self, ref: ScheduleRef, edit: ScheduleEdit, allowed: Allowed) -> Schedule:
        """Change some of a schedule; jobs it has made already stay as they are.

        Raises: NotFound, ValidationError, TargetNotAllowed, Conflict when lq.toml sets it, or when
        it moves to a queue that shows what its own does not, and what `allowed` raises for what
        the schedule would push then.
        """
        self._gate()
        async with self._firer.turn:
            found = await self._found(ref)
            push = replace(found.spec.push, **edit.push)
            allowed(push)
            self._refuse_to_uncover(found.spec.push.queue, push.queue)
            self._resolver.named_target(push)
            spec: ScheduleSpec = replace(found.spec, push=push, **edit.spec)
            changed = self._changed(found, self._checked(spec))
            if changed is not found:
                self._refuse_of_file(found)
                if found.next_at is not None:
                    _refuse_endless_wait(changed)
                await self._put(changed)
            return self._shown(changed)

    async def delete(self, ref: ScheduleRef) -> Schedule:
        """Forget a schedule; jobs it has made stay. Raises: NotFound, Conflict."""
        self._gate()
        async with self._firer.turn:
            found = await self._found(ref)
            self._refuse_of_file(found)
            await self._store.delete_schedule(found.id)
            return self._shown(found)

    async def pause(self, ref: ScheduleRef) -> Schedule:
        """Fire no more until it is resumed. Raises: NotFound, Conflict when lq.toml forbids it."""
        self._gate()
        async with self._firer.turn:
            found = await self._found(ref)
            if found.paused:
                return self._shown(found)
            self._refuse_pause_of_file(found, paused=True)
            paused = replace(found, paused=True, next_at=None)
            await self._put(paused)
            return self._shown(paused)

    async def resume(self, ref: ScheduleRef) -> Schedule:
        """Go on from now: times that have passed in the meantime are not made up for.

        Raises: NotFound, Conflict when lq.toml pauses it, ValidationError when the rule cannot be
        followed still.
        """
        self._gate()
        async with self._firer.turn:
            found = await self._found(ref)
            if not found.paused:
                return self._shown(found)
            self._refuse_pause_of_file(found, paused=False)
            resumed = self._timed(
                replace(found, paused=False, reason=None, seen_at=self._onwards(found))
            )
            await self._put(resumed)
            return self._shown(resumed)

    async def run_now(self, ref: ScheduleRef) -> Job:
        """Make a job at once, besides the planned ones. Raises: NotFound, Conflict."""
        self._gate()
        async with self._firer.turn:
            found = await self._found(ref)
            now = self._clock.now()
            job = replace(self._resolver.scheduled(found.spec.push, now), asked="on")
            fire = Fire(
                id=found.id,
                seen_before=found.seen_at,
                seen_at=found.seen_at,
                next_at=found.next_at,
                jobs=(replace(job, firing=Firing(found.id, None)),),
            )
            made = await self._store.fire((fire,), now)
        if not made:
            raise Conflict(
                "a job of this schedule is unfinished, and its overlap is skip",
                hint="wait for that item or cancel it, or set overlap to allow",
            )
        self._firer.tell(made, now)
        return made[0]

    async def next(self, ref: ScheduleRef, count: int, after: int | None) -> Sequence[int]:
        """Its next times, from now if `after` is None; of a paused one those it would have.

        Raises: NotFound, ValidationError.
        """
        found = await self._found(ref)
        spec = found.spec
        if after is None:
            after = found.seen_at if found.next_at is not None else self._onwards(found)
        if spec.times is not None:
            count = min(count, max(spec.times - found.fired, 0))
        times = timing_of(found)
        return await self.foretell(lambda: upcoming(times, after, count))

    async def month(
        self, ref: ScheduleRef, first: datetime.date | None
    ) -> tuple[Schedule, datetime.date, Sequence[Day]]:
        """A month of a schedule, the present one if `first` is None: the days on which it fires.

        Shape: of days that are over those on which its rule of today fires, since it was made; of
        a paused one those it would have. Raises: NotFound, ValidationError.
        """
        found = await self._found(ref)
        times, zone, now = timing_of(found), load_zone(found.spec.zone), self._clock.now()
        month = first or month_of(now, zone)
        if begin_of(month, zone) - now > FORETOLD_MS:
            raise ValidationError.of("month", "must be within a thousand years from now")
        after = found.seen_at if found.next_at is not None else self._onwards(found)
        most = None if found.spec.times is None else max(found.spec.times - found.fired, 0)
        before, coming = Span(found.created_at, found.seen_at), Span(after, most=most)
        fires = await self.foretell(lambda: tuple(days(times, zone, month, before, coming)))
        return found, month, fires

    def file_origin(self, schedule: Schedule) -> FileOrigin | None:
        """Where lq.toml sets a schedule, if it does."""
        if schedule.origin is not Origin.FILE:
            return None
        entry = self._of_file.get(schedule.spec.key or "")
        return FileOrigin(entry.where, entry.paused) if entry else FileOrigin("lq.toml")

    async def foretell(self, compute: Callable[[], T]) -> T:
        """Compute what may span a thousand years, whose clocks take a while to look up.

        Shape: in a thread, and one at a time: several would leave the event loop too little of
        the interpreter.
        """
        async with self._foretelling:
            return await asyncio.to_thread(compute)

    # -- inside ------------------------------------------------------------------------------

    async def apply(
        self, entries: Sequence[FileSchedule], *, dry: bool
    ) -> Sequence[ScheduleChange]:
        """Bring the schedules of lq.toml to what it says now; those made by API stay as they are.

        Shape: with `dry` nothing is changed. In the order of the file, removed ones last.
        Raises: what `check` raises; then nothing was changed.
        """
        self.check(entries)
        async with self._firer.turn:
            plans = [await self._planned(entry) for entry in entries]
            named = {entry.spec.key for entry in entries}
            of_file = pages(self._store, ScheduleFilter(origin=Origin.FILE, limit=BATCH))
            gone = [
                schedule
                async for page in of_file
                for schedule in page
                if schedule.spec.key not in named
            ]
            if not dry:
                changed = [schedule for _, schedule in plans if schedule is not None]
                await self._store.put_schedules(changed, [schedule.id for schedule in gone])
                for schedule in changed:
                    self._firer.expect(schedule.next_at)
                self._of_file = {entry.spec.key or "": entry for entry in entries}
                for entry, (change, _) in zip(entries, plans, strict=True):
                    if change.change == "conflict":
                        log.warning(
                            "%s: schedule %s is left alone: %s",
                            entry.where,
                            change.key,
                            change.note,
                        )
        removed = [
            ScheduleChange(
                key=schedule.spec.key or schedule.id,
                change="removed",
                next_before=schedule.next_at,
            )
            for schedule in gone
        ]
        return [*(change for change, _ in plans), *removed]

    def check(self, entries: Sequence[FileSchedule]) -> None:
        """Refuse entries of lq.toml whose targets may not be called, or that start too late.

        Raises: ConfigError.
        """
        for entry in entries:
            at = f"{entry.where}: [[schedules]]"
            try:
                self._checked(entry.spec, "target", "completion")
                check_start(entry.spec.start_at, self._firer.now())
            except RequestError as error:
                raise ConfigError(f"{at} {error.message}", hint=error.hint) from error
            except ValueError as error:
                raise ConfigError(f"{at} start: {error}") from None

    async def _planned(self, entry: FileSchedule) -> tuple[ScheduleChange, Schedule | None]:
        """What an entry of lq.toml changes, and the schedule as it will be if it does."""
        spec = self._checked(entry.spec)
        key = spec.key or ""
        found = await self._store.schedule(ScheduleKey(key))
        if found is not None and found.origin is not Origin.FILE:
            why = "the API has made one with this key: delete that one, or choose another key"
            return ScheduleChange(key=key, change="conflict", note=why), None
        wanted = self._new(spec, Origin.FILE) if found is None else self._changed(found, spec)
        if entry.paused is not None and entry.paused != wanted.paused:
            wanted = replace(wanted, paused=entry.paused, reason=None)
            wanted = self._timed(replace(wanted, seen_at=self._onwards(wanted)))
        note = self._why_silent(wanted)
        if note is not None and not wanted.paused:
            wanted = replace(wanted, paused=True, reason=note, next_at=None)
        if found is None:
            change = ScheduleChange(key=key, change="created", next_after=wanted.next_at, note=note)
            return change, wanted
        same = wanted == found
        next_after = self._timed(wanted).next_at
        if same and next_after != found.next_at:
            note = "the rules of its time zone have changed"
        elif same and found.paused and note is None:
            note = f"it is paused: lq schedules resume {key}"
        change = ScheduleChange(
            key=key,
            change="unchanged" if same else "updated",
            next_before=found.next_at,
            next_after=next_after,
            note=note,
        )
        return change, None if same else wanted

    def _why_silent(self, schedule: Schedule) -> str | None:
        """Why a schedule could make no job, its times apart."""
        try:
            self._resolver.scheduled_target(schedule.spec.push)
        except Conflict as error:
            return error.message
        return None

    def _new(self, spec: ScheduleSpec, origin: Origin) -> Schedule:
        now = self._clock.now()
        made = Schedule(
            id=f"sch_{now:012x}{self._entropy(10).hex()}",
            spec=spec,
            created_at=now,
            anchor_at=now if spec.start_at is None else spec.start_at,
            seen_at=self._firer.now(),
            origin=origin,
        )
        return self._timed(made)

    def _changed(self, found: Schedule, spec: ScheduleSpec) -> Schedule:
        """The schedule with another spec; itself if that changes nothing.

        Its next time stays unless what changes is about its times; then they count from now.
        What lq itself has paused goes on with it, and is paused again if its reason still holds.
        """
        old = found.spec
        if spec == old and found.reason is None:
            return found
        changed = replace(found, spec=spec, paused=found.paused and not found.reason, reason=None)
        anew = (spec.rule, spec.start_at) != (old.rule, old.start_at)
        if spec.zone != old.zone and not is_interval(spec.rule):
            anew = True
        if anew:
            anchor_at = self._firer.now() if spec.start_at is None else spec.start_at
            changed = replace(changed, anchor_at=anchor_at, fired=0)
        if anew or found.next_at is None:  # what has ended does not make up for what it missed
            changed = replace(changed, seen_at=self._onwards(found))
        return self._timed(changed)

    def _timed(self, schedule: Schedule) -> Schedule:
        """The schedule with the next time after what it has seen. Raises: ValidationError."""
        times = schedule.spec.times
        over = times is not None and schedule.fired >= times
        next_at = None if schedule.paused or over else timing_of(schedule).next(schedule.seen_at)
        return replace(schedule, next_at=next_at)

    def _onwards(self, schedule: Schedule) -> int:
        """From when a schedule goes on: not before what it has seen, if the clock went back."""
        now = self._firer.now()
        seen_at = schedule.seen_at
        return seen_at if now < seen_at <= now + CORRECTION_MS else now

    def _checked(
        self, spec: ScheduleSpec, field: str = "x-lq-target", completion: str = "x-lq-completion"
    ) -> ScheduleSpec:
        """The spec with its target in one spelling. Raises: ValidationError, TargetNotAllowed."""
        if spec.push.target is None:
            target = self._resolver.settings(spec.push.queue).target
            self._resolver.check_completion(spec.push, target, completion)
            return spec
        target = self._resolver.target(spec.push.target, field)
        self._resolver.check_completion(spec.push, target, completion)
        return replace(spec, push=replace(spec.push, target=target))

    def _shown(self, schedule: Schedule) -> Schedule:
        """The schedule with the target and method that its jobs would have now."""
        push = schedule.spec.push
        settings = self._resolver.settings(push.queue)
        push = replace(
            push,
            target=push.target or settings.target,
            method=push.method or settings.method or "POST",
        )
        return replace(schedule, spec=replace(schedule.spec, push=push))

    def _refuse_to_uncover(self, source: str, target: str) -> None:
        """Refuse to move what one queue hides to another that shows it. Raises: Conflict."""
        hidden = self._resolver.settings(source).redact or ()
        shown = set(hidden).difference(self._resolver.settings(target).redact or ())
        if shown:
            words = ", ".join(sorted(shown))
            raise Conflict(
                f"queue {target!r} would show what queue {source!r} hides: {words}",
                hint="nothing was changed; make a schedule there anew, with its payload, or let"
                " lq.toml `redact` the same in both",
            )

    def _refuse_of_file(self, schedule: Schedule) -> None:
        if schedule.origin is Origin.FILE:
            entry = self._of_file.get(schedule.spec.key or "")
            raise Conflict(
                f"schedule {schedule.spec.key!r} is set by {entry.where if entry else 'lq.toml'}",
                hint="nothing was changed; change it there, and run `lq apply`",
            )

    def _refuse_pause_of_file(self, schedule: Schedule, *, paused: bool) -> None:
        """Refuse what the next `lq apply` would undo. Raises: Conflict."""
        if schedule.origin is not Origin.FILE:
            return
        entry = self._of_file.get(schedule.spec.key or "")
        if entry is not None and entry.paused is not None and entry.paused is not paused:
            raise Conflict(
                f"schedule {schedule.spec.key!r} has paused = {str(entry.paused).lower()}"
                f" in {entry.where}",
                hint="nothing was changed; change it there, and run `lq apply`",
            )

    async def _found(self, ref: ScheduleRef) -> Schedule:
        found = await self._store.schedule(ref)
        if found is not None:
            return found
        if isinstance(ref, ById):
            raise NotFound(f"there is no schedule {ref.id!r}")
        raise NotFound(f"no schedule has key {ref.key!r}")

    async def _make(
        self, schedule: Schedule, outcome: PushOutcome, asked: Idempotency | None
    ) -> MadeSchedule:
        """Put a schedule, unless it was kept, and keep what is answered if that may be repeated."""
        put = None if outcome is PushOutcome.KEPT else schedule
        made = MadeSchedule(self._shown(schedule), outcome, self._clock.now())
        if asked is not None:
            made = await self._store.make_schedule(asked, made, put)
            self._firer.expect(schedule.next_at)
        elif put is not None:
            await self._put(put)
        return made

    async def _put(self, schedule: Schedule) -> None:
        await self._store.put_schedule(schedule)
        self._firer.expect(schedule.next_at)


def _refuse_endless_wait(schedule: Schedule) -> None:
    """Refuse what would never fire, though nobody has paused it. Raises: ValidationError."""
    times = schedule.spec.times
    if schedule.next_at is None and not schedule.paused and (not times or schedule.fired < times):
        raise ValidationError.of("x-lq-until", "leaves this schedule no time to fire")
