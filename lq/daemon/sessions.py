"""Who is logged in at the panel: one-time links in, sessions after that, all in memory.

Owns: both, and when they end. Never sees HTTP, and keeps no secret that it has given out: of
links and sessions alike it knows the SHA-256.

Invariant: a link is good for one login, within minutes. Nobody takes room from others: who has
too many links or sessions loses the oldest of their own. A session ends when it is logged out, has
been idle or has lived for too long, and when what it was begun with would not be let in any more;
a restart ends all. What ended them follows the monotonic clock: no clock that is set lets one live
on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from lq.clock import Clock
from lq.config import PanelConfig
from lq.errors import Unauthorized
from lq.model import Principal

LINK_MS: Final = 5 * 60_000
MAX_LINKS: Final = 100
MAX_SESSIONS: Final = 1_000
"""More than a panel for a few people has; the one that has been idle for longest makes room."""
MAX_OWN_LINKS: Final = 10
MAX_OWN_SESSIONS: Final = 100
"""Of one token, or of the owner of the socket: whoever wants more loses their own first."""
MAX_NOTICES: Final = 10
_RANDOM_BYTES: Final = 24


class Session(Struct):
    """One login.

    Shape: `secured` says that its cookie travels by TLS alone. `notices` are told on the next page,
    and forgotten; so are the tokens in `made`, which nobody has seen yet. `begun` and `used` are
    monotonic seconds.
    """

    principal: Principal
    secured: bool
    begun: float
    used: float
    notices: list[str]
    made: list[dict[str, Any]] = []
    ended: bool = False

    def tell(self, notice: str) -> None:
        """Have something said on the next page. Shape: of too many, the last ones."""
        self.notices = [*self.notices, notice][-MAX_NOTICES:]


class Sessions:
    """The sessions and links there are.

    Shape: `knows` tells whether a principal would be let in still; `wake` has streams look whether
    they may go on; `addresses` are where the panel is reached: from outside, and on this machine.
    """

    def __init__(
        self,
        config: PanelConfig,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        knows: Callable[[Principal], bool],
        wake: Callable[[], None],
    ) -> None:
        self._idle_s = config.idle_ms / 1000
        self._lifetime_s = config.lifetime_ms / 1000
        self._clock = clock
        self._entropy = entropy
        self._knows = knows
        self._wake = wake
        self._sessions: dict[bytes, Session] = {}  # the longest idle first
        self._links: dict[bytes, tuple[float, Principal]] = {}  # the oldest first
        self.addresses: Callable[[], tuple[str, str]] | None = None

    def link(self, principal: Principal) -> str:
        """A code that logs somebody in as this principal, once, within `LINK_MS`."""
        code = self._secret()
        own = [d for d, (_, whose) in self._links.items() if whose.digest == principal.digest]
        if len(own) >= MAX_OWN_LINKS:
            del self._links[own[0]]
        elif len(self._links) >= MAX_LINKS:
            del self._links[next(iter(self._links))]
        self._links[_digest(code)] = (self._clock.monotonic() + LINK_MS / 1000, principal)
        return code

    def follow(self, code: str) -> Principal:
        """Whom a code logs in; it is spent by that. Raises: Unauthorized."""
        until, principal = self._links.pop(_digest(code), (0.0, None))
        if principal is None or until <= self._clock.monotonic() or not self._knows(principal):
            raise Unauthorized(
                "this link has been used, or is too old",
                hint="`lq panel` makes another one",
            )
        return principal

    def begin(self, principal: Principal, *, secured: bool) -> str:
        """Log somebody in; the name of the session, which nobody else can know."""
        name, now = self._secret(), self._clock.monotonic()
        own = [d for d, s in self._sessions.items() if s.principal.digest == principal.digest]
        if len(own) >= MAX_OWN_SESSIONS:
            self._end(own[0])
        elif len(self._sessions) >= MAX_SESSIONS:
            self._end(next(iter(self._sessions)))
        self._sessions[_digest(name)] = Session(principal, secured, now, now, [])
        return name

    def find(self, name: str, *, secured: bool, used: bool) -> Session | None:
        """The live session of this name. Shape: `used` says that somebody is at it just now."""
        digest = _digest(name)
        session = self._sessions.get(digest)
        if session is None or session.secured != secured:
            return None
        if not self.lives(session):
            self._end(digest)
            return None
        if used:
            session.used = self._clock.monotonic()
            self._sessions[digest] = self._sessions.pop(digest)
        return session

    def lives(self, session: Session) -> bool:
        """Whether a session is good still."""
        now = self._clock.monotonic()
        return (
            not session.ended
            and now - session.used < self._idle_s
            and now - session.begun < self._lifetime_s
            and self._knows(session.principal)
        )

    def end(self, name: str) -> None:
        """Log somebody out."""
        self._end(_digest(name))

    def _end(self, digest: bytes) -> None:
        session = self._sessions.pop(digest, None)
        if session is not None:
            session.ended = True
            self._wake()

    def _secret(self) -> str:
        return self._entropy(_RANDOM_BYTES).hex()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
