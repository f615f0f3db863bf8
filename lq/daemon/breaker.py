"""Spares targets that keep failing: holds their jobs, tries with one call, and ramps up again.

Owns a breaker for each server and for each endpoint that has failed lately. A server is what
cannot be connected to; an endpoint (its URL without the query) is what answers 5xx, or too late,
because one broken page says nothing of the others. Pure: whoever asks passes the monotonic
clock's milliseconds. Calls nothing, and holds no job itself.

Invariant: while a breaker is open nothing is admitted, and while it ramps up no more calls than
its room; what was called before it opened neither closes nor opens it again.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from urllib.parse import urlsplit

from msgspec import Struct

from lq.model import Outcome, OutcomeKind

_MOST_BREAKERS = 10_000
_RAMPED_UP = 64
_TURN_MS = 250
_KEEPS_FAILING = " keeps failing "
_NO_CONNECTION = frozenset({"connect_error", "dns_error", "tls_error"})


class Spared(Struct, frozen=True):
    """A target must not be called before `until`, in the monotonic clock's milliseconds."""

    until: float
    reason: str


class Health(Enum):
    """What an attempt says of its target."""

    ALIVE = "alive"
    FAILING = "failing"  # it answers, and wrongly
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"  # nothing was called


def health(outcome: Outcome) -> Health:
    """What an outcome says of its target; a 4xx is the job's fault, and its server lives."""
    if outcome.kind is OutcomeKind.INTERRUPTED:
        return Health.UNKNOWN
    if outcome.status is not None:
        return Health.FAILING if outcome.status >= 500 else Health.ALIVE
    word = (outcome.error or "").partition(":")[0].partition(" ")[0]
    if word == "target_blocked":
        return Health.UNKNOWN
    return Health.UNREACHABLE if word in _NO_CONNECTION else Health.FAILING


class _Breaker:
    """One server or endpoint. `room` is how many calls it may have, None without a bound."""

    __slots__ = ("failures", "hold_ms", "on_trial", "reason", "room", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.hold_ms = 0
        self.room: int | None = None
        self.on_trial: set[int] = set()
        self.reason = ""

    def spared(self, tick: float) -> Spared | None:
        if self.room is None:
            return None
        if self.until > tick:
            return Spared(self.until, self.reason)
        if len(self.on_trial) >= self.room:
            calls = "one call" if self.room == 1 else f"{self.room} calls at once"
            return Spared(tick + _TURN_MS, f"{self.reason}; it is being tried with {calls}")
        return None


class Breakers:
    """Answers, for a target about to be called: go ahead, or not before when and why."""

    def __init__(self, failures: int, hold_ms: int, most_ms: int) -> None:
        """Shape: `failures` in a row open a breaker; with 0 none ever opens. It holds for
        `hold_ms`, and twice as long each time that does not help, up to `most_ms`.
        """
        self._limit = failures
        self._hold_ms = hold_ms
        self._most_ms = most_ms
        self._known: OrderedDict[str, _Breaker] = OrderedDict()

    def look(self, target: str, tick: float) -> Spared | None:
        """What holds a target now, if anything does."""
        if not self._known:
            return None
        held = [
            spared
            for name in _names(target)
            if (breaker := self._known.get(name)) and (spared := breaker.spared(tick))
        ]
        return max(held, key=lambda spared: spared.until, default=None)

    def admit(self, target: str, run: int, tick: float) -> Spared | None:
        """The same; a run that is let through is one of the calls that a breaker tries with."""
        spared = self.look(target, tick)
        if spared is None and self._known:
            for name in _names(target):
                breaker = self._known.get(name)
                if breaker is not None and breaker.room is not None:
                    breaker.on_trial.add(run)
        return spared

    def note(self, target: str, run: int, outcome: Outcome, tick: float) -> str | None:
        """Take in what came of a run; what to tell people if that has opened a breaker."""
        if self._limit == 0 or not target.startswith(("http:", "https:")):
            return None
        verdict = health(outcome)
        if verdict is Health.ALIVE and not self._known:
            return None
        server, endpoint = _names(target)
        told = None
        if verdict is Health.UNREACHABLE:
            told = self._failed(server, run, outcome, tick)
            self._untried(endpoint, run)
        elif verdict is Health.FAILING:
            self._succeeded(server, run)
            told = self._failed(endpoint, run, outcome, tick)
        elif verdict is Health.ALIVE:
            self._succeeded(server, run)
            self._succeeded(endpoint, run)
        else:
            self.abandon(target, run)
        return told

    def abandon(self, target: str, run: int) -> None:
        """A run that was let through has not called."""
        for name in _names(target):
            self._untried(name, run)

    def forget(self, target: str) -> None:
        """Let a target be tried at once: somebody says that it is well again."""
        for name in _names(target):
            if breaker := self._known.get(name):
                breaker.until = 0.0

    def beginnings(self, target: str) -> tuple[str, ...]:
        """How the reasons begin for which a target's breakers hold its jobs."""
        return tuple(f"{name}{_KEEPS_FAILING}" for name in _names(target))

    def open(self, tick: float) -> list[tuple[str, Spared]]:
        """The servers and endpoints that are held now, with until when and why."""
        found = [(name, breaker.spared(tick)) for name, breaker in self._known.items()]
        return [(name, spared) for name, spared in found if spared is not None]

    def _untried(self, name: str, run: int) -> None:
        if breaker := self._known.get(name):
            breaker.on_trial.discard(run)

    def _succeeded(self, name: str, run: int) -> None:
        breaker = self._known.get(name)
        if breaker is None:
            return
        if breaker.room is not None:
            if run not in breaker.on_trial:
                return
            breaker.on_trial.discard(run)
            breaker.room += 1
            breaker.failures = 0
            if breaker.room < _RAMPED_UP:
                return
        del self._known[name]

    def _failed(self, name: str, run: int, outcome: Outcome, tick: float) -> str | None:
        breaker = self._known.get(name)
        if breaker is None:
            breaker = self._known[name] = _Breaker()
            if len(self._known) > _MOST_BREAKERS:
                self._known.popitem(last=False)
        breaker.failures += 1
        if breaker.room is not None:
            if run not in breaker.on_trial:
                return None
            breaker.on_trial.discard(run)
        elif breaker.failures < self._limit:
            return None
        # Nothing of what it answered: that may be for the eyes of one queue alone.
        error = outcome.error if outcome.status is None else f"status {outcome.status}"
        breaker.reason = f"{name}{_KEEPS_FAILING}({error})"
        breaker.hold_ms = min(breaker.hold_ms * 2 or self._hold_ms, self._most_ms)
        breaker.until = tick + breaker.hold_ms
        first, breaker.room = breaker.room is None, 1
        breaker.on_trial.clear()  # what is under way now began before this
        return breaker.reason if first else None


def _names(target: str) -> tuple[str, str]:
    """The server of a target, and its endpoint."""
    parts = urlsplit(target)
    server = f"{parts.scheme}://{parts.netloc}"
    return server, f"{server}{parts.path or '/'}"
