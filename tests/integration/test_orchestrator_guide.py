"""docs/orchestrator.md does what it says: its snippets run, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lq import Orchestrator
from lq.config import load
from lq.sdk.records import Status
from tests.integration.test_handlers_guide import blocks, executed

GUIDE = Path(__file__).parents[2] / "docs/orchestrator.md"


async def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    for snippet in blocks("python", GUIDE):
        await executed(snippet, names)
    app: Orchestrator = names["orchestrator"]
    async with app:
        crons = {name: await cron for name, cron in app.crons.items()}
        reminder = await app.job(names["job"].id)
        digest = await app.job(names["later"].id)
    assert (tmp_path / "jobs.db").exists()
    assert set(crons) == {"digest 0 8 * * *", "team-digest"}
    assert crons["team-digest"].count_limit == 10
    assert reminder is not None
    assert digest is not None
    assert (reminder.status, digest.status) == (Status.COMPLETED, Status.CANCELLED)


def test_the_pattern_for_the_daemon_is_one(tmp_path: Path) -> None:
    [pattern] = re.findall(r"`\[validate\] (skip = \[.*?\])`", GUIDE.read_text(encoding="utf-8"))
    (tmp_path / "lq.toml").write_text(f"[validate]\n{pattern}\n")
    skipped = load(str(tmp_path / "lq.toml"), {"HOME": "/home/ada"}).validate.skip
    assert skipped == ("https://app.example.com/.netlify/functions/*",)
