"""The guides of docs/ as what they tell the reader to type."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .process import LQ, PATIENCE_S, Daemon

DOCS = Path(__file__).parents[2] / "docs"


def blocks(guide: str, heading: str) -> list[str]:
    """The code blocks under a heading."""
    text = (DOCS / guide).read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.M)[0]
    return re.findall(r"^```(?:sh|console)\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def run(daemon: Daemon, line: str, **environ: str) -> str:
    """Run a line of a guide in a shell; stdout and stderr as they came."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=daemon.folder,
        env=daemon.environ | {"PATH": f"{Path(LQ).parent}:/usr/sbin:/usr/bin:/sbin:/bin"} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout)
    return done.stdout


def typed(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with what is printed below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found
