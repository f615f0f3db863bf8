"""The corpus of target spellings, and what must never be reached by any of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.handler import Wire, listening

_CORPUS = Path(__file__).parents[1] / "data" / "target_spellings.json"

SPELLINGS: list[Mapping[str, Any]] = json.loads(_CORPUS.read_text(encoding="utf-8"))
"""Shape: `text` with `{port}` for the canary's; `expect` at push with nothing allowed: "refused"
(400), "blocked" (422) or "accepted". Without `dial: false` it means this machine, if it is read
as an address at all, and may be called in a test."""


class Canary:
    """A listener on both loopback addresses. `reached` counts the connections made to it."""

    def __init__(self) -> None:
        self.port = 0
        self.reached = 0

    async def serve(self, wire: Wire) -> None:
        self.reached += 1
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        await wire.gone()


@contextlib.asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    bird = Canary()
    async with (
        listening(bird.serve) as bird.port,
        listening(bird.serve, host="::1", port=bird.port),
    ):
        yield bird
