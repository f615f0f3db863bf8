"""Each spelling of the corpus, pushed over the API: refused, blocked, or stored; never called."""

from __future__ import annotations

import json
from typing import Any

from lq.daemon.main import Daemon
from tests.support.spellings import SPELLINGS, canary

from .raw import Answer, Peer

WANTED = {
    "refused": (400, "VALIDATION_ERROR"),
    "blocked": (422, "TARGET_NOT_ALLOWED"),
    "accepted": (201, None),
}


def ended(answer: Answer) -> tuple[int, Any]:
    return answer.status, answer.json.get("type") if answer.status >= 400 else None


async def test_each_spelling_at_push(api: Peer, running: Daemon) -> None:
    wrong = []
    async with canary() as bird:
        for spelling in SPELLINGS:
            text = spelling["text"].replace("{port}", str(bird.port))
            if not text.isprintable() or text.strip() != text or len(text) > 4000:
                continue  # no header can hold it as it is
            answer = await api.ask("POST queues/q/items", f"x-lq-target: {text}", "x-lq-delay: 1h")
            if ended(answer) != WANTED[spelling["expect"]]:
                wrong.append((spelling, answer))
            elif answer.status == 400:
                assert answer.issues == ["x-lq-target"]
    assert wrong == []
    assert bird.reached == 0
    assert running.in_flight == 0


async def test_each_spelling_as_the_target_of_a_queue(api: Peer) -> None:
    """A JSON string holds what no header can."""
    wrong = []
    async with canary() as bird:
        for spelling in SPELLINGS:
            text = spelling["text"].replace("{port}", str(bird.port))
            answer = await api.ask("PATCH queues/q", body=json.dumps({"target": text}).encode())
            status, kind = WANTED[spelling["expect"]]
            if ended(answer) != (200 if status == 201 else status, kind):
                wrong.append((spelling, answer))
    assert wrong == []
    assert bird.reached == 0
