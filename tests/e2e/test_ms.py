"""The words of intervals, held against the npm package whose words they are."""

from __future__ import annotations

import json
import math
import random
import subprocess
from pathlib import Path

import pytest

from lq.sdk.intervals import _UNITS, parse_ms

from .node import NotInstalled, install_packages
from .process import PATIENCE_S

SOURCE = Path(__file__).with_name("ms")
ORACLE = """
import ms from "ms";
let text = "";
for await (const chunk of process.stdin) text += chunk;
const asked = JSON.parse(text);
console.log(JSON.stringify(asked.map((one) => {
  try { return ms(one) ?? null } catch { return null }
})));
"""
NUMBERS = (
    *("", "1", "2", "10", "0", "007", "2.5", "1.1", "0.1", ".5", "0.25", "1.", "-1", "-3", "-.5"),
    *("--1", "+1", "1e3", "1_000", "1,5", "NaN", "½", "9007199254740993", "9" * 99, "9" * 101),
)
SPACES = ("", " ", "   ", "\t", "\n", "\u00a0")
WORDS = (
    *(*_UNITS, "", "D", "DAYS", "Hrs", "MS"),
    *("sec.", "mo", "month", "μs", "ns", "ſ", "daysy", "y "),
)
PIECES = (*NUMBERS, *SPACES, *WORDS)


@pytest.fixture(scope="session")
def package(pytestconfig: pytest.Config) -> Path:
    """The folder it is installed in, kept with pytest's cache."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("lq-ms")
    try:
        install_packages(SOURCE, folder)
    except NotInstalled as error:
        pytest.skip(str(error))
    return folder


def ms(package: Path, asked: list[str]) -> list[float | None]:
    """What the package makes of each text."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", ORACLE],
        cwd=package,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    answers: list[float | None] = json.loads(done.stdout, parse_int=float)
    return answers


def ours(text: str) -> float | None:
    found = parse_ms(text)
    return found if found is None or math.isfinite(found) else None  # as JSON says Infinity


def wrong(package: Path, asked: list[str]) -> list[tuple[str, float | None]]:
    """The texts that the package reads otherwise, with what it makes of them."""
    answers = ms(package, asked)
    assert any(answer is not None for answer in answers)
    pairs = zip(asked, answers, strict=True)
    return [(text, theirs) for text, theirs in pairs if ours(text) != theirs]


def test_each_number_with_each_word(package: Path) -> None:
    asked = [number + space + word for number in NUMBERS for space in SPACES for word in WORDS]
    assert wrong(package, asked) == []


def test_the_examples_of_people(package: Path) -> None:
    good = ["2 days", "1d", "10h", "2.5 hrs", "2h", "1m", "5s", "1y", "100", "-3 days", "-1h"]
    bad = [" 1d", "1d ", "2 days 3 hours", "1d12h", "d", "-", ".", "1 d d", "", "ten minutes"]
    assert wrong(package, good + bad) == []
    assert None not in map(ours, good)
    assert {*map(ours, bad)} == {None}


def test_garbage_is_refused_alike(package: Path) -> None:
    chance = random.Random(1)
    asked = ["".join(chance.choices(PIECES, k=chance.randint(0, 5))) for _ in range(20_000)]
    assert wrong(package, asked) == []
