"""Which endpoints may be called now: HEAD validation with its cache, and slowed-down targets.

Owns what is known of each endpoint: (URL, headers) under the present secret. Calls nothing
itself: the HEAD is `probe`, injected. A failed validation holds jobs, it never costs them
an attempt.

Invariant: at most one probe of an endpoint is under way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from lq.clock import Clock
from lq.config import Validate
from lq.model import HeadAnswer, Job, QueueSettings
from lq.signature import SignatureError, verify

_VALID_MS = 3_600_000
_FIRST_HOLD_MS = 30_000
_MOST_HOLD_MS = 300_000
_MOST_ENDPOINTS = 10_000


Probe = Callable[[str, Mapping[str, str], int], Awaitable[HeadAnswer]]


class Hold(Struct, frozen=True):
    """An endpoint must not be called before `until`; `reason` is for people.

    Shape: `invalid_since` is when its validation began to fail, None for a slowed-down target.
    """

    until: int
    reason: str
    invalid_since: int | None = None


class _Endpoint:
    """What is known of one endpoint. Its times are the monotonic clock's, in ms.

    Shape: `checked_until` is None until its first probe has ended; `fault` is what the last
    one found wrong, and `invalid_since` (wall clock) when that began.
    """

    __slots__ = ("checked_until", "failures", "fault", "invalid_since", "probing")

    def __init__(self) -> None:
        self.checked_until: float | None = None
        self.failures = 0
        self.fault: str | None = None
        self.invalid_since: int | None = None
        self.probing: asyncio.Task[None] | None = None


_Name = tuple[str, tuple[tuple[str, str], ...]]


class Endpoints:
    """Answers, for a job about to be called: go ahead, or hold until when and why."""

    def __init__(
        self,
        settings: Validate,
        queues: Mapping[str, QueueSettings],
        secret: str,
        probe: Probe,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._secret = secret
        self._probe = probe
        self._clock = clock
        self._known: OrderedDict[_Name, _Endpoint] = OrderedDict()
        self._slowed: dict[str, tuple[float, str]] = {}
        self._probes: set[asyncio.Task[None]] = set()

    def admit(self, job: Job) -> Hold | asyncio.Task[None] | None:
        """Whether a job may be called: None yes, a Hold not now, a task once it has ended.

        The task is the probe of an endpoint that nothing is known of; ask again after it.
        """
        tick = self._clock.monotonic() * 1000
        if slowed := self._slowed.get(job.target):
            until, reason = slowed
            if until > tick:
                return Hold(self._clock.now() + int(until - tick), reason)
            del self._slowed[job.target]
        if not self._needs_validation(job):
            return None
        endpoint = self._endpoint(job)
        if endpoint.checked_until is None:
            return self._start_probe(endpoint, job)
        if endpoint.checked_until > tick:
            return self._hold(endpoint, int(endpoint.checked_until - tick))
        if endpoint.fault is None:
            # A good verdict that has grown old still holds while it is checked again.
            self._start_probe(endpoint, job)
            return None
        if endpoint.probing is None:
            return self._start_probe(endpoint, job)
        # It failed before, and one job waits for the new verdict: no other need.
        return self._hold(endpoint, self._settings.timeout_ms)

    def slow_down(self, target: str, wait_ms: int, reason: str) -> None:
        """Hold a whole target: it asked for it with Retry-After."""
        if len(self._slowed) >= _MOST_ENDPOINTS:
            self._slowed.clear()
        self._slowed[target] = (self._clock.monotonic() * 1000 + wait_ms, reason)

    def forget(self, job: Job) -> None:
        """Drop what holds this job's endpoint, so that its next call probes again."""
        self._slowed.pop(job.target, None)
        endpoint = self._known.get(_name(job))
        if endpoint and endpoint.fault and not endpoint.probing:
            endpoint.checked_until = 0.0

    async def close(self) -> None:
        """End the probes under way."""
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    def _needs_validation(self, job: Job) -> bool:
        if not job.validate:
            return False
        queue = self._queues.get(job.queue)
        if ((queue and queue.validate) or self._settings.default) == "none":
            return False
        return not any(fnmatchcase(job.target, pattern) for pattern in self._settings.skip)

    def _hold(self, endpoint: _Endpoint, wait_ms: int) -> Hold | None:
        if endpoint.fault is None:
            return None
        return Hold(self._clock.now() + wait_ms, endpoint.fault, endpoint.invalid_since)

    def _endpoint(self, job: Job) -> _Endpoint:
        name = _name(job)
        endpoint = self._known.get(name)
        if endpoint is None:
            endpoint = self._known[name] = _Endpoint()
            if len(self._known) > _MOST_ENDPOINTS:
                self._known.popitem(last=False)
        return endpoint

    def _start_probe(self, endpoint: _Endpoint, job: Job) -> asyncio.Task[None]:
        if endpoint.probing is None:
            endpoint.probing = asyncio.create_task(self._validate(endpoint, job))
            self._probes.add(endpoint.probing)
            endpoint.probing.add_done_callback(self._probes.discard)
        return endpoint.probing

    async def _validate(self, endpoint: _Endpoint, job: Job) -> None:
        try:
            answer = await self._probe(job.target, job.headers, self._settings.timeout_ms)
        finally:
            endpoint.probing = None
        now = self._clock.now()
        tick = self._clock.monotonic() * 1000
        fault = _fault(answer, self._secret, now)
        if fault is None:
            endpoint.failures = 0
            endpoint.fault = endpoint.invalid_since = None
            endpoint.checked_until = tick + _VALID_MS
            return
        hold_ms = min(_FIRST_HOLD_MS << min(endpoint.failures, 10), _MOST_HOLD_MS)
        endpoint.failures += 1
        endpoint.checked_until = tick + hold_ms
        endpoint.fault = f"endpoint not validated: {fault}"
        endpoint.invalid_since = endpoint.invalid_since or now


def _name(job: Job) -> _Name:
    return job.target, tuple(sorted(job.headers.items())) if job.headers else ()


def _fault(answer: HeadAnswer, secret: str, now: int) -> str | None:
    """What is wrong with the answer to a HEAD; None when the endpoint knows the secret."""
    if answer.error:
        return f"HEAD failed with {answer.error}"
    assert answer.status is not None
    if not 200 <= answer.status < 300:
        return f"HEAD answered {answer.status}, not 2xx"
    if len(answer.signatures) != 1:
        found = "no" if not answer.signatures else "more than one"
        return f"HEAD answered {answer.status} with {found} x-lq-signature header"
    try:
        verify(answer.signatures[0], b"", [secret], now)
    except SignatureError as error:
        return f"the x-lq-signature of its HEAD answer is not valid ({error})"
    return None
