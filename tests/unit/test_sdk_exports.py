"""What `lq` exports, and what it costs to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lq

LAZY = sorted(lq.__all__)


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after this."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True
    )
    return set(ran.stdout.split())


def test_the_exports_are_sorted_and_there() -> None:
    assert lq.__all__ == sorted(lq.__all__)
    assert {"AsyncClient", "Client", "Fail", "Job", "Queue", "Retry", "schedule"} <= set(LAZY)
    assert set(LAZY) <= set(dir(lq))


@pytest.mark.parametrize("name", LAZY)
def test_each_export_can_be_imported(name: str) -> None:
    found = getattr(lq, name)
    assert found.__name__ == name
    assert found.__module__ == "lq" or found.__module__.startswith("lq.")


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(str(lq.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for guarded in tree.body
        if isinstance(guarded, ast.If)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == lq._ORIGINS
    assert sorted(seen) == LAZY


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'lq' has no attribute 'Qeue'"):
        lq.Qeue  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(lq, "__path_of_nothing__")


def test_lq_alone_loads_nothing() -> None:
    modules = loaded("import lq")
    assert {name for name in modules if name.startswith("lq")} == {"lq"}
    assert modules.isdisjoint({"msgspec", "asyncio", "importlib.metadata"})


def test_the_sdk_loads_neither_the_daemon_nor_a_framework() -> None:
    modules = loaded(
        "from lq import Client, Fail, Job, Mount, Queue, Retry, schedule\n"
        "queue = Queue('q', type=dict[str, int], secret='s')\n"
        "queue.handler(lambda it: it)\n"
        "from lq import Request\n"
        "assert queue.respond_sync(Request('HEAD', '/', (), b'')).status == 200\n"
        "import time\n"
        "from lq.signature import sign\n"
        "signed = sign('s', b'{}', int(time.time() * 1000))\n"
        "call = Request('POST', '/', (('x-lq-signature', signed),), b'{}')\n"
        "assert queue.respond_sync(call).status == 200\n"
    )
    assert not {name for name in modules if name.startswith(("lq.daemon", "lq.commands"))}
    assert modules.isdisjoint(
        {"aiosqlite", "sqlite3", "aiohttp", "typer", "rich", "uvloop", "pydantic", "cryptography"}
    )
    assert modules.isdisjoint({"asyncio", "concurrent", "ssl", "http.client", "email"})
