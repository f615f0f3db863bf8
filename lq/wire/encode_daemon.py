"""The daemon and its machine -> JSON: tokens, secrets, scriptlets, alerts, health, reloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.alerts import Kind, Standing, Status
from lq.model import Reload, Scope, Secret, Token
from lq.scriptlets import TIMEOUT_MS, Scriptlet, refusal
from lq.signature import webhook_secret
from lq.when import format_duration, format_instant
from lq.wire.parts import InstantText, instant, one_of, to_json


class _Token(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    name: str
    scopes: list[Annotated[str, one_of(*Scope)]]
    queues: tuple[str, ...] = ()
    created: InstantText
    expires: InstantText | None = None
    revoked: InstantText | None = None
    last_used: InstantText | None = None
    token: str | None = None


class _OldSecret(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A secret that was rotated; `until` is when it retires."""

    secret: str
    webhook_secret: str
    until: InstantText


class _Secrets(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """The newest secret, which signs, and those that are still valid beside it."""

    secret: str
    webhook_secret: str
    older: list[_OldSecret] = []


class _PanelLink(Struct, kw_only=True, omit_defaults=True):
    """A way into the panel, for one login: `url` from anywhere, `local` on the daemon's machine."""

    url: str
    local: str
    expires: InstantText


class _Change(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What a reload does to one schedule."""

    key: str
    change: Annotated[str, one_of("created", "updated", "removed", "unchanged", "conflict")]
    next_before: InstantText | None = None
    next_after: InstantText | None = None
    note: str | None = None


class _Scriptlet(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A scriptlet of lq.toml. Shape: of its environment the names alone; `fault` is why it cannot
    be run as its files are now.
    """

    name: str
    command: tuple[str, ...]
    where: str
    user: str | None = None
    cwd: str | None = None
    timeout: str
    kill_after: str
    max_output: int
    push: Annotated[str, one_of("admin", "push")]
    nice: int | None = None
    memory: int | None = None
    cpu_seconds: int | None = None
    processes: int | None = None
    file_size: int | None = None
    env: list[str] = []
    fault: str | None = None


class _Wrong(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """How something stands that an alert has told of."""

    subject: str
    failures: int = 0
    since: InstantText | None = None
    late: bool = False
    too_long: tuple[str, ...] = ()


class _Alert(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """A rule of lq.toml. Shape: of a URL the host alone: its path often is a credential."""

    name: str
    target: str
    on: list[Annotated[str, one_of(*Kind)]]
    queues: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    scriptlets: tuple[str, ...] = ()
    streak: int
    wrong: list[_Wrong] = []
    waiting: int = 0
    last_sent: InstantText | None = None


class _Health(Struct, omit_defaults=True):
    status: Annotated[str, one_of("ok", "unavailable")]
    reasons: Sequence[str] = ()


class _Info(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    version: str
    now: InstantText
    pid: int | None = None
    data_dir: str | None = None


class _Setting(Struct, kw_only=True, omit_defaults=True):
    """What a reload does to one setting. Shape: values that may be credentials are left out."""

    key: str
    change: Annotated[str, one_of("added", "changed", "removed")]
    before: str | None = None
    after: str | None = None


class _Reload(Struct):
    schedules: list[_Change]
    settings: list[_Setting]
    restart: Sequence[str]


ANSWERS: Final[Mapping[str, Any]] = {
    "Alerts": list[_Alert],
    "Scriptlets": list[_Scriptlet],
    "Token": _Token,
    "Tokens": list[_Token],
    "Secrets": _Secrets,
    "Health": _Health,
    "Info": _Info,
    "PanelLink": _PanelLink,
    "Reload": _Reload,
}
"""What answers look like, by the name that the description of the API gives them."""


def encode_token(token: Token, text: str | None = None) -> bytes:
    """A token; `text` is the token itself, shown once, when it is made."""
    return to_json(_token(token, text))


def encode_tokens(tokens: Sequence[Token]) -> bytes:
    """A plain array of tokens."""
    return to_json([_token(token) for token in tokens])


def encode_secrets(secrets: Sequence[Secret]) -> bytes:
    """The signing secrets in both their forms: the newest, then those that still are valid."""
    newest, *older = secrets
    return to_json(
        _Secrets(
            secret=newest.text,
            webhook_secret=webhook_secret(newest.text),
            older=[
                _OldSecret(
                    secret=secret.text,
                    webhook_secret=webhook_secret(secret.text),
                    until=format_instant(secret.until or 0),
                )
                for secret in older
            ],
        )
    )


def encode_scriptlets(scriptlets: Sequence[Scriptlet]) -> bytes:
    """A plain array of scriptlets, by name."""
    return to_json([_scriptlet(one) for one in scriptlets])


def encode_alerts(statuses: Sequence[Status]) -> bytes:
    """A plain array of alerts."""
    return to_json([_alert(status) for status in statuses])


def encode_health(reasons: Sequence[str]) -> bytes:
    """`{"status": "ok"}`, or what is wrong."""
    return to_json(_Health("unavailable" if reasons else "ok", reasons))


def encode_info(version: str, now: int, pid: int | None, data_dir: str | None) -> bytes:
    """Which daemon this is; what is None is not for this caller's eyes."""
    return to_json(_Info(version=version, now=format_instant(now), pid=pid, data_dir=data_dir))


def encode_panel_link(url: str, local: str, expires_at: int) -> bytes:
    """A link to the panel; it holds a secret."""
    return to_json(_PanelLink(url=url, local=local, expires=format_instant(expires_at)))


def encode_reload(reload: Reload) -> bytes:
    """What a reload of the configuration did, or would do."""
    schedules = [
        _Change(
            key=change.key,
            change=change.change,
            next_before=instant(change.next_before),
            next_after=instant(change.next_after),
            note=change.note,
        )
        for change in reload.schedules
    ]
    settings = [
        _Setting(key=one.key, change=one.change, before=one.before, after=one.after)
        for one in reload.settings
    ]
    return to_json(_Reload(schedules, settings, reload.restart))


def _scriptlet(one: Scriptlet) -> _Scriptlet:
    return _Scriptlet(
        name=one.name,
        command=one.command,
        where=one.where,
        user=one.user,
        cwd=one.cwd,
        timeout=format_duration(one.timeout_ms or TIMEOUT_MS),
        kill_after=format_duration(one.kill_after_ms),
        max_output=one.max_output,
        push=one.push,
        nice=one.limits.nice,
        memory=one.limits.memory,
        cpu_seconds=one.limits.cpu_s,
        processes=one.limits.processes,
        file_size=one.limits.file_size,
        env=sorted(one.env),
        fault=None if (reason := refusal(one)) is None else reason.removeprefix("exec: "),
    )


def _alert(status: Status) -> _Alert:
    rule = status.rule
    scheme, slashes, rest = rule.target.partition("//")
    return _Alert(
        name=rule.name,
        target=f"{scheme}//{rest.partition('/')[0].partition('?')[0]}/…" if slashes else scheme,
        on=sorted(rule.on),
        queues=rule.queues,
        schedules=rule.schedules,
        scriptlets=rule.scriptlets,
        streak=rule.streak,
        wrong=[_wrong(subject, standing) for subject, standing in status.wrong],
        waiting=status.waiting,
        last_sent=instant(status.sent_at),
    )


def _wrong(subject: str, standing: Standing) -> _Wrong:
    return _Wrong(
        subject=subject,
        failures=standing.failures,
        since=instant(standing.since),
        late=standing.late,
        too_long=standing.long_jobs,
    )


def _token(token: Token, text: str | None = None) -> _Token:
    return _Token(
        name=token.name,
        scopes=sorted(token.scopes),
        queues=token.queues,
        created=format_instant(token.created_at),
        expires=instant(token.expires_at),
        revoked=instant(token.revoked_at),
        last_used=instant(token.used_at),
        token=text,
    )
