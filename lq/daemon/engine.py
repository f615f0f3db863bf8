"""The verbs of lq, independent of HTTP: what a push, a cancel, an edit … means.

Owns the resolution of a push against its queue and the configuration, and what each change
tells the lanes and the scheduler. Never speaks HTTP or SQL, never calls a handler.

Invariant: what a verb has answered is committed, and whoever must act on it has been told.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lq.clock import Clock
from lq.config import Config, differences
from lq.config.changes import followed
from lq.config.inforce import following, in_force
from lq.daemon import auth
from lq.daemon.activity import Activities
from lq.daemon.alerts import Alerts
from lq.daemon.attention import Attention
from lq.daemon.backup import Backups
from lq.daemon.batches import Batches
from lq.daemon.breaker import Breakers
from lq.daemon.bulk import Bulk
from lq.daemon.callbacks import Callbacks
from lq.daemon.checkup import Examiner
from lq.daemon.dispatcher import Admission, Dispatcher
from lq.daemon.draining import Draining
from lq.daemon.events import Events
from lq.daemon.feed import Feed
from lq.daemon.firer import Firer
from lq.daemon.holding import Holding
from lq.daemon.lanes import Lanes
from lq.daemon.listeners import Listeners
from lq.daemon.overview import Overviews
from lq.daemon.queues import Queues
from lq.daemon.resolve import Resolver
from lq.daemon.scheduler import Scheduler
from lq.daemon.schedules import Schedules
from lq.daemon.scraping import Scraper
from lq.daemon.secret import Ring
from lq.daemon.sessions import Sessions
from lq.daemon.store import Store
from lq.daemon.survey import Survey
from lq.daemon.targets.scriptlet import ScriptletTarget
from lq.daemon.why import Explainer
from lq.errors import (
    ConfigError,
    ConfigInvalid,
    LqError,
    NotFound,
    StorageFull,
    Unavailable,
)
from lq.model import (
    Attempt,
    ById,
    ByKey,
    Edit,
    Idempotency,
    Job,
    JobFilter,
    LogPart,
    NewJob,
    Page,
    Principal,
    Push,
    Pushed,
    PushOutcome,
    Ref,
    Reload,
    Scope,
    State,
    Token,
)
from lq.scriptlets import Registry
from lq.settings import Settings
from lq.when import forget_zones
from lq.why import Why
from lq.wire.redaction import RESPONSE

T = TypeVar("T")

log = logging.getLogger(__name__)

_TOUCH_EVERY_MS = 60_000
_LATE_S = 5.0
_REFUSAL_SHOWS_MS = 10_000


class Health(Struct, frozen=True):
    """`live`: the daemon works at all; `ready`: it can take jobs now. `reasons` say why not."""

    live: bool
    ready: bool
    reasons: tuple[str, ...] = ()


class Engine:
    """lq's verbs. Made by the composition root; `start` must have returned before any verb."""

    def __init__(
        self,
        *,
        config: Config,
        ring: Ring | None,
        store: Store,
        clock: Clock,
        events: Events,
        feed: Feed,
        overviews: Overviews,
        activities: Activities,
        lanes: Lanes,
        scheduler: Scheduler,
        endpoints: Admission,
        dispatcher: Dispatcher,
        resolver: Resolver,
        firer: Firer,
        alerts: Alerts,
        scriptlets: Registry,
        local: ScriptletTarget,
        callbacks: Callbacks,
        breakers: Breakers,
        listeners: Listeners,
        explainer: Explainer,
        draining: Draining,
        examiner: Examiner,
        survey: Survey,
        attention: Attention,
        scraper: Scraper,
        load_config: Callable[[], Config],
        prepare: Callable[[Config], Callable[[], None]],
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.max_payload = config.max_payload
        self.max_batch = config.max_batch
        self.data_dir = config.data_dir
        self._config = config
        self._for_restart: tuple[str, ...] = ()
        self._ring = ring
        self._store = store
        self._clock = clock
        self._events = events
        self.feed = feed
        self.overviews = overviews
        self.activities = activities
        overviews.trouble = lambda: self.health().reasons
        self._lanes = lanes
        self._scheduler = scheduler
        self._endpoints = endpoints
        self._dispatcher = dispatcher
        self._resolver = resolver
        self._firer = firer
        self.alerts = alerts
        self.scriptlets = scriptlets
        self._local = local
        self.callbacks = callbacks
        self._breakers = breakers
        self.listeners = listeners
        self._explainer = explainer
        self.draining = draining
        self.examiner = examiner
        self.survey = survey
        self.attention = attention
        attention.trouble = overviews.trouble
        self.scraper = scraper
        scraper.well = lambda: (self.health().live, self.health().ready)
        self.schedules = Schedules(
            store=store,
            clock=clock,
            resolver=resolver,
            firer=firer,
            entropy=entropy,
            gate=self._refuse_when_stopping,
        )
        self.queues = Queues(
            configured=config.queues,
            store=store,
            clock=clock,
            events=events,
            lanes=lanes,
            scheduler=scheduler,
            resolver=resolver,
            gate=self._refuse_when_stopping,
            writing=self._writing,
        )
        self.batches = Batches(
            store=store,
            clock=clock,
            resolver=resolver,
            lanes=lanes,
            scheduler=scheduler,
            events=events,
            gate=self._refuse_when_stopping,
            writing=self._writing,
        )
        self.backups = Backups(store=store, clock=clock, gate=self._refuse_when_stopping)
        self.holding = Holding(
            store=store, clock=clock, lanes=lanes, firer=firer, scheduler=scheduler,
            gate=self._refuse_when_stopping,
        )  # fmt: skip
        self.bulk = Bulk(
            store=store, clock=clock, events=events, lanes=lanes,
            gate=self._refuse_when_stopping, writing=self._writing, stop=local.stop,
        )  # fmt: skip
        self._load_config = load_config
        self._prepare = prepare
        self._reloading = asyncio.Lock()
        self._entropy = entropy
        self._keyring = auth.Keyring(())
        self.sessions = Sessions(
            config.panel, clock, entropy, knows=self.still_knows, wake=feed.wake
        )
        self._touched: dict[str, int] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._refused_at: int | None = None
        self._refusal = ""

    async def start(self) -> None:
        """Give back orphans, and tell lanes and scheduler what the store holds."""
        await self.holding.start()
        await self.alerts.start(self._config.alerts)  # an orphan may end below
        if left := await self._store.processes():
            # Before anything of theirs can run again.
            number = await self._local.end_leftovers(left)
            log.warning("%d scriptlets were running still when lq last ended; ended them", number)
        queues = await self.queues.start()
        await self._dispatcher.recover()  # then: what goes back to a fifo queue keeps its place
        await self.callbacks.start()
        self._keyring = auth.Keyring(await self._store.tokens())
        for queue in queues:
            if queue.next_due_at is not None:
                self._lanes.expect(queue.name, queue.next_due_at, self._clock.now())
        await self._firer.start()
        try:
            await self.schedules.apply(self._config.schedules, dry=False)
        except (StorageFull, Unavailable) as error:
            log.warning("the schedules of lq.toml wait for `lq apply`: %s", error.message)

    @property
    def ring(self) -> Ring:
        """The signing secrets. Raises: Unavailable where lq is embedded, and signs nothing."""
        if self._ring is None:
            raise Unavailable("an embedded lq has no signing secret")
        return self._ring

    def stop(self) -> None:
        """Refuse what would change something from now on."""
        self._stopping = True

    # -- jobs --------------------------------------------------------------------------------

    async def push(self, push: Push, asked: Idempotency | None = None) -> Pushed:
        """Store a job; it starts at once if it is due and its queue has room.

        Shape: does nothing when the request is marked and was carried out before.
        Raises: ValidationError, TargetNotAllowed, KeyExists, IdempotencyMismatch, StorageFull,
        Unavailable.
        """
        self._refuse_when_stopping()
        now = self._clock.now()
        job = self._resolver.push(push, now)
        if asked is not None:
            job = replace(job, idempotency=asked)
        startable = job.due_at <= now and not self._dispatcher.stuck
        if startable and self._lanes.reserve(job.queue, now):
            job = replace(job, claim=True)
        future = self._store.push(job)
        future.add_done_callback(partial(self._pushed, job))
        # Shielded: if the caller goes away, a job claimed in this commit must still be started.
        return await self._writing(asyncio.shield(future))

    def _pushed(self, new: NewJob, future: asyncio.Future[Pushed]) -> None:
        now = self._clock.now()
        pushed = None if future.cancelled() or future.exception() else future.result()
        if pushed is not None and pushed.run is not None:
            self._publish("push", pushed.job, pushed.outcome)
            self._dispatcher.start(pushed.run)
            return
        if new.claim:
            self._lanes.release(new.queue, now)
        if pushed is not None and not pushed.repeats:
            if pushed.outcome is not PushOutcome.KEPT:
                self._publish("push", pushed.job, pushed.outcome)
            self._waits(pushed.job, now)

    async def pushed_before(self, asked: Idempotency) -> Pushed | None:
        """What the same request has pushed before. Raises: IdempotencyMismatch."""
        return await self._store.pushed_before(asked)

    async def get(self, ref: Ref) -> Job:
        """The job with its payload. Raises: NotFound."""
        return _found(await self._store.get(ref), ref)

    def sample(self, push: Push) -> Job:
        """A job as a push would make it, that is not stored. Raises: as `push`."""
        return self._resolver.sample(push, self._clock.now())

    async def attempts(self, ref: Ref) -> list[Attempt]:
        """Its attempts, oldest first. Raises: NotFound."""
        return _found(await self._store.attempts(ref), ref)

    async def why(self, ref: Ref) -> Why:
        """Why a job is where it is, and when it may start. Raises: NotFound."""
        job = _found(await self._store.get(ref), ref)
        return await self._explainer.explain(job, await self.queues.get(job.queue))

    async def cancel(self, ref: Ref) -> Job:
        """End an unprocessed job; of one that runs no retry will follow.

        Raises: NotFound, Conflict.
        """
        self._refuse_when_stopping()
        now = self._clock.now()
        job = _found(await self._writing(self._store.cancel(ref, now)), ref)
        await self._stop_scriptlets(job, ref)
        self._publish("cancel", job)
        self._lanes.expect(job.queue, now, now)  # a successor of its key may start now
        return job

    async def _stop_scriptlets(self, job: Job, ref: Ref) -> None:
        """End the run of a job that was cancelled; by a key, that may be another one besides."""
        self._local.stop(job.id)
        if isinstance(ref, ByKey):
            for running in self._local.running:
                other = await self._store.get(ById(running))
                if other is not None and other.state is State.CANCELLED:
                    self._local.stop(running)

    async def logs(self, ref: Ref, attempt: int | None, offset: int, wait_ms: int) -> LogPart:
        """What an attempt has written from an offset on; waits for more while it runs.

        Shape: of the last attempt, if none is named. Raises: NotFound.
        """
        job = _found(await self._store.get(ref), ref)
        number = attempt
        if number is None:
            running = job.state is State.RUNNING
            number = job.attempt if running or job.state is State.COMPLETED else job.failures
        if live := self._local.logs.find(job.id, number):
            await live.beyond(offset, wait_ms / 1000)
            data, beyond = live.both.read(offset)
            return LogPart(number, data, beyond, running=not live.ended)
        attempts = _found(await self._store.attempts(ById(job.id)), ref)
        found = next((one for one in reversed(attempts) if one.n == number), None)
        if found is None:
            raise NotFound(f"item {job.id} has no attempt {number}", hint="they count from 1")
        text = found.log or found.body
        return LogPart(number, text[offset:], max(len(text), offset), found.outcome is None)

    async def edit(self, ref: Ref, edit: Edit) -> Job:
        """Change or reschedule a waiting job.

        Raises: NotFound, Conflict, ValidationError, TargetNotAllowed.
        """
        self._refuse_when_stopping()
        now = self._clock.now()
        resolved = self._resolver.edit(edit, now)
        job = _found(await self._writing(self._store.edit(ref, resolved)), ref)
        self._publish("edit", job)
        self._waits(job, now)
        return job

    async def run_now(self, ref: Ref) -> Job:
        """Make a waiting job due now, and ask its endpoint again if that was what held it."""
        job = await self.edit(ref, Edit(delay_ms=0))
        self._endpoints.forget(job)
        self._breakers.forget(job.target)
        return job

    async def retry(self, ref: Ref, edit: Edit | None = None) -> Job:
        """Make a finished job wait again, due now, with a fresh budget; changed by an edit."""
        self._refuse_when_stopping()
        now = self._clock.now()
        resolved = None if edit is None else self._resolver.edit(edit, now)
        job = _found(await self._writing(self._store.revive(ref, now, resolved)), ref)
        self._publish("revive", job)
        self._waits(job, now)
        return job

    async def items(self, wanted: JobFilter) -> Page[Job]:
        """Unprocessed jobs; with a finished `state`, finished ones."""
        if wanted.state in {State.COMPLETED, State.FAILED, State.CANCELLED}:
            return await self._store.finished(wanted)
        return await self._store.unfinished(wanted)

    async def history(self, wanted: JobFilter) -> Page[Job]:
        """Finished jobs, newest first."""
        return await self._store.finished(wanted)

    # -- tokens and the daemon itself ----------------------------------------------------------

    async def create_token(
        self, name: str, scopes: frozenset[Scope], queues: tuple[str, ...], expires_at: int | None
    ) -> tuple[Token, str]:
        """Make a token; the second value is the token itself, never to be seen again.

        Raises: Conflict.
        """
        self._refuse_when_stopping()
        plain = auth.new_token(self._entropy(32))
        token = Token(
            name=name,
            digest=auth.digest(plain),
            scopes=scopes,
            queues=queues,
            created_at=self._clock.now(),
            expires_at=expires_at,
        )
        await self._writing(self._store.add_token(token))
        self._keyring.add(token)
        return token, plain

    async def tokens(self) -> list[Token]:
        return await self._store.tokens()

    async def test_alert(self, name: str) -> Job:
        """Send a test message to the receiver of an alert. Raises: NotFound."""
        self._refuse_when_stopping()
        return await self._writing(self.alerts.test(name))

    async def revoke_token(self, name: str) -> Token:
        """Refuse a token from now on. Raises: NotFound."""
        token = await self._writing(self._store.revoke_token(name, self._clock.now()))
        if token is None:
            raise NotFound(f"there is no live token named {name!r}")
        self._keyring.revoke(name)
        self.feed.wake()  # who reads on by it may not any more
        return token

    async def reload(self, *, dry: bool) -> Reload:
        """Read lq.toml again, whole: follow its schedules, and take certificate and zones anew.

        Shape: with `dry` nothing is changed. Raises: ConfigInvalid when the file cannot be
        followed; then nothing was changed.
        """
        self._refuse_when_stopping()
        async with self._reloading:  # or an older reading could be the last one applied
            restart: tuple[str, ...] = ()
            try:
                config = await asyncio.to_thread(self._load_config)
                restart = differences(self._config, config)
                use = await asyncio.to_thread(self._prepare, config)
                forget_zones()
                # First: a schedule may run what is new.
                with self.scriptlets.trying(config.scriptlets, keep=not dry):
                    changes = await self.schedules.apply(config.schedules, dry=dry)
            except ConfigError as error:
                hints = ["nothing was changed"]
                if restart:
                    hints.append(f"{', '.join(restart)} changed, too, which a restart sees first")
                if error.hint:
                    hints.append(error.hint.rstrip("."))
                raise ConfigInvalid(error.message, hint="; ".join(hints)) from error
            settings = followed(self._config, config)
            if not dry:
                use()
                await self._follow(config)
                await self._firer.look_up_zones()
            return Reload(tuple(changes), restart, settings)

    def authenticate(self, token: str) -> Principal:
        """Who presents this token. Raises: Unauthorized."""
        now = self._clock.now()
        found = self._keyring.authenticate(token, now)
        if now - self._touched.get(found.name, 0) >= _TOUCH_EVERY_MS:
            self._touched[found.name] = now
            self._in_background(self._store.touch_token(found.digest, now))
        return Principal(found.name, found.scopes, found.queues, found.digest, found.expires_at)

    def still_knows(self, principal: Principal) -> bool:
        """Whether who has been let in would be let in now; the owner of the socket always is."""
        return not principal.digest or self._keyring.holds(principal.digest, self._clock.now())

    @property
    def unsaid(self) -> tuple[str, ...]:
        """The queues that do not show what their handlers answered."""
        return tuple(name for name in self._config.queues if RESPONSE in self.redactions(name))

    def redactions(self, queue: str) -> tuple[str, ...]:
        """What of a queue's items is not shown."""
        return self._resolver.redactions(queue)

    @property
    def settings(self) -> Settings:
        """What is in force, as people look at it."""
        return in_force(self._config, self._for_restart)

    @property
    def on_time(self) -> bool:
        """Whether the scheduler's wheel turns; what else may ail a daemon, no restart cures."""
        return self._clock.monotonic() - self._scheduler.ticked_at <= _LATE_S

    def health(self) -> Health:
        """How the daemon is, from what it noticed last."""
        dead, unready = [], []
        if not self.on_time:
            dead.append("the scheduler is late")
        if stuck := self._dispatcher.stuck:
            dead.append(f"{stuck} results could not be stored yet")
        if self._stopping:
            unready.append("the daemon is stopping")
        if frozen := self.holding.reason:
            unready.append(frozen)
        if self.draining.active:
            unready.append("the daemon is draining: it starts nothing")
        if self._firer.late:
            dead.append("schedules are late")
        if refusal := self._dispatcher.refusal:
            unready.append(f"no job can be started: {refusal}")
        if self._refused_at and self._clock.now() - self._refused_at < _REFUSAL_SHOWS_MS:
            unready.append(self._refusal)
        reasons = (*dead, *unready)
        return Health(live=not dead, ready=not reasons, reasons=reasons)

    # -- inside ------------------------------------------------------------------------------

    async def _follow(self, config: Config) -> None:
        """Let what lq.toml says of queues and alerts now take effect."""
        self._for_restart = differences(self._config, config)
        self._config = following(self._config, config)
        self.alerts.follow(config.alerts)
        self._endpoints.follow(config.queues)
        await self.queues.follow(config.queues, config.origin)

    def _waits(self, job: Job, now: int) -> None:
        """Tell lanes and scheduler of a job that waits."""
        if job.state is State.PENDING:
            self._lanes.expect(job.queue, job.next_at, now)
            if job.expires_at is not None:
                self._scheduler.expect_expiry(job.expires_at)

    async def _writing(self, write: Awaitable[T]) -> T:
        """Await a write, and remember for `health` whether the store could take it."""
        try:
            answer = await write
        except (StorageFull, Unavailable) as error:
            self._refused_at, self._refusal = self._clock.now(), error.message
            raise
        self._refused_at = None
        return answer

    def _refuse_when_stopping(self) -> None:
        if self._stopping:
            raise Unavailable("the daemon is stopping", hint="try again when it is back")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            try:
                await work
            except LqError as error:
                log.debug("not recorded: %s", error.message)

        task = asyncio.get_running_loop().create_task(quietly())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _publish(self, verb: str, job: Job, outcome: PushOutcome | None = None) -> None:
        is_new = outcome is PushOutcome.CREATED  # and may have begun before this is told
        self._events.moved(verb, job, job.created_at if is_new else self._clock.now(), outcome)


def _found(answer: T | None, ref: Ref) -> T:
    if answer is not None:
        return answer
    if isinstance(ref, ById):
        raise NotFound(f"there is no item {ref.id!r}")
    raise NotFound(f"no unprocessed item has key {ref.key!r} in queue {ref.queue!r}")
