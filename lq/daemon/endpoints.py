"""Which endpoints may be called now: HEAD validation with its cache, and slowed-down targets.

Owns what is known of each endpoint, (URL, headers): whether it validates, and which of the live
secrets it knows. Calls nothing itself: the HEAD is `probe`, injected. A failed validation holds
jobs, it never costs them an attempt; nor does a rotation, whichever secret an endpoint knows.
Those that need not prove themselves are remembered to be shown, and for nothing else.

Invariant: at most one probe of an endpoint is under way; a verdict is no better than the secret
it was given for: once that has retired, the endpoint is asked anew before it is called.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from lq.clock import Clock
from lq.config import Validate
from lq.daemon.secret import Ring
from lq.endpoint import Endpoint, EndpointState, Named, Wait
from lq.errors import Unavailable
from lq.model import HeadAnswer, Job, Outcome, OutcomeKind, QueueSettings
from lq.scriptlets import name_of
from lq.signature import SignatureError, verify

_VALID_MS = 3_600_000
_FIRST_HOLD_MS = 30_000
_MOST_HOLD_MS = 300_000
_MOST_ENDPOINTS = 10_000
_MOST_EXEMPT = 1_000
_MOST_NAMES = 16  # of queues that an endpoint was met in, and of what names it
_UNAUTHENTICATED = frozenset({401, 403})
_SHORTAGE_HOLD_MS = 1_000
_BUSY = frozenset({429, 503})  # whoever says so has not looked at a signature
_URLS = ("http:", "https:")
NOT_VALIDATED = "endpoint not validated: "
"""How the reason begins for which an endpoint that has not proved itself holds its jobs."""


Probe = Callable[[str, Mapping[str, str], int], Awaitable[HeadAnswer]]


class Hold(Struct, frozen=True):
    """An endpoint must not be called before `until`; `reason` is for people.

    Shape: `invalid_since` is when its validation began to fail, None for a slowed-down target.
    """

    until: int
    reason: str
    invalid_since: int | None = None


class _Known:
    """What is known of one endpoint. Its times are the monotonic clock's, in ms.

    Shape: `checked_until` is None until its first probe has ended; `fault` is what the last
    one found wrong. By the wall clock, that began at `invalid_since`, all has been well since
    `valid_since`, and `checked_at` is when the last one ended. `queues` are the first of those
    whose jobs met it; they are the keys. `secret` is the one it is
    known to know, `live` those that it could have proved with; `knows_another` when it signed its
    last answer with none of them. `unasked` is what lq itself lacked to ask it the last time, which
    says nothing of it; until `unasked_until` it is not tried again.
    """

    __slots__ = (
        *("checked_at", "checked_until", "failures", "fault", "invalid_since", "valid_since"),
        *("knows_another", "live", "probing", "queues", "secret", "unasked", "unasked_until"),
    )

    def __init__(self) -> None:
        self.checked_until: float | None = None
        self.secret: str | None = None
        self.live: tuple[str, ...] = ()
        self.knows_another = False
        self.failures = 0
        self.fault: str | None = None
        self.invalid_since: int | None = None
        self.valid_since: int | None = None
        self.checked_at: int | None = None
        self.queues: dict[str, None] = {}
        self.probing: asyncio.Task[None] | None = None
        self.unasked = ""
        self.unasked_until = 0.0


_Name = tuple[str, tuple[tuple[str, str], ...]]


class Endpoints:
    """Answers, for a job about to be called: go ahead, or hold until when and why."""

    def __init__(
        self,
        settings: Validate,
        queues: Mapping[str, QueueSettings],
        ring: Ring,
        probe: Probe,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._ring = ring
        self._probe = probe
        self._clock = clock
        self._known: OrderedDict[_Name, _Known] = OrderedDict()
        self._exempt: OrderedDict[_Name, _Known] = OrderedDict()
        self._slowed: dict[str, tuple[float, str]] = {}
        self._probes: set[asyncio.Task[None]] = set()

    def admit(self, job: Job) -> Hold | asyncio.Task[None] | None:
        """Whether a job may be called: None yes, a Hold not now, a task once it has ended.

        The task is the probe of an endpoint that nothing is known of; ask again after it.
        """
        tick = self._clock.monotonic() * 1000
        must = self._needs_validation(job)
        if not must and not job.target.startswith(_URLS):
            return None
        endpoint, live = self._endpoint(job, must=must), self._ring.live()
        if slowed := self._slowed_down(job.target, tick):
            return slowed
        if not must:
            return None
        if endpoint.checked_until is None or (
            endpoint.fault is None and endpoint.secret not in live
        ):
            return self._ask(endpoint, job, tick)
        if endpoint.checked_until > tick and endpoint.live is live:
            return self._hold(endpoint, int(endpoint.checked_until - tick))
        if endpoint.fault is None:
            # A good verdict that has grown old, or that was given before a rotation, still
            # holds while it is checked again.
            self._start_probe(endpoint, job.target, job.headers)
            return None
        if endpoint.probing is None:
            return self._ask(endpoint, job, tick)
        # It failed before, and one job waits for the new verdict: no other need.
        return self._hold(endpoint, self._settings.timeout_ms)

    def look(self, job: Job) -> Hold | None:
        """What would hold a job now, as far as is known; asks no endpoint for it."""
        tick = self._clock.monotonic() * 1000
        if slowed := self._slowed_down(job.target, tick):
            return slowed
        endpoint = self._known.get(_name(job.target, job.headers))
        if endpoint is None or endpoint.checked_until is None or not self._needs_validation(job):
            return None
        return self._hold(endpoint, max(0, int(endpoint.checked_until - tick)))

    async def examine(
        self, target: str, headers: Mapping[str, str], queue: str
    ) -> tuple[bool, str | None]:
        """Ask a target now, whatever is known of it: whether it must prove itself; its fault."""
        must = self._must_validate(target, queue)
        answer = await self._probe(target, headers, self._settings.timeout_ms)
        if not must:
            return False, answer.error
        try:
            _proved(answer, self._ring.live(), self._clock.now())
        except _Unproved as fault:
            return True, str(fault)
        return True, None

    async def check(self, target: str, headers: Mapping[str, str], queue: str) -> None:
        """Ask an endpoint now, whatever is known of it: what it answers is the verdict on it.

        One that is being asked already is waited for. Shape: `queue` is "" for none. Raises:
        Unavailable when lq lacks something to ask with, which says nothing of the endpoint.
        """
        self._slowed.pop(target, None)
        must = self._must_validate(target, queue)
        endpoint = self._met(_name(target, headers), queue, must=must)
        await asyncio.shield(self._start_probe(endpoint, target, headers, must=must))
        if endpoint.unasked:
            raise Unavailable(f"it could not be asked: {endpoint.unasked}", hint="try again")

    def variants(self, target: str, queue: str | None) -> list[tuple[Mapping[str, str], str]]:
        """The headers with which jobs (of a queue) met a URL, and a queue for each."""
        return [
            (dict(headers), queue or next(iter(endpoint.queues), ""))
            for kept in (self._known, self._exempt)
            for (url, headers), endpoint in kept.items()
            if url == target and (queue is None or queue in endpoint.queues)
        ]

    def entries(self, named: Iterable[Named]) -> list[Endpoint]:
        """All that is known, and those that are named and were not called yet."""
        tick, now = self._clock.monotonic() * 1000, self._clock.now()
        users: dict[_Name, list[Named]] = {}
        for one in named:
            users.setdefault(_name(one.url, one.headers), []).append(one)
        names = dict.fromkeys((*self._known, *self._exempt, *users))
        return [self._entry(name, users.get(name, []), tick, now) for name in names]

    def held(self, spared: Callable[[str], bool]) -> list[Endpoint]:
        """Those that must not be called now, as far as is known, or whose URL is `spared`."""
        tick, now = self._clock.monotonic() * 1000, self._clock.now()
        names = {
            name: None
            for kept in (self._known, self._exempt)
            for name, known in kept.items()
            if (kept is self._known and known.fault) or name[0] in self._slowed or spared(name[0])
        }
        return [self._entry(name, [], tick, now) for name in names]

    def counts(self) -> Mapping[str, int]:
        """How many endpoints there are by what is known of them."""
        known = [one for one in self._known.values() if one.checked_until is not None]
        invalid = sum(one.fault is not None for one in known)
        tick = self._clock.monotonic() * 1000
        slowed = sum(until > tick for until, _ in self._slowed.values())
        return {"validated": len(known) - invalid, "invalid": invalid, "slowed": slowed}

    def follow(self, queues: Mapping[str, QueueSettings]) -> None:
        """Take what lq.toml says of queues, as it is now."""
        self._queues = queues

    def slow_down(self, target: str, wait_ms: int, reason: str) -> None:
        """Hold a whole target: it asked for it with Retry-After."""
        if len(self._slowed) >= _MOST_ENDPOINTS:
            self._slowed.clear()
        until = self._clock.monotonic() * 1000 + wait_ms
        # Of calls side by side the one that asked for the most time counts.
        self._slowed[target] = max((until, reason), self._slowed.get(target, (until, reason)))

    def forget(self, job: Job) -> None:
        """Drop what holds this job's endpoint, so that its next call probes again."""
        self._slowed.pop(job.target, None)
        endpoint = self._known.get(_name(job.target, job.headers))
        if endpoint and endpoint.fault and not endpoint.probing:
            endpoint.checked_until = 0.0

    def secret_for(self, job: Job) -> str:
        """The secret to sign a call with: the one that its endpoint is known to know.

        Of an endpoint that need not prove itself nothing is known: until the end of an overlap
        it is taken for one that was not told of the new secret yet.
        """
        live = self._ring.live()
        if len(live) > 1:
            endpoint = self._known.get(_name(job.target, job.headers))
            if endpoint is not None and endpoint.secret is not None and endpoint.secret in live:
                return endpoint.secret
        return live[-1]

    async def misunderstood(self, job: Job, secret: str, outcome: Outcome) -> bool:
        """Whether an answer means that the endpoint knows another secret than it was called with.

        Asks only while that can be, around a rotation. An endpoint that proves itself is asked
        what it knows now; of another one, a 401 or 403 says that it does not know this one. Who
        says that there shall be no further attempt is obeyed, unless it may say so to anybody
        whom it does not know.
        """
        live, status = self._ring.live(), outcome.status
        if status is None or status < 400 or status in _BUSY or live == (secret,):
            return False
        if outcome.kind is OutcomeKind.REJECTED and status not in _UNAUTHENTICATED:
            return False
        if self._needs_validation(job):
            endpoint = self._endpoint(job)
            await asyncio.shield(self._start_probe(endpoint, job.target, job.headers))
            return endpoint.knows_another or (endpoint.fault is None and endpoint.secret != secret)
        if status not in _UNAUTHENTICATED:
            return False
        endpoint = self._endpoint(job)
        endpoint.secret = live[live.index(secret) - 1] if secret in live else live[-1]
        return True

    async def close(self) -> None:
        """End the probes under way."""
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    def _slowed_down(self, target: str, tick: float) -> Hold | None:
        """What a target has asked for with Retry-After, while that lasts."""
        if (slowed := self._slowed.get(target)) is None:
            return None
        until, reason = slowed
        if until <= tick:
            del self._slowed[target]
            return None
        return Hold(self._clock.now() + int(until - tick), reason)

    def _needs_validation(self, job: Job) -> bool:
        if not job.validate or name_of(job.target) is not None:
            return False
        return self._must_validate(job.target, job.queue)

    def _must_validate(self, target: str, queue: str) -> bool:
        """Whether what is sent to a target from a queue wants a proof from it."""
        return self._exempt_by(target, queue) is None

    def _exempt_by(self, target: str, queue: str) -> str | None:
        """The setting by which a target need not prove itself to a queue, if one says so."""
        settings = self._queues.get(queue)
        own = settings and settings.validate
        if (own or self._settings.default) == "none":
            # Not which: whoever reads it need not know of that queue.
            return 'its queue has validate = "none"' if own else '[validate] default = "none"'
        for pattern in self._settings.skip:
            if fnmatchcase(target, pattern):
                return f'[validate] skip has "{pattern}"'
        return None

    def _entry(self, name: _Name, users: Sequence[Named], tick: float, now: int) -> Endpoint:
        """What is known of an endpoint, for people: of its headers the names alone."""
        url, headers = name
        known, exempt = self._known.get(name), self._exempt.get(name)
        asked = known is not None and known.checked_until is not None
        queues = [*(known.queues if known else ()), *(exempt.queues if exempt else ())]
        meant = dict.fromkeys([*queues, *(one.queue for one in users)])
        reasons = [self._exempt_by(url, queue) for queue in meant or ("",)]
        shown = known if asked else exempt
        slowed = self._slowed_down(url, tick)
        entry = Endpoint(
            url=url,
            headers=tuple(header for header, _ in headers),
            queues=tuple(dict.fromkeys(queues))[:_MOST_NAMES],
            named_by=tuple(dict.fromkeys(one.by for one in users))[:_MOST_NAMES],
            checked_at=shown.checked_at if shown else None,
            fault=shown.fault.removeprefix(NOT_VALIDATED) if shown and shown.fault else None,
            slowed=Wait(slowed.until, slowed.reason) if slowed else None,
        )
        by_item = exempt is not None or any(not one.validate for one in users)
        if None not in reasons or (not asked and by_item):
            exempt_by = next(filter(None, reasons), "x-lq-validate: none")
            return replace(entry, state=EndpointState.EXEMPT, exempt_by=exempt_by)
        if not asked or known is None or known.checked_until is None:
            return entry
        return replace(
            entry,
            state=EndpointState.VALIDATED if known.fault is None else EndpointState.INVALID,
            since_at=known.valid_since if known.fault is None else known.invalid_since,
            next_check_at=now + max(0, int(known.checked_until - tick)),
        )

    def _hold(self, endpoint: _Known, wait_ms: int) -> Hold | None:
        if endpoint.fault is None:
            return None
        return Hold(self._clock.now() + wait_ms, endpoint.fault, endpoint.invalid_since)

    def _endpoint(self, job: Job, *, must: bool = True) -> _Known:
        """What is known of a job's endpoint, be it nothing; its queue is taken note of."""
        return self._met(_name(job.target, job.headers), job.queue, must=must)

    def _met(self, name: _Name, queue: str, *, must: bool) -> _Known:
        kept, most = (self._known, _MOST_ENDPOINTS) if must else (self._exempt, _MOST_EXEMPT)
        endpoint = kept.get(name)
        if endpoint is None:
            endpoint = kept[name] = _Known()
            if len(kept) > most:
                kept.popitem(last=False)
        if queue and len(endpoint.queues) < _MOST_NAMES:
            endpoint.queues[queue] = None
        return endpoint

    def _ask(self, endpoint: _Known, job: Job, tick: float) -> Hold | asyncio.Task[None]:
        """The probe that a job has to wait for, or until when lq lacks something to make one."""
        if endpoint.unasked_until > tick:
            wait_ms = int(endpoint.unasked_until - tick)
            return Hold(self._clock.now() + wait_ms, endpoint.unasked)
        return self._start_probe(endpoint, job.target, job.headers)

    def _start_probe(
        self, endpoint: _Known, target: str, headers: Mapping[str, str], *, must: bool = True
    ) -> asyncio.Task[None]:
        if endpoint.probing is None:
            endpoint.probing = asyncio.create_task(
                self._validate(endpoint, target, headers, must=must)
            )
            self._probes.add(endpoint.probing)
            endpoint.probing.add_done_callback(self._probes.discard)
        return endpoint.probing

    async def _validate(
        self, endpoint: _Known, target: str, headers: Mapping[str, str], *, must: bool
    ) -> None:
        try:
            answer = await self._probe(target, headers, self._settings.timeout_ms)
        finally:
            endpoint.probing = None
        now = self._clock.now()
        tick = self._clock.monotonic() * 1000
        if not answer.asked:
            endpoint.unasked = answer.error or "it could not be asked"
            endpoint.unasked_until = tick + _SHORTAGE_HOLD_MS
            return
        endpoint.unasked = ""
        endpoint.checked_at = now
        if not must:
            endpoint.fault = None if answer.error is None else f"HEAD failed with {answer.error}"
            return
        endpoint.live = self._ring.live()
        try:
            endpoint.secret = _proved(answer, endpoint.live, now)
        except _Unproved as fault:
            endpoint.knows_another = isinstance(fault, _AnotherSecret)
            self._found_wrong(endpoint, str(fault), now, tick)
        else:
            endpoint.failures = 0
            endpoint.knows_another = False
            endpoint.fault = endpoint.invalid_since = None
            endpoint.valid_since = endpoint.valid_since or now
            endpoint.checked_until = tick + _VALID_MS

    def _found_wrong(self, endpoint: _Known, fault: str, now: int, tick: float) -> None:
        hold_ms = min(_FIRST_HOLD_MS << min(endpoint.failures, 10), _MOST_HOLD_MS)
        endpoint.failures += 1
        endpoint.checked_until = tick + hold_ms
        endpoint.fault = f"{NOT_VALIDATED}{fault}"
        endpoint.valid_since = None
        endpoint.invalid_since = endpoint.invalid_since or now


def _name(target: str, headers: Mapping[str, str]) -> _Name:
    return target, tuple(sorted(headers.items())) if headers else ()


class _Unproved(Exception):
    """An endpoint has not shown that it knows a secret; the text says what is wrong."""


class _AnotherSecret(_Unproved):
    """It has signed, and not with a secret that is live."""


def _proved(answer: HeadAnswer, live: Sequence[str], now: int) -> str:
    """The secret that an endpoint has shown to know. Raises: _Unproved."""
    if answer.error:
        raise _Unproved(f"HEAD failed with {answer.error}")
    assert answer.status is not None
    if not 200 <= answer.status < 300:
        raise _Unproved(f"HEAD answered {answer.status}, not 2xx")
    if len(answer.signatures) != 1:
        found = "no" if not answer.signatures else "more than one"
        raise _Unproved(f"HEAD answered {answer.status} with {found} x-lq-signature header")
    try:
        return verify(answer.signatures[0], b"", live, now)
    except SignatureError as error:
        reason = f"the x-lq-signature of its HEAD answer is not valid ({error})"
        raise _AnotherSecret(reason) from error
