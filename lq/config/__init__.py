"""The configuration: lq.toml and LQ_* variables, checked whole, as one frozen Config.

Owns: every key, its default and what it accepts. Never opens the database or a socket, and
never decides whether a target may be called: that is `daemon.egress`.
Invariant: a Config that exists is valid, and `origin` can say where each value came from.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from lq import paths, toml
from lq.alerts import Rule
from lq.backoff import MAX_RETRIES
from lq.config.alerts import MAIL, WATCH, Mail, WatchConfig, read_alerts
from lq.config.doors import FILE, LIMITS, PROXIES, TLS, Limits, Network, Tls
from lq.config.events import EVENTS, EventsConfig
from lq.config.kinds import (
    ATTEMPT,
    CONCURRENCY,
    FLAG,
    HEADERS,
    METHOD,
    RATE,
    RETRY,
    SIZE,
    TARGET,
    VALIDATE,
    Kind,
    base_url_of,
    choice,
    duration,
    fraction,
    integer,
    listen_of,
    shown,
    text_of,
    texts,
    why,
    words_of,
)
from lq.config.metrics import METRICS, MetricsConfig
from lq.config.otlp import OTLP, Otlp
from lq.config.panel import PANEL, PanelConfig
from lq.config.schedules import FileSchedule, read_schedules
from lq.config.scriptlets import FOLDER, read_scriptlets
from lq.config.secrets import REDACT, SECRETS, Secrets
from lq.errors import ConfigError
from lq.model import QueueSettings
from lq.rate import MAX_COUNT
from lq.scriptlets import Scriptlet
from lq.wire import check_queue

__all__ = [
    "KINDS",
    "BreakerConfig",
    "Config",
    "Dispatch",
    "EgressConfig",
    "EventsConfig",
    "FileSchedule",
    "HistoryConfig",
    "Limits",
    "Mail",
    "MetricsConfig",
    "Network",
    "Otlp",
    "PanelConfig",
    "RetryConfig",
    "Secrets",
    "Tls",
    "Validate",
    "WatchConfig",
    "differences",
    "load",
]

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


class Dispatch(Struct, frozen=True, kw_only=True):
    """How much lq does at once, and how long it waits for it."""

    concurrency: int = 64  # calls in flight, over all queues
    queue_concurrency: int = 16  # calls in flight per queue that does not say otherwise
    timeout_ms: int = MINUTE  # one attempt
    drain_timeout_ms: int = 30 * SECOND  # what a stop grants to running attempts
    resolve: tuple[str, ...] = ()  # addresses of names, as host:port:address
    ca_file: Path | None = None  # the authorities that vouch for targets, not the system's


class EgressConfig(Struct, frozen=True, kw_only=True):
    """Which targets may be called; `allow` adds addresses to what `mode` lets through."""

    mode: str = "public"
    allow: tuple[str, ...] = ()


class Validate(Struct, frozen=True, kw_only=True):
    """Whether an endpoint must prove that it knows the secret before it is called.

    Shape: `skip` are shell patterns on target URLs that need not.
    """

    default: str = "head"  # or "none"
    timeout_ms: int = 10 * SECOND
    deadline_ms: int = DAY  # an item that waited this long for its endpoint fails
    skip: tuple[str, ...] = ()


class BreakerConfig(Struct, frozen=True, kw_only=True):
    """When a target that keeps failing is spared: its jobs are held, and cost no attempts."""

    failures: int = 10  # in a row, over all its jobs; 0 never spares
    hold_ms: int = 5 * SECOND  # until it is tried with one call; twice as long each time it fails
    most_hold_ms: int = 5 * MINUTE


class RetryConfig(Struct, frozen=True, kw_only=True):
    """The default curve: `base · factor^n`, at most `cap`, spread by ± `jitter`."""

    retries: int = 5
    base_ms: int = 10 * SECOND
    factor: float = 4.0
    cap_ms: int = 6 * HOUR
    jitter: float = 0.2


class HistoryConfig(Struct, frozen=True, kw_only=True):
    """How long finished items and their attempts are kept."""

    keep_ms: int = 30 * DAY


class Config(Struct, frozen=True, kw_only=True):
    """All of it. `origin` tells people where each dotted key's value came from.

    Shape: `origin` maps `dispatch.timeout` to "lq.toml:12", "LQ_DISPATCH_TIMEOUT" or "default".
    """

    data_dir: Path
    socket: Path
    listen: str = "127.0.0.1:7420"
    public_url: str | None = None  # where handlers reach lq, to call back
    trusted_proxy: tuple[Network, ...] = ()  # whose X-Forwarded-For is believed
    max_payload: int = 1 << 20  # bytes
    max_batch: int = 16 << 20  # bytes of a batch that is held in memory whole
    log_level: str = "info"
    tls: Tls = Tls()
    limits: Limits = Limits()
    secrets: Secrets = Secrets()
    dispatch: Dispatch = Dispatch()
    egress: EgressConfig = EgressConfig()
    validate: Validate = Validate()
    retry: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()
    history: HistoryConfig = HistoryConfig()
    events: EventsConfig = EventsConfig()
    metrics: MetricsConfig = MetricsConfig()
    otlp: Otlp = Otlp()
    panel: PanelConfig = PanelConfig()
    log_format: str = "text"
    queues: Mapping[str, QueueSettings] = MappingProxyType({})
    schedules: tuple[FileSchedule, ...] = ()
    scriptlets: Mapping[str, Scriptlet] = MappingProxyType({})
    alerts: tuple[Rule, ...] = ()
    mail: Mail = Mail()
    watch: WatchConfig = WatchConfig()
    origin: Mapping[str, str] = MappingProxyType({})
    path: Path | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The LQ_* variables that set something."""
        return tuple(sorted({w for w in self.origin.values() if re.fullmatch("LQ_[A-Z0-9_]+", w)}))

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 means any free port."""
        return int(self.listen.rpartition(":")[2])


def load(path: str | None, environ: Mapping[str, str]) -> Config:
    """Read the configuration: the file named or found, then what LQ_* variables override.

    Raises: ConfigError, naming file, line, table, key and the accepted form.
    """
    source = paths.read_config(path, environ)
    settings = _Settings()
    if source:
        settings.add_file(source)
    settings.add_variables(environ)
    for key in _FILES:
        if key in settings.values:
            given = settings.values[key]
            settings.values[key] = paths.configured(key, source, environ) if given else None
    where = paths.places(source, environ)
    return settings.build(where, source.path if source else None)


_PATH = Kind("a path", text_of)
_PATTERNS = Kind('a list of URL patterns such as ["https://example.com/*"]', texts, words_of)

_TOP: Mapping[str, Kind] = {
    "listen": Kind(
        'HOST:PORT such as "127.0.0.1:7420" or "[::1]:7420" ("0.0.0.0:7420" for all addresses)',
        listen_of,
    ),
    "data_dir": _PATH,
    "socket": _PATH,
    "max_payload": SIZE,
    "max_batch": SIZE,
    "log_level": choice("debug", "info", "warning", "error"),
    "log_format": choice("text", "json"),
    "trusted_proxy": PROXIES,
    "public_url": Kind(
        'a URL such as "https://lq.example.com", without query, fragment and user', base_url_of
    ),
}
_TABLES: Mapping[str, Mapping[str, Kind]] = {
    "tls": TLS,
    "limits": LIMITS,
    "secrets": SECRETS,
    "dispatch": {
        "concurrency": CONCURRENCY,
        "queue_concurrency": CONCURRENCY,
        "timeout": ATTEMPT,
        "drain_timeout": duration(0, DAY, 'from 0s to 24h, such as "30s"'),
        "resolve": Kind(
            'a list of addresses for names such as ["example.com:443:127.0.0.1"]', texts, words_of
        ),
        "ca_file": FILE,
    },
    "egress": {
        "mode": choice("public"),
        "allow": Kind('a list of addresses such as ["127.0.0.1:3000"]', texts, words_of),
    },
    "validate": {
        "default": VALIDATE,
        "timeout": duration(1, 10 * MINUTE, 'from 1ms to 10m, such as "10s"'),
        "deadline": duration(SECOND, 365 * DAY, 'from 1s to 365d, such as "24h"'),
        "skip": _PATTERNS,
    },
    "retry": {
        "retries": integer(0, MAX_RETRIES),
        "base": duration(1, 365 * DAY, 'from 1ms to 365d, such as "10s"'),
        "factor": fraction(1, 100),
        "cap": duration(1, 365 * DAY, 'from 1ms to 365d, such as "6h"'),
        "jitter": fraction(0, 1),
    },
    "breaker": {
        "failures": integer(0, 100_000),
        "hold": duration(1, DAY, 'from 1ms to 24h, such as "5s"'),
        "most_hold": duration(1, DAY, 'from 1ms to 24h, such as "5m"'),
    },
    "history": {
        "keep": duration(0, 3650 * DAY, 'from 0s to 3650d, such as "30d"'),
    },
    "events": EVENTS,
    "metrics": METRICS,
    "otlp": OTLP,
    "panel": PANEL,
    "mail": MAIL,
    "watch": WATCH,
}
_QUEUE: Mapping[str, Kind] = {
    "target": TARGET,
    "method": METHOD,
    "headers": HEADERS,
    "concurrency": CONCURRENCY,
    "rate": RATE,
    "burst": integer(1, MAX_COUNT),
    "fifo": FLAG,
    "retry": RETRY,
    "timeout": ATTEMPT,
    "validate": VALIDATE,
    "redact": REDACT,
}

KeyPath = tuple[str, ...]
_FILES: tuple[KeyPath, ...] = (
    *(("tls", "cert"), ("tls", "key")),
    *(("dispatch", "ca_file"), ("secrets", "key_file")),
    *(("mail", "password_file"), ("mail", "ca_file"), ("otlp", "headers_file")),
)
KINDS: Mapping[KeyPath, Kind] = {(name,): kind for name, kind in _TOP.items()} | {
    (table, name): kind for table, kinds in _TABLES.items() for name, kind in kinds.items()
}
"""What each key accepts, those of queues, schedules, scriptlets and alerts aside."""
_VARIABLES = {f"LQ_{'_'.join(path).upper()}": path for path in KINDS}
_QUEUE_VARIABLE = re.compile(rf"LQ_QUEUES_([A-Z0-9_]+)_({'|'.join(_QUEUE).upper()})")
_NOT_KEYS = {
    *("LQ_API_URL", "LQ_BASE_URL", "LQ_CONFIG", "LQ_ENCRYPTION_KEY"),
    *("LQ_REGISTER", "LQ_SECRET", "LQ_TOKEN"),
}
_SEE = "lq.toml.example shows every key with its default."


def differences(old: Config, new: Config) -> tuple[str, ...]:
    """The dotted keys whose values differ, but those that a running daemon follows.

    Shape: it follows queues, schedules, scriptlets and alerts, and another certificate where it has
    one.
    """
    found = []
    for name in Config.__struct_fields__:
        if name in {"queues", "schedules", "scriptlets", "alerts", "origin", "path"}:
            continue
        before, after = getattr(old, name), getattr(new, name)
        if name == "tls" and bool(before.cert) == bool(after.cert):
            continue
        if isinstance(before, Struct):
            members = before.__struct_fields__
            pairs = [(f"{name}.{m}", getattr(before, m), getattr(after, m)) for m in members]
        else:
            pairs = [(name, before, after)]
        found += [key.removesuffix("_ms") for key, was, is_now in pairs if was != is_now]
    return tuple(found)


class _Settings:
    """The values gathered so far by key, and where each came from."""

    def __init__(self) -> None:
        self.values: dict[KeyPath, Any] = {}
        self.origin = {".".join(path): "default" for path in KINDS}
        self.queues: dict[str, None] = {}  # an ordered set: a table may be empty
        self.schedules: tuple[FileSchedule, ...] = ()
        self.scriptlets: Mapping[str, Scriptlet] = MappingProxyType({})
        self.alerts: tuple[Rule, ...] = ()

    def add_file(self, source: paths.Source) -> None:
        lines = toml.key_lines(source.text)

        def refuse(path: KeyPath, why: str) -> ConfigError:
            at = f"{source.path}:{lines.get(path, 1)}"
            return ConfigError(f"{at}: {_named(path)}: {why}", hint=_SEE)

        table = dict(source.table)

        def where(path: KeyPath) -> str:
            return f"{source.path}:{lines.get(path, 1)}"

        self.schedules = read_schedules(table.pop("schedules", []), where)
        folder = source.path.absolute().parent / FOLDER
        self.scriptlets = read_scriptlets(table.pop("scriptlets", {}), where, folder)
        self.alerts = read_alerts(table.pop("alerts", []), where)
        for path, value in _flat(table, refuse):
            kind = _QUEUE.get(path[2]) if path[0] == "queues" else KINDS.get(path)
            if kind is None:
                raise refuse(path, f"unknown key{_suggestion(path)}")
            try:
                self.values[path] = kind.read(value)
            except ValueError as error:
                raise refuse(path, why(error, kind, value)) from None
            self.origin[".".join(path)] = f"{source.path}:{lines.get(path, 1)}"
        self.queues |= dict.fromkeys(source.table.get("queues", {}))

    def add_variables(self, environ: Mapping[str, str]) -> None:
        """Let LQ_* variables override the file. An empty one counts as not set."""
        for name in sorted(n for n in environ if n.startswith("LQ_") and n not in _NOT_KEYS):
            text = environ[name]
            path = _VARIABLES.get(name) or self._queue_path(name)
            if path is None:
                _refuse_misspelt(name)
            elif text:
                kind = _QUEUE[path[2]] if path[0] == "queues" else KINDS[path]
                try:
                    self.values[path] = kind.read(kind.from_text(text))
                except ValueError as error:
                    raise ConfigError(f"{name}: {why(error, kind, text)}") from None
                self.origin[".".join(path)] = name

    def _queue_path(self, variable: str) -> KeyPath | None:
        """The key LQ_QUEUES_MAIL_TARGET means: of the queue the file calls so, else `mail`."""
        found = _QUEUE_VARIABLE.fullmatch(variable)
        if not found:
            return None
        fits = [name for name in self.queues if re.sub(r"\W", "_", name).upper() == found[1]]
        if len(fits) > 1:
            raise ConfigError(f"{variable}: could mean the queue {' or '.join(fits)}")
        name = fits[0] if fits else found[1].lower()
        try:
            check_queue(name)
        except ValueError as error:
            raise ConfigError(f"{variable}: the name of a queue {error}") from None
        self.queues[name] = None
        return ("queues", name, found[2].lower())

    def build(self, where: paths.Places, file: Path | None) -> Config:
        members = {
            name: make(**self._members((name,), _TABLES[name])) for name, make in _STRUCTS.items()
        }
        queues = {
            name: QueueSettings(**self._members(("queues", name), _QUEUE)) for name in self.queues
        }
        self._refuse_order_of_many(queues)
        self._refuse_half_of_tls()
        top = self._members((), _TOP) | {"data_dir": where.data_dir, "socket": where.sockets[0]}
        config = Config(
            **top,
            **members,
            queues=MappingProxyType(queues),
            schedules=self.schedules,
            scriptlets=MappingProxyType(dict(self.scriptlets)),
            alerts=self.alerts,
            origin=MappingProxyType(self.origin),
            path=file,
        )
        for schedule in config.schedules:
            if len(schedule.spec.push.payload) > config.max_payload:
                raise ConfigError(
                    f"{schedule.where}: [[schedules]] payload: is larger than max_payload"
                )
        return config

    def _refuse_order_of_many(self, queues: Mapping[str, QueueSettings]) -> None:
        for name, settings in queues.items():
            if settings.fifo and settings.concurrency not in {None, 1}:
                at = self.origin[f"queues.{name}.fifo"]
                path = _named(("queues", name, "fifo"))
                raise ConfigError(f"{at}: {path}: needs a concurrency of 1", hint=_SEE)

    def _refuse_half_of_tls(self) -> None:
        given = [name for name in TLS if self.values.get(("tls", name))]
        if len(given) == 1:
            (missing,) = TLS.keys() - given
            at = self.origin[f"tls.{given[0]}"]
            raise ConfigError(f"{at}: [tls] {given[0]}: needs {missing} beside it", hint=_SEE)

    def _members(self, table: KeyPath, kinds: Mapping[str, Kind]) -> dict[str, Any]:
        return {
            name + kind.suffix: self.values[path]
            for name, kind in kinds.items()
            if (path := (*table, name)) in self.values
        }


def _flat(
    table: Mapping[str, Any], refuse: Callable[[KeyPath, str], ConfigError]
) -> Iterator[tuple[KeyPath, Any]]:
    """Each key with its path, tables opened; a table that is none is refused."""

    def opened(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
        if not isinstance(value, dict):
            raise refuse(path, f"expected a table, got {shown(value)}")
        return (((*path, name), inner) for name, inner in value.items())

    for name, value in table.items():
        if name == "queues":
            for path, settings in opened(("queues",), value):
                try:
                    check_queue(path[1])
                except ValueError as error:
                    raise refuse(path, f"the name of a queue {error}") from None
                yield from opened(path, settings)
        elif name in _TABLES:
            yield from opened((name,), value)
        else:
            yield (name,), value


def _refuse_misspelt(variable: str) -> None:
    """Raise when a variable that is not ours looks as if it were meant for us."""
    if found := re.match(r"LQ_(SCHEDULE|SCRIPTLET|ALERT)S?(_|$)", variable):
        name = f"{found[1].lower()}s"
        where = f"[{name}.NAME]" if name == "scriptlets" else f"[[{name}]]"
        raise ConfigError(f"{variable}: unknown variable; {where} are in lq.toml alone")
    near = difflib.get_close_matches(variable, _VARIABLES, 1, 0.85)
    of_a_table = any(variable.startswith(f"LQ_{name}_".upper()) for name in (*_TABLES, "queues"))
    if near or of_a_table:
        near = near or difflib.get_close_matches(variable, _VARIABLES, 1, 0.6)
        also = f", did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{variable}: unknown variable{also}", hint=_SEE)


def _suggestion(path: KeyPath) -> str:
    """What an unknown key may have been meant to be, else all that could be there."""
    *table, name = path
    if table and name in _TOP:
        return f", {name} belongs above the first [table]"
    kinds = _QUEUE if path[0] == "queues" else _TABLES.get(path[0], _TOP)
    here = {other: other for other in kinds}
    if not table:
        here |= {other: f"[{other}]" for other in (*_TABLES, "queues")}
        here |= {name: f"[[{name}]]" for name in ("schedules", "alerts")}
        here["scriptlets"] = "[scriptlets.NAME]"
    near = [here[other] for other in difflib.get_close_matches(name, here, 1)]
    near = near or [_named(other) for other in KINDS if other[-1] == name]
    if near:
        return f", did you mean {' or '.join(near)}?"
    return f"; known are {', '.join(here.values())}"


def _named(path: KeyPath) -> str:
    """A key as people look for it: `[queues.mail] concurrency`."""
    *table, name = path
    if path[0] == "queues" and len(path) == 2:
        table, name = [*path], ""
    bare = re.compile(r"[A-Za-z0-9_-]+")
    dotted = ".".join(part if bare.fullmatch(part) else json.dumps(part) for part in table)
    return f"[{dotted}] {name}".rstrip() if table else name


_STRUCTS: Mapping[str, Callable[..., Any]] = {
    "tls": Tls,
    "limits": Limits,
    "secrets": Secrets,
    "dispatch": Dispatch,
    "egress": EgressConfig,
    "validate": Validate,
    "retry": RetryConfig,
    "breaker": BreakerConfig,
    "history": HistoryConfig,
    "events": EventsConfig,
    "metrics": MetricsConfig,
    "otlp": Otlp,
    "panel": PanelConfig,
    "mail": Mail,
    "watch": WatchConfig,
}
