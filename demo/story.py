"""The four jobs of the demo: what is pushed, and what is seen of each from the daemon's side.

Owns: the pushes and the looking on. Judges nothing: that is `verdict`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from lq.client import Client
from lq.when import parse_rfc3339

Json = dict[str, Any]

DELAY_MS = 2_500
REPLACED_MS = 1_200
WAITS_MS = (800, 1_200)


class Pushing(NamedTuple):
    """One push. Shape: `options` are those of `Client.push`."""

    payload: Mapping[str, Any]
    does: str
    options: Mapping[str, Any] = MappingProxyType({})


class Part(NamedTuple):
    """One job of the story; its name is that of its queue, and of its work at the handler."""

    name: str
    shows: str
    pushes: Sequence[Pushing]
    attempts: int = 1

    @property
    def path(self) -> str:
        return f"/{self.name}"


PARTS = (
    Part("welcome", "runs at once", [Pushing({"to": "ada"}, "to run at once")]),
    Part(
        "reminder",
        f"waits {DELAY_MS / 1000:g} s",
        [Pushing({"about": "tea"}, f"to run in {DELAY_MS / 1000:g} s", {"delay_ms": DELAY_MS})],
    ),
    Part(
        "report",
        "is replaced by its key",
        [
            Pushing(
                {"version": 1},
                f"to run in {REPLACED_MS / 1000:g} s, with the key daily",
                {"delay_ms": REPLACED_MS, "key": "daily"},
            ),
            Pushing(
                {"version": 2},
                "again with the key daily: it replaces the first",
                {"delay_ms": REPLACED_MS, "key": "daily"},
            ),
        ],
    ),
    Part(
        "payment",
        "fails twice, then succeeds",
        [
            Pushing(
                {"euros": 12},
                f"to be tried again after {' and '.join(f'{ms / 1000:g} s' for ms in WAITS_MS)}",
                {"retry": ",".join(f"{ms}ms" for ms in WAITS_MS)},
            )
        ],
        attempts=1 + len(WAITS_MS),
    ),
)


class Job:
    """One job as the daemon tells it: how its pushes went, and its item and attempts just now."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.pushed: list[Json] = []
        self.item: Json = {}
        self.attempts: list[Json] = []

    @property
    def finished(self) -> bool:
        return "finished" in self.item

    def push(self, pushing: Pushing, client: Client, target: str) -> None:
        payload = json.dumps(pushing.payload).encode()
        pushed = client.push(
            self.part.name,
            payload,
            target=target,
            content_type="application/json",
            **pushing.options,
        )
        self.pushed.append(pushed)
        self.item = pushed

    def look(self, client: Client) -> None:
        """Ask the daemon how it is."""
        if not self.finished:
            self.item = client.item(self.item["id"])
            self.attempts = client.attempts(self.item["id"])

    def due_at(self, n: int) -> int:
        """When the n-th attempt was due, from 1. Units: Unix ms."""
        if n == 1:
            return parse_rfc3339(self.item["notBefore"])
        return self.ended_at(n - 1) + WAITS_MS[n - 2]

    def started_at(self, n: int) -> int:
        return parse_rfc3339(self.attempts[n - 1]["started"])

    def ended_at(self, n: int) -> int:
        return self.started_at(n) + int(self.attempts[n - 1]["ms"])

    def late_ms(self, n: int) -> int:
        """By how much an attempt started later than it was due."""
        return self.started_at(n) - self.due_at(n)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
