"""The guides tell the truth: their commands parse, their configurations load, their links lead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from lq.cli import root
from lq.config import load

ROOT = Path(__file__).parents[2]
GUIDES = (
    *("README.md", "examples/README.md", "docs/cli.md"),
    *("docs/handlers.md", "docs/orchestrator.md", "docs/security.md"),
    *("docs/cron-replacement.md", "docs/vps.md", "docs/listen.md", "docs/panel.md"),
)


def blocks(guide: str, *languages: str) -> list[str]:
    text = (ROOT / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> Iterator[str]:
    """Each `lq …` of the guides, as typed; what a shell would fill in is an id."""
    for guide in GUIDES:
        for block in blocks(guide, "sh", "console"):
            filled = re.sub(r'\$\((lq [^)]*)\)|"\$id"', r"job_1\n\1", block)
            for line in filled.replace(" | xargs -r lq", "\nlq").splitlines():
                if found := re.search(r"(?:^|[(|] ?|\$ |=\$\()(lq (?!\d).*)", line):
                    yield re.split(r" \|\| | &$|\)$", found[1])[0]


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_each_command_of_the_guides_parses(line: str) -> None:
    name, *arguments = shlex.split(line, comments=True)
    command: Any = typer.main.get_command(root)
    while isinstance(command, TyperGroup):
        context = command.make_context(name, [], resilient_parsing=True)
        if command.invoke_without_command and (not arguments or arguments[0].startswith("-")):
            break  # `lq history` lists by itself
        name, *arguments = arguments
        command = command.get_command(context, name)
    assert command is not None
    assert command.make_context(name, arguments).args == []


@pytest.mark.parametrize("text", [text for guide in GUIDES for text in blocks(guide, "toml")])
def test_each_configuration_of_the_guides_loads(tmp_path: Path, text: str) -> None:
    (tmp_path / "lq.toml").write_text(text)
    assert load(str(tmp_path / "lq.toml"), {"HOME": "/home/ada"}).origin


@pytest.mark.parametrize("guide", GUIDES)
def test_each_link_leads_somewhere(guide: str) -> None:
    text = (ROOT / guide).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose)
    assert links
    assert [link for link in links if not (ROOT / guide).parent.joinpath(link).exists()] == []
