"""The grammar of crontabs held against Debian's own crontab(1), which checks a file with -n."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from lq.takeover import debian
from lq.takeover.crontab import parse

pytestmark = pytest.mark.skipif(
    shutil.which("crontab") is None, reason="crontab(1) is not installed"
)


@pytest.mark.parametrize("seed", range(4))
def test_cron_takes_what_lq_takes_for_times(tmp_path: Path, seed: int) -> None:
    """`crontab -n` and lq agree on what an entry is, over fields put together at random."""
    chance = random.Random(seed)
    pieces = [*"0159*-/,~", "10", "59", "60", "sun", "Mon", "jan", "8", "12", "31", "L", "*/5"]
    for number in range(30):
        fields = ["*"] * 5
        for field in chance.sample(range(5), 2):
            fields[field] = "".join(chance.choices(pieces, k=chance.randint(1, 4)))
        line = f"{' '.join(fields)} true"
        path = tmp_path / f"{number}"
        path.write_text(f"{line}\n")
        done = subprocess.run(["crontab", "-n", str(path)], capture_output=True, check=False)
        assert _taken(line) == (done.returncode == 0), (line, done.stderr)


@pytest.mark.parametrize(
    "line",
    [
        *("A=b", "A=", 'A="b', "A = b", '"A"=b', "A b=c", 'MAILTO=""', "=b", " A=b c "),
        *("@daily true", "@Daily true", "@reboot true", "@annually true", "@every 5m true"),
        *("* * * * *", "* * * * * *", "* * * * * true", "\t*\t* * * *\ttrue", "-* * * * * true"),
        *("# comment", "", "   ", "true", "1 2 3", f"0 0 * * * {'a' * 998}"),
        f"0 0 * * * {'a' * 999}",
    ],
)
def test_cron_takes_what_lq_takes_for_lines(tmp_path: Path, line: str) -> None:
    path = tmp_path / "crontab"
    path.write_text(f"{line}\n")
    done = subprocess.run(["crontab", "-n", str(path)], capture_output=True, check=False)
    # lq takes what other crons know, and a command of any length, but none that is empty.
    more = line.startswith("-") or len(line) > 1008
    assert _taken(line) == ((done.returncode == 0 or more) and line != "* * * * *"), done.stderr


def _taken(line: str) -> bool:
    read = parse(f"{line}\n".encode(), system=False)
    try:
        return not read.bad and all(debian.read(e.fields) for e in read.entries if e.fields)
    except ValueError:
        return False
