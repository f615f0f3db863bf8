"""The alerts of lq.toml: `[[alerts]]`, and `[mail]` and `[watch]` beside them.

Owns what these tables may say, and their defaults. Whether a target may be called is for
`daemon.egress`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from lq.alerts import ALWAYS, Preset, Rule
from lq.alerts import Kind as Told
from lq.config.doors import FILE
from lq.config.kinds import (
    HEADERS,
    Kind,
    choice,
    duration,
    integer,
    matching,
    read_table,
    text_of,
    texts,
)
from lq.config.schedules import Where
from lq.errors import ConfigError
from lq.when import DAY_MS

_HINT: Final = "lq.toml.example shows an alert with every key."
_ADDRESS: Final = r"[^@\s,<>\"]+@[^@\s,<>\"]+"
_HOSTS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "hooks.slack.com": Preset.SLACK,
        "discord.com": Preset.DISCORD,
        "discordapp.com": Preset.DISCORD,
        "ntfy.sh": Preset.NTFY,
    }
)
_MEMBERS: Final = {
    "late": "late_ms",
    "longer_than": "longer_ms",
    "shorter_than": "shorter_ms",
    "digest": "digest_ms",
}
_NEEDS: Final = {
    Told.LATE: "late",
    Told.TOO_LONG: "longer_than",
    Told.TOO_SHORT: "shorter_than",
}


class Mail(Struct, frozen=True, kw_only=True):
    """The server that mail is handed to.

    Shape: `smtp` is `smtp://HOST[:PORT]`, encrypted if the server offers that and in any case
    before a password is sent, or `smtps://HOST[:PORT]`.
    """

    smtp: str = "smtp://127.0.0.1:25"
    sender: str | None = None  # lq@ and this machine's name
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None  # who vouches for the server, in place of the system's


class WatchConfig(Struct, frozen=True, kw_only=True):
    """Who notices when lq itself is gone: a URL that is called as long as all is well."""

    ping: str | None = None
    every_ms: int = 60_000


def read_alerts(value: Any, where: Where) -> tuple[Rule, ...]:
    """Read the array of tables. Raises: ConfigError, naming line, key and the accepted form."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ConfigError(f"{where(('alerts',))}: expected tables [[alerts]]", hint=_HINT)
    found: dict[str, Rule] = {}
    for number, table in enumerate(value):
        path = ("alerts", str(number))
        rule = _read(table, path, where)
        if rule.name in found:
            raise ConfigError(f"{where((*path, 'name'))}: [[alerts]] name: {rule.name!r} is taken")
        found[rule.name] = rule
    return tuple(found.values())


def _read(table: Mapping[str, Any], path: tuple[str, ...], where: Where) -> Rule:
    def refuse(name: str, message: str) -> ConfigError:
        at = where((*path, name) if name in table else path)
        return ConfigError(f"{at}: [[alerts]] {name}: {message}", hint=_HINT)

    members = read_table(table, _KINDS, refuse)
    for name in ("name", "target"):
        if name not in members:
            raise refuse(name, "is missing")
    target = members["target"]
    over_http = target.startswith(("http:", "https:"))
    for name in ("preset", "headers"):
        if name in members and not over_http:
            raise refuse(name, "is for a target over HTTP alone")
    on = members.get("on")
    if on is None:
        on = ALWAYS | {told for told, key in _NEEDS.items() if key in members}
    for told, key in _NEEDS.items():
        if told in on and key not in members:
            raise refuse("on", f'"{told}" needs {key} beside it')
        if told not in on and key in members:
            raise refuse(key, f'means nothing without "{told}" in on')
    members.setdefault("preset", _preset(target))
    members["on"] = on
    return Rule(**{_MEMBERS.get(name, name): value for name, value in members.items()})


def _preset(target: str) -> Preset:
    """The form that the host of a URL is known to expect."""
    return _HOSTS.get(urlsplit(target).hostname or "", Preset.JSON)


def _on(value: Any) -> frozenset[Told]:
    words = texts(value)
    if not words or not set(words) <= set(Told):
        raise ValueError
    return frozenset(Told(word) for word in words)


def _patterns(value: Any) -> tuple[str, ...]:
    patterns = texts(value)
    if not patterns:
        raise ValueError
    return patterns


def _or_none(kind: Kind) -> Kind:
    """A kind for which "" is none."""
    return Kind(
        f'{kind.accepts}, or "" for none', lambda value: None if value == "" else kind.read(value)
    )


def _server(value: Any) -> str:
    text = text_of(value)
    parts = urlsplit(text)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError
    if parts.username is not None:
        raise ValueError("names a user: that goes into user and password_file")
    if parts.port == 0:  # what is no port at all has raised
        raise ValueError
    return text


_HOOK: Final = r"https?://[^\s/]\S*"
_TARGET: Final = Kind(
    'a URL, "scriptlet:NAME", or "mailto:ops@example.com" (several with commas)',
    matching(rf"{_HOOK}|scriptlet:\S+|mailto:{_ADDRESS}(,{_ADDRESS})*"),
)
_THRESHOLD: Final = duration(1, 365 * DAY_MS, 'from 1ms to 365d, such as "5m"')._replace(suffix="")
_preset_kind = choice(*Preset)._replace(read=lambda value: Preset(text_of(value)))
_KINDS: Final[Mapping[str, Kind]] = {
    "name": Kind(
        "1 to 64 letters, digits, dots, dashes or underscores",
        matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    ),
    "target": _TARGET,
    "preset": _preset_kind,
    "headers": HEADERS,
    "on": Kind(f"a list of these: {', '.join(Told)}", _on),
    "queues": Kind('a list of patterns such as ["mail-*"]', _patterns),
    "schedules": Kind('a list of patterns such as ["nightly*"]', _patterns),
    "scriptlets": Kind('a list of patterns such as ["backup*"]', _patterns),
    "streak": integer(1, 1000),
    "late": _THRESHOLD,
    "longer_than": _THRESHOLD,
    "shorter_than": _THRESHOLD,
    "digest": duration(0, DAY_MS, 'from 0s to 24h, such as "5m"'),
}
MAIL: Final[Mapping[str, Kind]] = {
    "smtp": Kind('a server such as "smtp://localhost:25" or "smtps://mail.example.com"', _server),
    "sender": _or_none(Kind('an address such as "lq@example.com"', matching(_ADDRESS))),
    "user": _or_none(Kind("a name", text_of)),
    "password_file": FILE,
    "ca_file": FILE,
}
WATCH: Final[Mapping[str, Kind]] = {
    "ping": _or_none(Kind('a URL such as "https://hc-ping.com/…"', matching(_HOOK))),
    "every": duration(1000, DAY_MS, 'from 1s to 24h, such as "1m"'),
}
