"""Handlers on Vercel: its own runtime, calls of a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import vercel
from .apps import ROOT, ask, environ_of
from .conftest import Start
from .endpoint import Endpoint
from .mirrored import all_come_back, signed_call
from .node import NotInstalled
from .ports import free_port
from .process import Daemon

SERVED = ROOT / "tests" / "e2e" / "served"


@pytest.fixture(params=["vercel_asgi.py", "vercel_wsgi.py"])
def port(
    request: pytest.FixtureRequest,
    lq: Daemon,
    free: int,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[int]:
    """The mirrors, deployed; skipped where npm cannot install Vercel's runtime."""
    assert pytestconfig.cache is not None
    try:
        runtime = vercel.install(pytestconfig.cache.mkdir("lq-vercel"))
    except NotInstalled as error:
        pytest.skip(str(error))
    folder: Path = tmp_path_factory.mktemp("vercel")
    environ = environ_of(lq, free) | {"PYTHONPATH": str(ROOT)}
    with vercel.Vercel(runtime, SERVED / request.param, folder, environ, port=free):
        yield free


@pytest.fixture
def free() -> int:
    return free_port()


@pytest.fixture
def lq(start: Start, free: int) -> Daemon:
    return start(environ={"LQ_EGRESS_ALLOW": f"127.0.0.1:{free}"})


def test_calls_of_a_daemon_reach_it(lq: Daemon, port: int) -> None:
    all_come_back(lq, port)


def test_what_is_no_call_is_refused(port: int) -> None:
    assert ask(port, "POST", "/lq/mirror", b"{}").status == 401
    assert ask(port, "POST", "/lq/elsewhere", b"{}").status == 404
    assert ask(port, "POST", "/lq/mirror", bytes((1 << 20) + 1)).status == 413
    assert ask(port, "HEAD", "/lq/mirror").headers["x-lq-signature"]


def test_a_result_is_reported_before_vercel_freezes_the_function(
    lq: Daemon, port: int, endpoint: Endpoint
) -> None:
    headers = signed_call(lq, b'"done"', endpoint.url("/callback"))
    assert ask(port, "POST", "/lq/later", b'"done"', headers).status == 202
    reported = endpoint.calls.get_nowait()
    assert (reported.path, reported.body) == ("/callback/complete", b"done")
