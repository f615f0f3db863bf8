"""What one address may take of the daemon: connections, guesses at tokens, refused requests.

Owns: the counts, in bounded memory. Never looks at a request, and never reads a clock.
Invariant: who has been counted for one address costs no other address anything.

An address at its limit is refused what it would be refused anyway: requests with a good token
go on being answered as ever and count for nothing, because an address may be shared (a NAT, a
proxy, a machine of many). That
is safe, because 256 bits are what keeps tokens from being guessed; the limits keep guessing and
junk from taking the time of others. A bad token gets the same answer whatever is wrong with it,
before the limit and beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from lq.config import Limits
from lq.errors import RateLimited, RequestError

JUNK: Final = frozenset({400, 401, 403, 404, 405, 408, 413, 421})
"""The statuses of which one address gets so many in a minute, without a good token."""
WINDOW_S: Final = 60.0
MAX_ADDRESSES: Final = 10_000
"""Addresses counted at once; whoever has more of them than that has the oldest forgotten."""


class _Window(Struct):
    until: float
    count: int = 0


class Tally:
    """How often something came from each address in the minute since it first did."""

    def __init__(self, limit: int) -> None:
        """Shape: a `limit` of 0 is none."""
        self._limit = limit
        self._windows: dict[str, _Window] = {}  # the oldest first, as all are equally long

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, address: str, now: float) -> tuple[int, bool]:
        """Count one more; for how long the address is over its limit, and whether just now.

        Units: `now` is monotonic seconds; the answer is whole seconds, 0 within the limit.
        """
        if not self._limit:
            return 0, False
        self._forget(now)
        window = self._windows.get(address)
        if window is None:
            if len(self._windows) >= MAX_ADDRESSES:
                del self._windows[next(iter(self._windows))]
            window = self._windows[address] = _Window(now + WINDOW_S)
        window.count += 1
        if window.count <= self._limit:
            return 0, False
        return math.ceil(window.until - now), window.count == self._limit + 1

    def _forget(self, now: float) -> None:
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest].until > now:
                return
            del self._windows[oldest]


class Verdict(NamedTuple):
    """What a refused request is answered; `hold` says to let it wait for that.

    Shape: `is_first` marks the first one of an address that has gone over a limit.
    """

    error: RequestError
    hold: bool = False
    is_first: bool = False


class Refusals:
    """Refused requests and bad tokens, per address."""

    def __init__(self, limits: Limits) -> None:
        self._refused = Tally(limits.refused)
        self._bad_tokens = Tally(limits.bad_tokens)

    def judge(self, address: str, error: RequestError, now: float, *, guessed: bool) -> Verdict:
        """Count a refusal, and put 429 in its place when there were too many.

        Shape: `guessed` tells a bad token from none. Units: `now` is monotonic seconds.
        """
        if error.status not in JUNK:
            return Verdict(error)
        wait_s, is_first = self._refused.add(address, now)
        if wait_s:
            often = RateLimited(
                "too many requests of this address were refused",
                hint="see why in the answers before this one",
                retry_after_s=wait_s,
            )
            return Verdict(often, hold=True, is_first=is_first)
        wait_s, is_first = self._bad_tokens.add(address, now) if guessed else (0, False)
        if wait_s:
            often = RateLimited(
                "too many bad tokens came from this address",
                hint=error.hint,
                retry_after_s=wait_s,
            )
            return Verdict(often, is_first=is_first)
        return Verdict(error)


class Guest(Protocol):
    """One connection, as it is counted."""

    @property
    def idle(self) -> bool:
        """Whether it has been served and asks for nothing more just now."""

    def end(self) -> None:
        """Close it, idle as it is."""


class Connections:
    """The connections there are, in all and per address. One that is idle makes room."""

    def __init__(self, limits: Limits, group: Callable[[str], str | None]) -> None:
        """Shape: `group` says under which name an address counts; None is in total only."""
        self._total = limits.connections
        self._per_address = limits.connections_per_address
        self._group = group
        self._groups: dict[Guest, str | None] = {}  # the oldest first
        self._guests: dict[str | None, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def admit(self, address: str, guest: Guest) -> bool:
        """Count a connection until it leaves, unless there are too many."""
        group = self._group(address)
        own = self._guests.get(group, {})
        if group is not None and len(own) >= self._per_address and not self._made_room(own):
            return False
        if len(self._groups) >= self._total and not self._made_room(self._groups):
            return False
        self._groups[guest] = group
        self._guests.setdefault(group, {})[guest] = None
        return True

    def leave(self, guest: Guest) -> None:
        """Count it no longer, if it was counted."""
        if guest not in self._groups:
            return
        group = self._groups.pop(guest)
        del self._guests[group][guest]
        if not self._guests[group]:
            del self._guests[group]

    def _made_room(self, among: Iterable[Guest]) -> bool:
        for guest in among:
            if guest.idle:
                self.leave(guest)
                guest.end()
                return True
        return False
