"""Queues that the configuration sets: what it says holds, whatever the API is asked for."""

from __future__ import annotations

import pytest

from lq.errors import Conflict
from lq.model import QueueEdit, QueueSettings
from tests.support.home import Home


async def test_what_the_configuration_sets_is_not_set_by_api(home: Home) -> None:
    queues = {"mail": QueueSettings(timeout_ms=5_000)}
    async with home.daemon(queues=queues, origin={"queues.mail.timeout": "lq.toml:12"}) as running:
        edit = QueueEdit(timeout_ms=9_000, concurrency=3)
        with pytest.raises(Conflict, match=r"timeout is set by lq\.toml:12"):
            await running.engine.queues.edit("mail", edit)
        assert (await running.engine.queues.get("mail")).settings.concurrency == 16
        queue = await running.engine.queues.edit("mail", QueueEdit(concurrency=3, paused=True))
        assert (queue.settings.concurrency, queue.settings.timeout_ms) == (3, 5_000)
