"""The contract: expected instants confirmed against Debian's cron, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lq.cron import (
    CronError,
    count_between,
    explain,
    fires_between,
    last_between,
    next_fire,
    note,
    parse,
    warnings,
)
from lq.when import load_zone

DATA = Path(__file__).parents[1] / "data"
TRUTH: list[dict[str, Any]] = json.loads((DATA / "cron_truth.json").read_text())
INVALID: list[dict[str, Any]] = json.loads((DATA / "cron_invalid.json").read_text())


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("row", TRUTH, ids=lambda row: f"{row['expr']} {row['tz']} {row['start']}")
def test_fires_when_expected(row: dict[str, Any]) -> None:
    rule, zone, start = parse(row["expr"]), load_zone(row["tz"]), at(row["start"])
    expected = [at(text) for text in row["expected"]]
    fires, after = [], start
    for _ in expected:
        fire = next_fire(rule, zone, after)
        assert fire is not None
        fires.append(fire)
        after = fire
    assert fires == expected
    assert list(fires_between(rule, zone, start, expected[-1])) == expected
    assert count_between(rule, zone, start, expected[-1]) == len(expected)
    assert last_between(rule, zone, start, expected[-1], 3) == expected[-3:]


@pytest.mark.parametrize("row", TRUTH, ids=lambda row: f"{row['expr']} {row['tz']}")
def test_has_words(row: dict[str, Any]) -> None:
    rule, zone = parse(row["expr"]), load_zone(row["tz"])
    assert explain(rule)
    assert all(warnings(rule, zone, at(row["start"])))
    assert all(note(rule, zone, at(text)) != "" for text in row["expected"])


@pytest.mark.parametrize("row", INVALID, ids=lambda row: row["why"])
def test_is_refused(row: dict[str, Any]) -> None:
    repeat = row["expr_repeat"]
    text = repeat[0] * repeat[1] + repeat[2] if repeat else row["expr"]
    with pytest.raises(CronError) as raised:
        parse(text)
    message = str(raised.value)
    assert message
    assert "\n" not in message
    assert len(message) < 250
    assert 0 <= raised.value.position <= len(text)
