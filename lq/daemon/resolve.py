"""Turns what a caller asked for into what is stored: defaults, instants, targets.

Owns the order of defaults (the push, then lq.toml's queue, then the stored queue, then
lq.toml) and the bounds on times. Stores nothing, calls nothing.

Invariant: a target that comes out of here has one spelling and may be called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from lq.config import Config
from lq.daemon.lanes import Flow
from lq.daemon.store import ResolvedEdit
from lq.daemon.waiting import UNREACHABLE, ReturnAddress
from lq.errors import Conflict, Issue, ValidationError
from lq.model import (
    Completion,
    Edit,
    Job,
    NewJob,
    Push,
    Queue,
    QueueEdit,
    QueueSettings,
    RetryPolicy,
    State,
)
from lq.scriptlets import TIMEOUT_MS, Registry, name_of
from lq.when import MAX_MS

_MOST_TARGETS = 10_000
_NO_SETTINGS = QueueSettings()
_NOWHERE = "http://localhost/"


class Resolver:
    """Knows the configuration, and of each queue what is stored for it."""

    def __init__(
        self,
        config: Config,
        spell: Callable[[str], str],
        address: ReturnAddress,
        scriptlets: Registry,
        entropy: Callable[[int], bytes],
    ) -> None:
        """Shape: `spell` gives a URL's one spelling, if it may be called; it raises else."""
        self._address = address
        self._config = config
        self._spell = spell
        self._scriptlets = scriptlets
        self._entropy = entropy
        self._stored: dict[str, QueueSettings] = {}
        self._targets: dict[str, str] = {}

    def follow(self, queues: Mapping[str, QueueSettings], origin: Mapping[str, str]) -> None:
        """Take the queues of a configuration that was read again."""
        self._config = replace(self._config, queues=queues, origin=origin)

    @property
    def configured(self) -> Set[str]:
        """The queues of lq.toml."""
        return self._config.queues.keys()

    def flow(self, name: str) -> Flow:
        """How the jobs of a queue may start."""
        settings = self.settings(name)
        return Flow(
            concurrency=settings.concurrency,
            rate=settings.rate,
            burst=settings.burst,
            fifo=bool(settings.fifo),
        )

    def learn(self, queue: Queue) -> None:
        """Take note of what is stored for a queue."""
        self._stored[queue.name] = queue.settings

    def settings(self, name: str) -> QueueSettings:
        """What is set for a queue: lq.toml wins over what was set by API."""
        stored = self._stored.get(name, _NO_SETTINGS)
        configured = self._config.queues.get(name)
        return stored if configured is None else _merged(stored, configured)

    def redactions(self, queue: str) -> tuple[str, ...]:
        """What of a queue's items is not shown."""
        configured = self._config.queues.get(queue)
        return (configured and configured.redact) or ()

    def refuse_fixed(self, name: str, edit: QueueEdit) -> None:
        """Refuse to store for a queue what the configuration sets. Raises: Conflict."""
        configured = self._config.queues.get(name, _NO_SETTINGS)
        keys = [
            member.removesuffix("_ms")
            for member in QueueSettings.__struct_fields__
            if getattr(edit, member, UNSET) is not UNSET and getattr(configured, member) is not None
        ]
        if keys:
            by = self._set_by(name)
            raise Conflict(
                ", ".join(f"{key} is set by {by[key]}" for key in keys),
                hint="nothing was changed; change it there, and run `lq reload`",
            )

    def refuse_order_of_many(self, name: str, edit: QueueEdit) -> None:
        """Refuse to keep the order of jobs that run side by side. Raises: ValidationError."""
        if not edit.fifo and edit.concurrency in {UNSET, None}:
            return  # nothing of it is asked for; whatever is set, a pause may end
        present = self.settings(name)

        def wanted(member: str) -> Any:
            value = getattr(edit, member)
            return getattr(present, member) if value is UNSET else value

        if wanted("fifo") and wanted("concurrency") not in {None, 1}:
            changed = "concurrency" if edit.fifo is UNSET else "fifo"
            raise ValidationError.of(changed, "a queue that is fifo has a concurrency of 1")

    def _set_by(self, name: str) -> dict[str, str]:
        """Where the configuration sets what of a queue."""
        configured = self._config.queues.get(name, _NO_SETTINGS)
        keys = [
            member.removesuffix("_ms")
            for member in QueueSettings.__struct_fields__
            if getattr(configured, member) is not None
        ]
        origin = self._config.origin
        return {key: origin.get(f"queues.{name}.{key}", "lq.toml") for key in keys}

    def shown(self, queue: Queue) -> Queue:
        """The queue with what is in force for it, defaults included."""
        configured = self._config.queues.get(queue.name)
        settings = queue.settings if configured is None else _merged(queue.settings, configured)
        default = self._config.dispatch
        own = settings
        settings = replace(
            settings,
            concurrency=1 if settings.fifo else settings.concurrency or default.queue_concurrency,
            timeout_ms=settings.timeout_ms or default.timeout_ms,
            retry=settings.retry or RetryPolicy(self._config.retry.retries),
        )
        defaults = tuple(
            member.removesuffix("_ms")
            for member in ("concurrency", "retry", "timeout_ms")
            if getattr(own, member) is None
        )
        set_by = self._set_by(queue.name)
        return replace(queue, settings=settings, set_by=set_by, defaults=defaults)

    def push(self, push: Push, now: int) -> NewJob:
        """The job of a push. Raises: ValidationError, TargetNotAllowed."""
        target = self.target(self.named_target(push), "x-lq-target")
        self.check_completion(push, target)
        return self._job(push, target, now)

    def sample(self, push: Push, now: int) -> Job:
        """A job that is never stored, to show what its call would be.

        Raises: ValidationError, TargetNotAllowed.
        """
        target = push.target or self.settings(push.queue).target
        where = _NOWHERE if target is None else self.target(target, "x-lq-target")
        new = self._job(push, where, now)
        return Job(
            seq=0,
            id=new.id,
            queue=new.queue,
            state=State.PENDING,
            created_at=now,
            not_before=now,
            due_at=now,
            target=new.target,
            method=new.method,
            retry=new.retry,
            timeout_ms=new.timeout_ms,
            key=new.key,
            headers=new.headers,
            content_type=new.content_type,
            labels=new.labels,
            payload=new.payload,
        )

    def check_completion(
        self, push: Push, target: str | None, field: str = "x-lq-completion"
    ) -> None:
        """Refuse to have a handler call back that cannot reach lq. Raises: ValidationError."""
        if push.completion is not Completion.CALLBACK or target is None:
            return
        if name_of(target) is not None:
            raise ValidationError.of(field, "a scriptlet's exit code is its answer; leave it out")
        if not self._address.is_known_to(target):
            raise ValidationError.of(field, UNREACHABLE, "no_public_url")

    def scheduled(self, push: Push, now: int) -> NewJob:
        """The job a schedule makes: whether its target may be called still, the call will tell.

        Raises: Conflict when neither schedule nor queue names a target.
        """
        return self._job(push, self.scheduled_target(push), now)

    def scheduled_target(self, push: Push) -> str:
        """The target of what a schedule pushes. Raises: Conflict when there is none."""
        target = push.target or self.settings(push.queue).target
        if target is None:
            raise Conflict(
                f"it names no target, and queue {push.queue!r} has no default target",
                hint="name a target for the schedule, or set one for the queue",
            )
        return target

    def headers(self, push: Push) -> Mapping[str, str]:
        """The headers that a push is called with: its own over its queue's."""
        return _headers(self.settings(push.queue).headers, push.headers)

    def named_target(self, push: Push) -> str:
        """The target of a push, or its queue's. Raises: ValidationError when there is none."""
        target = push.target or self.settings(push.queue).target
        if target is None:
            raise ValidationError.of(
                "x-lq-target",
                f"is missing, and queue {push.queue!r} has no default target: name a URL here,"
                " or set one for the queue",
                "required",
            )
        return target

    def _job(self, push: Push, target: str, now: int) -> NewJob:
        settings = self.settings(push.queue)
        asked, not_before, due_at = _time(push.on_at, push.delay_ms, now)
        return NewJob(
            # Its time first, so that ids sort, and their index grows at its end.
            id=f"job_{now:012x}{self._entropy(10).hex()}",
            queue=push.queue,
            created_at=now,
            not_before=not_before,
            due_at=due_at,
            target=target,
            method=push.method or settings.method or "POST",
            retry=push.retry or settings.retry or RetryPolicy(self._config.retry.retries),
            timeout_ms=push.timeout_ms or self._timeout_ms(target, settings),
            payload=push.payload,
            content_type=push.content_type,
            headers=self.headers(push),
            key=push.key,
            if_exists=push.if_exists,
            asked=asked,
            expires_at=_expiry(push.expires_at, push.expires_ms, now),
            expires_relative=push.expires_ms is not None,
            labels=push.labels,
            validate=push.validate,
            completion=push.completion,
            traceparent=push.traceparent,
            tracestate=push.tracestate,
        )

    def _timeout_ms(self, target: str, settings: QueueSettings) -> int:
        """How long an attempt may take, where its push does not say so."""
        name = name_of(target)
        if name is None:
            return settings.timeout_ms or self._config.dispatch.timeout_ms
        scriptlet = self._scriptlets.find(name)
        own = None if scriptlet is None else scriptlet.timeout_ms
        return own or settings.timeout_ms or TIMEOUT_MS

    def edit(self, edit: Edit, now: int) -> ResolvedEdit:
        """An edit with its instants. Raises: ValidationError, TargetNotAllowed."""
        if isinstance(edit.target, str):
            edit = replace(edit, target=self.target(edit.target, "x-lq-target"))
        on_at = edit.on_at if isinstance(edit.on_at, int) else None
        delay_ms = edit.delay_ms if isinstance(edit.delay_ms, int) else None
        asked, not_before, due_at = _time(on_at, delay_ms, now)
        timed = asked != "now"
        expires_at = edit.expires_at
        if isinstance(edit.expires_ms, int):
            expires_at = now + edit.expires_ms
        elif isinstance(expires_at, int):
            _refuse_too_far("x-lq-expires", expires_at, now)
        return ResolvedEdit(
            edit=edit,
            now=now,
            not_before=not_before if timed else None,
            due_at=due_at if timed else None,
            expires_at=expires_at,
        )

    def target(self, text: str, field: str = "target") -> str:
        """A target as it is stored, if it may be called; pushes name few, again and again.

        Raises: ValidationError on `field`, TargetNotAllowed.
        """
        name = name_of(text)
        if name is not None:
            if self._scriptlets.find(name) is None:
                raise ValidationError(
                    [Issue(field, f"there is no scriptlet {name!r}", "unknown_scriptlet")],
                    hint="scriptlets are those of lq.toml; `lq scriptlets ls` shows them",
                )
            return text
        url = self._targets.get(text)
        if url is None:
            try:
                url = self._spell(text)
            except ValidationError as error:
                # The parser says "target"; the caller may have written a header.
                issues = [Issue(field, issue.message, issue.code) for issue in error.issues]
                raise ValidationError(issues, hint=error.hint) from None
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            self._targets[text] = url
        return url


def _merged(stored: QueueSettings, configured: QueueSettings) -> QueueSettings:
    """What is set in lq.toml, and else what is stored."""
    chosen: Mapping[str, Any] = {
        name: value if (value := getattr(configured, name)) is not None else getattr(stored, name)
        for name in QueueSettings.__struct_fields__
    }
    return QueueSettings(**chosen)


def _headers(defaults: Mapping[str, str] | None, own: Mapping[str, str]) -> Mapping[str, str]:
    """A push's headers over its queue's; names are the same in any case."""
    if not defaults:
        return own
    named = {name.lower() for name in own}
    return {name: value for name, value in defaults.items() if name.lower() not in named} | {**own}


def _time(on_at: int | None, delay_ms: int | None, now: int) -> tuple[str, int, int]:
    """How a time was asked for, the instant that means, and when the job is due for it."""
    if on_at is not None:
        _refuse_too_far("x-lq-on", on_at, now)
        return "on", on_at, max(on_at, now)
    if delay_ms is not None:
        return "delay", now + delay_ms, now + delay_ms
    return "now", now, now


def _expiry(expires_at: int | None, expires_ms: int | None, now: int) -> int | None:
    if expires_ms is not None:
        return now + expires_ms
    if expires_at is not None:
        _refuse_too_far("x-lq-expires", expires_at, now)
    return expires_at


def _refuse_too_far(field: str, at: int, now: int) -> None:
    if at - now > MAX_MS:
        raise ValidationError.of(field, "must be at most 10 years ahead", "too_far")
