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
    """An endpoint must not be called before `until`; `reason` is for people."""

    until: int
    reason: str
    unvalidated: bool = False


class _Endpoint:
    """What is known of one endpoint. `checked_until` is 0 until its first probe has ended."""

    __slots__ = ("checked_until", "failures", "hold", "probing")

    def __init__(self) -> None:
        self.checked_until = 0
        self.failures = 0
        self.hold: Hold | None = None
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
        self._slowed: dict[str, Hold] = {}
        self._probes: set[asyncio.Task[None]] = set()

    async def admit(self, job: Job) -> Hold | None:
        """Wait for the endpoint's verdict, if need be by probing it; None means call it."""
        now = self._clock.now()
        if self._slowed and (slowed := self._still_slowed(job.target, now)):
            return slowed
        if not self._needs_validation(job):
            return None
        endpoint = self._endpoint(job)
        if endpoint.checked_until <= now:
            probing = self._start_probe(endpoint, job)
            # A good verdict that has grown old still holds while it is checked again.
            if endpoint.checked_until == 0 or endpoint.hold:
                await asyncio.shield(probing)
        return endpoint.hold

    def slow_down(self, target: str, until: int, reason: str) -> None:
        """Hold a whole target: it asked for it with Retry-After."""
        if len(self._slowed) >= _MOST_ENDPOINTS:
            self._slowed.clear()
        self._slowed[target] = Hold(until, reason)

    def forget(self, job: Job) -> None:
        """Drop what holds this job's endpoint, so that its next call probes again."""
        self._slowed.pop(job.target, None)
        endpoint = self._known.get(_name(job))
        if endpoint and endpoint.hold and not endpoint.probing:
            del self._known[_name(job)]

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

    def _still_slowed(self, target: str, now: int) -> Hold | None:
        hold = self._slowed.get(target)
        if hold and hold.until <= now:
            del self._slowed[target]
            return None
        return hold

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
        fault = _fault(answer, self._secret, now)
        if fault is None:
            endpoint.failures = 0
            endpoint.hold = None
            endpoint.checked_until = now + _VALID_MS
            return
        hold_ms = min(_FIRST_HOLD_MS << min(endpoint.failures, 10), _MOST_HOLD_MS)
        endpoint.failures += 1
        endpoint.checked_until = now + hold_ms
        endpoint.hold = Hold(
            endpoint.checked_until, f"endpoint not validated: {fault}", unvalidated=True
        )


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
