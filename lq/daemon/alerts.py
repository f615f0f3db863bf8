"""Sends alerts: judges what has ended, looks for what is late, and pushes a job for each message.

Owns the memory of how everything stands, which the store holds a copy of. What is worth telling
is `lq.alerts`' to say; how a message reaches its receiver is `targets.alert`'s.

Invariant: notices, what they led to and the jobs of the messages change in one transaction, so
that each ending is told once, whatever ends in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from lq.alerts import (
    QUEUE,
    TARGET,
    WELL,
    Line,
    Notice,
    Rule,
    Standing,
    Status,
    Watch,
    judge,
    message,
    trial,
)
from lq.clock import Clock
from lq.daemon.store import AlertBook, Judged, Store
from lq.errors import NotFound, StorageFull, Unavailable
from lq.model import ById, Job, NewJob, Push
from lq.wire import redact_error

log = logging.getLogger(__name__)

_BATCH: Final = 250
_LOOK_MS: Final = 5_000
_MOST_LOOKED_AT: Final = 1_000
_MOST_NAMES: Final = 10_000

Key = tuple[str, str]
LineKey = tuple[str, str, str]


class Alerts:
    """The alerts of lq.toml. `start` must have returned before `run`."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        make: Callable[[Push, int], NewJob],
        tell: Callable[[Sequence[Job], int], None],
        redactions: Callable[[str], Sequence[str]],
        host: str,
    ) -> None:
        """Shape: `make` gives the job of a push, `tell` lets those be known that were stored."""
        self._store = store
        self._clock = clock
        self._make = make
        self._tell = tell
        self._redactions = redactions
        self._host = host
        self._rules: dict[str, Rule] = {}
        self._watch = Watch(())
        self._wake = asyncio.Event()
        self._book = AlertBook({}, {}, {})
        self._names: dict[str, str] = {}

    async def start(self, rules: Iterable[Rule]) -> None:
        """Learn how everything stood, and follow these rules."""
        self._book = await self._store.alert_book()
        self.follow(rules)

    def follow(self, rules: Iterable[Rule]) -> None:
        """Take these rules from now on, instead of those before."""
        self._rules = {rule.name: rule for rule in rules}
        self._watch = Watch(self._rules.values())
        self._store.watch(self._watch, self._wake.set)
        self._wake.set()

    def rule(self, name: str) -> Rule | None:
        """The rule of this name, if there is one still."""
        return self._rules.get(name)

    def statuses(self) -> list[Status]:
        """All rules, in the order of the file."""
        return [
            Status(
                rule,
                tuple(
                    (subject, standing)
                    for (name, subject), standing in sorted(self._book.standings.items())
                    if name == rule.name and (standing.told or standing.late or standing.long_jobs)
                ),
                sum(
                    line.times for (name, *_), line in self._book.lines.items() if name == rule.name
                ),
                self._book.sent_at.get(rule.name),
            )
            for rule in self._rules.values()
        ]

    async def test(self, name: str) -> Job:
        """Send a message that says that it is a test. Raises: NotFound."""
        rule = self._rules.get(name)
        if rule is None:
            known = ", ".join(self._rules) or "none"
            raise NotFound(f"there is no alert {name!r}", hint=f"lq.toml has these: {known}")
        now = self._clock.now()
        job = self._job(rule, trial(rule, self._host), now)
        (made,) = await self._store.judged(Judged(tests=(job,)))
        self._tell((made,), now)
        return made

    async def run(self) -> None:
        """Judge whatever ends or is late, until cancelled."""
        while True:
            try:
                await self._judge_ended()
                if any(rule.late_ms or rule.longer_ms for rule in self._rules.values()):
                    await self._judge(await self._unfinished(), None)
            except (StorageFull, Unavailable) as error:
                log.warning("alerts wait: %s", error.message)
            timed = any(rule.late_ms or rule.longer_ms for rule in self._rules.values())
            if timed or self._book.lines:
                await self._clock.wait(self._wake, _LOOK_MS)
            else:
                await self._wake.wait()
            self._wake.clear()

    async def _judge_ended(self) -> None:
        """Judge all notices there are, and send what has waited for its turn."""
        while True:
            found = await self._store.notices(_BATCH)
            await self._judge([notice for _, notice in found], found[-1][0] if found else None)
            if len(found) < _BATCH:
                return

    async def _unfinished(self) -> list[Notice]:
        """Notices of what is late or takes too long, and has not ended."""
        now = self._clock.now()
        found: list[Notice] = []
        late_ms = _least(rule.late_ms for rule in self._rules.values())
        if late_ms is not None:
            for queue in await self._store.queues():
                if queue.next_due_at is not None and queue.next_due_at <= now - late_ms:
                    before = now - late_ms
                    found += await self._store.late(queue.name, before, _BATCH, now)
        longer_ms = _least(rule.longer_ms for rule in self._rules.values())
        if longer_ms is not None:
            found += await self._store.running_since(now - longer_ms, _MOST_LOOKED_AT, now)
        return [one for one in found if self._watch.wants(one.queue, one.target, one.schedule)]

    async def _judge(self, notices: Sequence[Notice], last: int | None) -> None:
        """Judge notices, store what comes of them, and let the jobs of messages be known."""
        now = self._clock.now()
        changed: dict[Key, Standing] = {}
        lines = dict(self._book.lines)
        for notice in notices:
            schedule = await self._schedule(notice.schedule)
            told = replace(notice, error=redact_error(notice.error, self._redactions(notice.queue)))
            for rule in self._rules.values():
                if subject := rule.subject(told, schedule):
                    key = (rule.name, subject)
                    standing = changed.get(key) or self._book.standings.get(key, WELL)
                    changed[key], new = judge(rule, subject, standing, told)
                    for line in new:
                        add(lines, rule.name, line)
        messages = self._messages(lines, now)
        done = Judged(
            last_notice=last,
            standings={k: s for k, s in changed.items() if s != self._book.standings.get(k, WELL)},
            lines={
                key: line
                for key, line in lines.items()
                if key[0] not in messages and line is not self._book.lines.get(key)
            },
            messages=messages,
        )
        if done != Judged():
            made = await self._store.judged(done)
            self._remember(done, now)
            self._tell(made, now)

    def _messages(self, lines: Mapping[LineKey, Line], now: int) -> Mapping[str, NewJob]:
        """The jobs of the rules whose turn has come, each with all that it has to tell."""
        made = {}
        for rule in self._rules.values():
            own = [line for (name, *_), line in lines.items() if name == rule.name]
            sent_at = self._book.sent_at.get(rule.name)
            waits = sent_at is not None and sent_at <= now < sent_at + rule.digest_ms
            if own and not waits:
                made[rule.name] = self._job(rule, message(rule, own, self._host), now)
        return made

    def _job(self, rule: Rule, payload: bytes, now: int) -> NewJob:
        push = Push(
            queue=QUEUE,
            payload=payload,
            content_type="application/json",
            target=f"{TARGET}{rule.name}",
            validate=False,
        )
        return self._make(push, now)

    def _remember(self, done: Judged, now: int) -> None:
        standings = {**self._book.standings, **done.standings}
        lines = {**self._book.lines, **done.lines}
        self._book = AlertBook(
            {key: standing for key, standing in standings.items() if standing != WELL},
            {key: line for key, line in lines.items() if key[0] not in done.messages},
            {**self._book.sent_at, **dict.fromkeys(done.messages, now)},
        )

    async def _schedule(self, schedule_id: str | None) -> str | None:
        """What people call a schedule: its key; of one that is gone, or has none, its id."""
        if schedule_id is None:
            return None
        known = self._names.get(schedule_id)
        if known is None:
            found = await self._store.schedule(ById(schedule_id))
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            known = self._names[schedule_id] = (found and found.spec.key) or schedule_id
        return known


def add(lines: dict[LineKey, Line], rule: str, line: Line) -> None:
    """Have something told, with how often it has come to pass since the last message."""
    key = (rule, line.subject, line.kind)
    before = lines.get(key)
    lines[key] = line if before is None else replace(line, times=before.times + 1)


def _least(thresholds: Iterable[int | None]) -> int | None:
    return min((ms for ms in thresholds if ms is not None), default=None)
