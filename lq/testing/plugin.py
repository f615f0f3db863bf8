"""The pytest plugin: `lq_daemon`, and `lq_toml` for what its configuration shall be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lq.testing.daemon import Daemon


@pytest.fixture
def lq_toml() -> str:
    """Settings for `lq_daemon`, as in lq.toml; override it where others are wanted."""
    return ""


@pytest.fixture
def lq_daemon(lq_toml: str) -> Iterator[Daemon]:
    """A daemon on a free port, in memory, gone after the test."""
    from lq.testing.daemon import running

    with running(lq_toml) as daemon:
        yield daemon
