"""The composition root of the daemon: the core, HTTP on both of its sides, and the process.

Owns the process: signals, sockets, limits, the log. Decides nothing about jobs.

Invariant: the API answers until all runs have ended or were given back, and only after the core
has stopped is the data folder let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path

from lq import __version__, exposure
from lq.alerts import Rule
from lq.clock import Clock, SystemClock
from lq.config import Config, load
from lq.daemon.api.app import Api
from lq.daemon.cipher import read_seal
from lq.daemon.core import Core, at_work
from lq.daemon.egress import Egress, parse_pins, parse_target
from lq.daemon.endpoints import Endpoints
from lq.daemon.engine import Engine
from lq.daemon.lanes import MOST_ASIDE
from lq.daemon.listen import Certificate, listening
from lq.daemon.notify import Manager
from lq.daemon.panel.app import Panel
from lq.daemon.panel.guard import addresses as panel_addresses
from lq.daemon.secret import open_ring
from lq.daemon.store import Store
from lq.daemon.store.sqlite import open_store as open_sqlite
from lq.daemon.targets.alert import AlertTarget
from lq.daemon.targets.connect import is_this_machine, tls_context
from lq.daemon.targets.http import HttpTarget
from lq.daemon.targets.kinds import ByKind
from lq.daemon.targets.names import GetAddrInfo
from lq.daemon.targets.request import Signer
from lq.daemon.targets.scriptlet import ScriptletTarget
from lq.daemon.tracing import open_tracer
from lq.daemon.waiting import ReturnAddress
from lq.daemon.watch import Ping
from lq.errors import ConfigError, RequestError, StartError
from lq.logs import to_stderr
from lq.model import Job, Run
from lq.scriptlets import Registry, name_of

log = logging.getLogger("lq")

_TELL_EVERY_S = 1.0
_OTHER_FILES = 256  # the database, names being looked up, the owner on the unix socket


def serve(config: Config) -> int:
    """Run the daemon until it is told to stop; the exit code of the process."""
    os.umask(0o077)
    _raise_file_limit(config)
    # What is loaded by now stays; of what a call makes, hardly anything is a cycle. Looking
    # for cycles every 700 objects took a seventh of the time of a call.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    to_stderr(config.log_level, config.log_format)
    try:
        _run(_serve(config, Manager.take(os.environ)))
    except (StartError, BaseExceptionGroup) as error:
        cause = _start_error(error)
        print(f"lq: {cause.message}", file=sys.stderr)
        if cause.hint:
            print(f"hint: {cause.hint}", file=sys.stderr)
        return cause.exit_code
    return 0


async def _serve(config: Config, manager: Manager) -> None:
    signals = _Signals(asyncio.get_running_loop())
    load_config = partial(load, str(config.path) if config.path else None, os.environ)
    async with daemon(config, load_config=load_config) as running:
        watch = asyncio.create_task(manager.watch(lambda: running.on_time, lambda: running.status))
        reloads = asyncio.create_task(_reload_when_asked(signals.reload, running, manager))
        print(_welcome(config, running), file=sys.stderr, flush=True)
        manager.ready(running.status)
        signals.second = running.cut
        await signals.stop.wait()
        reloads.cancel()
        patience_s = config.dispatch.drain_timeout_ms / 1000
        telling = asyncio.create_task(_tell_of_stop(running, manager, patience_s))
        await asyncio.sleep(0)  # so that it says first how many there are
    telling.cancel()
    watch.cancel()
    log.info("stopped")


async def _tell_of_stop(running: Daemon, manager: Manager, patience_s: float) -> None:
    """Say how far a stop is: to the service manager each second, in the log when that changes."""
    began, most, told = time.monotonic(), running.in_flight, -1
    while True:
        number, left_s = running.in_flight, patience_s - (time.monotonic() - began)
        text = f"stopping: {number} calls are still running"
        if told >= 0:
            text = f"stopping: {number} of {most} calls are still running"
        if number and left_s > 0:
            text += f", {left_s:.0f} s left"
        manager.stopping(text)
        if number != told:
            log.info(text)
            told = number
        await asyncio.sleep(_TELL_EVERY_S)


class Daemon:
    """A running daemon, for whoever embeds or tests it."""

    def __init__(self, core: Core, port: int) -> None:
        self.engine = core.engine
        self.events = core.events
        self.port = port
        self._dispatcher = core.dispatcher

    @property
    def in_flight(self) -> int:
        """How many calls have not been settled."""
        return self._dispatcher.in_flight

    @property
    def on_time(self) -> bool:
        """Whether the timer wheel turns: what is due is done."""
        return self.engine.on_time

    @property
    def status(self) -> str:
        """How it is, in a few words."""
        reasons = self.engine.health().reasons
        return f"{self.in_flight} calls are running{''.join(f'; {one}' for one in reasons)}"

    def cut(self) -> None:
        """Let a stop that goes on wait for no call any longer."""
        self._dispatcher.cut()


@contextlib.asynccontextmanager
async def daemon(
    config: Config,
    clock: Clock | None = None,
    open_store: Callable[[Path], Awaitable[Store]] = open_sqlite,
    load_config: Callable[[], Config] | None = None,
    getaddrinfo: GetAddrInfo = socket.getaddrinfo,
) -> AsyncIterator[Daemon]:
    """The whole daemon, serving while the context is open, drained and closed at its end.

    Shape: `open_store` opens the store of a data folder, `load_config` reads the configuration
    again for a reload, `getaddrinfo` finds the addresses of names. Raises: StartError (in a
    group, when it comes from a service that died on the way).
    """
    clock = clock or SystemClock()
    egress, authorities = _egress(config), _authorities(config)
    host = socket.gethostname()
    exposure.check(config)
    certificate = Certificate(config)
    store = await open_store(_data_dir(config))
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(store.close)
        ring = open_ring(config.data_dir, clock, read_seal(config, os.environ))

        def secret_for(job: Job) -> str:
            return endpoints.secret_for(job)  # made last: they ask through the target

        def rule_of(name: str) -> Rule | None:
            return core.engine.alerts.rule(name)  # made last: they push through the resolver

        def callback_of(run: Run) -> str | None:
            return core.waiting.url(run)  # made later: it needs the lanes

        signer = Signer(ring.live, secret_for, callback_of)
        most = config.dispatch.concurrency
        tracer = open_tracer(config.otlp)
        if tracer is not None:
            opened.push_async_callback(asyncio.to_thread, tracer.close)
        sent = None if tracer is None else tracer.attempted
        out = HttpTarget(signer, egress, clock, authorities, getaddrinfo, most_idle=most, sent=sent)
        target = await opened.enter_async_context(out)
        scriptlets = Registry(config.scriptlets)
        local = ScriptletTarget(scriptlets.find, store.put_process)
        endpoints = Endpoints(config.validate, config.queues, ring, target.head, clock)
        opened.push_async_callback(endpoints.close)
        address = ReturnAddress(
            config.public_url, config.host, config.port, secured=config.tls.cert is not None
        )
        ping = Ping(config.watch, clock, lambda: core.engine.health().live, target.get)
        core = await opened.enter_async_context(
            at_work(
                config,
                clock=clock,
                store=store,
                target=AlertTarget(ByKind(target, local), rule_of, config.mail, host),
                admission=endpoints,
                spell=partial(_spelling, egress),
                address=address,
                host=host,
                scriptlets=scriptlets,
                local=local,
                ring=ring,
                load_config=load_config,
                prepare=partial(_prepare, egress, certificate),
                beside={"secrets": ring.run, "watch": ping.run},
                get=target.get,
                sign=signer.headers,
                files_wanted=_files_wanted(config),
            )
        )
        api = Api(
            core.engine,
            clock=clock,
            data_dir=str(config.data_dir),
            limits=config.limits,
            trusted_proxy=config.trusted_proxy,
        )
        if config.panel.enabled:
            api.pages = Panel(config, core.engine, api, clock)
            core.engine.sessions.addresses = lambda: panel_addresses(config, address.port)
        async with listening(config, api, certificate) as port:
            egress.protect(port, is_this_machine)  # any free port is known only now
            address.port = port
            async with core.claiming(config.dispatch.drain_timeout_ms):
                yield Daemon(core, port)


def _spelling(egress: Egress, text: str) -> str:
    """A target's canonical URL, if it may be called. Raises: ValidationError, TargetNotAllowed."""
    target = parse_target(text)
    egress.check(target)
    return target.url


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
    with _naming(config, "dispatch.resolve"):
        pins = parse_pins(config.dispatch.resolve)
    with _naming(config, "egress.allow"):
        egress = Egress(config.egress.mode, config.egress.allow, pins)
    if config.port:
        egress.protect(config.port, is_this_machine)
    _check_queues(config, egress)
    if config.watch.ping is not None:
        where = config.origin.get("watch.ping", "lq.toml")
        _refuse_closed(egress, config.watch.ping, f"{where}: [watch] ping")
    _check_alerts(config, egress)
    return egress


def _check_queues(config: Config, egress: Egress) -> None:
    """Refuse default targets that may not be called. Raises: ConfigError."""
    for name, settings in config.queues.items():
        if settings.target is not None and name_of(settings.target) is None:
            where = config.origin.get(f"queues.{name}.target", "lq.toml")
            _refuse_closed(egress, settings.target, f"{where}: [queues.{name}] target")


def _check_alerts(config: Config, egress: Egress) -> None:
    """Refuse alerts that could not be sent. Raises: ConfigError."""
    for rule in config.alerts:
        if rule.target.startswith(("http:", "https:")):
            _refuse_closed(egress, rule.target, f"lq.toml: [[alerts]] {rule.name}: target")


def _refuse_closed(egress: Egress, url: str, what: str) -> None:
    """Refuse a URL of the configuration that lq may not call. Raises: ConfigError."""
    try:
        egress.check(parse_target(url))
    except RequestError as error:
        raise ConfigError(f"{what}: {error.message}", hint=error.hint) from error


def _prepare(egress: Egress, certificate: Certificate, config: Config) -> Callable[[], None]:
    """Look at what a reload would take; what lets it be taken. Raises: ConfigError."""
    _check_queues(config, egress)
    _check_alerts(config, egress)
    return certificate.read(config)


def _authorities(config: Config) -> ssl.SSLContext:
    """What targets' certificates are verified with."""
    with _naming(config, "dispatch.ca_file"):
        return tls_context(config.dispatch.ca_file)


@contextlib.contextmanager
def _naming(config: Config, key: str) -> Iterator[None]:
    """Say where the value comes from that cannot be used. Raises: ConfigError."""
    table, _, name = key.partition(".")
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{config.origin.get(key, key)}: [{table}] {name}: {error}") from error


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


async def _reload_when_asked(asked: asyncio.Event, running: Daemon, manager: Manager) -> None:
    """Read lq.toml again at each SIGHUP, that of a start under way included."""
    while True:
        await asked.wait()
        asked.clear()
        manager.reloading()
        await _reload(running.engine)
        manager.ready(running.status)


async def _reload(engine: Engine) -> None:
    """Read lq.toml again, and say what came of it."""
    try:
        done = await engine.reload(dry=False)
    except RequestError as error:
        log.error("SIGHUP: nothing was reloaded: %s", error.message)
        return
    changed = [f"{c.key} {c.change}" for c in done.schedules if c.change != "unchanged"]
    log.info("SIGHUP: schedules: %s", ", ".join(changed) or "nothing changed")
    for one in done.settings:
        values = f": {one.before or 'nothing'} -> {one.after or 'nothing'}"
        log.info("SIGHUP: %s %s%s", one.key, one.change, values if one.before or one.after else "")
    if done.restart:
        log.warning("SIGHUP: these wait for a restart: %s", ", ".join(done.restart))


def _welcome(config: Config, running: Daemon) -> str:
    """Where things are and what to type next."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "https" if config.tls.cert else "http"
    lq = _typed()
    panel = f"  {lq} panel      the same and more, in a browser\n" if config.panel.enabled else ""
    variables = f"  env     {', '.join(config.variables)}\n" if config.variables else ""
    return (
        f"lq {__version__} is ready (pid {os.getpid()})\n"
        f"  api     {scheme}://{host}:{running.port}/api/v1\n"
        f"  socket  {config.socket}\n"
        f"  data    {config.data_dir}\n"
        f"  config  {config.path.absolute() if config.path else 'none: all defaults'}\n"
        f"{variables}"
        "next, in another terminal (--no-validate until your handler answers HEAD, signed):\n"
        f"  {lq} push --queue mail --target https://example.com/hook --no-validate"
        ' --data \'{"to":"ada"}\'\n'
        f"  {lq} items ls   what waits and runs\n"
        f"{panel}"
        f"  {lq} doctor     whether all is well"
    )


def _typed() -> str:
    """What to type for this lq: its path, as it was started, where a shell would not find it."""
    started, found = Path(sys.argv[0]), shutil.which("lq")
    if found and started.exists() and started.samefile(found):
        return "lq"
    return f"{sys.executable} -m lq" if started.name == "__main__.py" else str(started)


def _files_wanted(config: Config) -> int:
    """How many files might be open: one for each connection and call, and some."""
    # Besides the call or HEAD of each slot, a connection may be kept for it by http and by https.
    calls = 3 * config.dispatch.concurrency + MOST_ASIDE
    return config.limits.connections + calls + _OTHER_FILES


def _raise_file_limit(config: Config) -> None:
    """Let there be a file for each connection and call; many systems start with 1024."""
    wanted = _files_wanted(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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
