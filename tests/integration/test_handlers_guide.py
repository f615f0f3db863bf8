"""docs/handlers.md does what it says: its snippets run, in their order, against a real daemon."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lq import Queue
from lq.sdk.codec import Encoded
from lq.sdk.sealing import Sealer
from tests.support.app import Beside, serving

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/handlers.md"
KEY = "0f" * 32


def blocks(language: str, guide: Path = GUIDE) -> list[str]:
    """The snippets of a guide, of this one those of its core: what stands before the frameworks."""
    core = guide.read_text(encoding="utf-8").partition("\n## Your framework")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", core, re.DOTALL | re.MULTILINE)


async def executed(snippet: str, names: dict[str, Any]) -> None:
    """Run a snippet that may await, as if it stood in a module."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(snippet, str(GUIDE), "exec", flags, dont_inherit=True)
    awaited = eval(code, names)
    if inspect.iscoroutine(awaited):
        await awaited


@pytest.fixture
def beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    with Beside(folder).running() as running:
        monkeypatch.setenv("LQ_SOCKET", str(running.socket))
        monkeypatch.setenv("LQ_SECRET", running.secret)
        monkeypatch.setenv("LQ_ENCRYPTION_KEY", KEY)
        monkeypatch.setenv("LQ_BASE_URL", "http://127.0.0.1:1")
        yield running


async def test_the_snippets_run(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    for snippet in blocks("python"):
        await executed(snippet, names)
    queues = {name: queue for name, queue in names.items() if isinstance(queue, Queue)}
    assert set(queues) == {"welcome", "greet", "charge", "render", "cards"}
    async with beside.client() as client, serving(*queues.values()) as url:
        assert (await client.schedule("nightly"))["payload"] == {"name": "Ada", "age": 36}
        cards = await client.items("cards")
        assert "4111" not in str(cards)
        monkeypatch.setenv("LQ_BASE_URL", url)
        expected: list[tuple[str, Any, str, str | None]] = [
            ("welcome", {"name": "Ada", "age": 36}, "COMPLETED", '{"sent to":"Ada"}'),
            ("greet", "Ada", "COMPLETED", "Hello Ada"),
            ("charge", 5, "COMPLETED", "charged"),
            ("charge", -1, "FAILED", "nothing to charge"),
            ("charge", 200_000, "RETRY", "the bank wants to be asked again"),
        ]
        for name, payload, state, said in expected:
            item = await queues[name].push(payload)
            await beside.ended(item, state)
            assert (await beside.attempts(item))[0]["responseBody"] == said


async def test_the_readme_s_app_runs(beside: Beside) -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    for snippet in blocks("python", ROOT / "README.md"):
        await executed(snippet, names)
    await names["sign_up"]("ada", 36)
    assert (await names["welcome"].get(key="ada"))["payload"] == {"name": "ada", "age": 36}


def test_the_browser_s_code_reads_what_is_encrypted(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    kind = 'text/plain; charset=utf-8; note="a\\b"'
    sealed = Sealer("cards/é", KEY).seal(Encoded("4111 é".encode(), kind), "payload", "k")
    script = tmp_path / "reads.mjs"
    arguments = [KEY, "cards/é", "payload", str(sealed.content_type), sealed.body.hex()]
    script.write_text(
        blocks("js")[0]
        + """
const [key, queue, purpose, contentType, body] = process.argv.slice(2);
const raw = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const { type, plain } = await unsealed(raw(key), queue, purpose, contentType, raw(body));
console.log(JSON.stringify([type, Buffer.from(plain).toString()]));
"""
    )
    ran = subprocess.run(
        [node, str(script), *arguments], check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == '["text/plain; charset=utf-8; note=\\"a\\\\b\\"","4111 é"]'
