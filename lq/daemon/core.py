"""What every lq is made of, as a daemon or inside an application: built, run, stopped in order.

Owns the composition of the parts that know neither HTTP nor the process they are in, and the one
TaskGroup. What jobs are delivered to, and who says whether it may be called, are handed in.
Decides nothing about jobs.

Invariant: the order of a stop. First nothing new comes in, then runs end or are given back, then
what was written is committed; whoever opened the store closes it after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from lq.backoff import Curve
from lq.clock import Clock
from lq.config import Config
from lq.daemon.activity import Activities
from lq.daemon.alerts import Alerts
from lq.daemon.attention import Attention
from lq.daemon.breaker import Breakers
from lq.daemon.callbacks import Callbacks
from lq.daemon.checkup import Examiner, Get
from lq.daemon.dispatcher import Admission, Dispatcher, Target
from lq.daemon.draining import Draining
from lq.daemon.engine import Engine
from lq.daemon.events import Events
from lq.daemon.feed import Feed
from lq.daemon.firer import Firer
from lq.daemon.lanes import Lanes
from lq.daemon.listeners import Listeners, Sign
from lq.daemon.metrics import Metrics
from lq.daemon.overview import Overviews
from lq.daemon.resolve import Resolver
from lq.daemon.scheduler import Scheduler, Timer
from lq.daemon.scraping import Scraper
from lq.daemon.secret import Ring
from lq.daemon.store import Store
from lq.daemon.survey import Survey
from lq.daemon.targets.scriptlet import ScriptletTarget
from lq.daemon.throughput import Throughputs
from lq.daemon.waiting import ReturnAddress, Waiting
from lq.daemon.why import Explainer
from lq.errors import StorageFull, Unavailable
from lq.model import Job
from lq.scriptlets import Registry

Service = Callable[[], Coroutine[Any, Any, None]]
"""What runs until it is cancelled."""


class Core:
    """The verbs, the events and the runs of an lq that is at work."""

    def __init__(
        self,
        engine: Engine,
        events: Events,
        dispatcher: Dispatcher,
        waiting: Waiting,
        claim: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.events = events
        self.dispatcher = dispatcher
        self.waiting = waiting
        self._claim = claim

    @contextlib.asynccontextmanager
    async def claiming(self, drain_timeout_ms: int) -> AsyncIterator[None]:
        """Start jobs while this is open; then refuse what is new and drain, at once on an error."""
        self._claim()
        try:
            yield
        except BaseException:
            # Give the calls back before their connections go: it is not their fault.
            self.dispatcher.cut()
            await self.dispatcher.drain(0)
            self.engine.feed.end()
            self.engine.listeners.end()
            raise
        self.engine.stop()
        await self.dispatcher.drain(drain_timeout_ms)
        self.engine.feed.end()  # after what was drained: it is seen to end
        self.engine.listeners.end()  # what they had taken over has ended, too


@contextlib.asynccontextmanager
async def at_work(
    config: Config,
    *,
    clock: Clock,
    store: Store,
    target: Target,
    admission: Admission,
    spell: Callable[[str], str],
    address: ReturnAddress,
    host: str,
    scriptlets: Registry | None = None,
    local: ScriptletTarget | None = None,
    ring: Ring | None = None,
    load_config: Callable[[], Config] | None = None,
    prepare: Callable[[Config], Callable[[], None]] = lambda _: lambda: None,
    beside: Mapping[str, Service] = MappingProxyType({}),
    get: Get | None = None,
    sign: Sign = lambda *_: {},
    files_wanted: int = 0,
) -> AsyncIterator[Core]:
    """The core, at work while the context is open; jobs start while it is `claiming`.

    Shape: `spell` gives a target's one spelling, or raises. `ring` are the signing secrets, if
    anything is signed. `load_config` reads the configuration again for a reload, and `prepare`
    makes ready what follows from it. `beside` are services of the caller's, by name, that may use
    the core once it is there. `host` is what alerts call this machine. `scriptlets` may be run, and
    `local` runs them; there are none if it is not said. `get` calls a URL for a check-up,
    `sign` makes the headers of calls that listeners make, and `files_wanted` is how many files
    might be open. Raises: StartError (in a group, when it comes from a service that died on the
    way).
    """
    scheduler = Scheduler(clock, store, config.history.keep_ms)
    rates = Throughputs(clock.monotonic)
    metrics = Metrics(config.metrics.queues)
    activities = Activities(store, clock)
    events = Events(rates.count, metrics.moved, activities.count)
    store.observe(metrics.committed)
    feed = Feed(events, clock, config.events, os.urandom(4).hex())
    claimable = asyncio.Event()
    lanes = Lanes(
        config.dispatch.concurrency,
        config.dispatch.queue_concurrency,
        wake=claimable.set,
        set_timer=lambda queue, due_at: scheduler.at(Timer.LANE, due_at, queue),
    )
    waiting = Waiting(await store.callback_key(), address, lanes, clock)
    retry, sparing = config.retry, config.breaker
    breakers = Breakers(sparing.failures, sparing.hold_ms, sparing.most_hold_ms)
    listeners = Listeners(target, sign, clock)
    dispatcher = Dispatcher(
        store=store,
        lanes=lanes,
        endpoints=admission,
        target=listeners,
        diverted=listeners.divert,
        waiting=waiting,
        breakers=breakers,
        metrics=metrics,
        activities=activities,
        events=events,
        clock=clock,
        curve=Curve(retry.base_ms, retry.factor, retry.cap_ms, retry.jitter),
        deadline_ms=config.validate.deadline_ms,
        chance=random.SystemRandom().random,
        expect_expiry=scheduler.expect_expiry,
        wake=claimable,
    )
    scriptlets = scriptlets or Registry({})
    resolver = Resolver(config, spell, address, scriptlets, os.urandom)
    firer = Firer(
        store=store,
        clock=clock,
        resolver=resolver,
        lanes=lanes,
        scheduler=scheduler,
        events=events,
    )
    alerts = Alerts(
        store=store,
        clock=clock,
        make=resolver.scheduled,
        tell=firer.tell,
        redactions=resolver.redactions,
        host=host,
    )
    explainer = Explainer(
        store=store,
        clock=clock,
        lanes=lanes,
        endpoints=admission,
        breakers=breakers,
        dispatcher=dispatcher,
    )
    survey = Survey(
        store=store,
        clock=clock,
        resolver=resolver,
        endpoints=admission,
        breakers=breakers,
        lanes=lanes,
    )
    attention = Attention(
        config=config, store=store, clock=clock, lanes=lanes, resolver=resolver, survey=survey
    )
    examiner = Examiner(
        config=config,
        store=store,
        survey=survey,
        endpoints=admission,
        get=get,
        files_wanted=files_wanted,
    )
    scraper = Scraper(
        config=config,
        store=store,
        clock=clock,
        metrics=metrics,
        dispatcher=dispatcher,
        breakers=breakers,
        endpoints=admission,
    )
    draining = Draining(store, clock, lanes, dispatcher)
    callbacks = Callbacks(
        store=store,
        waiting=waiting,
        dispatcher=dispatcher,
        clock=clock,
        frozen=lambda: lanes.frozen,
    )
    engine = Engine(
        config=config,
        ring=ring,
        store=store,
        clock=clock,
        events=events,
        feed=feed,
        overviews=Overviews(store=store, clock=clock, rates=rates),
        activities=activities,
        lanes=lanes,
        scheduler=scheduler,
        endpoints=admission,
        dispatcher=dispatcher,
        resolver=resolver,
        firer=firer,
        alerts=alerts,
        callbacks=callbacks,
        breakers=breakers,
        listeners=listeners,
        explainer=explainer,
        draining=draining,
        examiner=examiner,
        survey=survey,
        attention=attention,
        scraper=scraper,
        scriptlets=scriptlets,
        local=local or ScriptletTarget(scriptlets.find, store.put_process),
        load_config=load_config or (lambda: config),
        prepare=prepare,
    )
    scheduler.lane_is_due = lanes.timer
    scheduler.clock_was_set = lanes.clock_was_set
    scheduler.pause_is_over = engine.queues.pause_is_over
    scheduler.has_expired = partial(_expired, events, lanes)
    scheduler.schedules_are_due = firer.wake
    scheduler.mark_time = firer.mark_time
    scheduler.write_activity = activities.write
    async with asyncio.TaskGroup() as services:
        tasks = [services.create_task(store.run(), name="store")]
        await engine.start()
        tasks.append(services.create_task(scheduler.run(), name="scheduler"))
        tasks.append(services.create_task(firer.run(), name="schedules"))
        tasks.append(services.create_task(alerts.run(), name="alerts"))
        tasks.append(services.create_task(metrics.run(), name="metrics"))
        tasks.append(services.create_task(engine.backups.run(), name="backups"))
        tasks.append(services.create_task(listeners.run(), name="listeners"))
        tasks += [services.create_task(run(), name=name) for name, run in beside.items()]

        def claim() -> None:
            tasks.append(services.create_task(dispatcher.run(), name="dispatcher"))
            tasks.append(services.create_task(callbacks.run(), name="callbacks"))

        yield Core(engine, events, dispatcher, waiting, claim)
        with contextlib.suppress(StorageFull, Unavailable):  # a stop does not wait for statistics
            await activities.write()
        for task in tasks:
            task.cancel()


def _expired(events: Events, lanes: Lanes, job: Job, at: int) -> None:
    """A waiting job has expired: where there is an order, others may have waited for it."""
    events.moved("expire", job, at)
    if lanes.lane(job.queue).fifo:
        lanes.expect(job.queue, at, at)
