"""The panel's static files: what came from elsewhere is unchanged, and ours ask for nothing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from lq.daemon.panel.assets import Assets
from lq.event import VERBS
from lq.wire import MISSED

STATIC: Final = Path(__file__).parents[2] / "lq/daemon/panel/static"
VENDOR: Final = STATIC / "vendor"
OURS: Final = sorted(path for path in STATIC.glob("*") if path.suffix in (".js", ".css"))


def vendored() -> list[dict[str, Any]]:
    decoded: list[dict[str, Any]] = msgspec.json.decode((VENDOR / "vendored.json").read_bytes())
    return decoded


def test_vendored_files_are_those_of_the_manifest() -> None:
    stated = {name: digest for one in vendored() for name, digest in one["files"].items()}
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendored.json"
    }
    assert found == stated


@pytest.mark.parametrize("one", vendored(), ids=lambda one: str(one["name"]))
def test_what_is_vendored_says_what_it_is(one: dict[str, Any]) -> None:
    assert set(one) == {"name", "version", "licence", "integrity", "files"}
    assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", one["integrity"])
    assert one["licence"] in (VENDOR / one["name"] / "LICENSE").read_text()
    script = next(name for name in one["files"] if name.endswith(".js"))
    assert f"v{one['version']}" in (VENDOR / script).read_text()[:100]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_script_turns_text_into_code_or_leaves_the_daemon(path: Path) -> None:
    """What the content security policy forbids is not even tried; nor is text parsed in place."""
    text = path.read_text()
    for never in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval("):
        assert never not in text
    for never in ("localStorage", "sessionStorage", "document.cookie", "new Function", "data:"):
        assert never not in text
    links = re.findall(r"\w+://[^\s\"'`)]+", text)
    assert [link for link in links if not link.startswith("https://www.w3.org/WAI/")] == []


def test_the_page_listens_to_all_that_can_happen() -> None:
    source = (STATIC / "live.js").read_text()
    found = re.search(r"const EVENTS = \[(.*?)\];", source, re.DOTALL)
    assert found is not None
    heard = {word for words in re.findall(r'"([a-z ]+)"', found[1]) for word in words.split()}
    assert heard == {*VERBS, MISSED, "schedules", "message"}


def test_the_first_page_is_light() -> None:
    """All files together, as they go to a browser, leave a page the more of its 150 kB."""
    charts = [VENDOR / name for name in vendored()[0]["files"] if not name.endswith("LICENSE")]
    assets = Assets()
    names = [path.relative_to(STATIC).as_posix() for path in [*OURS, *charts]]
    assert sum(len(assets.packed(name)) for name in names) < 60_000
