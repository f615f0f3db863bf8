"""A daemon to test, as a process of its own, and an endpoint for it to call."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from lq.signature import new_secret

from .browser import chromium, visit, visitor
from .endpoint import Endpoint
from .process import Daemon

__all__ = ["chromium", "endpoint", "lq", "start", "visit", "visitor"]


class Start(Protocol):
    """Starts a daemon that may call the endpoint; `config` is more TOML for it."""

    def __call__(
        self, config: str = "", *, name: str = "lq", start: bool = True, **how: Any
    ) -> Daemon: ...


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(new_secret(secrets.token_bytes(32))) as listening:
        yield listening


@pytest.fixture
def start(tmp_path: Path, endpoint: Endpoint) -> Iterator[Start]:
    """Starts daemons, each in a folder of its own, and ends them with the test."""
    daemons: list[Daemon] = []

    def start_one(config: str = "", *, name: str = "lq", start: bool = True, **how: Any) -> Daemon:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "data").mkdir(mode=0o700)
        secret = folder / "data" / "secret"
        secret.touch(mode=0o600)
        secret.write_text(endpoint.secret)
        daemon = Daemon(folder, f"{basics(endpoint)}\n{config}", **how)
        daemons.append(daemon)
        return daemon.start() if start else daemon

    yield start_one
    for daemon in daemons:
        daemon.end()
        print(daemon.stderr)  # shown with a failure


@pytest.fixture
def lq(start: Start) -> Daemon:
    """A daemon that serves."""
    return start()


def basics(endpoint: Endpoint) -> str:
    """The configuration that tests start from: any port, and the endpoint may be called."""
    return f"""
listen = "127.0.0.1:0"
data_dir = "data"
egress.allow = ["127.0.0.1:{endpoint.port}"]
"""
