"""Each example as its reader runs it: a process of its own, called by a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from . import vercel
from .apps import EXAMPLES, App, ask, environ_of
from .aws import Lambda
from .conftest import Start
from .node import NotInstalled
from .ports import free_port
from .process import Daemon, wait_until

SCRIPTS = sorted(script.name for script in EXAMPLES.glob("*_app.py"))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def lq(start: Start, port: int) -> Daemon:
    """A daemon that may call the application."""
    return start(environ={"LQ_EGRESS_ALLOW": f"127.0.0.1:{port}"})


class RunOnVercel(Protocol):
    def __call__(self, app: Path) -> None: ...


@pytest.fixture
def on_vercel(
    lq: Daemon,
    port: int,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[RunOnVercel]:
    """Deploys an application; skipped where npm cannot install Vercel's runtime."""
    assert pytestconfig.cache is not None
    try:
        runtime = vercel.install(pytestconfig.cache.mkdir("lq-vercel"))
    except NotInstalled as error:
        pytest.skip(str(error))
    with ExitStack() as deployed:

        def deploy(app: Path) -> None:
            folder = tmp_path_factory.mktemp("vercel")
            environ = environ_of(lq, port)
            deployed.enter_context(vercel.Vercel(runtime, app, folder, environ, port=port))

        yield deploy


def signs_up(lq: Daemon, port: int) -> dict[str, Any]:
    """Have the application push a job: what its handler answered, once history has it."""
    answer = ask(port, "POST", "/signup?name=Ada")
    assert answer.status == 200, answer
    job_id = json.loads(answer.body)["id"]
    item = wait_until(lambda: finished(lq, job_id))
    assert (item["state"], item["attempts"], item["lastStatus"]) == ("COMPLETED", 1, 200), item
    (attempt,) = lq.client.attempts(job_id)
    result: dict[str, Any] = json.loads(attempt["responseBody"])
    return result


def finished(lq: Daemon, job_id: str) -> dict[str, Any]:
    """The item, once it has come to its end."""
    item: dict[str, Any] = lq.client.item(job_id)
    return item if "finished" in item else {}


def test_there_is_one_for_each_framework() -> None:
    frameworks = ("aiohttp", "django", "fastapi", "flask", "starlette")
    assert tuple(f"{name}_app.py" for name in frameworks) == tuple(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_goes_round(script: str, lq: Daemon, port: int) -> None:
    with App(EXAMPLES / script, environ_of(lq, port), port):
        assert signs_up(lq, port) == {"sent": "Welcome, Ada!"}
        assert ask(port, "POST", "/lq/welcome", b"{}").status == 401


def test_a_job_goes_round_on_lambda(lq: Daemon, port: int) -> None:
    environ = environ_of(lq, port)
    with Lambda("lambda_function.handler", EXAMPLES, environ, port=port):
        assert signs_up(lq, port) == {"sent": "Welcome, Ada!"}
        assert ask(port, "POST", "/lq/welcome", b"{}").status == 401


@pytest.mark.parametrize("script", ["vercel/api/index.py", "fastapi_app.py"])
def test_a_job_goes_round_on_vercel(
    script: str, lq: Daemon, port: int, on_vercel: RunOnVercel
) -> None:
    on_vercel(EXAMPLES / script)
    assert signs_up(lq, port) == {"sent": "Welcome, Ada!"}
    assert ask(port, "POST", "/lq/welcome", b"{}").status == 401
