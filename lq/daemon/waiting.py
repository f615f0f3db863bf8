"""The runs whose handlers may call back: where to, with which token, by when.

Owns: the tokens, the deadlines of accepted runs, and the place of each in its queue. Stores
nothing and settles nothing: `callbacks` does, and tells. Never logs or shows a token.

Invariant: a run is open here from its call until it is settled. An accepted one counts for its
queue's concurrency and takes no slot that all queues share; its deadline follows the monotonic
clock, whatever is done to the wall clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from lq.clock import Clock
from lq.daemon.lanes import Lanes
from lq.daemon.wheel import Wheel
from lq.exposure import plain
from lq.model import Accepted, Completion, Job, Outcome, OutcomeKind, Run

PATH: Final = "/api/v1/callbacks"
UNREACHABLE: Final = (
    "a handler elsewhere cannot call back: set public_url in lq.toml to where it reaches lq"
)

_TOKEN: Final = re.compile(r"(([A-Za-z0-9_]{1,64})\.([0-9a-f]{1,16}))\.([0-9a-f]{64})")
_CONTEXT: Final = b"lq/callback/v1\n"


class ReturnAddress:
    """Where handlers reach lq.

    Invariant: without a public URL only handlers on this machine are told one, and only where
    lq listens for this machine: nobody else could follow it.
    """

    def __init__(self, public_url: str | None, host: str, port: int, *, secured: bool) -> None:
        """Shape: `port` is 0 until it is known. `secured`: it speaks TLS, for another name."""
        self._public_url = public_url
        self._host = f"[{host}]" if ":" in host else host
        self._is_near = _is_loopback(host) and not secured
        self.port = port

    def is_known_to(self, target: str) -> bool:
        """Whether a handler at this URL can reach lq."""
        if self._public_url is not None:
            return True
        return self._is_near and _is_loopback(urlsplit(target).hostname or "")

    def base(self, target: str) -> str | None:
        """The URL of lq for a handler at this URL."""
        if not self.is_known_to(target):
            return None
        if self._public_url is None and not self.port:
            return None
        return self._public_url or f"http://{self._host}:{self.port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return plain(host).is_loopback
    except ValueError:
        return False


class Overdue(Struct, frozen=True):
    """A run whose handler has not called back in time, and what that had answered."""

    run: Run
    status: int | None


class _Open:
    """One run. Units: `until` is the monotonic clock's ms.

    Shape: `parked` says that it counts for its queue without a slot.
    """

    __slots__ = ("accepted", "parked", "run", "status", "until")

    def __init__(self, run: Run, until: int) -> None:
        self.run = run
        self.until = until
        self.status: int | None = None
        self.accepted = False
        self.parked = False


class Waiting:
    """All runs that a callback may end."""

    def __init__(self, key: bytes, address: ReturnAddress, lanes: Lanes, clock: Clock) -> None:
        """Shape: `key` is what tokens are made with."""
        self._key = key
        self._address = address
        self._lanes = lanes
        self._clock = clock
        self._open: dict[int, _Open] = {}
        self._deadlines: Wheel[int] = Wheel(self._tick())
        self._sooner = asyncio.Event()

    # -- tokens --------------------------------------------------------------------------------

    def url(self, run: Run) -> str | None:
        """What the handler of a run calls back; None for one that answers, or cannot reach lq."""
        if run.job.completion is not Completion.CALLBACK:
            return None
        base = self._address.base(run.job.target)
        return base and f"{base}{PATH}/{self.token(run)}"

    def token(self, run: Run) -> str:
        """The credential of one attempt.

        Shape: the job and the run, which are no secret, and what only lq can make of them. With
        the job in it, a token of a run that a restored backup does not know fits no other.
        """
        named = f"{run.job.id}.{run.id:x}"
        return f"{named}.{self._proof(named)}"

    def named_by(self, token: str) -> tuple[str, int] | None:
        """The job and the run that a token is for; None when it is not one of lq's."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        named, job_id, run_id, proof = found.groups()
        if not hmac.compare_digest(proof, self._proof(named)):
            return None
        return job_id, int(run_id, 16)

    def _proof(self, named: str) -> str:
        return hmac.new(self._key, _CONTEXT + named.encode(), hashlib.sha256).hexdigest()

    # -- runs ----------------------------------------------------------------------------------

    def may_call(self, job: Job) -> bool:
        """Whether the handler of a job can be told what to call back, if it is to."""
        if job.completion is not Completion.CALLBACK:
            return True
        return self._address.base(job.target) is not None

    def open(self, run: Run) -> None:
        """Its handler is called now: it may call back before it answers."""
        if run.job.completion is Completion.CALLBACK:
            self._open[run.id] = _Open(run, self._tick() + run.job.timeout_ms)

    def find(self, run_id: int) -> tuple[Run, int | None] | None:
        """A run that is open, and what its handler has answered."""
        found = self._open.get(run_id)
        return None if found is None else (found.run, found.status)

    def take_on(self, run: Run, outcome: Outcome | None) -> Accepted | None:
        """What became of the call of an open run: accepted, or None when it ended otherwise.

        Shape: `outcome` is None when the call was broken off. A handler that has called for more
        time is at work, whatever became of the connection; one that has answered something
        else than 2xx is not.
        """
        found = self._open.get(run.id)
        if found is None:
            return None
        if outcome is not None and outcome.kind is OutcomeKind.SUCCEEDED:
            found.status = outcome.status
        elif not found.accepted or (outcome is not None and outcome.status is not None):
            return None
        self._park(found)
        return Accepted(found.run, self._wall(found.until), found.status)

    def extend(self, run: Run) -> tuple[int, int] | None:
        """Give the handler of an open run its time-out anew; None when its time is over.

        Shape: the new deadline as an instant, and what to hand to `shorten` to undo that.
        """
        found = self._open[run.id]
        if found.accepted and found.until <= self._tick():
            return None
        before, found.until = found.until, self._tick() + run.job.timeout_ms
        if found.accepted:
            self._expect(found)
        return self._wall(found.until), before

    def shorten(self, run: Run, until: int) -> None:
        """Take the time that `extend` gave back again."""
        if found := self._open.get(run.id):
            found.until = until
            if found.accepted:
                self._expect(found)

    def confirm(self, run: Run) -> None:
        """The handler of an open run is known to be at work, and that is stored."""
        if found := self._open.get(run.id):
            found.accepted = True
            self._expect(found)

    def restore(self, accepted: Accepted) -> None:
        """Take up what was accepted before this daemon was started.

        Shape: a wall clock that went back in between gives nobody more than the whole time-out.
        """
        left_ms = accepted.deadline_at - self._clock.now()
        most_ms = accepted.run.job.timeout_ms
        found = _Open(accepted.run, self._tick() + min(max(left_ms, 0), most_ms))
        found.status = accepted.status
        self._open[accepted.run.id] = found
        self._park(found)

    def forget(self, run: Run) -> None:
        """A run has been settled."""
        found = self._open.pop(run.id, None)
        if found is None:
            return
        self._deadlines.cancel(run.id)
        if found.parked:
            self._lanes.unpark(run.job.queue, self._clock.now())

    def overdue(self) -> list[Overdue]:
        """The runs whose deadline has come, each once."""
        due = [self._open[run_id] for run_id in self._deadlines.pop_due(self._tick())]
        return [Overdue(found.run, found.status) for found in due]

    async def until_next(self) -> None:
        """Return when the next deadline may have come."""
        self._sooner.clear()
        due = self._deadlines.next_due()
        if due is None:
            await self._sooner.wait()
        else:
            await self._clock.wait(self._sooner, max(due - self._tick(), 1))

    def _park(self, found: _Open) -> None:
        found.accepted = found.parked = True
        # Of a payload nothing is needed any more, and a handler may take hours.
        found.run = Run(found.run.id, replace(found.run.job, payload=None), found.run.started_at)
        self._lanes.park(found.run.job.queue, self._clock.now())
        self._expect(found)

    def _expect(self, found: _Open) -> None:
        self._deadlines.push(found.run.id, found.until)
        self._sooner.set()

    def _wall(self, until: int) -> int:
        return self._clock.now() + until - self._tick()

    def _tick(self) -> int:
        return int(self._clock.monotonic() * 1000)
