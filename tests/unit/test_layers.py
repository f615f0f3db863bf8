"""The layering of lq, read from its import statements.

A module imports only from layers below its own, never a sibling. The modules of one folder
(`FOLDERS`) may share their work, as long as nothing goes in circles. What a function imports
counts as well, and so does what is imported for type checkers alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

LAYERS = (
    ("lq", "lq.errors", "lq.fingerprint", "lq.finding", "lq.patterns"),
    ("lq.model", "lq.clock", "lq.when", "lq.toml", "lq.checkup"),
    (
        "lq.backoff",
        "lq.rate",
        "lq.why",
        "lq.exposition",
        "lq.logs",
        "lq.cron",
        "lq.signature",
        "lq.paths",
        "lq.exchange",
    ),
    (
        *("lq.scriptlets", "lq.batch", "lq.event", "lq.overview", "lq.activity", "lq.backups"),
        *("lq.listening", "lq.endpoint", "lq.settings", "lq.attention"),
    ),
    ("lq.firing", "lq.alerts"),
    ("lq.month",),
    ("lq.wire",),
    ("lq.config", "lq.exported"),
    ("lq.exposure",),
    ("lq.takeover",),
    ("lq.unit",),
    ("lq.daemon.cipher",),
    (
        "lq.daemon",
        "lq.daemon.egress",
        "lq.daemon.wheel",
        "lq.daemon.throughput",
        "lq.daemon.secret",
    ),
    ("lq.daemon.events",),
    ("lq.daemon.feed",),
    ("lq.daemon.breaker", "lq.daemon.metrics", "lq.daemon.tracing"),
    ("lq.daemon.notify",),
    ("lq.client", "lq.render"),
    (
        *("lq.render_schedules", "lq.render_events", "lq.render_top", "lq.render_failures"),
        *("lq.render_listen", "lq.render_endpoints", "lq.render_settings", "lq.sdk"),
    ),
    ("lq.daemon.store", "lq.daemon.targets", "lq.daemon.endpoints", "lq.daemon.auth"),
    ("lq.daemon.sessions",),
    ("lq.daemon.lanes", "lq.daemon.listeners", "lq.daemon.activity"),
    ("lq.daemon.waiting",),
    ("lq.daemon.resolve", "lq.daemon.scheduler", "lq.daemon.dispatcher"),
    ("lq.daemon.firer", "lq.daemon.callbacks", "lq.daemon.alerts", "lq.daemon.watch"),
    (
        "lq.daemon.queues",
        "lq.daemon.schedules",
        "lq.daemon.overview",
        "lq.daemon.why",
        "lq.daemon.draining",
        "lq.daemon.survey",
    ),
    (
        *("lq.daemon.checkup", "lq.daemon.batches", "lq.daemon.backup", "lq.daemon.holding"),
        "lq.daemon.attention",
    ),
    ("lq.daemon.bulk", "lq.daemon.scraping"),
    ("lq.daemon.engine", "lq.daemon.restore"),
    ("lq.daemon.core",),
    ("lq.daemon.api",),
    ("lq.daemon.panel",),
    ("lq.daemon.listen",),
    ("lq.daemon.main", "lq.daemon.embedded"),
    ("lq.commands", "lq.testing"),
    ("lq.cli",),
    ("lq.__main__",),
)
"""From the bottom up. A package stands for the modules in it that are not named themselves."""

FOLDERS = (
    *("lq.cron", "lq.config", "lq.takeover", "lq.wire", "lq.client", "lq.sdk", "lq.commands"),
    "lq.testing",
    *("lq.daemon.store", "lq.daemon.targets", "lq.daemon.api", "lq.daemon.panel"),
)

FORBIDDEN = (
    ("lq.daemon", "lq.client", "the daemon is no client of itself"),
    ("lq.daemon", "lq.sdk", "the daemon knows no handlers"),
    ("lq.daemon", "lq.cli", "the daemon knows no command line"),
    ("lq.daemon", "lq.commands", "the daemon knows no command line"),
    ("lq.daemon", "lq.render", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_schedules", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_events", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_top", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_failures", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_listen", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_endpoints", "the daemon draws no tables"),
    ("lq.daemon", "lq.render_settings", "the daemon draws no tables"),
    ("lq.sdk", "lq.daemon", "handlers run without the daemon"),
    ("lq.sdk", "aiosqlite", "handlers run without the daemon"),
)

DOORS = {("lq.sdk.embedded", "lq.daemon.embedded"), ("lq.sdk.embedded", "lq.daemon.engine")}
"""An orchestrator may have lq inside its app: this one module opens it, only when it is asked to.

The second is for type checkers, who are told what comes through the first.
"""

ROOT = Path(__file__).parents[2]


class Import(NamedTuple):
    """One module that another imports; only inside a function, only for type checkers?"""

    module: str
    line: int
    deferred: bool
    typing_only: bool


def sources() -> dict[str, str]:
    """The text of every module of lq by its dotted name; a package is its `__init__`."""
    found = {}
    for path in sorted((ROOT / "lq").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def violations(tree: Mapping[str, str]) -> list[str]:
    """What breaks the layering in a tree of modules, given as name and text."""
    imports = {name: list(_imports(text, tree)) for name, text in tree.items()}
    found = [f"{name} has no place in LAYERS" for name in tree if _layer(name) is None]
    for name, imported in imports.items():
        found += [
            f"{name}:{one.line} imports {one.module}: {complaint}"
            for one in imported
            if (complaint := _complaint(name, one))
        ]
    return found + list(_circles(imports))


def _imports(text: str, tree: Mapping[str, str]) -> Iterator[Import]:
    pending: list[tuple[ast.AST, bool, bool]] = [(ast.parse(text), False, False)]
    while pending:
        node, deferred, typing_only = pending.pop()
        for module in _named(node, tree):
            yield Import(module, getattr(node, "lineno", 0), deferred, typing_only)
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typed = typing_only or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        pending += [(child, inside, typed) for child in ast.iter_child_nodes(node)]


def _named(node: ast.AST, tree: Mapping[str, str]) -> list[str]:
    """The modules that one node imports: `from lq import wire` names lq.wire, not lq."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = "." * level + (module or "")
            members = [f"{origin}.{alias.name}" for alias in names]
            return [member if member in tree else origin for member in members]
        case ast.Call(func=func, args=[ast.Constant(value=str(module)), *_]) if ast.unparse(
            func
        ) in {"__import__", "import_module", "importlib.import_module"}:
            return [module]
        case _:
            return []


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _layer(name: str) -> int | None:
    """The number of a module's layer: its own, else the one of the folder it lies in."""
    for number, layer in enumerate(LAYERS):
        if name in layer:
            return number
    folder = next((folder for folder in FOLDERS if _within(name, folder)), None)
    return None if folder is None else _layer(folder)


def _complaint(name: str, imported: Import) -> str | None:
    module = imported.module
    if module.startswith("."):
        return "imports are written in full"
    if module.split(".")[0] in {"sqlite3", "aiosqlite"} and not _within(name, "lq.daemon.store"):
        return "only the store knows SQLite"
    if (name, module) in DOORS and (imported.deferred or imported.typing_only):
        return None
    for importer, package, reason in FORBIDDEN:
        if _within(name, importer) and _within(module, package):
            return reason
    if not _within(module, "lq"):
        return None
    if name == "lq" and imported.typing_only and not _within(module, "lq.daemon"):
        return None  # what it exports is imported on first use; test_exports.py sees to that
    if _within(name, "lq.commands") and _within(module, "lq.daemon") and not imported.deferred:
        return "a command loads the daemon only inside a function"
    if any(_within(name, folder) and _within(module, folder) for folder in FOLDERS):
        return None
    own, other = _layer(name), _layer(module)
    if own is not None and other is not None and other >= own:
        return "it is not in a lower layer"
    return None


def _circles(imports: Mapping[str, list[Import]]) -> Iterator[str]:
    graph = {
        name: {
            one.module
            for one in imported
            if one.module != name
            and one.module in imports
            and not (name == "lq" and one.typing_only)
        }
        for name, imported in imports.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"a circle: {' <- '.join(error.args[1])}"


def test_the_tree_keeps_to_its_layers() -> None:
    assert violations(sources()) == []


def test_it_sees_the_whole_tree() -> None:
    seen = sources()
    assert {"lq", "lq.errors", "lq.daemon.wheel", "lq.daemon.store"} <= set(seen)
    assert any(_imports(seen["lq.backoff"], seen))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("lq.surprise", "", "lq.surprise has no place in LAYERS"),
        ("lq.daemon.surprise", "", "lq.daemon.surprise has no place in LAYERS"),
        ("lq.errors", "import lq.model", "it is not in a lower layer"),
        ("lq.when", "from lq.model import State", "it is not in a lower layer"),
        ("lq.when", "from lq import model", "it is not in a lower layer"),
        ("lq.model", "def f():\n    from lq import wire", "it is not in a lower layer"),
        ("lq.model", "if TYPE_CHECKING:\n    import lq.wire", "it is not in a lower layer"),
        ("lq.model", "importlib.import_module('lq.wire')", "it is not in a lower layer"),
        ("lq.daemon.wheel", "from lq.daemon.events import Events", "it is not in a lower layer"),
        ("lq.daemon.auth", "import lq.daemon.store.sqlite", "it is not in a lower layer"),
        ("lq.daemon.store.sqlite", "import lq.daemon.auth", "it is not in a lower layer"),
        ("lq.daemon.engine", "from lq.daemon.api import app", "it is not in a lower layer"),
        ("lq.daemon.engine", "from lq.client import Client", "no client of itself"),
        ("lq.daemon.main", "def f():\n    import lq.sdk.queue", "knows no handlers"),
        ("lq.daemon.api.app", "import lq.cli", "knows no command line"),
        ("lq.daemon.api.app", "from lq.commands import push", "knows no command line"),
        ("lq.daemon.api.app", "from lq import render", "draws no tables"),
        ("lq.sdk.queue", "def f():\n    import lq.daemon.auth", "without the daemon"),
        ("lq.sdk.queue", "import aiosqlite", "only the store knows SQLite"),
        ("lq.sdk.queue", "def f():\n    import lq.daemon.embedded", "without the daemon"),
        ("lq.sdk.embedded", "import lq.daemon.embedded", "without the daemon"),
        ("lq.sdk.embedded", "def f():\n    import lq.daemon.main", "without the daemon"),
        ("lq.daemon.engine", "import sqlite3", "only the store knows SQLite"),
        ("lq.daemon.engine", "def f():\n    from sqlite3 import dbapi2", "only the store knows"),
        ("lq.daemon.storefront", "import aiosqlite", "only the store knows SQLite"),
        ("lq.commands.serve", "import lq.daemon.main", "only inside a function"),
        ("lq.commands.serve", "class A:\n    from lq.daemon import main", "only inside a function"),
        ("lq.commands.serve", "from ..daemon import main", "imports are written in full"),
        ("lq.commands.push", "import lq.cli", "it is not in a lower layer"),
        ("lq.wire.fields", "from lq.wire import decode", "a circle: "),
        ("lq", "from lq.client import Client", "it is not in a lower layer"),
        ("lq", "if TYPE_CHECKING:\n    import lq.daemon.engine", "it is not in a lower layer"),
    ],
)
def test_it_objects(name: str, text: str, complaint: str) -> None:
    known = dict.fromkeys(("lq.model", "lq.render", "lq.wire"), "")
    tree = {**known, "lq.wire.decode": "import lq.wire.fields", name: text}
    assert any(complaint in violation for violation in violations(tree))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lq.backoff", "from lq.model import RetryPolicy\nimport sys, re"),
        ("lq.daemon.store.sqlite", "import sqlite3, aiosqlite\nfrom lq.daemon.store import Store"),
        ("lq.daemon.store.lock", "from lq.daemon.store.sqlite import Folder"),
        ("lq.daemon.main", "from lq.daemon.api import app\nfrom lq.daemon import engine"),
        ("lq.commands.serve", "def serve():\n    from lq.daemon.main import main"),
        ("lq.commands.serve", "async def serve():\n    import lq.daemon.main"),
        ("lq.cli", "from lq.commands import push"),
        ("lq.sdk.embedded", "def f():\n    from lq.daemon.embedded import Embedded"),
        ("lq.daemon.targets.http", "from lq import __version__"),
        ("lq", "if TYPE_CHECKING:\n    from lq.client import Client as Client"),
        ("lq.sdk.queue", "from lq.client import Client"),
        ("lq.sdk.asgi", "from lq.sdk.queue import Queue\nfrom lq.signature import verify"),
    ],
)
def test_it_lets_pass(name: str, text: str) -> None:
    assert violations({name: text}) == []
