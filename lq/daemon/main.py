"""The composition root: builds the daemon from its parts, runs it, and stops it in order.

Owns the process: signals, sockets, the one TaskGroup. Decides nothing about jobs.

Invariant: the order of a stop. First nothing new comes in, then runs end or are given
back, then what was written is committed, and only then the data folder is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path

from aiohttp import web

from lq import __version__
from lq.backoff import Curve
from lq.clock import Clock, SystemClock
from lq.config import Config, load
from lq.daemon.api.app import Api
from lq.daemon.dispatcher import Dispatcher
from lq.daemon.egress import Egress, parse_target
from lq.daemon.endpoints import Endpoints
from lq.daemon.engine import Engine
from lq.daemon.events import Events
from lq.daemon.firer import Firer
from lq.daemon.lanes import Lanes
from lq.daemon.resolve import Resolver
from lq.daemon.scheduler import Scheduler, Timer
from lq.daemon.secret import load_secret
from lq.daemon.store import Store
from lq.daemon.store.sqlite import open_store as open_sqlite
from lq.daemon.targets.http import HttpTarget
from lq.daemon.targets.request import Signer
from lq.errors import ConfigError, InUse, RequestError, StartError

log = logging.getLogger("lq")

_BACKLOG = 1024
# What a stop grants, once the calls have ended, to requests under way: a peer that sends its
# body slowly, or does not read its answer, must not hold it up.
_LAST_ANSWERS_S = 1.0


def serve(config: Config) -> int:
    """Run the daemon until it is told to stop; the exit code of the process."""
    os.umask(0o077)
    # What is loaded by now stays; of what a call makes, hardly anything is a cycle. Looking
    # for cycles every 700 objects took a seventh of the time of a call.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _log_to_stderr(config.log_level)
    try:
        _run(_serve(config))
    except (StartError, BaseExceptionGroup) as error:
        cause = _start_error(error)
        print(f"lq: {cause.message}", file=sys.stderr)
        if cause.hint:
            print(f"hint: {cause.hint}", file=sys.stderr)
        return cause.exit_code
    return 0


async def _serve(config: Config) -> None:
    signals = _Signals(asyncio.get_running_loop())
    load_config = partial(load, str(config.path) if config.path else None, os.environ)
    async with daemon(config, load_config=load_config) as running:
        reloads = asyncio.create_task(_reload_when_asked(signals.reload, running.engine))
        print(_welcome(config, running), file=sys.stderr, flush=True)
        signals.second = running.cut
        await signals.stop.wait()
        reloads.cancel()
        log.info("stopping: %d calls are still running", running.in_flight)
    log.info("stopped")


class Daemon:
    """A running daemon, for whoever embeds or tests it."""

    def __init__(self, engine: Engine, events: Events, dispatcher: Dispatcher, port: int) -> None:
        self.engine = engine
        self.events = events
        self.port = port
        self._dispatcher = dispatcher

    @property
    def in_flight(self) -> int:
        """How many calls have not been settled."""
        return self._dispatcher.in_flight

    def cut(self) -> None:
        """Let a stop that goes on wait for no call any longer."""
        self._dispatcher.cut()


@contextlib.asynccontextmanager
async def daemon(
    config: Config,
    clock: Clock | None = None,
    open_store: Callable[[Path], Awaitable[Store]] = open_sqlite,
    load_config: Callable[[], Config] | None = None,
) -> AsyncIterator[Daemon]:
    """The whole daemon, serving while the context is open, drained and closed at its end.

    Shape: `open_store` opens the store of a data folder, `load_config` reads the configuration
    again for a reload. Raises: StartError (in a group, when
    it comes from a service that died on the way).
    """
    clock = clock or SystemClock()
    egress = _egress(config)
    store = await open_store(_data_dir(config))
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(store.close)
        secret = load_secret(config.data_dir)
        target = await opened.enter_async_context(HttpTarget(Signer(secret), egress, clock))
        endpoints = Endpoints(config.validate, config.queues, secret, target.head, clock)
        opened.push_async_callback(endpoints.close)
        scheduler = Scheduler(clock, store, config.history.keep_ms)
        events = Events()
        claimable = asyncio.Event()
        lanes = Lanes(
            config.dispatch.concurrency,
            config.dispatch.queue_concurrency,
            wake=claimable.set,
            set_timer=lambda queue, due_at: scheduler.at(Timer.LANE, due_at, queue),
        )
        retry = config.retry
        dispatcher = Dispatcher(
            store=store,
            lanes=lanes,
            endpoints=endpoints,
            target=target,
            events=events,
            clock=clock,
            curve=Curve(retry.base_ms, retry.factor, retry.cap_ms, retry.jitter),
            deadline_ms=config.validate.deadline_ms,
            chance=random.SystemRandom().random,
            expect_expiry=scheduler.expect_expiry,
            wake=claimable,
        )
        resolver = Resolver(config, egress, os.urandom)
        firer = Firer(
            store=store,
            clock=clock,
            resolver=resolver,
            lanes=lanes,
            scheduler=scheduler,
            events=events,
        )
        engine = Engine(
            config=config,
            secret=secret,
            store=store,
            clock=clock,
            events=events,
            lanes=lanes,
            scheduler=scheduler,
            endpoints=endpoints,
            dispatcher=dispatcher,
            resolver=resolver,
            firer=firer,
            load_config=load_config or (lambda: config),
        )
        scheduler.lane_is_due = lanes.timer
        scheduler.pause_is_over = engine.resume
        scheduler.schedules_are_due = firer.wake
        scheduler.mark_time = firer.mark_time
        api = Api(engine, clock=clock, data_dir=str(config.data_dir))
        async with asyncio.TaskGroup() as services:
            tasks = [services.create_task(store.run(), name="store")]
            await engine.start()
            tasks.append(services.create_task(scheduler.run(), name="scheduler"))
            tasks.append(services.create_task(firer.run(), name="schedules"))
            tasks.append(services.create_task(dispatcher.run(), name="dispatcher"))
            async with _listening(config, api) as port:
                try:
                    yield Daemon(engine, events, dispatcher, port)
                except BaseException:
                    # Give the calls back before their connections go: it is not their fault.
                    dispatcher.cut()
                    await dispatcher.drain(0)
                    raise
                engine.stop()
                await dispatcher.drain(config.dispatch.drain_timeout_ms)
            for task in tasks:
                task.cancel()


@contextlib.asynccontextmanager
async def _listening(config: Config, api: Api) -> AsyncIterator[int]:
    """Serve the API on the TCP address and the unix socket; gives the TCP port."""
    async with contextlib.AsyncExitStack() as opened:
        # The unix socket first: whoever finds the port open goes on to use the socket.
        unix = opened.enter_context(_bind_unix(config.socket))
        opened.callback(config.socket.unlink, missing_ok=True)
        tcp = opened.enter_context(_bind(config))
        for trusted, listener in ((True, unix), (False, tcp)):
            server = api.server(trusted=trusted)
            runner = web.ServerRunner(server, shutdown_timeout=_LAST_ANSWERS_S)
            opened.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        yield tcp.getsockname()[1]


def _bind(config: Config) -> socket.socket:
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Where two have bound an address, this is where the second one learns of it.
        listener.listen(_BACKLOG)
    except OSError as error:
        raise InUse(
            f"cannot listen on {config.listen}: {error.strerror}",
            hint="stop what listens there, or set `listen` to another address",
        ) from error
    listener.setblocking(False)
    return listener


def _bind_unix(path: Path) -> socket.socket:
    """Listen on the unix socket, 0600, in place of one that a dead daemon left behind."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            if _answers(path):
                raise InUse(
                    f"another daemon listens on {path}", hint="give this one another `socket`"
                )
            path.unlink()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path}: {error.strerror or error}") from error
    except InUse:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _data_dir(config: Config) -> Path:
    """The data folder, made if need be. Raises: ConfigError when lq cannot keep data there."""
    folder = config.data_dir
    why = "is not open to this user"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return folder
    except (FileExistsError, NotADirectoryError):
        why = "is not a folder"
    except OSError as error:
        why = f"cannot be made: {error.strerror}"
    raise ConfigError(
        f"{config.origin.get('data_dir', 'default')}: data_dir {folder} {why}",
        hint="set data_dir (or LQ_DATA_DIR) to a folder of your own; lq makes it",
    )


def _egress(config: Config) -> Egress:
    """The egress rule; every target the configuration names must be one it lets pass."""
    try:
        egress = Egress(config.egress.mode, config.egress.allow)
    except ValueError as error:
        where = config.origin.get("egress.allow", "egress.allow")
        raise ConfigError(f"{where}: [egress] allow: {error}") from error
    for name, settings in config.queues.items():
        if settings.target is not None:
            try:
                egress.check(parse_target(settings.target))
            except RequestError as error:
                where = config.origin.get(f"queues.{name}.target", "lq.toml")
                raise ConfigError(
                    f"{where}: [queues.{name}] target: {error.message}", hint=error.hint
                ) from error
    return egress


class _Signals:
    """The first SIGTERM or SIGINT asks for a stop, the second one for a stop at once.

    SIGHUP asks for the configuration to be read again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop = asyncio.Event()
        self.second: Callable[[], None] = self.stop.set
        self.reload = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._asked)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def _asked(self) -> None:
        if self.stop.is_set():
            self.second()
        self.stop.set()


async def _reload_when_asked(asked: asyncio.Event, engine: Engine) -> None:
    """Read lq.toml again at each SIGHUP, that of a start under way included."""
    while True:
        await asked.wait()
        asked.clear()
        await _reload(engine)


async def _reload(engine: Engine) -> None:
    """Read lq.toml again, and say what came of it."""
    try:
        done = await engine.reload(dry=False)
    except RequestError as error:
        log.error("SIGHUP: nothing was reloaded: %s", error.message)
        return
    changed = [f"{c.key} {c.change}" for c in done.schedules if c.change != "unchanged"]
    log.info("SIGHUP: schedules: %s", ", ".join(changed) or "nothing changed")
    if done.restart:
        log.warning("SIGHUP: these wait for a restart: %s", ", ".join(done.restart))


def _welcome(config: Config, running: Daemon) -> str:
    """Where things are and what to type next."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    lq = _typed()
    variables = f"  env     {', '.join(config.variables)}\n" if config.variables else ""
    return (
        f"lq {__version__} is ready (pid {os.getpid()})\n"
        f"  api     http://{host}:{running.port}/api/v1\n"
        f"  socket  {config.socket}\n"
        f"  data    {config.data_dir}\n"
        f"  config  {config.path.absolute() if config.path else 'none: all defaults'}\n"
        f"{variables}"
        "next, in another terminal (--no-validate until your handler answers HEAD, signed):\n"
        f"  {lq} push --queue mail --target https://example.com/hook --no-validate"
        ' --data \'{"to":"ada"}\'\n'
        f"  {lq} items ls   what waits and runs\n"
        f"  {lq} doctor     whether all is well"
    )


def _typed() -> str:
    """What to type for this lq: its path, as it was started, where a shell would not find it."""
    started, found = Path(sys.argv[0]), shutil.which("lq")
    if found and started.exists() and started.samefile(found):
        return "lq"
    return f"{sys.executable} -m lq" if started.name == "__main__.py" else str(started)


def _log_to_stderr(level: str) -> None:
    """Log what lq says; of libraries only warnings, since their details may quote payloads."""
    wanted = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=max(wanted, logging.WARNING),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("lq").setLevel(wanted)


def _run(main: Coroutine[None, None, None]) -> None:
    """Run on uvloop where there is one; it halves the cost of a call."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def _start_error(error: BaseException) -> StartError:
    """The reason inside the groups that services raise it in; anything else is a bug."""
    while isinstance(error, BaseExceptionGroup):
        reasons = error.subgroup(StartError)
        if reasons is None:
            raise error
        error = reasons.exceptions[0]
    assert isinstance(error, StartError)
    return error
