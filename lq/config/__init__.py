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
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct

from lq import paths, toml
from lq.backoff import MAX_RETRIES, parse_retry
from lq.errors import ConfigError
from lq.model import QueueSettings, RetryPolicy
from lq.when import parse_duration
from lq.wire import METHODS, check_item_headers, check_queue, read_json

MAX_PAYLOAD = 256 << 20  # bytes
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


class Dispatch(Struct, frozen=True, kw_only=True):
    """How much lq does at once, and how long it waits for it."""

    concurrency: int = 64  # calls in flight, over all queues
    queue_concurrency: int = 16  # calls in flight per queue that does not say otherwise
    timeout_ms: int = MINUTE  # one attempt
    drain_timeout_ms: int = 30 * SECOND  # what a stop grants to running attempts


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
    max_payload: int = 1 << 20  # bytes
    log_level: str = "info"
    dispatch: Dispatch = Dispatch()
    egress: EgressConfig = EgressConfig()
    validate: Validate = Validate()
    retry: RetryConfig = RetryConfig()
    history: HistoryConfig = HistoryConfig()
    queues: Mapping[str, QueueSettings] = MappingProxyType({})
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
    where = paths.places(source, environ)
    return settings.build(where, source.path if source else None)


class Kind(NamedTuple):
    """What a key accepts: `read` turns a TOML value into ours.

    Shape: `accepts` completes "expected …"; `from_text` makes of an LQ_* variable's text the
    TOML value that it stands for; `suffix` is what our member's name has beyond the key's.
    Raises: `read` and `from_text` a ValueError, which says what is wrong if `accepts` does not.
    """

    accepts: str
    read: Callable[[Any], object]
    from_text: Callable[[str], object] = str
    suffix: str = ""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


def _matching(pattern: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not re.fullmatch(pattern, _text(value)):
            raise ValueError
        return str(value)

    return read


def _whole(low: int, high: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError
    return value


def _as_number(text: str) -> object:
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def _integer(low: int, high: int) -> Kind:
    accepts = f"an integer from {low} to {high}"
    return Kind(accepts, lambda value: _whole(low, high, value), _as_number)


def _fraction(low: float, high: float) -> Kind:
    accepts = f"a number from {low:g} to {high:g}"

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not low <= value <= high:
            raise ValueError
        return float(value)

    return Kind(accepts, read, _as_number)


def _duration(low_ms: int, high_ms: int, accepts: str) -> Kind:
    def read(value: Any) -> int:
        return _whole(low_ms, high_ms, parse_duration(_text(value)))

    return Kind(f"a duration {accepts}", read, suffix="_ms")


def _choice(*words: str) -> Kind:
    quoted = [json.dumps(word) for word in words]
    accepts = " or ".join(quoted)
    return Kind(accepts, _matching("|".join(words)))


def _size(value: Any) -> int:
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,12}) ?(B|KiB|MiB)", value)
        if not found:
            raise ValueError
        value = int(found[1]) << {"B": 0, "KiB": 10, "MiB": 20}[found[2]]
    return _whole(1, MAX_PAYLOAD, value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(_text(entry) for entry in value)


def _listen(value: Any) -> str:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", _text(value))
    if not found or int(found[2]) > 65535:
        raise ValueError
    return str(value)


def _headers(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError
    return check_item_headers(value)


def _retry(value: Any) -> RetryPolicy:
    if isinstance(value, list):
        return parse_retry(",".join(_texts(value)))
    if isinstance(value, int):
        return RetryPolicy(_whole(0, MAX_RETRIES, value))
    return parse_retry(_text(value))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_CONCURRENCY = _integer(1, 10_000)
_ATTEMPT = _duration(1, DAY, 'from 1ms to 24h, such as "30s"')
_PATH = Kind("a path", _text)
_PATTERNS = Kind('a list of URL patterns such as ["https://example.com/*"]', _texts, _words)
_VALIDATE = _choice("head", "none")

_TOP: Mapping[str, Kind] = {
    "listen": Kind(
        'HOST:PORT such as "127.0.0.1:7420" or "[::1]:7420" ("0.0.0.0:7420" for all addresses)',
        _listen,
    ),
    "data_dir": _PATH,
    "socket": _PATH,
    "max_payload": Kind(
        'a size from 1 byte to 256 MiB such as 65536, "512KiB" or "1MiB"',
        _size,
        _as_number,
    ),
    "log_level": _choice("debug", "info", "warning", "error"),
}
_TABLES: Mapping[str, Mapping[str, Kind]] = {
    "dispatch": {
        "concurrency": _CONCURRENCY,
        "queue_concurrency": _CONCURRENCY,
        "timeout": _ATTEMPT,
        "drain_timeout": _duration(0, DAY, 'from 0s to 24h, such as "30s"'),
    },
    "egress": {
        "mode": _choice("public"),
        "allow": Kind('a list of addresses such as ["127.0.0.1:3000"]', _texts, _words),
    },
    "validate": {
        "default": _VALIDATE,
        "timeout": _duration(1, 10 * MINUTE, 'from 1ms to 10m, such as "10s"'),
        "deadline": _duration(SECOND, 365 * DAY, 'from 1s to 365d, such as "24h"'),
        "skip": _PATTERNS,
    },
    "retry": {
        "retries": _integer(0, MAX_RETRIES),
        "base": _duration(1, 365 * DAY, 'from 1ms to 365d, such as "10s"'),
        "factor": _fraction(1, 100),
        "cap": _duration(1, 365 * DAY, 'from 1ms to 365d, such as "6h"'),
        "jitter": _fraction(0, 1),
    },
    "history": {
        "keep": _duration(0, 3650 * DAY, 'from 0s to 3650d, such as "30d"'),
    },
}
_QUEUE: Mapping[str, Kind] = {
    "target": Kind(
        'a URL such as "https://example.com/hook"', _matching(r"https?://[^\s/]\S*|scriptlet:\S+")
    ),
    "method": _choice(*METHODS),
    "headers": Kind(
        'a table of strings such as { "X-Team" = "mail" }',
        _headers,
        lambda text: read_json(text.encode()),
    ),
    "concurrency": _CONCURRENCY,
    "retry": Kind(
        f'a number of retries from 0 to {MAX_RETRIES}, or the waits such as "10s,1m,1h"', _retry
    ),
    "timeout": _ATTEMPT,
    "validate": _VALIDATE,
}

KeyPath = tuple[str, ...]
_KINDS: Mapping[KeyPath, Kind] = {(name,): kind for name, kind in _TOP.items()} | {
    (table, name): kind for table, kinds in _TABLES.items() for name, kind in kinds.items()
}
_VARIABLES = {f"LQ_{'_'.join(path).upper()}": path for path in _KINDS}
_QUEUE_VARIABLE = re.compile(rf"LQ_QUEUES_([A-Z0-9_]+)_({'|'.join(_QUEUE).upper()})")
_NOT_KEYS = {"LQ_API_URL", "LQ_BASE_URL", "LQ_CONFIG", "LQ_ENCRYPTION_KEY", "LQ_SECRET", "LQ_TOKEN"}
_SEE = "lq.toml.example shows every key with its default."


class _Settings:
    """The values gathered so far by key, and where each came from."""

    def __init__(self) -> None:
        self.values: dict[KeyPath, Any] = {}
        self.origin = {".".join(path): "default" for path in _KINDS}
        self.queues: dict[str, None] = {}  # an ordered set: a table may be empty

    def add_file(self, source: paths.Source) -> None:
        lines = toml.key_lines(source.text)

        def refuse(path: KeyPath, why: str) -> ConfigError:
            at = f"{source.path}:{lines.get(path, 1)}"
            return ConfigError(f"{at}: {_named(path)}: {why}", hint=_SEE)

        for path, value in _flat(source.table, refuse):
            kind = _QUEUE.get(path[2]) if path[0] == "queues" else _KINDS.get(path)
            if kind is None:
                raise refuse(path, f"unknown key{_suggestion(path)}")
            try:
                self.values[path] = kind.read(value)
            except ValueError as error:
                raise refuse(path, _why(error, kind, value)) from None
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
                kind = _QUEUE[path[2]] if path[0] == "queues" else _KINDS[path]
                try:
                    self.values[path] = kind.read(kind.from_text(text))
                except ValueError as error:
                    raise ConfigError(f"{name}: {_why(error, kind, text)}") from None
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
        top = self._members((), _TOP) | {"data_dir": where.data_dir, "socket": where.sockets[0]}
        return Config(
            **top,
            **members,
            queues=MappingProxyType(queues),
            origin=MappingProxyType(self.origin),
            path=file,
        )

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
            raise refuse(path, f"expected a table, got {_shown(value)}")
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
    near = [here[other] for other in difflib.get_close_matches(name, here, 1)]
    near = near or [_named(other) for other in _KINDS if other[-1] == name]
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


def _why(error: ValueError, kind: Kind, value: object) -> str:
    return str(error) or f"expected {kind.accepts}, got {_shown(value)}"


def _shown(value: object) -> str:
    """A wrong value in a few words; tables stay closed, because headers can hold secrets."""
    if isinstance(value, dict):
        return "a table of other things"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


_STRUCTS: Mapping[str, Callable[..., Any]] = {
    "dispatch": Dispatch,
    "egress": EgressConfig,
    "validate": Validate,
    "retry": RetryConfig,
    "history": HistoryConfig,
}
