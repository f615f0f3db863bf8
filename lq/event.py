"""What is told of a job or queue that moved, and which of it somebody wants to hear.

Owns the two records and how they fit each other. Who is told, and how, is `daemon`'s.
"""

from __future__ import annotations

from msgspec import Struct

from lq.model import MOVES, PushOutcome, State
from lq.patterns import meant

VERBS = (*MOVES, "push", "expire", "skip", "pause", "resume", "delete")
"""What can happen. Of a queue the last three, of a job all others."""


class Event(Struct, frozen=True, kw_only=True):
    """A job moved, or a queue did, which then has no `job_id`.

    Shape: `verb` is the verb of `lq.model.MOVES`; or `push`, `expire`, `skip` (a schedule made a
    job that does not run); of a queue `pause`, `resume` or `delete`. `attempt` is the number of
    the one that began or ended, `due_at` when a waiting job may start.
    """

    verb: str
    queue: str
    at: int
    job_id: str = ""
    state: State | None = None
    failures: int = 0
    key: str | None = None
    labels: tuple[str, ...] = ()
    schedule: str | None = None
    attempt: int | None = None
    due_at: int | None = None
    status: int | None = None
    error: str | None = None
    outcome: PushOutcome | None = None

    @property
    def is_retry(self) -> bool:
        """Whether its job waits after a failure."""
        return self.state is State.PENDING and self.failures > 0


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events somebody wants. Empty members do not restrict.

    Shape: `queues` are shell patterns (a token's). `states` takes the wire's words, RETRY included.
    """

    queue: str | None = None
    queues: tuple[str, ...] = ()
    states: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    key: str | None = None
    label: str | None = None
    schedule: str | None = None

    def passes(self, event: Event) -> bool:
        """Whether an event is among them."""
        return (
            (self.queue is None or event.queue == self.queue)
            and meant(event.queue, self.queues)
            and (not self.verbs or event.verb in self.verbs)
            and (not self.states or _word(event) in self.states)
            and (self.key is None or event.key == self.key)
            and (self.label is None or self.label in event.labels)
            and (self.schedule is None or event.schedule == self.schedule)
        )


def _word(event: Event) -> str | None:
    """The state in the wire's words, which tell a job that waits after a failure."""
    return "RETRY" if event.is_retry else event.state
