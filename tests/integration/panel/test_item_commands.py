"""The commands on the page of an item, run by a shell: each pushes what the item was."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lq.client import AsyncClient
from lq.daemon.main import Daemon
from lq.model import Scope
from tests.support.pages import Browser

from .test_items import block

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

SAME = (
    *("queue", "key", "target", "type", "labels", "headers", "retry", "timeout", "expires"),
    *("payload", "notBefore", "maxAttempts", "completion"),
)
PAYLOADS = [
    b"",
    b"plain",
    b'{"it\'s": "$(touch pwned) `touch pwned` \\" \\\\ !! %s %n"}',
    b"'; touch pwned; '",
    b"two\nlines\n",
    b"\n",
    b"\r\n\ttabbed\x1b[31m\x7f",
    b"@/etc/hostname",
    b"@",
    b"-",
    b"--help",
    b"\xff\xfe\0\x01",
    "\u00e4\u20ac\U0001f600 \u202e\ufeff".encode(),
    b"<script>&amp;</script>",
    b"x" * 16_384,
    b"y" * 16_385,
    b"a=1&b=2;",
]


async def run(command: str, folder: Path, daemon: Daemon, token: str) -> str:
    """What a shell prints that a command is pasted into."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LQ_TOKEN": token,
        "LQ_API_URL": f"http://127.0.0.1:{daemon.port}",
    }
    shell = await asyncio.create_subprocess_exec(
        "/bin/sh", "-euc", command,
        cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await shell.communicate()
    assert (shell.returncode, complaint) == (0, b""), said
    return said.decode()


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def repeated(
    running: Daemon, panel: Browser, folder: Path, queue: str, payload: bytes, **options: Any
) -> None:
    """Push, and have both commands push it again."""
    _, token = await running.engine.create_token("shell", frozenset({Scope.ADMIN}), (), None)
    options = {"target": "https://example.com/hook", "delay": "1h", **options}
    async with AsyncClient(f"http://127.0.0.1:{running.port}", token) as client:
        item = await client.push(queue, payload, **options)
        await client.cancel(item["id"])  # or its key would be the same item's again
        before = await client.item(item["id"], payload="base64")
        page = await panel.get(f"/items/{item['id']}")
        (folder / "payload.bin").write_bytes((await panel.get(f"/items/{item['id']}/payload")).body)
        for name in ("curl", "lq"):
            said = await run(block(page, name), folder, running, token)
            again = json.loads(said)["id"] if name == "curl" else said.strip()
            assert again != item["id"]
            found = await client.item(again, payload="base64")
            assert {n: found.get(n) for n in SAME} == {n: before.get(n) for n in SAME}
            if name == "curl" or "payloadType" in before:
                assert found.get("payloadType") == before.get("payloadType")
            assert base64.b64decode(found.get("payload", "")) == payload
            await client.cancel(again)
    assert files(folder) == ["payload.bin"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload[:12]))
@pytest.mark.parametrize("kind", [None, "application/json"])
async def test_whatever_the_payload_is(
    running: Daemon, panel: Browser, tmp_path: Path, payload: bytes, kind: str | None
) -> None:
    await repeated(running, panel, tmp_path, "q", payload, content_type=kind)


@pytest.mark.parametrize(
    "text",
    [
        'it\'s "quoted"',
        "$HOME `id` $(id)",
        "--help",
        "-",
        "@x",
        "a;b|c&d>e",
        "\\ \\n",
        "\u00e4\u20ac !x",
    ],
)
async def test_whatever_else_is_in_it(
    running: Daemon, panel: Browser, tmp_path: Path, text: str
) -> None:
    await repeated(
        running, panel, tmp_path, f"q {text}".replace("/", "-"), b"{}", key=text,
        labels=[text.replace(" ", "_").replace(",", "_"), "b"],
        headers={"X-A": text, "X-B": "", "X-C": '{"a": 1}'},
        content_type=f"text/plain; x={text!a}", method="PUT", retry="1s,2m", timeout="90s",
        expires="3d", target="https://example.com/'a'?b=$c&d=(e)!",
    )  # fmt: skip


async def test_what_the_commands_leave_out_is_said(
    running: Daemon, panel: Browser, tmp_path: Path
) -> None:
    _, token = await running.engine.create_token("shell", frozenset({Scope.ADMIN}), (), None)
    async with AsyncClient(f"http://127.0.0.1:{running.port}", token) as client:
        item = await client.push(
            "q", b"z" * 20_000, target="https://example.com/", delay="1h",
            headers={"Authorization": "Bearer canary"},
        )  # fmt: skip
        page = await panel.get(f"/items/{item['id']}")
        assert "The header Authorization is not shown" in page.text
        assert "save it as payload.bin first" in page.text
        for name in ("curl", "lq"):
            assert "[redacted]" not in block(page, name)
            assert "@payload.bin" in block(page, name)
