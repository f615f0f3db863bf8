"""The snippets of docs/handlers.md for each framework, served as it says, called by a daemon."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import vercel
from .apps import ROOT, ask, environ_of
from .aws import Lambda
from .conftest import Start
from .node import NotInstalled
from .ports import free_port
from .process import PATIENCE_S, Daemon, wait_until

GUIDE = ROOT / "docs" / "handlers.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BIN = Path(sys.executable).parent


class Snippet(NamedTuple):
    """One file of the guide, and the command that serves it, if there is one."""

    file: str
    text: str
    command: str


def snippets() -> list[Snippet]:
    found: list[Snippet] = []
    frameworks = GUIDE.read_text(encoding="utf-8").partition("\n## Your framework")[2]
    for language, text in BLOCK.findall(frameworks):
        if language == "python":
            file = re.match(r"# (\S+)\n", text)
            assert file, f"a snippet that does not name its file:\n{text}"
            found.append(Snippet(file[1], text, ""))
        elif language == "sh":
            found[-1] = found[-1]._replace(command=text.strip())
    return found


JOBS, *SERVED = snippets()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def lq(start: Start, port: int) -> Daemon:
    return start(environ={"LQ_EGRESS_ALLOW": f"127.0.0.1:{port}"})


def test_the_guide_is_read_whole() -> None:
    assert JOBS.file == "jobs.py"
    files = [snippet.file for snippet in SERVED]
    assert files == [
        *["app.py"] * 3,
        "shop/urls.py",
        "app.py",
        "lambda_function.py",
        "api/index.py",
    ]


@pytest.mark.parametrize("snippet", SERVED, ids=lambda snippet: snippet.text.split("\n")[2])
def test_it_takes_a_job(
    snippet: Snippet, lq: Daemon, port: int, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    environ = environ_of(lq, port) | {"PYTHONPATH": str(folder)}
    if snippet.file == "shop/urls.py":
        subprocess.run([BIN / "django-admin", "startproject", "shop", "."], cwd=folder, check=True)
    for file, text in ((JOBS.file, JOBS.text), (snippet.file, snippet.text)):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text.replace("port=3000", f"port={port}"))
    with serving(snippet, folder, environ, port, pytestconfig):
        target = f"http://127.0.0.1:{port}/lq/welcome"
        job = lq.client.push(
            "welcome", b'{"name": "Ada"}', content_type="application/json", target=target
        )
        item = wait_until(lambda: finished(lq, job["id"]))
        assert item["state"] == "COMPLETED", item
        (attempt,) = lq.client.attempts(job["id"])
        assert attempt["responseBody"] == "Welcome, Ada!"


def finished(lq: Daemon, job_id: str) -> dict[str, Any]:
    item: dict[str, Any] = lq.client.item(job_id)
    return item if "finished" in item else {}


def serving(
    snippet: Snippet,
    folder: Path,
    environ: Mapping[str, str],
    port: int,
    pytestconfig: pytest.Config,
) -> AbstractContextManager[object]:
    if snippet.file == "lambda_function.py":
        return Lambda("lambda_function.handler", folder, environ, port=port)
    if snippet.file == "api/index.py":
        assert pytestconfig.cache is not None
        try:
            runtime = vercel.install(pytestconfig.cache.mkdir("lq-vercel"))
        except NotInstalled as error:
            pytest.skip(str(error))
        return vercel.Vercel(runtime, folder / snippet.file, folder, environ, port=port)
    return running(snippet.command, folder, environ, port)


@contextmanager
def running(command: str, folder: Path, environ: Mapping[str, str], port: int) -> Iterator[None]:
    """A command of the guide, with a port of our own, until it has listened and is done with."""
    words = shlex.split(command.replace("3000", str(port)))
    path = f"{BIN}{os.pathsep}{environ['PATH']}"
    # In a session of its own: Django's server is two processes.
    with subprocess.Popen(
        ["/usr/bin/env", *words], cwd=folder, env={**environ, "PATH": path}, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not listens(port):
                assert process.poll() is None, f"{command} ended"
                assert time.monotonic() < deadline, f"{command} does not listen"
                time.sleep(0.05)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def listens(port: int) -> bool:
    try:
        ask(port, "GET", "/")
    except OSError:
        return False
    return True
