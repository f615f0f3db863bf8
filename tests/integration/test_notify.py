"""What the daemon tells its service manager, heard on a real socket."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lq.daemon.notify import Manager
from tests.support.handler import GIVE_UP_S


class Ear:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(GIVE_UP_S)
        self._socket.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)

    def hear(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    name = f"@lq-{secrets.token_hex(8)}" if request.param == "abstract" else f"{tmp_path}/notify"
    with closing(Ear(name)) as one:
        yield one


def test_it_tells(ear: Ear) -> None:
    environ = {"NOTIFY_SOCKET": ear.address, "A": "b"}
    manager = Manager.take(environ)
    assert environ == {"A": "b"}  # no child speaks for the daemon
    assert manager.watchdog_s is None
    manager.ready("serving\nEVIL=1")
    assert ear.hear() == ["READY=1", "STATUS=serving EVIL=1"]
    manager.reloading()
    first, instant, _ = ear.hear()
    assert first == "RELOADING=1"
    assert instant.removeprefix("MONOTONIC_USEC=").isdecimal()
    manager.stopping("bye")
    assert ear.hear() == ["STOPPING=1", "STATUS=bye"]


async def test_it_is_well_for_as_long_as_it_says_so(ear: Ear) -> None:
    environ = {"NOTIFY_SOCKET": ear.address, "WATCHDOG_USEC": "20000"}
    manager = Manager.take(environ)
    assert (environ, manager.watchdog_s) == ({}, 0.02)
    well = [True]
    watch = asyncio.create_task(manager.watch(lambda: well[0], lambda: "how it is"))
    try:
        for _ in range(3):
            heard = await asyncio.to_thread(ear.hear)
            assert heard == ["WATCHDOG=1", "STATUS=how it is"]
        well[0] = False
        while heard != ["STATUS=how it is"]:
            heard = await asyncio.to_thread(ear.hear)
        for _ in range(3):
            assert "WATCHDOG=1" not in await asyncio.to_thread(ear.hear)
    finally:
        watch.cancel()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative"},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"},
    ],
)
async def test_without_a_watchdog_it_says_nothing(environ: dict[str, str]) -> None:
    manager = Manager.take(environ)
    assert environ == {}
    await manager.watch(lambda: True, lambda: "")


def test_a_watchdog_of_this_process_counts() -> None:
    pid = str(os.getpid())
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid}
    assert Manager.take(environ).watchdog_s == 3.0


def test_a_manager_that_has_gone_away_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Manager(f"{tmp_path}/nobody").ready("serving")
    Manager("/" + "x" * 200).ready("serving")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
